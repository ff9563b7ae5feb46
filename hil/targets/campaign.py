"""A campaign: the runs that a plan takes, which targets each serves, and what fits into a night.

Requirements that offer the same traffic under the same load are judged from one run, which lasts
as long as the longest of them asks for. The order of the profile is its priority.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import get_args

from hil.document import nearest
from hil.errors import UsageError
from hil.targets.plan import Forecast, Plan, forecast_of
from hil.targets.profile import Profile
from hil.targets.requirement import Requirement, Scenario
from hil.targets.target import ShiftTarget
from hil.units import parse_duration


@dataclass(frozen=True, slots=True)
class Run:
    """One stretch of traffic, or of repetitions, and the requirements that are judged from it."""

    requirements: tuple[Requirement, ...]
    count: int  #: packets, frames or repetitions; 0 where there is no time for it
    takes: int  #: how often it is measured: twice where a run alone, or the wire, stands beside it

    @property
    def names(self) -> str:
        """The ids of its requirements."""
        return ", ".join(each.id for each in self.requirements)

    @property
    def duration_ns(self) -> int:
        """How long it measures, all directions at once, start and end of a run not included."""
        return self.count * self.item_ns

    @property
    def item_ns(self) -> int:
        """The time that one more item takes."""
        return self.requirements[0].interval_ns * self.takes

    def of(self, count: int) -> Run:
        """The same with another count."""
        return replace(self, count=count)

    def forecasts(self) -> tuple[Forecast, ...]:
        """What it can say of each target, known before it starts; of nothing where it is empty."""
        if not self.count:
            return ()
        return tuple(
            forecast_of(requirement, target, self.count)
            for requirement in self.requirements
            for target in requirement.targets
        )


def runs(profile: Profile, plan: Plan, only: Sequence[str] = ()) -> tuple[Run, ...]:
    """The runs of a plan, in the order of the profile.

    Args:
        profile: what is promised.
        plan: how much of it is measured.
        only: ids of the requirements to look at; all where empty.

    Raises:
        UsageError: the profile has no requirement of that id.
    """
    chosen = [profile[name] for name in only] or list(profile.requirements)
    groups: list[list[Requirement]] = []
    for requirement in chosen:
        for group in groups:
            if _shared(group[0], requirement):
                group.append(requirement)
                break
        else:
            groups.append([requirement])
    return tuple(
        Run(tuple(group), max(map(plan.packets, group)), max(map(_takes, group)))
        for group in groups
    )


def _shared(one: Requirement, other: Requirement) -> bool:
    return one.traffic is not None and (one.traffic, one.load) == (other.traffic, other.load)


def _takes(requirement: Requirement) -> int:
    compared = any(
        isinstance(each, ShiftTarget) or each.metric == "loop_time" for each in requirement.targets
    )
    return 2 if compared else 1


def fit(planned: Sequence[Run], budget_ns: int) -> tuple[Run, ...]:
    """The same runs, cut to a budget of time.

    In the order of the profile, runs are taken that fit whole. What time is then left goes to the
    first of the others of which it shows at least one target with none failing, and so on; a run
    for which nothing is left has the count 0.
    """
    left = budget_ns
    counts = [0] * len(planned)
    for i, run in enumerate(planned):
        if run.duration_ns <= left:
            counts[i] = run.count
            left -= run.duration_ns
    for i, run in enumerate(planned):
        if not counts[i]:
            cut = run.of(left // run.item_ns)
            if cut.count and any(shows(each) for each in cut.forecasts()):
                counts[i] = cut.count
                left -= cut.duration_ns
    return tuple(run.of(count) for run, count in zip(planned, counts, strict=True))


def shows(forecast: Forecast) -> bool:
    """True where the target can be shown, with none failing."""
    return 0 < forecast.required <= forecast.count


def budget_ns(text: str | None) -> int | None:
    """The time that ``--budget`` allows, None where it was not given.

    Raises:
        UsageError: a text that is no duration above 0.
    """
    if text is None:
        return None
    try:
        time_ns = parse_duration(text)
    except ValueError as error:
        raise UsageError(f"--budget: {error}") from None
    if time_ns <= 0:
        raise UsageError(f"--budget: nothing can be measured in {text}")
    return time_ns


def chosen(
    profile: Profile, requirements: Collection[str] = (), scenarios: Collection[str] = ()
) -> tuple[str, ...]:
    """The ids of the requirements that are named, or whose scenario is; all where nothing is.

    Raises:
        UsageError: there is no such requirement in the profile, or no such scenario.
    """
    for name in requirements:
        if profile.get(name) is None:
            raise UsageError(
                f"profile {profile.name} has no requirement {name}; "
                f"{nearest(name, profile.names())}"
            )
    for name in scenarios:
        if name not in get_args(Scenario):
            raise UsageError(f"no scenario {name!r}; {nearest(name, get_args(Scenario))}")
    if not requirements and not scenarios:
        return profile.names()
    return tuple(
        each.id
        for each in profile.requirements
        if each.id in requirements or each.scenario in scenarios
    )


@dataclass(frozen=True, slots=True)
class Campaign:
    """What is set out to be measured: `whole` as the plan asks, `taken` as the time allows."""

    whole: tuple[Run, ...]
    taken: tuple[Run, ...]
    budget_ns: int | None = None

    @classmethod
    def of(
        cls, profile: Profile, plan: Plan, only: Sequence[str] = (), budget_ns: int | None = None
    ) -> Campaign:
        """The runs of a plan for the requirements `only` (all where empty), cut to a budget.

        Raises:
            UsageError: the profile has no requirement of that id.
        """
        whole = runs(profile, plan, only)
        return cls(whole, whole if budget_ns is None else fit(whole, budget_ns), budget_ns)

    def count(self, id: str) -> int | None:
        """The packets, frames or repetitions for a requirement, 0 where there is no time for it.

        None where the campaign is not about it.
        """
        for run in self.taken:
            if any(each.id == id for each in run.requirements):
                return run.count
        return None

    def duration_ns(self, id: str) -> int:
        """How long the plan asks to measure for a requirement of the campaign."""
        return next(
            run.duration_ns for run in self.whole if any(each.id == id for each in run.requirements)
        )

    @property
    def unproven(self) -> tuple[Forecast, ...]:
        """The targets that cannot be shown with what is taken, as the whole plan has them."""
        shown = {seen.target for run in self.taken for seen in run.forecasts() if shows(seen)}
        return tuple(
            seen for run in self.whole for seen in run.forecasts() if seen.target not in shown
        )
