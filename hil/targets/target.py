"""Targets: what is promised of one metric, how it is decided, and who says so.

A target is told apart by its `metric`. Five kinds of promise exist: a share of items within a
limit, a rate of events per hour, goodput in every window, a shift between two runs, and one value
within a tolerance.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, model_validator

from hil.document import Attenuation, Duration, EventsPerHour, Model, Share
from hil.targets.traffic import Span
from hil.units import format_duration

Unit = Literal["ns", "1", "1/h", "dB"]

Statistic = Literal["share_within", "events_per_hour", "shift", "tolerance"]

TargetId = Annotated[str, Field(pattern=r"^[A-Z]{2,4}-\d{1,3}[a-z]?$")]
"""The id of a requirement, or that and a letter."""

OpenShare = Annotated[float, Field(gt=0, lt=1)]
"""A share that is neither 0 nor 1, a bare number."""


class _Target(Model):
    id: TargetId
    """The id of its requirement, with a letter where the requirement has several targets."""

    source: str
    """Key, in `sources` of the profile, of what the limit is taken from."""

    note: str = ""
    """Why these figures, in one or two sentences."""

    confidence: Annotated[float, Field(gt=0.5, lt=1)] = 0.95
    """One-sided confidence of the verdict, a bare number."""


class WithinTarget(_Target):
    """At least `share` of all planned items are within `limit`; what is lost is not within."""

    metric: Literal["delay", "pdv", "frame_delay", "loop_time"]
    limit_ns: Span
    """The bound on one item."""

    share: OpenShare
    """The promised share."""

    burst: Annotated[int, Field(ge=1)]
    """Design burst length b0: items in a row that the outage to be covered takes."""

    statistic: ClassVar[Statistic] = "share_within"
    unit: ClassVar[Unit] = "ns"
    rate: ClassVar[None] = None

    @property
    def limit(self) -> float:
        """The limit in `unit`."""
        return self.limit_ns

    @property
    def promise(self) -> str:
        """The promise in words, without the share."""
        words = {
            "delay": "",
            "pdv": "with PDV ",
            "frame_delay": "complete ",
            "loop_time": "closed ",
        }
        return f"{words[self.metric]}within {format_duration(self.limit_ns)}"


class EventTarget(_Target):
    """At most `rate` events per hour; an event is what `metric` calls one.

    - reception_gap: a time from one receipt to the next longer than `limit`.
    - watchdog: a watchdog of `limit`, restarted by each receipt, trips.
    - down_events: the service goes down (TS 22.104): a message is neither there by its deadline,
      `bound` after it was sent, nor is any other within the survival time `limit` after that.
    """

    metric: Literal["reception_gap", "watchdog", "down_events"]
    limit_ns: Span
    """The gap, the watchdog time or the survival time."""

    bound_ns: Span | None = None
    """For down events: the maximum end-to-end latency, where the survival time begins."""

    tick_ns: Annotated[Duration, Field(ge=0)] = 0
    """For the watchdog: how coarsely the controller looks at its clock."""

    rate: Annotated[EventsPerHour, Field(gt=0)] | None = None
    """Events per hour that are still acceptable; without it nothing can be demonstrated."""

    statistic: ClassVar[Statistic] = "events_per_hour"
    unit: ClassVar[Unit] = "1/h"
    share: ClassVar[None] = None
    burst: ClassVar[int] = 1

    @model_validator(mode="after")
    def _fields_of_the_metric(self) -> EventTarget:
        if (self.metric == "down_events") != (self.bound_ns is not None):
            raise ValueError(
                f"`bound` belongs to down_events, and down_events needs it; `metric` is "
                f"{self.metric}"
            )
        if self.tick_ns and self.metric != "watchdog":
            raise ValueError(f"`tick` belongs to the watchdog; `metric` is {self.metric}")
        return self

    @property
    def limit(self) -> float | None:
        """The declared rate in `unit`, None where the profile declares none."""
        return self.rate

    def events(self, count: int) -> str:
        """So many events in words."""
        span, s = format_duration(self.limit_ns), "" if count == 1 else "s"
        if self.metric == "down_events":
            return f"{count:,} down event{s} (survival time {span})"
        if self.metric == "watchdog":
            return f"{count:,} trip{s} of a {span} watchdog"
        return f"{count:,} reception gap{s} over {span}"


class GoodputTarget(_Target):
    """Delivered over offered is at least `least` in each sliding window, and no backlog grows.

    A window that falls short is an event; windows short one after the other are one event.
    """

    metric: Literal["goodput"]
    least: OpenShare
    """Delivered over offered application data."""

    window_ns: Span = 2_000_000_000
    """Length of a window; it slides by one frame. 2 s as in TS 23.501 Table 5.7.4-1."""

    rate: Annotated[EventsPerHour, Field(gt=0)] | None = None
    """Short windows per hour that are still acceptable."""

    statistic: ClassVar[Statistic] = "events_per_hour"
    unit: ClassVar[Unit] = "1/h"
    share: ClassVar[None] = None
    burst: ClassVar[int] = 1

    @property
    def limit(self) -> float | None:
        """The declared rate in `unit`, None where the profile declares none."""
        return self.rate

    def events(self, count: int) -> str:
        """So many events in words."""
        return (
            f"{count:,} stretch{'' if count == 1 else 'es'} of {format_duration(self.window_ns)} "
            f"windows below {self.least:.4g} of the offer"
        )


class ShiftTarget(_Target):
    """Under load the delay shifts by no more than a margin, against a paired run without load.

    Two criteria, both needed: the `quantile` shifts by at most the larger of `limit` and
    `relative` times its value without load; and the share of packets late for `bound` grows by at
    most `epsilon`.
    """

    metric: Literal["delay_shift"]
    quantile: OpenShare = 0.99
    limit_ns: Span
    """The margin of the quantile."""

    relative: Share = 0.0
    """The margin of the quantile as a share of its value without load."""

    bound_ns: Span
    """A packet is late beyond this."""

    epsilon: OpenShare
    """The margin of the late share."""

    burst: Annotated[int, Field(ge=1)]
    """Design burst length b0: packets in a row that the outage to be covered takes."""

    statistic: ClassVar[Statistic] = "shift"
    unit: ClassVar[Unit] = "ns"
    share: ClassVar[None] = None
    rate: ClassVar[None] = None

    @property
    def limit(self) -> float:
        """The margin of the quantile in `unit`, before `relative` is looked at."""
        return self.limit_ns


class LevelTarget(_Target):
    """One measured level differs from the expected one by at most `limit`."""

    metric: Literal["rsrp_shift"]
    limit_db: Attenuation
    """The tolerance."""

    statistic: ClassVar[Statistic] = "tolerance"
    unit: ClassVar[Unit] = "dB"
    share: ClassVar[None] = None
    rate: ClassVar[None] = None
    burst: ClassVar[int] = 1

    @property
    def limit(self) -> float:
        """The tolerance in `unit`."""
        return self.limit_db


class SpanTarget(_Target):
    """One measured time is at most `limit`."""

    metric: Literal["registration_time"]
    limit_ns: Span
    """The longest time."""

    statistic: ClassVar[Statistic] = "tolerance"
    unit: ClassVar[Unit] = "ns"
    share: ClassVar[None] = None
    rate: ClassVar[None] = None
    burst: ClassVar[int] = 1

    @property
    def limit(self) -> float:
        """The longest time in `unit`."""
        return self.limit_ns


Target = Annotated[
    WithinTarget | EventTarget | GoodputTarget | ShiftTarget | LevelTarget | SpanTarget,
    Field(discriminator="metric"),
]
"""Any target, told apart by its `metric`."""

ValueTarget = LevelTarget | SpanTarget
"""A target on one value that the rig read, not on packets."""
