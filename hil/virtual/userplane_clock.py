"""The clock of the cell: an epoch of its own and a rate of its own.

A real tap or base station counts TAI and drifts against the tester's host. So does the cell: slots,
stamps in trailers and the truth log are on this clock, and whoever compares them with stamps of the
host has to map one to the other as with real equipment.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

TAI_MINUS_UTC_NS: Final = 37_000_000_000  # since 2017 (IERS Bulletin C)

Time = TypeVar("Time", int, NDArray[np.int64])


@dataclass(frozen=True, slots=True)
class CellClock:
    """TAI that agrees with the host at `epoch_ns` and runs `drift_ppb` parts in 1e9 faster."""

    epoch_ns: int
    drift_ppb: int

    def of_host(self, t_ns: Time) -> Time:
        """The cell's time at a CLOCK_REALTIME time."""
        return t_ns + self._gained(t_ns) + TAI_MINUS_UTC_NS

    def to_host(self, t_ns: Time) -> Time:
        """The CLOCK_REALTIME time at a time of the cell, within a nanosecond or two."""
        own = t_ns - TAI_MINUS_UTC_NS
        host = own - self._gained(own)
        for _ in range(2):  # each round leaves a drift's part of the error before
            host = own - self._gained(host)
        return host

    def _gained(self, host_ns: Time) -> Time:
        # In two steps, so that 64 bits last for years.
        return (host_ns - self.epoch_ns) // 1000 * self.drift_ppb // 1_000_000
