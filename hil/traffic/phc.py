"""The clock of a network card (PHC), read against the host's and mapped to it.

Hardware stamps count a clock of the card. Two cards have two clocks, and neither is the host's, so
a delay between their stamps needs a map of one to the other, made from readings before, during and
after a run. The kernel takes a reading in one of three ways, the best first: both clocks at once
where the platform can (PTP_SYS_OFFSET_PRECISE), the host's clock tightly around the read of the
card's (PTP_SYS_OFFSET_EXTENDED), or around the whole call of the driver (PTP_SYS_OFFSET); see
Documentation/driver-api/ptp.rst and linux/ptp_clock.h.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, taken

PERIOD_NS: Final = 250_000_000
_MOST_READINGS: Final = 1024
_TRIES: Final = 25  # PTP_MAX_SAMPLES

# linux/ptp_clock.h; the first of a structure says how many readings are wanted.
_PRECISE: Final = 0xC0403D08
_EXTENDED: Final = 0xC4C03D09
_PLAIN: Final = 0x43403D05
_HEAD: Final = 16  # of the last two: number wanted and reserved words
_TIME: Final = np.dtype([("sec", "<i8"), ("nsec", "<u4"), ("reserved", "<u4")])
PRECISE_SIZE: Final = 64
EXTENDED_SIZE: Final = _HEAD + _TRIES * 3 * _TIME.itemsize
PLAIN_SIZE: Final = _HEAD + (2 * _TRIES + 1) * _TIME.itemsize


@dataclass(frozen=True, slots=True)
class PhcReading:
    """One instant on a card's clock and on CLOCK_REALTIME, which was read within `width_ns`."""

    phc_ns: int
    host_ns: int
    width_ns: int


def of_precise(answer: bytes) -> PhcReading:
    """The reading of a struct ptp_sys_offset_precise: both clocks at the same instant."""
    card, host = _times(answer, 0, 2).tolist()
    return PhcReading(card, host, 0)


def of_extended(answer: bytes) -> PhcReading:
    """The narrowest reading of a struct ptp_sys_offset_extended (host, card, host; repeated)."""
    count = int.from_bytes(answer[:4], "little")
    rows = _times(answer, _HEAD, 3 * count).reshape(-1, 3)
    return _narrowest(rows[:, 0], rows[:, 1], rows[:, 2])


def of_plain(answer: bytes) -> PhcReading:
    """The narrowest reading of a struct ptp_sys_offset (host, card, host, card, ..., host)."""
    count = int.from_bytes(answer[:4], "little")
    times = _times(answer, _HEAD, 2 * count + 1)
    return _narrowest(times[:-1:2], times[1::2], times[2::2])


def _times(answer: bytes, at: int, count: int) -> NDArray[np.int64]:
    rows = np.frombuffer(answer, _TIME, count, at)
    return np.asarray(rows["sec"] * 1_000_000_000 + rows["nsec"], np.int64)


def _narrowest(
    before: NDArray[np.int64], card: NDArray[np.int64], after: NDArray[np.int64]
) -> PhcReading:
    best = int(np.argmin(after - before))
    width = int(after[best] - before[best])
    return PhcReading(int(card[best]), int(before[best]) + width // 2, width)


def read(device: int) -> PhcReading:
    """A reading of the clock behind a descriptor of /dev/ptpN.

    Raises: OSError where the kernel refuses every way.
    """
    for request, size, parse in (
        (_PRECISE, PRECISE_SIZE, of_precise),
        (_EXTENDED, EXTENDED_SIZE, of_extended),
        (_PLAIN, PLAIN_SIZE, of_plain),
    ):
        value = bytearray(size)
        if request != _PRECISE:
            value[:4] = _TRIES.to_bytes(4, "little")
        try:
            fcntl.ioctl(device, request, value)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL):
                raise
        else:
            return parse(bytes(value))
    raise OSError(errno.EOPNOTSUPP, "the clock cannot be compared with the host's")


class PhcWatch:
    """Reads the clocks of the cards of a run; memory does not grow with its length."""

    def __init__(self, clocks: Iterable[int]) -> None:
        self._devices: dict[int, int] = {}
        self._readings: dict[int, list[PhcReading]] = {}
        self.refused: dict[int, str] = {}
        self._period_ns, self._next_ns = PERIOD_NS, 0
        for number in sorted(set(clocks)):
            with self._noted(number):
                self._devices[number] = os.open(f"/dev/ptp{number}", os.O_RDONLY | os.O_CLOEXEC)
                self._readings[number] = [read(self._devices[number])]

    @contextlib.contextmanager
    def _noted(self, number: int) -> Any:
        try:
            yield
        except OSError as error:
            self.refused[number] = f"/dev/ptp{number}: {error.strerror}"

    def look(self, monotonic_ns: int, *, now: bool = False) -> None:
        """Take readings if they are due, or `now`; call it often."""
        if not self._devices or (monotonic_ns < self._next_ns and not now):
            return
        self._next_ns = monotonic_ns + self._period_ns
        for number, device in self._devices.items():
            with self._noted(number):
                self._readings.setdefault(number, []).append(read(device))
        if any(len(each) >= _MOST_READINGS for each in self._readings.values()):
            self._readings = {n: each[::2] for n, each in self._readings.items()}
            self._period_ns *= 2

    def report(self) -> dict[str, Any]:
        """What was read, as JSON values: of each clock rows of card, host, width."""
        return {
            "readings": {
                str(number): [[r.phc_ns, r.host_ns, r.width_ns] for r in rows]
                for number, rows in self._readings.items()
            },
            "refused": {str(number): why for number, why in self.refused.items()},
        }

    def close(self) -> None:
        """Close the devices."""
        for device in self._devices.values():
            os.close(device)
        self._devices = {}


class PhcMap:
    """A card's clock on the host's realtime clock: a line between each two readings.

    `half_ns` is the half-width of its error: half the widest reading, and the most that a reading
    is off the line through its two neighbours. `rate_ppm` is the largest rate of the two clocks
    against each other.
    """

    def __init__(self, readings: Sequence[PhcReading]) -> None:
        """Raises: ValueError for fewer than three readings: before, during and after."""
        rows = sorted({r.phc_ns: r for r in readings}.values(), key=lambda r: r.phc_ns)
        if len(rows) < 3:
            raise ValueError("a map of a card's clock needs readings before, during and after")
        self._origin = rows[0].phc_ns
        self._base = rows[0].host_ns - rows[0].phc_ns
        phc = np.array([r.phc_ns - self._origin for r in rows], np.float64)
        gained = np.array([r.host_ns - r.phc_ns - self._base for r in rows], np.float64)
        self._phc, self._gained = phc, gained
        rates = np.diff(gained) / np.diff(phc)
        self._ends = float(rates[0]), float(rates[-1])
        span = (phc[1:-1] - phc[:-2]) / (phc[2:] - phc[:-2])
        straight = gained[:-2] + span * (gained[2:] - gained[:-2])
        bend = float(np.abs(gained[1:-1] - straight).max())
        self.half_ns = bend + max(r.width_ns for r in rows) / 2
        self.rate_ppm = float(np.abs(rates).max()) * 1e6

    def to_host(self, phc_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Times of the card on CLOCK_REALTIME; `NOT_TAKEN` stays so."""
        known = taken(phc_ns)
        times = np.where(known, phc_ns, self._origin)
        gained = self._at(times - self._origin, self._phc)
        return np.where(known, times + self._base + gained, NOT_TAKEN)

    def from_host(self, host_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Times of CLOCK_REALTIME on the card's clock; `NOT_TAKEN` stays so."""
        known = taken(host_ns)
        times = np.where(known, host_ns, self._origin + self._base) - self._base
        gained = self._at(times - self._origin, self._phc + self._gained)
        return np.where(known, times - gained, NOT_TAKEN)

    def _at(self, elapsed: NDArray[np.int64], axis: NDArray[np.float64]) -> NDArray[np.int64]:
        # Only distances become floats: an epoch in nanoseconds does not fit one.
        x = elapsed.astype(np.float64)
        y = np.interp(x, axis, self._gained)
        y += (
            np.minimum(x - axis[0], 0) * self._ends[0] + np.maximum(x - axis[-1], 0) * self._ends[1]
        )
        return np.rint(y).astype(np.int64)


def maps_of(report: Mapping[str, Any]) -> dict[int, PhcMap]:
    """The map of each clock that a `PhcWatch` has read often enough."""
    found: dict[int, PhcMap] = {}
    for number, rows in report["readings"].items():
        with contextlib.suppress(ValueError):
            found[int(number)] = PhcMap([PhcReading(*row) for row in rows])
    return found
