"""The one place that asks what time it is, so that a test can say it.

Spans and deadlines use CLOCK_MONOTONIC; stamps use CLOCK_REALTIME, because the kernel's software
packet stamps are CLOCK_REALTIME (Documentation/networking/timestamping.rst).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol


class Clock(Protocol):
    """What a caller may ask of a clock; all values in integer nanoseconds."""

    def monotonic_ns(self) -> int:
        """Since an arbitrary start; never steps."""
        ...

    def realtime_ns(self) -> int:
        """Since the Unix epoch; may be stepped."""
        ...

    def sleep_ns(self, span_ns: int) -> None:
        """Returns after at least that long; at once for 0 or less."""
        ...


class SystemClock:
    """The host's clocks."""

    def monotonic_ns(self) -> int:
        """Since an arbitrary start; never steps."""
        return time.monotonic_ns()

    def realtime_ns(self) -> int:
        """Since the Unix epoch; may be stepped."""
        return time.time_ns()

    def sleep_ns(self, span_ns: int) -> None:
        """Returns after at least that long; at once for 0 or less."""
        if span_ns > 0:
            time.sleep(span_ns / 1e9)


SYSTEM = SystemClock()


@dataclass(frozen=True, slots=True)
class Deadline:
    """A point on the monotonic clock by which something must have happened."""

    at_ns: int
    clock: Clock = SYSTEM

    @classmethod
    def after(cls, span_ns: int, clock: Clock = SYSTEM) -> Deadline:
        """The deadline `span_ns` from now."""
        return cls(clock.monotonic_ns() + span_ns, clock)

    @property
    def left_ns(self) -> int:
        """Nanoseconds left, never below 0."""
        return max(0, self.at_ns - self.clock.monotonic_ns())

    @property
    def left_s(self) -> float:
        """Seconds left, never below 0; for library calls that want seconds."""
        return self.left_ns / 1e9

    @property
    def passed(self) -> bool:
        """True when no time is left."""
        return self.left_ns == 0


@dataclass(slots=True)
class Stopwatch:
    """A span on the monotonic clock; `elapsed_ns` keeps its value once stopped."""

    started_ns: int
    stopped_ns: int | None = None
    clock: Clock = SYSTEM

    @property
    def elapsed_ns(self) -> int:
        """Nanoseconds from the start to the stop, or to now."""
        end = self.stopped_ns if self.stopped_ns is not None else self.clock.monotonic_ns()
        return end - self.started_ns


@contextmanager
def stopwatch(clock: Clock = SYSTEM) -> Iterator[Stopwatch]:
    """Times the block; the watch stops at its end, also by an exception."""
    watch = Stopwatch(clock.monotonic_ns(), clock=clock)
    try:
        yield watch
    finally:
        watch.stopped_ns = clock.monotonic_ns()
