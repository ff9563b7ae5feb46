"""What `hil measure` needs for a reflector in place of a receiving port."""

from __future__ import annotations

from ipaddress import ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.errors import UsageError
from hil.units import format_duration

if TYPE_CHECKING:
    from collections.abc import Callable

    from hil.samples.measurement import Measurement
    from hil.traffic import Flow, Port, Progress


def one_end(rx: str | None, reflector: str | None, layer: str | None) -> None:
    """Check that packets have exactly one place to go to.

    Raises: UsageError, one sentence.
    """
    if (rx is None) == (reflector is None):
        raise UsageError(
            "give either --rx, the port that packets arrive at, or --reflector, the host that "
            "sends them back"
        )
    if reflector is not None and layer not in (None, "udp"):
        raise UsageError("--reflector answers over UDP: leave out --layer, or give udp")


def far_port(reflector: str, tx: Port) -> Port:
    """The reflector in the place of a port: a name and an address, nothing to look at.

    Raises: UsageError where the text names none.
    """
    from hil.traffic import Port
    from hil.traffic.target import parse_target

    target = parse_target(reflector)
    if tx.host is not None:
        raise UsageError(f"port {tx.name} is on another host: start this command there")
    return Port(
        name=str(target),
        interface="",
        namespace=None,
        kind="raw-ip",
        mac=b"",
        mtu=tx.mtu,
        addresses=(ip_interface(target.host),),
    )


def run(
    flow: Flow,
    reflector: str,
    directory: Path,
    launcher: tuple[str, ...],
    drain_ns: int,
    progress: Callable[[Progress], None],
) -> Measurement:
    """The measurement through a reflector; raises as `hil.traffic.two_way.run`."""
    from hil.traffic import two_way
    from hil.traffic.target import parse_target

    return two_way.run(
        flow,
        parse_target(reflector),
        directory=directory,
        launcher=launcher,
        drain_ns=drain_ns,
        progress=progress,
    )


def ways_words(conditions: dict[str, Any]) -> list[str]:
    """What was seen of the two ways, as sentences of a table; none of a measurement of one way."""
    if (seen := conditions.get("two_way")) is None:
        return []
    words = []
    if seen["forward_lost"] is None:
        words.append(f"there and back not told apart: {seen['why']}")
    else:
        words.append(
            f"lost on the way there {seen['forward_lost']:,}, on the way back "
            f"{seen['reverse_lost']:,}; duplicated {seen['forward_duplicated']:,} and "
            f"{seen['reverse_duplicated']:,}, reordered {seen['forward_reordered']:,} and "
            f"{seen['reverse_reordered']:,}"
        )
    if (held := seen["held_ns"]) is not None:
        words.append(
            f"held by the reflector: median {format_duration(held['median'])}, at most "
            f"{format_duration(held['max'])}; taken off"
        )
    words.append(f"one-way delay: {seen['one_way']['why']}")
    return words
