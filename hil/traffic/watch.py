"""Watches over the processes' promptness and the host's clock while a measurement runs.

A stall of a process never moves a stamp of the kernel, so stalls are conditions to be shown. A step
of the clock falsifies every difference taken across it, so its window is spoiled.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from hil.samples.measurement import Window

CLOCK_PERIOD_NS: Final = 100_000_000
STEP_NS: Final = 1_000
_SLEW: Final = 500e-6  # the most that the kernel slews its clock by (adjtimex(2))
STALL_NS: Final = 1_000_000
_WORST: Final = 50
_READS: Final = 5


@dataclass(frozen=True, slots=True)
class ClockReading:
    """CLOCK_REALTIME minus another clock, and how wide apart the readings of that were."""

    at_ns: int  #: on the realtime clock
    raw_ns: int  #: on the other clock
    offset_ns: int
    width_ns: int


def read_clocks(other: int = time.CLOCK_MONOTONIC_RAW) -> ClockReading:
    """The offset of CLOCK_REALTIME to another clock, the narrowest of a few tries."""
    best: ClockReading | None = None
    for _ in range(_READS):
        before = time.clock_gettime_ns(other)
        now = time.time_ns()
        after = time.clock_gettime_ns(other)
        middle = (before + after) // 2
        if best is None or after - before < best.width_ns:
            best = ClockReading(now, middle, now - middle, after - before)
    assert best is not None
    return best


def realtime_offset_ns() -> int:
    """CLOCK_REALTIME minus CLOCK_MONOTONIC now."""
    return read_clocks(time.CLOCK_MONOTONIC).offset_ns


class ClockWatch:
    """Looks for steps of CLOCK_REALTIME against CLOCK_MONOTONIC_RAW.

    Slewing changes the rate between the two, and a changed rate stays; a step is one span whose
    rate differs, the same way, from those on both sides of it, or at an end from the two nearest.
    Memory does not grow.
    """

    def __init__(self) -> None:
        self._readings: list[ClockReading] = []
        self.windows: list[Window] = []
        self.rate_ppm = 0.0  #: largest rate of the two clocks against each other
        self._next_ns = 0
        self._begun = False

    def look(self, monotonic_ns: int, *, now: bool = False) -> None:
        """Take a reading if one is due, or `now`; call it often."""
        if monotonic_ns >= self._next_ns or now:
            self._next_ns = monotonic_ns + CLOCK_PERIOD_NS
            self.add(read_clocks())

    def add(self, reading: ClockReading) -> None:
        """Take a reading into account."""
        readings = self._readings
        readings.append(reading)
        if len(readings) >= 2:
            span = readings[-1].raw_ns - readings[-2].raw_ns
            if span > 0 and abs(moved := readings[-1].offset_ns - readings[-2].offset_ns) < 10**6:
                self.rate_ppm = max(self.rate_ppm, abs(moved) / span * 1e6)
        if len(readings) == 5:
            readings.pop(0)
        if len(readings) == 4:
            if not self._begun:
                self._judge(0, (1, 2), _SLEW)
                self._begun = True
            self._judge(1, (0, 2), 0.0)

    def finish(self) -> None:
        """Judge the last span too, which nothing follows."""
        if len(self._readings) == 4:
            self._judge(2, (0, 1), _SLEW)

    def _judge(self, span: int, others: tuple[int, int], slew: float) -> None:
        """Whether the clock stepped in a span of the last four readings.

        It did where the rate differs, the same way, from those of two other spans, by more than
        the readings are blurred and more than `slew`: at an end a new rate looks like a step.
        """
        pairs = list(itertools.pairwise(self._readings))
        rates = [(b.offset_ns - a.offset_ns) / max(b.raw_ns - a.raw_ns, 1) for a, b in pairs]
        start, end = pairs[span]
        length = end.raw_ns - start.raw_ns
        one, two = ((rates[span] - rates[other]) * length for other in others)
        limit = STEP_NS + start.width_ns + end.width_ns + slew * length
        if one * two > 0 and min(abs(one), abs(two)) > limit:
            step = min(one, two, key=abs)
            low, high = sorted((start.at_ns, end.at_ns))
            self.windows.append(
                Window(low, high, f"CLOCK_REALTIME stepped by {step / 1000:+.1f} us")
            )

    def report(self) -> dict[str, Any]:
        """What was seen, as JSON values."""
        return {
            "steps": [asdict(each) for each in self.windows],
            "rate_ppm": round(self.rate_ppm, 3),
        }


@dataclass(slots=True)
class StallWatch:
    """How often a sleeper of this host woke late by more than `STALL_NS`, and how long."""

    count: int = 0
    total_ns: int = 0
    worst: list[tuple[int, int]] = field(default_factory=list)  #: (late by, woke at realtime)

    def woke(self, late_ns: int, at_ns: int) -> None:
        """A sleep ended `late_ns` after it should have."""
        if late_ns < STALL_NS:
            return
        self.count += 1
        self.total_ns += late_ns
        self.worst.append((late_ns, at_ns))
        if len(self.worst) > 2 * _WORST:
            self.worst = sorted(self.worst, reverse=True)[:_WORST]

    def report(self) -> dict[str, Any]:
        """What was seen, as JSON values; the worst first."""
        worst = sorted(self.worst, reverse=True)[:_WORST]
        return {
            "over_ns": STALL_NS,
            "count": self.count,
            "total_ns": self.total_ns,
            "max_ns": worst[0][0] if worst else None,
            "worst": [{"late_ns": late, "at_ns": at} for late, at in worst],
        }
