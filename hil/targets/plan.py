"""Plans: how much of each requirement a run measures, and what that can show.

- smoke: a few seconds each; shows plumbing, never the target.
- full: enough for a network as good as expected to pass with a probability of 80 %, and as long
  as the requirement itself asks for.
- soak: at least eight hours, for rates of rare events.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from hil.stats import power, proportion, rate
from hil.targets.target import EventTarget, GoodputTarget, ShiftTarget, Target, WithinTarget

if TYPE_CHECKING:
    from hil.targets.profile import Profile
    from hil.targets.requirement import Requirement

POWER: Final = 0.8
SOAK_HOURS: Final = 8.0
_HOUR_NS: Final = 3_600_000_000_000


class Plan(enum.StrEnum):
    """How much to measure."""

    SMOKE = "smoke"
    FULL = "full"
    SOAK = "soak"

    def packets(self, requirement: Requirement) -> int:
        """The packets, frames or repetitions that this plan measures of a requirement."""
        if self is Plan.SMOKE:
            return requirement.smoke
        full = max(
            requirement.smoke,
            -(-(requirement.full_ns or 0) // requirement.interval_ns),
            *(for_power(target, requirement) for target in requirement.targets),
        )
        if self is Plan.FULL or requirement.items == "readings":
            return full
        return max(full, math.ceil(SOAK_HOURS * _HOUR_NS / requirement.interval_ns))


def design_effect(target: Target) -> float:
    """The design effect that is planned with: 2 b0 - 1, where no run has been seen yet."""
    return 2.0 * target.burst - 1


def for_zero_failures(target: Target, interval_ns: int) -> int:
    """The fewest items that can show a target: with none failing; 1 where one reading is judged.

    A rate that the profile does not declare can never be shown; it then needs 1 and shows nothing.
    """
    if isinstance(target, WithinTarget):
        return math.ceil(
            proportion.required(target.share, target.confidence) * design_effect(target)
        )
    if isinstance(target, EventTarget | GoodputTarget) and target.rate is not None:
        hours = rate.required_hours(target.rate, target.confidence)
        return math.ceil(hours * _HOUR_NS / interval_ns)
    if isinstance(target, ShiftTarget):
        return _for_margin(target)
    return 1


def for_power(target: Target, requirement: Requirement) -> int:
    """The items that pass a network `margin` times better than the target with 80 %."""
    if isinstance(target, WithinTarget):
        return power.required_packets(
            target.share,
            requirement.margin,
            POWER,
            design_effect=design_effect(target),
            confidence=target.confidence,
        )
    if isinstance(target, EventTarget | GoodputTarget) and target.rate is not None:
        hours = power.required_hours(target.rate, requirement.margin, POWER, target.confidence)
        return math.ceil(hours * _HOUR_NS / requirement.interval_ns)
    if isinstance(target, ShiftTarget):
        return 2 * _for_margin(target)
    return 1


def _for_margin(target: ShiftTarget) -> int:
    """Packets on each side with which the late share, none late, is shown not to have grown."""
    needed = proportion.required_difference(target.epsilon, target.confidence)
    return math.ceil(needed * design_effect(target))


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """What a plan can say of one target, known before the run."""

    requirement: str
    target: str
    count: int  #: packets, frames or repetitions that the plan measures
    items: str  #: what is counted
    minutes: float  #: how long that takes, for one direction or all at once
    required: int  #: the fewest that could show the target, with none failing
    power: float | None  #: probability to pass a network `margin` times better; None: not on counts
    supported: float | None  #: the share, or the events per hour, shown if nothing fails


def forecast(profile: Profile, plan: Plan) -> tuple[Forecast, ...]:
    """One line for each target of a profile."""
    return tuple(
        forecast_of(requirement, target, plan.packets(requirement))
        for requirement in profile.requirements
        for target in requirement.targets
    )


def power_of_all(forecasts: Iterable[Forecast]) -> float:
    """The probability that all targets on counts pass together, taken as independent.

    Targets judged from the same packets are not, and then pass together more often than this.
    """
    return math.prod(each.power for each in forecasts if each.power is not None)


def forecast_of(requirement: Requirement, target: Target, count: int) -> Forecast:
    """What so many packets, frames or repetitions can say of one target."""
    hours = count * requirement.interval_ns / _HOUR_NS
    chance: float | None = None
    supported: float | None = None
    if isinstance(target, WithinTarget):
        effect = design_effect(target)
        chance = power.share_power(
            count,
            target.share,
            requirement.margin,
            design_effect=effect,
            confidence=target.confidence,
        )
        supported = proportion.lower(count / effect, count / effect, target.confidence)
    elif isinstance(target, EventTarget | GoodputTarget):
        supported = rate.upper(0, hours, target.confidence)
        chance = 0.0
        if target.rate is not None:
            chance = power.rate_power(hours, target.rate, requirement.margin, target.confidence)
    return Forecast(
        requirement=requirement.id,
        target=target.id,
        count=count,
        items=requirement.items,
        minutes=hours * 60,
        required=for_zero_failures(target, requirement.interval_ns),
        power=chance,
        supported=supported,
    )
