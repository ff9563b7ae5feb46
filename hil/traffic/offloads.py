"""What a network card or the kernel may do to frames before they are seen (ethtool(8), -k)."""

from __future__ import annotations

from typing import Final

from pyroute2.ethtool import Ethtool

from hil.errors import UsageError
from hil.traffic.linux import inside
from hil.traffic.port import Port

#: Settings that merge datagrams of one flow into one, by the kernel's name, and as ethtool(8) takes
#: them: large receive offload, and generic receive offload where it does UDP too.
_MERGING: Final = {
    "rx-lro": "lro",
    "rx-gro-list": "rx-gro-list",
    "rx-udp-gro-forwarding": "rx-udp-gro-forwarding",
}
_GRO: Final = "rx-gro"


def settings(port: Port) -> dict[str, bool]:
    """Those of `port` that have to do with merging, by the kernel's name; absent: not known."""
    with inside(port.namespace), Ethtool() as ethtool:
        try:
            known = ethtool.get_features(port.interface).features
        except OSError:
            return {}
    return {name: bool(known[name].enable) for name in (*_MERGING, _GRO) if name in known}


def merging(port: Port) -> list[str]:
    """What is on at `port` that merges datagrams before they are seen, as ethtool(8) calls it.

    Plain generic receive offload is not among them: it merges TCP alone, and probes are none.
    """
    found = settings(port)
    return [
        word
        for name, word in _MERGING.items()
        if found.get(name) and (name == "rx-lro" or found.get(_GRO, True))
    ]


def cure(port: Port, words: list[str]) -> str:
    """The command that ends it."""
    prefix = f"ip netns exec {port.namespace} " if port.namespace else ""
    return f"{prefix}ethtool -K {port.interface} " + " ".join(f"{word} off" for word in words)


def refuse_merging(port: Port) -> None:
    """Raises: UsageError, with the cure, where datagrams that arrive at `port` may be merged."""
    if words := merging(port):
        raise UsageError(
            f"port {port.name} merges datagrams before they can be told apart and timed "
            f"({', '.join(words)}): switch that off with `{cure(port, words)}`"
        )
