"""How far a run is, and what came of it so far, in figures that cost next to nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.histogram import Histogram
from hil.samples.table import NOT_TAKEN, UNREADABLE, Table, difference_ns, taken
from hil.units import format_duration

_WINDOW: Final = 1 << 17  # packets whose other half may still come
_MASK: Final = _WINDOW - 1
_RECENT: Final = 1 << 12
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


class Seen:
    """Which sequences have come, exactly so among the last four million; memory is constant.

    A sequence that is farther behind the highest one is not taken for new.
    """

    _SPAN: Final = 1 << 22

    def __init__(self) -> None:
        self._bits = np.zeros(self._SPAN >> 3, np.uint8)
        self._low = 0  # the lowest sequence that is told apart; a multiple of 8

    def new(self, sequences: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which of some ascending distinct sequences have not come before; they have now."""
        self._reach(int(sequences[-1]))
        inside = sequences >= self._low
        places = (sequences >> 3) & (len(self._bits) - 1)
        bits = (1 << (sequences & 7)).astype(np.uint8)
        fresh = inside & ((self._bits[places] & bits) == 0)
        np.bitwise_or.at(self._bits, places[fresh], bits[fresh])
        return np.asarray(fresh)

    def _reach(self, highest: int) -> None:
        """Let the span end behind `highest`, which empties what it leaves."""
        if highest < self._low + self._SPAN:
            return
        low = (highest - self._SPAN // 2) & ~7
        left = np.arange(self._low >> 3, min(low, self._low + self._SPAN) >> 3)
        self._bits[left & (len(self._bits) - 1)] = 0
        self._low = low


class Tally:
    """What came in of one flow; memory does not grow with it.

    `timed` is False where the times of its two ends have no difference.
    """

    def __init__(self, name: str, planned: int, *, timed: bool = True) -> None:
        self.name, self.planned, self._timed = name, planned, timed
        self.sent = self.received = 0
        self.delays = Histogram()
        self._seen = Seen()
        self._left = np.full(_WINDOW, NOT_TAKEN, np.int64)
        self._left_by = np.full(_WINDOW, -1, np.int64)
        self._came_in = np.full(_WINDOW, NOT_TAKEN, np.int64)
        self._came_in_by = np.full(_WINDOW, -1, np.int64)
        self._recent = np.zeros(0, np.int64)

    def add_sent(self, rows: Table) -> None:
        """Rows of `SENT` of this flow."""
        self.sent += len(rows)
        rows = rows[-_WINDOW:]
        sequences = rows["seq"].astype(np.int64)
        places = sequences & _MASK
        self._left[places], self._left_by[places] = rows["tx_kernel_ns"], sequences
        met = self._came_in_by[places] == sequences
        self._add(difference_ns(self._came_in[places[met]], self._left[places[met]]))
        self._came_in_by[places[met]] = -1

    def add_arrived(self, rows: Table) -> None:
        """Rows of `ARRIVED` of this flow; a tap's own word of a delay goes before the stamps."""
        rows = rows[(rows["flags"] & UNREADABLE) == 0]
        sequences, first = np.unique(rows["seq"].astype(np.int64), return_index=True)
        if not sequences.size:
            return
        fresh = self._seen.new(sequences)
        self.received += int(fresh.sum())
        rows, sequences = rows[first[fresh]], sequences[fresh]
        tapped = difference_ns(rows["trailer_release_ns"], rows["trailer_ingress_ns"])
        known = taken(tapped)
        self._add(tapped[known])
        rows, sequences = rows[~known][-_WINDOW:], sequences[~known][-_WINDOW:]
        places = sequences & _MASK
        met = self._left_by[places] == sequences
        self._add(difference_ns(rows["rx_kernel_ns"][met], self._left[places[met]]))
        waiting = places[~met]
        self._came_in[waiting] = rows["rx_kernel_ns"][~met]
        self._came_in_by[waiting] = sequences[~met]

    def _add(self, delays: NDArray[np.int64]) -> None:
        if not self._timed:
            return
        self.delays.add(delays)
        known = delays[taken(delays)]
        self._recent = np.concatenate((self._recent, known[-_RECENT:]))[-_RECENT:]

    def progress(self) -> FlowProgress:
        """The flow so far, and the delays of its last packets."""
        delays = np.sort(self._recent)
        many = len(delays) * (1 - _PERCENTILE) >= 1
        figure_ns: int | None = None
        if len(delays):
            rank = int(np.ceil(_PERCENTILE * len(delays))) if many else len(delays)
            figure_ns = int(delays[rank - 1])
        name = "p99" if many else "max"
        return FlowProgress(self.name, self.planned, self.sent, self.received, name, figure_ns)

    def report(self) -> dict[str, Any]:
        """The whole run as seen while it lasted, as JSON values."""
        return {"sent": self.sent, "received": self.received, "delay_ns": self.delays.figures()}
