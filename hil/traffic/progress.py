"""How far a run is, in figures that cost next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, UNREADABLE, Table, difference_ns, taken
from hil.units import format_duration

_WINDOW: Final = 1 << 12
_MASK: Final = _WINDOW - 1
_PERCENTILE: Final = 0.99


@dataclass(frozen=True, slots=True)
class FlowProgress:
    """One flow so far. `figure_ns` is the recent delay at `figure`, None where none is known."""

    name: str
    planned: int
    sent: int
    received: int
    figure: str
    figure_ns: int | None

    def __str__(self) -> str:
        shown = (
            "" if self.figure_ns is None else f", {self.figure} {format_duration(self.figure_ns)}"
        )
        return f"{self.name}: {self.received:,} of {self.planned:,} received{shown}"


@dataclass(frozen=True, slots=True)
class Progress:
    """A run so far. `left_ns` is the time until the last packet leaves, 0 while draining."""

    flows: tuple[FlowProgress, ...]
    left_ns: int

    def __str__(self) -> str:
        left = (
            f"{self.left_ns / 1e9:.0f} s left" if self.left_ns else "waiting for the last packets"
        )
        return "; ".join((*map(str, self.flows), left))


class Tally:
    """What came in of one flow; memory does not grow with it but for one bit a probe."""

    def __init__(self, name: str, sequences: NDArray[np.uint64]) -> None:
        self.name, self.planned = name, len(sequences)
        self.sent = self.received = 0
        self._came = np.zeros((int(sequences.max()) >> 3) + 1, np.uint8)
        self._left = np.full(_WINDOW, NOT_TAKEN, np.int64)
        self._left_by = np.full(_WINDOW, -1, np.int64)
        self._came_in = np.full(_WINDOW, NOT_TAKEN, np.int64)
        self._came_in_by = np.full(_WINDOW, -1, np.int64)
        self._tapped = np.full(_WINDOW, NOT_TAKEN, np.int64)

    def add_sent(self, rows: Table) -> None:
        """Rows of `SENT` of this flow."""
        self.sent += len(rows)
        places = _places(rows["seq"])
        self._left[places], self._left_by[places] = rows["tx_kernel_ns"], rows["seq"]

    def add_arrived(self, rows: Table) -> None:
        """Rows of `ARRIVED` of this flow."""
        rows = rows[(rows["flags"] & UNREADABLE) == 0]
        sequences = np.unique(rows["seq"]).astype(np.int64)
        bytes_, bits = sequences >> 3, (1 << (sequences & 7)).astype(np.uint8)
        self.received += int(((self._came[bytes_] & bits) == 0).sum())
        np.bitwise_or.at(self._came, bytes_, bits)
        places = _places(rows["seq"])
        self._came_in[places], self._came_in_by[places] = rows["rx_kernel_ns"], rows["seq"]
        release, ingress = rows["trailer_release_ns"], rows["trailer_ingress_ns"]
        self._tapped[places] = difference_ns(release, ingress)

    def progress(self) -> FlowProgress:
        """The flow so far; a tap's own word of a delay goes before the kernel's stamps."""
        both = (self._left_by == self._came_in_by) & (self._left_by >= 0)
        both &= taken(self._left) & taken(self._came_in)
        stamped = np.where(both, self._came_in - self._left, NOT_TAKEN)
        delays = np.where(taken(self._tapped), self._tapped, stamped)
        delays = np.sort(delays[taken(delays)])
        many = len(delays) * (1 - _PERCENTILE) >= 1
        figure_ns: int | None = None
        if len(delays):
            rank = int(np.ceil(_PERCENTILE * len(delays))) if many else len(delays)
            figure_ns = int(delays[rank - 1])
        name = "p99" if many else "max"
        return FlowProgress(self.name, self.planned, self.sent, self.received, name, figure_ns)


def _places(sequences: NDArray[np.uint64]) -> NDArray[np.int64]:
    return (sequences & np.uint64(_MASK)).astype(np.int64)
