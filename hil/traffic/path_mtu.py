"""The largest packet that a path takes, found by sending one that may not be fragmented.

A router that has no room for it says so, and how much it has (RFC 1191, RFC 8201).
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hil.traffic.engine import PacketTooBig, run
from hil.traffic.flow import Flow, periodic
from hil.traffic.port import Port
from hil.wire.trailer import FORMATS

_STEPS: Final = 5
_SMALLEST: Final = 1280  # what every link of IPv6 takes (RFC 8200 section 5)
_DRAIN_NS: Final = 1_000_000_000
_GAP_NS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class PathMtu:
    """`size` is the largest packet that came through, in bytes; None where none did.

    `limits` are the routers that had no room for a larger one, in words, and the sizes that came to
    nothing while no router said why; then what is smaller was tried at 1280 B.
    """

    size: int | None
    limits: tuple[str, ...]


def path_mtu(tx: Port, rx: Port, launcher: Sequence[str] = ()) -> PathMtu:
    """What fits from `tx` to `rx` as a packet of UDP, at most what both ports take.

    Raises: UsageError, RigError as `hil.traffic.run`.
    """
    tail = FORMATS[rx.tap].size if rx.tap else 0
    size = min(tx.mtu, rx.mtu - tail)
    limits: list[str] = []
    for _ in range(_STEPS):
        flow = Flow(name="path MTU", tx=tx, rx=rx, planned=periodic(1, _GAP_NS, size), layer="udp")
        try:
            with tempfile.TemporaryDirectory() as directory:
                (measured,) = run(
                    [flow], directory=Path(directory), launcher=launcher, drain_ns=_DRAIN_NS
                )
        except PacketTooBig as refusal:
            limits.append(f"{refusal.by}: {refusal.most}")
            if refusal.mtu is None or refusal.mtu >= size:
                break
            size = refusal.mtu
            continue
        if measured.counts.received:
            return PathMtu(size, tuple(limits))
        if size <= _SMALLEST:
            break
        limits.append(f"{size} B vanish without a word")
        size = _SMALLEST
    return PathMtu(None, tuple(limits))
