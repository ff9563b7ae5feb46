"""The one verdict rule: (measurement, requirement, plan) -> judgements.

First comes what voids any claim (the instrument, implausible samples, the wrong traffic, too many
packets without a trustworthy time, an unfit time source), then the target. The reasons are in
docs/explanation/method.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from hil.judge.event import events_of, judge_events, judge_goodput
from hil.judge.evidence import (
    MOST_BRACKETED,
    Evidence,
    evidence,
    implausible,
    preconditions,
)
from hil.judge.finding import NOTHING, Finding, verdict
from hil.judge.judgement import Judgement, Reason
from hil.judge.offered import contradictions, off_grid_share
from hil.judge.share import items_of, judge_share
from hil.judge.shift import beside_wire, judge_shift
from hil.judge.uncertainty import Uncertainty, late_delivery, uncertainty, unfit, warnings
from hil.judge.wording import at_most, span
from hil.samples.measurement import Measurement
from hil.targets.plan import Plan
from hil.targets.requirement import Requirement
from hil.targets.target import (
    EventTarget,
    GoodputTarget,
    ShiftTarget,
    WithinTarget,
)
from hil.targets.traffic import Traffic
from hil.units import format_duration
from hil.verdict import Verdict

#: Metrics that are made of the receiver's times alone.
_OF_RECEIPTS: Final = ("reception_gap", "watchdog")

AnyPacketTarget = WithinTarget | EventTarget | GoodputTarget | ShiftTarget


@dataclass(frozen=True, slots=True)
class _Case:
    """One target against one measurement, with everything the rule looks at."""

    requirement: str
    target: AnyPacketTarget
    plan: Plan | None
    traffic: Traffic | None
    measurement: Measurement
    seen: Evidence
    found: Uncertainty
    against: Measurement | None = None
    against_seen: Evidence | None = None
    warnings: tuple[str, ...] = ()


def judge(
    measurement: Measurement,
    requirement: Requirement,
    plan: Plan,
    *,
    against: Measurement | None = None,
) -> tuple[Judgement, ...]:
    """Judges one measurement against every target of a requirement.

    Args:
        measurement: one flow in one direction, or one loop as samples with user stamps.
        requirement: what was promised.
        plan: a smoke plan passes nothing; it says what was demonstrated.
        against: the paired measurement of a comparison: alone for under load (needed by a delay
            shift), the wire for a loop over 5G (wanted, and missed with a warning).

    Raises:
        ValueError: the requirement has targets on single values only (`judge_value`), or a delay
            shift and there is nothing to compare with.
    """
    targets = [each for each in requirement.targets if isinstance(each, AnyPacketTarget)]
    if not targets:
        raise ValueError(f"{requirement.id} is on a value read on the bench: use judge_value")
    readings = _Readings(requirement.traffic)
    return tuple(
        _judge(_case(measurement, requirement, target, plan, against, readings))
        for target in targets
    )


def judge_bound(
    measurement: Measurement,
    limit_ns: int,
    share: float,
    confidence: float = 0.95,
    *,
    burst: int = 1,
) -> Judgement:
    """Judges a measurement against a bound given by hand, outside any profile.

    No schedule was promised, so packets that left off theirs are judged, and warned of.

    Args:
        measurement: one flow in one direction.
        limit_ns: the delay that counts as in time.
        share: the share that must be.
        confidence: one-sided.
        burst: design burst length b0; with 1 only the bursts that were seen are counted in.
    """
    target = WithinTarget.model_construct(
        id="bound",
        metric="delay",
        limit_ns=limit_ns,
        share=share,
        burst=burst,
        confidence=confidence,
        source="command line",
        note="",
    )
    seen = evidence(measurement, None, limit_ns)
    found = uncertainty(measurement, "delay", share)
    off = off_grid_share(measurement)
    said: tuple[str, ...] = ()
    if off:
        said = (
            f"{at_most(off)} of packets left more than a quarter of the interval off their "
            "schedule, and are judged as they were offered",
        )
    return _judge(_Case("bound", target, None, None, measurement, seen, found, warnings=said))


class _Readings:
    """The evidence of measurements for the targets of one requirement, read as seldom as can be."""

    def __init__(self, traffic: Traffic | None) -> None:
        self._traffic = traffic
        self._read: list[tuple[Measurement, int | None, Evidence]] = []

    def of(self, measurement: Measurement, due_ns: int) -> Evidence:
        """The evidence of a measurement; of a complete one it is the same whatever is due when."""
        due = None if measurement.complete else due_ns
        for known, known_due, seen in self._read:
            if known is measurement and known_due == due:
                return seen
        self._read = [each for each in self._read if each[0] is not measurement]
        seen = evidence(measurement, self._traffic, due_ns)
        self._read.append((measurement, due, seen))
        return seen


def _case(
    measurement: Measurement,
    requirement: Requirement,
    target: AnyPacketTarget,
    plan: Plan,
    against: Measurement | None,
    readings: _Readings,
) -> _Case:
    if isinstance(target, ShiftTarget) and against is None:
        raise ValueError(f"{target.id} compares two measurements: give the one to compare with")
    found = uncertainty(measurement, target.metric, _share_of(target))
    due = _due_ns(target) + found.total_ns
    compared = against if isinstance(target, ShiftTarget) or requirement.loop else None
    return _Case(
        requirement=requirement.id,
        target=target,
        plan=plan,
        traffic=requirement.traffic,
        measurement=measurement,
        seen=readings.of(measurement, due),
        found=found,
        against=compared,
        against_seen=None if compared is None else readings.of(compared, due),
    )


def _share_of(target: AnyPacketTarget) -> float | None:
    return target.quantile if isinstance(target, ShiftTarget) else target.share


def _due_ns(target: AnyPacketTarget) -> int:
    """How long after sending the answer to this target is known."""
    if isinstance(target, GoodputTarget):
        return target.window_ns
    return max(target.limit_ns, getattr(target, "bound_ns", None) or 0)


def _shortest_ns(target: AnyPacketTarget) -> int | None:
    """The shortest time that the time source must resolve; None where no time is judged."""
    if isinstance(target, GoodputTarget):
        return None
    return min(target.limit_ns, getattr(target, "bound_ns", None) or target.limit_ns)


def _judge(case: _Case) -> Judgement:
    if not case.seen.n:
        return _judgement(case, NOTHING, Verdict.NOT_RUN, Reason.NOTHING)
    void = _void(case)
    if void is not None:
        reason, words = void
        finding = Finding(
            met=False,
            missed=None,
            promising=False,
            undecided=reason,
            sentence=f"no claim: {words}",
            n=case.seen.n,
            details={"bracketed_by_cause": case.seen.bracketed_words()},
        )
        return _judgement(case, finding, Verdict.INVALID, reason)
    finding = _finding(case)
    return _judgement(
        case, finding, *verdict(finding, case.plan, complete=case.measurement.complete)
    )


def _void(case: _Case) -> tuple[Reason, str] | None:
    """What leaves no claim at all, the most fundamental first."""
    sides = [(case.measurement, case.seen, "")]
    if case.against is not None and case.against_seen is not None:
        sides.append((case.against, case.against_seen, "in the run compared with, "))
    for measurement, seen, where in sides:
        found = _void_side(case, measurement, seen)
        if found is not None:
            return found[0], where + found[1]
    if not case.measurement.timing.comparable and case.target.metric not in _OF_RECEIPTS:
        return Reason.UNFIT, (
            "the two ends are timed by clocks that are not known to agree, so no delay is measured"
        )
    limit = _shortest_ns(case.target)
    if limit is not None and (words := unfit(case.found, limit)):
        return Reason.UNFIT, words
    if case.measurement.direction == "loop" and isinstance(case.target, WithinTarget):
        late = late_delivery(case.measurement, case.target.share, case.target.limit_ns)
        if late is not None:
            return Reason.UNFIT, late
    return None


def _void_side(case: _Case, measurement: Measurement, seen: Evidence) -> tuple[Reason, str] | None:
    if measurement.invalid:
        return Reason.INSTRUMENT, "; ".join(measurement.invalid)
    if not seen.n:
        return Reason.NOTHING, "nothing was measured"
    if faults := implausible(measurement, seen):
        return Reason.IMPLAUSIBLE, "; ".join(faults)
    if case.traffic is not None and (wrong := contradictions(measurement, case.traffic)):
        return Reason.WRONG_TRAFFIC, f"the traffic offered has {'; '.join(wrong)}"
    return _unclaimable(measurement, seen)


def _unclaimable(measurement: Measurement, seen: Evidence) -> tuple[Reason, str] | None:
    """What leaves no claim though the instrument and the traffic were as they should be."""
    if unmet := preconditions(measurement):
        return Reason.PRECONDITION, "; ".join(unmet)
    part = float(seen.bracketed.mean())
    if part > MOST_BRACKETED:
        return Reason.BRACKETED, (
            f"{at_most(part)} of packets are bracketed ({seen.bracketed_words()}), more than "
            f"{at_most(MOST_BRACKETED)}"
        )
    return None


def _finding(case: _Case) -> Finding:
    target, interval = case.target, case.measurement.interval_ns
    if isinstance(target, WithinTarget):
        items = items_of(target.metric, case.seen, case.measurement)
        return judge_share(target, items, case.found, interval)
    if isinstance(target, ShiftTarget):
        assert case.against_seen is not None  # `_case` refuses a shift without it
        return judge_shift(target, case.seen, case.against_seen, case.found)
    if isinstance(target, GoodputTarget):
        return judge_goodput(target, case.seen, case.measurement)
    events = events_of(target, case.seen, case.measurement, case.found)
    return judge_events(target, events, interval or 1)


def _judgement(case: _Case, finding: Finding, word: Verdict, reason: Reason) -> Judgement:
    target, measurement, found = case.target, case.measurement, case.found
    wire: dict[str, Any] = {}
    said = [*case.warnings, *finding.warnings]
    if word not in (Verdict.INVALID, Verdict.NOT_RUN):
        if (limit := _shortest_ns(target)) is not None:
            said += warnings(found, limit, _share_of(target))
        if isinstance(target, WithinTarget) and target.metric == "loop_time":
            wire = _wire(case)
            said += [] if wire else ["no loop over the wire to compare with"]
    bracketed = finding.bracketed
    if bracketed is None:
        bracketed = int(case.seen.bracketed.sum())
    details: dict[str, Any] = {
        "source": target.source,
        "bracketed_by_cause": case.seen.bracketed_words(),
        "limit_ns": None if isinstance(target, GoodputTarget) else target.limit_ns,
        "path": measurement.path,
        "ports": [measurement.tx_port, measurement.rx_port],
        "timing": [measurement.timing.tx, measurement.timing.rx],
        **({"against": case.against.id} if case.against is not None else {}),
        **_offered_words(case.seen),
        **_qos_words(measurement),
        **finding.details,
        **({"wire": wire} if wire else {}),
        **({"warnings": said} if said else {}),
    }
    return Judgement(
        requirement=case.requirement,
        target=target.id,
        measurement=measurement.id,
        direction=measurement.direction,
        metric=target.metric,
        statistic=target.statistic,
        verdict=word,
        reason=reason,
        sentence=_sentence(case, finding, word, reason, wire, said),
        n=finding.n,
        exceeding=finding.exceeding,
        bracketed=bracketed,
        figure=finding.figure,
        figure_low=finding.figure_low,
        figure_high=finding.figure_high,
        unit=target.unit,
        limit=target.limit,
        share=target.share,
        confidence=target.confidence,
        common_mode_ns=found.common_mode_ns,
        floor_ns=found.floor_ns,
        demonstrated=finding.demonstrated,
        burst_length=target.burst,
        design_effect=finding.design_effect,
        required_packets=finding.required,
        plan="measure" if case.plan is None else case.plan.value,
        simulated=measurement.simulated,
        details=details,
    )


def _qos_words(measurement: Measurement) -> dict[str, Any]:
    qos = measurement.conditions.get("qos")
    return {"qos_flow": qos["words"]} if qos else {}


def _offered_words(seen: Evidence) -> dict[str, Any]:
    if seen.offered is None:
        return {}
    return {
        "nonconforming_share": float(seen.offered.nonconforming.mean()) if seen.n else None,
        "worst_lateness_ns": seen.offered.worst_ns,
        "lateness_tolerance_ns": seen.offered.tolerance_ns,
    }


def _wire(case: _Case) -> dict[str, Any]:
    if case.against_seen is None:
        return {}
    return beside_wire(case.seen, case.against_seen, case.target.confidence)


def _sentence(
    case: _Case,
    finding: Finding,
    word: Verdict,
    reason: Reason,
    wire: dict[str, Any],
    said: Sequence[str],
) -> str:
    words = f"{case.target.id} {case.measurement.direction}: {finding.sentence}"
    if word in (Verdict.INVALID, Verdict.NOT_RUN):
        return words
    if case.seen.bracketed.any():
        words += f"; bracketed: {case.seen.bracketed_words()}"
    if word is Verdict.PASS and finding.if_met:
        words += f"; {finding.if_met}"
    if reason is Reason.PHASE_MISSED:
        words += "; one phase misses the target by itself"
    if reason is Reason.PHASE_SUSPECT:
        words += "; the pool shows the target and one phase, looked at alone, misses it"
    if wire:
        words += (
            f"; median {span(wire['median_ns'])} over 5G and {span(wire['wire_median_ns'])} over "
            f"the wire, difference {span(wire['difference_ns'])} "
            f"({span(wire['difference_low_ns'])} to {span(wire['difference_high_ns'])})"
        )
    if not case.measurement.complete:
        words += "; the run was cut short, so it passes nothing"
    if not isinstance(case.target, GoodputTarget):
        floor = format_duration(case.found.floor_ns)
        at = "" if case.target.share is None else " at that share"
        words += f"; U_cm {format_duration(case.found.common_mode_ns)}, floor {floor}{at}"
    return "; ".join((words, *(f"warning: {each}" for each in said)))
