"""A requirement: one promise of a scenario, the traffic it is tried with, and its targets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from hil.document import Model
from hil.targets.target import Target
from hil.targets.traffic import Burst, PathKind, Periodic, Span, Traffic, Video

Scenario = Literal[
    "smart_devices", "machine_vision", "ar_collaboration", "slicing", "plc", "modem", "mec"
]

Items = Literal["packets", "frames", "loops", "readings"]
"""What a plan counts: packets, or frames where traffic has frames, or repetitions."""

_NEEDS_FRAMES = ("frame_delay", "goodput")
_NEEDS_CYCLE = ("reception_gap", "watchdog", "down_events")
_VALUES = ("rsrp_shift", "registration_time")


class Loop(Model):
    """Repetitions of something that is no traffic of ours: a device's loop, or a reading."""

    every_ns: Span
    """From the start of one repetition to the start of the next."""

    count: Annotated[int, Field(ge=1)] | None = None
    """How many repetitions a measurement takes."""


class Requirement(Model):
    """One requirement of a profile."""

    id: Annotated[str, Field(pattern=r"^[A-Z]{2,4}-\d{1,3}$")]
    """As tests name it."""

    title: Annotated[str, Field(min_length=1)]
    """The requirement in one sentence."""

    scenario: Scenario
    """The scenario it belongs to."""

    promise: tuple[Annotated[str, Field(pattern=r"^P-\d\d$")], ...] = ()
    """The promises of the use case that it proves."""

    traffic: Traffic | None = None
    """What is offered and judged."""

    load: Traffic | None = None
    """What else is offered at the same time, by somebody else, and is not judged."""

    loop: Loop | None = None
    """What is repeated, where no traffic of ours is judged."""

    smoke: Annotated[int, Field(ge=1)]
    """Packets, frames or repetitions of a smoke run."""

    full_ns: Span | None = None
    """The shortest full run, where it must serve other requirements or see slow changes too."""

    margin: Annotated[float, Field(gt=1)] = 10.0
    """How many times better than its targets a network is expected to be; a full plan is long
    enough to pass such a network with a probability of 80 %."""

    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    """What is promised."""

    @property
    def path(self) -> PathKind:
        """The kind of route it is about."""
        return self.traffic.path if self.traffic else "device-edge"

    @property
    def interval_ns(self) -> int:
        """From one item to the next."""
        if self.traffic is not None:
            return self.traffic.interval_ns
        assert self.loop is not None  # one of the two is always there
        return self.loop.every_ns

    @property
    def items(self) -> Items:
        """What is counted."""
        if isinstance(self.traffic, Burst | Video):
            return "frames"
        if self.traffic is not None:
            return "packets"
        return "readings" if self.targets[0].metric in _VALUES else "loops"

    def target(self, id: str) -> Any:
        """The target of that id.

        Raises:
            KeyError: there is none.
        """
        for target in self.targets:
            if target.id == id:
                return target
        known = ", ".join(target.id for target in self.targets)
        raise KeyError(f"{self.id} has no target {id}; it has {known}")

    def planned(self, count: int) -> Requirement:
        """This requirement with the count of a plan in its traffic, load or loop.

        What breaks its delay target is kept with what was around it. The load is long enough to
        last as long as the traffic.
        """
        update: dict[str, Any] = {}
        if self.traffic is not None:
            limits = [each.limit_ns for each in self.targets if each.metric == "delay"]
            kept_ns = self.traffic.keep_beyond_ns or min(limits, default=None)
            changed = {"count": count, "keep_beyond_ns": kept_ns}
            update["traffic"] = self.traffic.model_copy(update=changed)
            if self.load is not None:
                lasting = -(-count * self.traffic.interval_ns // self.load.interval_ns)
                update["load"] = self.load.model_copy(update={"count": lasting})
        elif self.loop is not None:
            update["loop"] = self.loop.model_copy(update={"count": count})
        return self.model_copy(update=update)

    @model_validator(mode="after")
    def _traffic_or_loop(self) -> Requirement:
        if (self.traffic is None) == (self.loop is None):
            raise ValueError(
                "give one of `traffic` and `loop`: what is judged, or what is repeated"
            )
        if self.load is not None and self.traffic is None:
            raise ValueError("`load` stands beside `traffic`, and there is none")
        return self

    @model_validator(mode="after")
    def _targets_are_its_own(self) -> Requirement:
        seen: set[str] = set()
        for target in self.targets:
            if target.id.rstrip("abcdefghijklmnopqrstuvwxyz") != self.id:
                raise ValueError(
                    f"target `{target.id}` must be called {self.id}, or that and a letter"
                )
            if target.id in seen:
                raise ValueError(f"target `{target.id}` is there twice")
            seen.add(target.id)
        return self

    @model_validator(mode="after")
    def _targets_fit_what_is_offered(self) -> Requirement:
        framed = isinstance(self.traffic, Burst | Video)
        for target in self.targets:
            if target.metric in _NEEDS_FRAMES and not framed:
                wanted = "traffic of pattern burst or video"
            elif target.metric in _NEEDS_CYCLE and not isinstance(self.traffic, Periodic):
                wanted = "traffic of pattern periodic"
            elif target.metric in (*_VALUES, "loop_time") and self.loop is None:
                wanted = "a loop"
            elif target.metric in ("delay", "pdv", "delay_shift") and self.traffic is None:
                wanted = "traffic"
            else:
                continue
            raise ValueError(f"{target.id}: {target.metric} needs {wanted}")
        return self

    @model_validator(mode="after")
    def _limit_longer_than_the_cycle(self) -> Requirement:
        for target in self.targets:
            if target.metric in ("watchdog", "reception_gap") and self.traffic is not None:
                longest = self.traffic.interval_ns
                if getattr(target, "limit_ns", longest + 1) <= longest:
                    raise ValueError(
                        f"{target.id}: `limit` of the {target.metric} must be longer than "
                        f"`interval` of the traffic"
                    )
        return self
