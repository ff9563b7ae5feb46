"""Targets on events: gaps, watchdog, down events and goodput, judged as rates."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from scipy.stats import poisson

from hil.judge import Judgement, Reason, judge
from hil.judge.event import Events, judge_events
from hil.samples.measurement import Measurement
from hil.targets import Burst, EventTarget, Periodic, Plan, Profile, Requirement
from hil.verdict import Verdict

Measure = Callable[..., Measurement]
MS = 1_000_000


@pytest.fixture
def even(profile: Profile) -> Requirement:
    return profile["SD-2"]


def cycle(requirement: Requirement) -> Periodic:
    assert isinstance(requirement.traffic, Periodic)
    return requirement.traffic


def of(judged: Iterable[Judgement], id: str) -> Judgement:
    return next(each for each in judged if each.target == id)


def rated(rate: str | None) -> EventTarget:
    return EventTarget(
        id="SD-2a", metric="reception_gap", limit="30 ms", rate=rate, source="choice"
    )


def found(certain: int, possible: int, hours: float, rate: str | None) -> str:
    finding = judge_events(rated(rate), Events(certain, possible, hours, "", {}), 10 * MS)
    return "FAIL" if finding.missed else "PASS" if finding.met else finding.undecided.value


@pytest.mark.parametrize(
    ("certain", "possible", "hours", "rate", "verdict"),
    [
        (0, 0, 0.75, "4 /h", "PASS"),
        (0, 0, 0.74, "4 /h", "NOT DEMONSTRATED"),
        (0, 1, 0.75, "4 /h", "too close to the limit"),
        (0, 1, 1.2, "4 /h", "PASS"),
        (5, 5, 0.2, "4 /h", "FAIL"),
        (0, 5, 0.2, "4 /h", "too close to the limit"),
        (1, 1, 0.01, "4 /h", "FAIL"),
        (0, 0, 1000.0, None, "NOT DEMONSTRATED"),
        (0, 3, 1000.0, None, "NOT DEMONSTRATED"),
        (1, 1, 1000.0, None, "FAIL"),
    ],
)
def test_a_rate_is_shown_by_hours_and_refuted_by_events(
    certain: int, possible: int, hours: float, rate: str | None, verdict: str
) -> None:
    assert found(certain, possible, hours, rate) == verdict


@pytest.mark.parametrize("hours", [0.75, 1.2, 2.0])
def test_errors_of_a_rate_enumerated_exactly(hours: float) -> None:
    """At the declared rate the probability to pass is at most 5 %, and so is that to fail."""
    passing = [k for k in range(40) if found(k, k, hours, "4 /h") == "PASS"]
    missing = [k for k in range(40) if found(k, k, hours, "4 /h") == "FAIL"]
    assert poisson.cdf(max(passing), 4 * hours) <= 0.05
    assert poisson.sf(min(missing) - 1, 4 * hours) <= 0.05


@pytest.mark.parametrize(("missing", "trips"), [(1, False), (2, False), (3, True), (4, True)])
def test_the_watchdog_trips_on_the_gap_and_not_on_the_losses(
    measure: Measure, even: Requirement, missing: int, trips: bool
) -> None:
    """Two lost messages leave a gap of 30 ms, inside the tick of a 30 ms watchdog; three do not."""
    run = measure(cycle(even), 1000, lost=range(550, 550 + missing))
    judged = of(judge(run, even, Plan.FULL), "SD-2d")
    assert (judged.exceeding, judged.verdict is Verdict.FAIL) == (int(trips), trips)
    assert judged.details["longest_gap_ns"] == (missing + 1) * 10 * MS


def test_losses_at_the_very_end_are_a_gap_too(measure: Measure, even: Requirement) -> None:
    run = measure(cycle(even), 1000, lost=range(990, 1000))
    assert of(judge(run, even, Plan.FULL), "SD-2d").verdict is Verdict.FAIL


def test_a_dead_network_trips_the_watchdog(measure: Measure, even: Requirement) -> None:
    judged = judge(measure(cycle(even), 1000, lost=range(1000)), even, Plan.FULL)
    assert {each.verdict for each in judged} == {Verdict.FAIL}


def test_a_gap_that_a_bracketed_packet_may_explain_decides_nothing(
    measure: Measure, even: Requirement
) -> None:
    """Four packets held up on this host are no outage, and no proof that there was none."""
    run = measure(cycle(even), 1000, lost=[500, 501, 502, 503], spoiled=[500, 501, 502, 503])
    for id in ("SD-2a", "SD-2c", "SD-2d"):
        judged = of(judge(run, even, Plan.FULL), id)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert (judged.details["events_certain"], judged.details["events_possible"]) == (0, 1)


def test_receipts_in_a_spoiled_window_prove_no_missing_gap(
    measure: Measure, even: Requirement
) -> None:
    """They came, but when is not known: they may have left a gap, and nobody may say so."""
    run = measure(cycle(even), 1000, spoiled=range(550, 554))
    judged = of(judge(run, even, Plan.FULL), "SD-2d")
    assert (judged.details["events_certain"], judged.details["events_possible"]) == (0, 1)


@pytest.mark.parametrize(
    ("gap_ms", "possible", "certain"),
    [(29.7, 0, 0), (29.9, 1, 0), (30.2, 1, 0), (30.9, 1, 0), (31.1, 1, 0), (31.3, 1, 1)],
)
def test_uncertainty_and_tick_stand_on_either_side_of_the_watchdog(
    measure: Measure, even: Requirement, gap_ms: float, possible: int, certain: int
) -> None:
    """A floor of 100 us counts for both receipts; the tick of 1 ms only against a trip."""
    delay = np.full(1000, 3 * MS)
    delay[550] += round((gap_ms - 30) * MS)
    run = measure(cycle(even), 1000, delay, lost=[548, 549], floor_ns=MS // 10)
    judged = of(judge(run, even, Plan.FULL), "SD-2d")
    assert judged.details["events_possible"] == possible
    assert judged.details["events_certain"] == certain


@pytest.mark.parametrize(("missing", "down"), [(1, 0), (2, 1), (5, 1)])
def test_the_service_goes_down_after_the_survival_time(
    measure: Measure, even: Requirement, missing: int, down: int
) -> None:
    """Survival time of one interval: one missed message is survived, two are not."""
    run = measure(cycle(even), 1000, lost=range(550, 550 + missing))
    assert of(judge(run, even, Plan.FULL), "SD-2c").exceeding == down


def test_without_a_declared_rate_nothing_is_demonstrated(
    measure: Measure, even: Requirement
) -> None:
    targets = tuple(each.model_copy(update={"rate": None}) for each in even.targets[:1])
    requirement = even.model_copy(update={"targets": targets})
    judged = judge(measure(cycle(even), 1000), requirement, Plan.FULL)[0]
    assert (judged.verdict, judged.reason) == (Verdict.INCONCLUSIVE, Reason.NOT_DEMONSTRATED)
    assert judged.limit is None
    judged = judge(measure(cycle(even), 1000, lost=range(50, 60)), requirement, Plan.FULL)[0]
    assert judged.verdict is Verdict.FAIL


class TestGoodput:
    """Delivered over offered in windows of whole frames, and no growing backlog."""

    @pytest.fixture
    def carried(self, profile: Profile) -> Requirement:
        requirement = profile["MV-2"]
        assert isinstance(requirement.traffic, Burst)
        small = requirement.traffic.model_copy(update={"frame_size": 137_200})
        return requirement.model_copy(update={"traffic": small})

    def test_a_lossless_run_is_never_short(self, measure: Measure, carried: Requirement) -> None:
        judged = judge(measure(carried.traffic, 60), carried, Plan.SMOKE)[0]
        assert judged.reason is Reason.DEMONSTRATED
        assert (judged.exceeding, judged.details["worst_window"]) == (0, 1.0)

    def test_windows_short_one_after_the_other_are_one_event(
        self, measure: Measure, carried: Requirement
    ) -> None:
        judged = judge(measure(carried.traffic, 60, lost=range(1000, 1010)), carried, Plan.FULL)[0]
        assert judged.exceeding == 1
        assert judged.verdict is Verdict.FAIL

    def test_a_loss_within_the_share_is_no_event(
        self, measure: Measure, carried: Requirement
    ) -> None:
        """One of 2,000 packets of a window is less than one in a thousand."""
        large = carried.traffic.model_copy(update={"frame_size": 686_000}) if carried.traffic else 0
        requirement = carried.model_copy(update={"traffic": large})
        judged = judge(measure(large, 20, lost=[3000]), requirement, Plan.SMOKE)[0]
        assert judged.exceeding == 0

    def test_a_growing_backlog_fails_though_all_arrives(
        self, measure: Measure, carried: Requirement
    ) -> None:
        """Delivery that takes two per cent longer than the offer falls behind for ever."""
        traffic = carried.traffic
        assert isinstance(traffic, Burst)
        offset = traffic.schedule(120)["offset_ns"]
        served = np.arange(len(offset)) * (traffic.interval_ns / 100 * 1.02)
        delay = np.maximum(served - offset, 0) + 3 * MS
        judged = judge(measure(traffic, 120, delay.astype(np.int64)), carried, Plan.FULL)[0]
        assert judged.exceeding == 0
        assert judged.verdict is Verdict.FAIL
        assert "backlog grows" in judged.sentence

    def test_a_spoiled_loss_is_delivered_for_fail_and_lost_for_pass(
        self, measure: Measure, carried: Requirement
    ) -> None:
        run = measure(carried.traffic, 60, lost=range(1000, 1010), spoiled=range(1000, 1010))
        judged = judge(run, carried, Plan.FULL)[0]
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert (judged.details["events_certain"], judged.details["events_possible"]) == (0, 1)


def test_every_event_target_names_the_hours_it_needs(measure: Measure, even: Requirement) -> None:
    judged = judge(measure(cycle(even), 1000), even, Plan.FULL)
    for each in itertools.compress(judged, [t.metric != "pdv" for t in even.targets]):
        assert each.required_packets == 269_616
        assert "needs 44.9 min" in each.sentence
