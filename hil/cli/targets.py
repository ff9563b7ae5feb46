"""``hil targets``: what a profile promises, how it is decided, and what a night can prove."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hil.cli.columns import columns
from hil.errors import UsageError
from hil.verdict import ExitCode

if TYPE_CHECKING:
    from hil.targets.campaign import Campaign, Run


def listed(profile: str) -> int:
    """Prints one line for each requirement of a profile."""
    from hil.cli.explaining import HOUR_NS
    from hil.judge.wording import lasting
    from hil.targets import Plan, load_profile

    loaded = load_profile(profile)
    rows = []
    for each in loaded.requirements:
        lasts = [lasting(p.packets(each) * each.interval_ns / HOUR_NS) for p in Plan]
        statuses = {loaded.sources[target.source].status: None for target in each.targets}
        rows.append(
            (
                each.id,
                each.scenario,
                " ".join(each.promise),
                ", ".join(target.metric for target in each.targets),
                ", ".join(statuses),
                lasts[0],
                lasts[1],
                each.title,
            )
        )
    print(f"profile {loaded.name} {loaded.version}: {loaded.title}\n")
    headings = ("id", "scenario", "proves", "judged by", "sources", "smoke", "full", "title")
    print(columns(headings, rows, right="smoke, full"))
    return ExitCode.OK


def show(id: str, profile: str) -> int:
    """Prints everything that a profile says of a requirement."""
    from hil.cli.explaining import show as words
    from hil.targets import load_profile

    loaded = load_profile(profile)
    print(words(loaded, loaded[id.rstrip("abcdefghijklmnopqrstuvwxyz")]))
    return ExitCode.OK


def explain(id: str, profile: str) -> int:
    """Prints how a target, or each target of a requirement, is decided and how much that takes."""
    from hil.cli.explaining import explain as words
    from hil.targets import load_profile

    loaded = load_profile(profile)
    requirement = loaded[id.rstrip("abcdefghijklmnopqrstuvwxyz")]
    chosen = [each for each in requirement.targets if id in (each.id, requirement.id)]
    if not chosen:
        known = ", ".join(each.id for each in requirement.targets)
        raise UsageError(f"{requirement.id} has no target {id}; it has {known}")
    print("\n\n".join(words(loaded, requirement, each) for each in chosen))
    return ExitCode.OK


def plan(only: Sequence[str], profile: str, plan: str, budget: str | None) -> int:
    """Prints the runs of a plan, what they take and what they can show, within a budget if any."""
    from hil.targets import Plan, load_profile
    from hil.targets.campaign import Campaign, budget_ns

    if plan not in tuple(Plan):
        raise UsageError(f"no plan {plan!r}; choose one of {', '.join(Plan)}")
    time_ns = budget_ns(budget)
    loaded = load_profile(profile)
    within = "" if budget is None else f", within {budget}"
    print(f"profile {loaded.name} {loaded.version}, plan {plan}{within}\n")
    print(campaign_words(Campaign.of(loaded, Plan(plan), only, time_ns)))
    return ExitCode.OK


def campaign_words(campaign: Campaign) -> str:
    """The table of a campaign, what it takes in all, and what a budget leaves unproven."""
    parts = [_table(campaign.taken), _total(campaign.taken)]
    if campaign.budget_ns is not None:
        parts.append(_unproven(campaign))
    return "\n".join(parts)


def _table(taken: Sequence[Run]) -> str:
    from hil.cli.explaining import HOUR_NS, supported, taking
    from hil.judge.wording import lasting, plural

    rows = []
    for run in taken:
        targets = {
            target.id: (requirement, target)
            for requirement in run.requirements
            for target in requirement.targets
        }
        lasts = lasting(run.duration_ns / HOUR_NS)
        lasts = f"2 x {lasting(run.duration_ns / HOUR_NS / 2)}" if run.takes == 2 else lasts
        for i, seen in enumerate(run.forecasts()):
            requirement, target = targets[seen.target]
            rows.append(
                (
                    "" if i else run.names,
                    "" if i else plural(seen.count, seen.items),
                    "" if i else lasts,
                    seen.target,
                    taking(seen, requirement),
                    "" if seen.power is None else f"{seen.power:.2f}",
                    supported(seen, target),
                )
            )
    headings = ("run", "items", "takes", "target", "needs", "power", "shows if nothing fails")
    return columns(headings, rows, right="items, takes, needs, power")


def _total(taken: Sequence[Run]) -> str:
    from hil.cli.explaining import HOUR_NS
    from hil.judge.wording import lasting
    from hil.targets import power_of_all

    number = sum(bool(run.count) * run.takes for run in taken)
    hours = sum(run.duration_ns for run in taken) / HOUR_NS
    margins = {each.margin for run in taken for each in run.requirements}
    better = " to ".join(f"{each:g}" for each in sorted({min(margins), max(margins)}))
    power = power_of_all(seen for run in taken for seen in run.forecasts())
    return (
        f"\n{number} runs, {lasting(hours)} of measuring. `needs` is the least that could show the "
        f"target, none failing; power is the probability to pass for a network {better} times "
        f"better than the target; all of these together pass with {power:.2f}."
    )


def _unproven(campaign: Campaign) -> str:
    from hil.cli.explaining import taking

    requirements = {each.id: each for run in campaign.whole for each in run.requirements}
    left = [
        f"{seen.target} ({taking(seen, requirements[seen.requirement])})"
        for seen in campaign.unproven
    ]
    return f"Cannot be shown in that time: {', '.join(left) or 'nothing'}."
