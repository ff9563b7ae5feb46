"""Targets on one value that the rig read: a level, a time; judged by a tolerance with a guard band.

The expanded uncertainty of the reading is taken off the tolerance for PASS and added to it for FAIL
(ILAC-G8:09/2019, guard band w = U).
"""

from __future__ import annotations

from hil.judge.finding import NOTHING, Finding, verdict
from hil.judge.judgement import Judgement, Reason
from hil.targets.plan import Plan
from hil.targets.requirement import Requirement
from hil.targets.target import LevelTarget, ValueTarget
from hil.units import format_duration
from hil.verdict import Verdict


def judge_value(
    requirement: Requirement,
    measured: float | None,
    *,
    uncertainty: float,
    plan: Plan,
    expected: float = 0.0,
    target: str | None = None,
    simulated: bool = False,
) -> Judgement:
    """Judges one value read on the bench.

    Args:
        requirement: what was promised.
        measured: the value in the unit of the target (dB or ns); None where it was not measured.
        uncertainty: expanded uncertainty U = 2u of `measured` less `expected`, in the same unit.
        plan: a smoke plan passes nothing; it says what was demonstrated.
        expected: for a level, what it should be.
        target: id of the target; may be left out where the requirement has only one on a value.
        simulated: the value was read on a simulated bench.

    Raises:
        ValueError: the requirement has no such target, or the uncertainty is negative.
    """
    chosen = _chosen(requirement, target)
    if uncertainty < 0:
        raise ValueError(f"an uncertainty cannot be negative; got {uncertainty}")
    off = None if measured is None else measured - expected
    if isinstance(chosen, LevelTarget) and off is not None:
        off = abs(off)
    finding = _finding(chosen, measured, off, uncertainty, expected)
    word, reason = (
        (Verdict.NOT_RUN, Reason.NOTHING) if off is None else verdict(finding, plan, complete=True)
    )
    in_time = chosen.unit == "ns"
    return Judgement(
        requirement=requirement.id,
        target=chosen.id,
        measurement="",
        direction="",
        metric=chosen.metric,
        statistic=chosen.statistic,
        verdict=word,
        reason=reason,
        sentence=f"{chosen.id}: {finding.sentence}",
        n=finding.n,
        exceeding=finding.exceeding,
        bracketed=0,
        figure=measured,
        figure_low=None if measured is None else measured - uncertainty,
        figure_high=None if measured is None else measured + uncertainty,
        unit=chosen.unit,
        limit=chosen.limit,
        share=None,
        confidence=chosen.confidence,
        common_mode_ns=round(uncertainty) if in_time else 0,
        floor_ns=0,
        demonstrated=None,
        burst_length=1,
        design_effect=1.0,
        required_packets=1,
        plan=plan.value,
        simulated=simulated,
        details={"source": chosen.source, "expected": expected, "uncertainty": uncertainty},
    )


def _chosen(requirement: Requirement, id: str | None) -> ValueTarget:
    values = [each for each in requirement.targets if isinstance(each, ValueTarget)]
    found = [each for each in values if id in (None, each.id)]
    if len(found) != 1:
        known = ", ".join(each.id for each in values) or "none"
        raise ValueError(
            f"{requirement.id} has {len(found)} targets on a value that could be meant"
            f"{'' if id is None else f' by {id}'}; on a value are: {known}"
        )
    return found[0]


def _finding(
    target: ValueTarget,
    measured: float | None,
    off: float | None,
    uncertainty: float,
    expected: float,
) -> Finding:
    if measured is None or off is None:
        return NOTHING
    if isinstance(target, LevelTarget):
        between = f"{measured:.2f} dB against {expected:.2f} dB: " if expected else ""
        words = (
            f"{between}off by {off:.2f} dB, uncertain by {uncertainty:.2f} dB (tolerance "
            f"{target.limit_db:g} dB)"
        )
    else:
        words = (
            f"{format_duration(measured)}, uncertain by {format_duration(uncertainty)} (at most "
            f"{format_duration(target.limit_ns)})"
        )
    return Finding(
        met=off + uncertainty <= target.limit,
        missed=Reason.MISSED if off - uncertainty > target.limit else None,
        promising=off <= target.limit,
        undecided=Reason.UNDECIDED,
        sentence=words,
        n=1,
        exceeding=float(off > target.limit),
    )
