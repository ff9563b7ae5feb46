"""The verdict rule from end to end: what voids a claim, what a plan and a cut-short run may say."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.judge import Judgement, Reason, judge, judge_bound, judge_value
from hil.samples.measurement import Budget, Measurement
from hil.samples.table import NOT_TAKEN, SEND_FAILED
from hil.targets import Plan, Profile, Requirement
from hil.verdict import Verdict

Measure = Callable[..., Measurement]
MS = 1_000_000
ENOUGH = 149_780


def one(run: Measurement, requirement: Requirement, plan: Plan = Plan.FULL) -> Judgement:
    (judged,) = judge(run, requirement, plan)
    return judged


@pytest.fixture(scope="module")
def full(measure: Measure, cyclic: Requirement) -> Measurement:
    return measure(cyclic.traffic, ENOUGH, simulated=True)


TABLE: list[tuple[str, dict[str, Any], Plan, str, Reason]] = [
    ("all in time, enough", {"count": ENOUGH}, Plan.FULL, "PASS", Reason.MET),
    ("all in time, too few", {"count": 1000}, Plan.FULL, "INCONCLUSIVE", Reason.TOO_FEW),
    ("all in time, smoke", {"count": 1000}, Plan.SMOKE, "INCONCLUSIVE", Reason.DEMONSTRATED),
    ("enough, but smoke", {"count": ENOUGH}, Plan.SMOKE, "INCONCLUSIVE", Reason.DEMONSTRATED),
    (
        "one lost, smoke",
        {"count": 1000, "lost": [5]},
        Plan.SMOKE,
        "INCONCLUSIVE",
        Reason.NOT_DEMONSTRATED,
    ),
    ("an outage, smoke", {"count": 1000, "lost": range(9, 30)}, Plan.SMOKE, "FAIL", Reason.MISSED),
    ("all late", {"count": 1000, "delay_ns": 11 * MS}, Plan.FULL, "FAIL", Reason.MISSED),
    ("all lost", {"count": 1000, "lost": range(1000)}, Plan.SMOKE, "FAIL", Reason.MISSED),
    (
        "a few lost of enough",
        {"count": ENOUGH, "lost": [10, 20_000, 50_000, 70_000]},
        Plan.FULL,
        "INCONCLUSIVE",
        Reason.UNDECIDED,
    ),
    (
        "late by less than the uncertainty",
        {"count": ENOUGH, "delay_ns": 10 * MS + 50_000, "common_ns": 100_000},
        Plan.FULL,
        "INCONCLUSIVE",
        Reason.UNDECIDED,
    ),
    (
        "in time by less than the uncertainty",
        {"count": ENOUGH, "delay_ns": 10 * MS - 50_000, "common_ns": 100_000},
        Plan.FULL,
        "INCONCLUSIVE",
        Reason.UNDECIDED,
    ),
    (
        "the instrument says no",
        {"count": 1000, "lost": range(9, 30), "invalid": ("the receive ring overflowed",)},
        Plan.FULL,
        "INVALID",
        Reason.INSTRUMENT,
    ),
    (
        "one packet in another QoS flow",
        {"count": 1000, "conditions": {"qos": {"words": "1 of 9", "wrong": "QFI 1, not 3"}}},
        Plan.SMOKE,
        "INVALID",
        Reason.PRECONDITION,
    ),
    (
        "the QoS flow not observed",
        {"count": 1000, "conditions": {"qos": {"words": "QFI not observed", "wrong": None}}},
        Plan.SMOKE,
        "INCONCLUSIVE",
        Reason.DEMONSTRATED,
    ),
    (
        "too many spoiled",
        {"count": 1000, "spoiled": range(11)},
        Plan.SMOKE,
        "INVALID",
        Reason.BRACKETED,
    ),
    (
        "spoiled to the very limit",
        {"count": 1000, "spoiled": range(10)},
        Plan.SMOKE,
        "INCONCLUSIVE",
        Reason.DEMONSTRATED,
    ),
    (
        "too many untimed",
        {"count": 1000, "untimed": range(11)},
        Plan.FULL,
        "INVALID",
        Reason.BRACKETED,
    ),
    (
        "error beyond a quarter of the limit",
        {"count": 1000, "common_ns": 2 * MS, "floor_ns": MS},
        Plan.FULL,
        "INVALID",
        Reason.UNFIT,
    ),
    (
        "cut short and good",
        {"count": ENOUGH, "complete": False},
        Plan.FULL,
        "INCONCLUSIVE",
        Reason.CUT_SHORT,
    ),
    (
        "cut short and bad",
        {"count": 1000, "lost": range(9, 30), "complete": False},
        Plan.FULL,
        "FAIL",
        Reason.MISSED,
    ),
    (
        "cut short in smoke",
        {"count": 1000, "complete": False},
        Plan.SMOKE,
        "INCONCLUSIVE",
        Reason.CUT_SHORT,
    ),
]


@pytest.mark.parametrize(
    ("made", "plan", "verdict", "reason"),
    [pytest.param(*row[1:], id=row[0]) for row in TABLE],
)
def test_verdicts(
    measure: Measure,
    cyclic: Requirement,
    made: dict[str, Any],
    plan: Plan,
    verdict: str,
    reason: Reason,
) -> None:
    judged = one(measure(cyclic.traffic, **made), cyclic, plan)
    assert (judged.verdict.value, judged.reason) == (verdict, reason), judged.sentence


@pytest.mark.parametrize("id", ["SD-1", "SD-2", "MV-1", "MV-2", "AR-1", "SL-01"])
def test_a_smoke_run_passes_nothing_and_a_healthy_one_fails_nothing(
    measure: Measure, profile: Profile, id: str
) -> None:
    requirement = profile[id].planned(profile[id].smoke)
    run = measure(requirement.traffic, requirement.smoke)
    for judged in judge(run, requirement, Plan.SMOKE):
        assert (judged.verdict, judged.word) == (Verdict.INCONCLUSIVE, "DEMONSTRATED")


def test_the_sentence_of_a_smoke_run(measure: Measure, cyclic: Requirement) -> None:
    run = measure(cyclic.traffic, 1000, common_ns=2_000, floor_ns=1_000)
    assert one(run, cyclic, Plan.SMOKE).sentence == (
        "SD-1 uplink: 1,000 of 1,000 packets within 10 ms; at 95 % confidence with bursts of up to "
        "3 packets this shows at least 98.5 % (target 99.99 %, needs 149,780 packets); U_cm 2 us, "
        "floor 1 us at that share"
    )


def test_a_pass_names_its_burst_length_and_what_that_leaves_open(
    full: Measurement, cyclic: Requirement
) -> None:
    judged = one(full, cyclic)
    assert judged.verdict is Verdict.PASS
    assert "with bursts of up to 3 packets" in judged.sentence
    hours = ENOUGH * 0.01 / 3600
    limit = judged.details["outage_rate_high_per_h"]
    assert limit == pytest.approx(2.9957 / hours, rel=1e-3)
    assert "outages of more than 3 packets come at most 7.21 /h" in judged.sentence
    assert judged.simulated


def test_a_judgement_survives_json(full: Measurement, cyclic: Requirement) -> None:
    judged = one(full, cyclic)
    assert Judgement.from_json(json.loads(json.dumps(judged.to_json()))) == judged


def test_nothing_measured_is_not_run(measure: Measure, cyclic: Requirement) -> None:
    run = measure(cyclic.traffic, 10)
    nothing = replace(run, samples=run.samples[:0], counts=replace(run.counts, sent=0, received=0))
    assert one(nothing, cyclic).verdict is Verdict.NOT_RUN


def test_an_error_that_was_never_measured_is_no_small_one(
    measure: Measure, cyclic: Requirement
) -> None:
    run = measure(cyclic.traffic, 1000)
    unknown = replace(run, budget=Budget(common_mode_ns=0, floor_ns=np.zeros(0, int), sources=()))
    judged = one(unknown, cyclic)
    assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.UNFIT)
    assert "was not measured" in judged.sentence


def test_an_error_between_a_tenth_and_a_quarter_is_a_warning(
    measure: Measure, cyclic: Requirement
) -> None:
    judged = one(measure(cyclic.traffic, 1000, common_ns=MS, floor_ns=MS), cyclic)
    assert judged.verdict is not Verdict.INVALID
    assert any("more than a tenth" in warning for warning in judged.details["warnings"])
    assert "warning: the time source is off by up to 2 ms, more than a tenth" in judged.sentence


def test_a_down_event_needs_a_time_source_fit_for_its_bound_too(
    measure: Measure, profile: Profile
) -> None:
    """A long survival time does not excuse an error that the deadline cannot bear."""
    even = profile["SD-2"]
    down = even.target("SD-2c").model_copy(update={"limit_ns": 1_000 * MS})
    patient = even.model_copy(update={"targets": (down,)})
    judged = one(measure(even.traffic, 1000, floor_ns=2 * MS), patient)
    assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.UNFIT)


def _with_qos(requirement: Requirement, **changed: int) -> Requirement:
    traffic = requirement.traffic
    assert traffic is not None
    assert traffic.qos is not None
    qos = traffic.qos.model_copy(update=changed)
    return requirement.model_copy(update={"traffic": traffic.model_copy(update={"qos": qos})})


class TestOfferedTraffic:
    """The instrument's lateness moves what is offered, and is judged apart from the network."""

    def test_a_packet_off_its_grid_is_bracketed(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        late = np.zeros(1000, np.int64)
        late[100], late[200], late[300] = 2_500_000, 2_500_001, -2_500_001
        judged = one(measure(cyclic.traffic, 1000, late_ns=late), cyclic, Plan.SMOKE)
        assert judged.bracketed == 2, "too early is off the grid as well"
        assert "2 off the grid" in judged.sentence
        assert judged.details["within_strict"] == 998
        assert judged.details["within_generous"] == 1000

    def test_a_late_packet_off_its_grid_fails_nobody(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        late, delay = np.zeros(1000, np.int64), np.full(1000, 3 * MS)
        late[100:110], delay[100:110] = 9 * MS, 30 * MS
        judged = one(measure(cyclic.traffic, 1000, delay, late_ns=late), cyclic)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert judged.exceeding == 0

    def test_a_burst_beyond_the_token_bucket_has_no_promise(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        """Two messages inside 9 ms are within 510 B and beyond 255 B; at 9 ms one window ends."""
        late = np.zeros(1000, np.int64)
        late[149], late[151] = 2_400_000, -2_400_000
        assert one(measure(cyclic.traffic, 1000, late_ns=late), cyclic).bracketed == 0
        for gap_ns, bracketed in ((9 * MS, 0), (9 * MS - 1, 1)):
            late = np.zeros(1000, np.int64)
            late[150] = gap_ns - 10 * MS
            run = measure(cyclic.traffic, 1000, late_ns=late)
            judged = one(run, _with_qos(cyclic, mdbv_bytes=255))
            assert judged.bracketed == bracketed
        assert "1 beyond the token bucket" in judged.sentence

    def test_a_rate_above_the_guaranteed_one_is_no_promise(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        judged = one(measure(cyclic.traffic, 1000), _with_qos(cyclic, gfbr_bps=200_000))
        assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.BRACKETED)

    def test_other_traffic_than_promised_proves_nothing(
        self, measure: Measure, cyclic: Requirement, profile: Profile
    ) -> None:
        pose = profile["AR-1"].traffic
        judged = one(measure(pose, 1000), cyclic)
        assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.WRONG_TRAFFIC)
        assert "size 100 instead of 255" in judged.sentence

    def test_a_refused_packet_was_never_offered(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        run = measure(cyclic.traffic, 1000, lost=range(50, 60))
        run.samples["flags"][50:60] |= SEND_FAILED
        judged = one(run, cyclic)
        assert judged.verdict is Verdict.INCONCLUSIVE
        assert (judged.bracketed, judged.details["lost"]) == (10, 0)

    def test_a_cards_own_clock_is_freed_of_its_offset(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        """Stamps of another epoch say nothing about the grid but by their scatter."""
        run = measure(cyclic.traffic, 1000)
        rows = run.samples
        rows["tx_hardware_ns"] = rows["tx_kernel_ns"] - 10**18
        rows["rx_hardware_ns"] = rows["rx_kernel_ns"] - 10**18
        rows["tx_kernel_ns"] = rows["tx_user_ns"] = NOT_TAKEN
        rows["tx_hardware_ns"][7] += 4 * MS
        rows["rx_hardware_ns"][7] += 4 * MS
        hardware = replace(run, timing=type(run.timing)("hardware", "hardware"))
        judged = one(hardware, cyclic, Plan.SMOKE)
        assert judged.bracketed == 1
        assert judged.reason is Reason.DEMONSTRATED


def test_an_offset_cancels_in_pdv_and_gaps(measure: Measure, profile: Profile) -> None:
    """Two milliseconds of it void a 5 ms delay target; PDV and gaps do not see it."""
    even = profile["SD-2"]
    for judged in judge(measure(even.traffic, 1000, common_ns=2 * MS), even, Plan.SMOKE):
        assert judged.reason is Reason.DEMONSTRATED, judged.sentence
        assert judged.common_mode_ns == 0


class TestPlantedFaults:
    """Faults of an instrument that would flatter or slander a network must not get through."""

    def test_lost_counted_as_in_time(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000, lost=range(100, 130))
        rows = run.samples
        rows["rx_kernel_ns"][100:130] = rows["tx_kernel_ns"][100:130] + MS
        judged = one(run, cyclic)
        assert judged.verdict is Verdict.FAIL
        assert judged.details["lost"] == 30

    def test_a_duplicate_that_heals_a_loss(self, measure: Measure, cyclic: Requirement) -> None:
        """Thirty lost and thirty duplicated: as many frames as packets, and still an outage."""
        run = measure(
            cyclic.traffic, 1000, lost=range(100, 130), copies=dict.fromkeys(range(200, 230), 2)
        )
        assert (run.counts.received, run.counts.duplicated) == (970, 30)
        assert one(run, cyclic).verdict is Verdict.FAIL
        healed = replace(run, counts=replace(run.counts, received=1000, lost=0))
        judged = one(healed, cyclic)
        assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.IMPLAUSIBLE)

    def test_a_lost_row_left_out(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000, lost=range(100, 130))
        kept = run.samples[np.delete(np.arange(1000), range(100, 130))]
        judged = one(replace(run, samples=kept), cyclic)
        assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.IMPLAUSIBLE)

    def test_a_join_that_is_off_by_one(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000)
        rows = run.samples
        rows["rx_kernel_ns"][1:] = rows["rx_kernel_ns"][:-1].copy()
        judged = one(run, cyclic)
        assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.IMPLAUSIBLE)
        assert "before they are sent" in judged.sentence

    def test_rows_in_disorder(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000)
        judged = one(replace(run, samples=run.samples[::-1]), cyclic)
        assert judged.reason is Reason.IMPLAUSIBLE

    def test_a_missing_time_taken_for_zero(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000)
        run.samples["rx_kernel_ns"][5] = 0
        assert one(run, cyclic).reason is Reason.IMPLAUSIBLE


class TestCutShort:
    """A run that was stopped: a valid FAIL stays one, and nothing passes."""

    def cut(self, run: Measurement, offered: int) -> Measurement:
        rows = run.samples[:offered].copy()
        received = int((rows["arrival"] >= 0).sum())
        counts = replace(run.counts, sent=offered, received=received, lost=offered - received)
        return replace(run, samples=rows, counts=counts, complete=False)

    def test_what_was_on_its_way_is_not_lost(self, measure: Measure, cyclic: Requirement) -> None:
        """The last packet was sent less than the bound before the end; nobody knows its fate."""
        run = self.cut(measure(cyclic.traffic, 1000, lost=[499]), 500)
        judged = one(run, cyclic)
        assert (judged.n, judged.bracketed, judged.details["lost"]) == (500, 1, 0)

    def test_what_was_due_is_lost(self, measure: Measure, cyclic: Requirement) -> None:
        run = self.cut(measure(cyclic.traffic, 1000, lost=range(470, 500)), 500)
        judged = one(run, cyclic)
        assert judged.verdict is Verdict.FAIL
        assert "passes nothing" in judged.sentence

    def test_what_was_never_sent_is_not_judged(self, measure: Measure, cyclic: Requirement) -> None:
        run = measure(cyclic.traffic, 1000, lost=range(500, 1000))
        for name in ("tx_user_ns", "tx_kernel_ns"):
            run.samples[name][500:] = NOT_TAKEN
        judged = one(replace(run, complete=False), cyclic)
        assert (judged.n, judged.exceeding) == (500, 0)


class TestBoundByHand:
    """`hil measure --bound --share`."""

    def test_a_bound_is_judged_without_a_profile(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        run = measure(cyclic.traffic, 10_000, MS)
        judged = judge_bound(run, 10 * MS, 0.999)
        assert judged.verdict is Verdict.PASS
        assert judged.required_packets == 2_995
        assert judge_bound(run, MS - 1, 0.999).verdict is Verdict.FAIL
        assert judge_bound(run, 10 * MS, 0.9999).reason is Reason.TOO_FEW
        assert judge_bound(run, MS - 1, 0.5).verdict is Verdict.FAIL, "none in time, in one run"

    def test_bursts_that_were_seen_count_without_any_declared(
        self, measure: Measure, cyclic: Requirement
    ) -> None:
        lone = measure(cyclic.traffic, 10_000, lost=[10, 3000, 6000, 9000])
        burst = measure(cyclic.traffic, 10_000, lost=[10, 11, 12, 13])
        assert judge_bound(lone, 10 * MS, 0.999).verdict is Verdict.PASS
        assert judge_bound(burst, 10 * MS, 0.999).verdict is Verdict.INCONCLUSIVE

    def test_it_says_what_it_takes_for_granted(self, measure: Measure, cyclic: Requirement) -> None:
        """No burst length is declared and no schedule promised: the sentence says both."""
        late = np.zeros(10_000, np.int64)
        late[::1000] = 2_600_000
        judged = judge_bound(measure(cyclic.traffic, 10_000, late_ns=late), 10 * MS, 0.999)
        assert judged.verdict is Verdict.PASS
        assert "with no burst length declared" in judged.sentence
        assert "warning: 0.10 % of packets left more than a quarter" in judged.sentence
        punctual = judge_bound(measure(cyclic.traffic, 10_000), 10 * MS, 0.999)
        assert "warning" not in punctual.sentence


class TestValue:
    """One reading within a tolerance, its uncertainty against it for PASS and for it for FAIL."""

    @pytest.mark.parametrize(
        ("measured", "plan", "verdict"),
        [
            (20.0, Plan.FULL, Verdict.PASS),
            (23.5, Plan.FULL, Verdict.PASS),
            (16.5, Plan.FULL, Verdict.PASS),
            (23.6, Plan.FULL, Verdict.INCONCLUSIVE),
            (25.4, Plan.FULL, Verdict.INCONCLUSIVE),
            (25.6, Plan.FULL, Verdict.FAIL),
            (0.0, Plan.FULL, Verdict.FAIL),
            (20.0, Plan.SMOKE, Verdict.INCONCLUSIVE),
            (0.0, Plan.SMOKE, Verdict.FAIL),
            (None, Plan.FULL, Verdict.NOT_RUN),
        ],
    )
    def test_a_level_against_the_expected_one(
        self, profile: Profile, measured: float | None, plan: Plan, verdict: Verdict
    ) -> None:
        judged = judge_value(profile["MO-2"], measured, expected=20, uncertainty=1, plan=plan)
        assert judged.verdict is verdict

    def test_a_time_may_be_as_short_as_it_likes(self, profile: Profile) -> None:
        for measured, verdict in ((0.0, Verdict.PASS), (29e9, Verdict.PASS), (31e9, Verdict.FAIL)):
            judged = judge_value(profile["MO-1"], measured, uncertainty=1e7, plan=Plan.FULL)
            assert judged.verdict is verdict

    def test_each_kind_of_target_has_its_own_door(
        self, measure: Measure, cyclic: Requirement, profile: Profile
    ) -> None:
        with pytest.raises(ValueError, match="judge_value"):
            judge(measure(cyclic.traffic, 10), profile["MO-2"], Plan.SMOKE)
        with pytest.raises(ValueError, match="SD-1 has 0 targets on a value"):
            judge_value(cyclic, 1.0, uncertainty=0, plan=Plan.SMOKE)
