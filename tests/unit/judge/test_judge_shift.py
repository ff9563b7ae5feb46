"""Comparisons: a victim alone and under load, a loop over 5G beside the wire."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hil.judge import Judgement, Reason, judge
from hil.judge.evidence import NEVER
from hil.judge.shift import quantile_shift
from hil.samples.measurement import Measurement, Timing
from hil.targets import Periodic, Plan, Profile, Requirement
from hil.verdict import Verdict

Measure = Callable[..., Measurement]
MS = 1_000_000
N = 13_515


@pytest.fixture(scope="module")
def isolation(profile: Profile) -> Requirement:
    return profile["SL-02"]


@pytest.fixture(scope="module")
def spread() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
    return np.random.default_rng(2).integers(3 * MS, 4 * MS, N)


def compare(
    loaded: Measurement, alone: Measurement, requirement: Requirement, plan: Plan = Plan.FULL
) -> Judgement:
    (judged,) = judge(loaded, requirement, plan, against=alone)
    return judged


@pytest.mark.parametrize(
    ("added_ns", "verdict"),
    [
        (0, Verdict.PASS),
        (MS // 2, Verdict.PASS),
        (MS, Verdict.INCONCLUSIVE),
        (2 * MS, Verdict.FAIL),
        (-2 * MS, Verdict.PASS),
    ],
)
def test_a_shift_of_the_quantile(
    measure: Measure,
    isolation: Requirement,
    spread: np.ndarray[tuple[int], np.dtype[np.int64]],
    added_ns: int,
    verdict: Verdict,
) -> None:
    alone = measure(isolation.traffic, N, spread)
    loaded = measure(isolation.traffic, N, spread + added_ns)
    judged = compare(loaded, alone, isolation)
    assert judged.verdict is verdict, judged.sentence
    assert judged.figure == added_ns


def test_an_offset_of_the_clocks_cancels(
    measure: Measure,
    isolation: Requirement,
    spread: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    alone = measure(isolation.traffic, N, spread, common_ns=2 * MS)
    loaded = measure(isolation.traffic, N, spread, common_ns=2 * MS)
    assert compare(loaded, alone, isolation).verdict is Verdict.PASS


def test_losses_under_load_fail_though_no_quantile_moves(
    measure: Measure,
    isolation: Requirement,
    spread: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    alone = measure(isolation.traffic, N, spread)
    loaded = measure(isolation.traffic, N, spread, lost=range(0, N, 125))
    judged = compare(loaded, alone, isolation)
    assert judged.verdict is Verdict.FAIL
    assert judged.details["late_growth_low"] > judged.details["epsilon"]


def test_a_few_losses_leave_isolation_undecided(
    measure: Measure,
    isolation: Requirement,
    spread: np.ndarray[tuple[int], np.dtype[np.int64]],
) -> None:
    """No quantile moves, but nobody can say that the late share grows by less than epsilon."""
    alone = measure(isolation.traffic, N, spread)
    loaded = measure(isolation.traffic, N, spread, lost=[100, 5000, 9000])
    judged = compare(loaded, alone, isolation)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert abs(judged.figure or MS) < MS // 100


def test_too_few_packets_show_no_isolation(measure: Measure, isolation: Requirement) -> None:
    alone, loaded = measure(isolation.traffic, 1000), measure(isolation.traffic, 1000)
    judged = compare(loaded, alone, isolation)
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert judged.required_packets == N
    assert compare(loaded, alone, isolation, Plan.SMOKE).reason is Reason.DEMONSTRATED


def test_a_run_to_compare_with_that_is_void_voids_the_comparison(
    measure: Measure, isolation: Requirement
) -> None:
    alone = measure(isolation.traffic, 1000, invalid=("the ring overflowed",))
    judged = compare(measure(isolation.traffic, 1000), alone, isolation)
    assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.INSTRUMENT)
    assert "in the run compared with" in judged.sentence


def test_a_comparison_needs_something_to_compare_with(
    measure: Measure, isolation: Requirement
) -> None:
    with pytest.raises(ValueError, match="give the one to compare with"):
        judge(measure(isolation.traffic, 100), isolation, Plan.FULL)


def test_the_limits_of_a_shift_cover_the_truth() -> None:
    """Over many draws the one-sided upper limit lies above the true shift at least 95 % of them."""
    rng, runs, covered = np.random.default_rng(4), 400, 0
    for _ in range(runs):
        loaded = np.sort(rng.exponential(1e6, 400) + 250_000).astype(np.int64)
        alone = np.sort(rng.exponential(1e6, 400)).astype(np.int64)
        high = quantile_shift(loaded, alone, 0.9, 0.95, (1.0, 1.0)).high
        covered += high is not None and high >= 250_000
    assert covered / runs >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / runs)


def test_a_quantile_among_losses_has_no_shift() -> None:
    loaded = np.sort(np.where(np.arange(1000) < 50, NEVER, 5)).astype(np.int64)
    found = quantile_shift(loaded, np.full(1000, 5), 0.99, 0.95, (1.0, 1.0))
    assert found.value is None
    assert found.high is None


class TestLoop:
    """The reaction of a controller over 5G, with the same loop over the wire beside it."""

    @pytest.fixture
    def loop(self, profile: Profile) -> Requirement:
        return profile["PLC-1"]

    def run(self, measure: Measure, count: int, delay_ns: object, **fields: object) -> Measurement:
        beat = Periodic(size="100 B", interval="50 ms", strata=1)
        made = measure(beat, count, delay_ns, direction="loop", **fields)
        rows = made.samples
        rows["rx_user_ns"] = np.where(
            rows["arrival"] >= 0, rows["rx_kernel_ns"], rows["rx_user_ns"]
        )
        rows["tx_user_ns"] = rows["tx_kernel_ns"]
        return replace(made, traffic={}, timing=Timing("user", "user"))

    def test_loops_are_judged_like_packets(self, measure: Measure, loop: Requirement) -> None:
        radio = self.run(measure, 897, 20 * MS)
        (judged,) = judge(radio, loop, Plan.FULL, against=self.run(measure, 897, 3 * MS))
        assert judged.verdict is Verdict.PASS
        assert "897 of 897 loops closed within 100 ms" in judged.sentence
        assert "median 20 ms over 5G and 3 ms over the wire, difference 17 ms" in judged.sentence
        assert judged.details["wire"]["difference_ns"] == 17 * MS

    def test_an_unanswered_loop_is_not_in_time(self, measure: Measure, loop: Requirement) -> None:
        radio = self.run(measure, 100, 20 * MS, lost=range(0, 100, 10))
        (judged,) = judge(radio, loop, Plan.FULL)
        assert judged.verdict is Verdict.FAIL

    def test_without_a_wire_there_is_a_warning(self, measure: Measure, loop: Requirement) -> None:
        (judged,) = judge(self.run(measure, 897, 20 * MS), loop, Plan.FULL)
        assert judged.verdict is Verdict.PASS
        assert "no loop over the wire to compare with" in judged.details["warnings"]

    @pytest.mark.parametrize(("late_ms", "valid"), [(10, True), (11, False)])
    def test_a_host_that_delivers_late_voids_the_loop(
        self, measure: Measure, loop: Requirement, late_ms: int, valid: bool
    ) -> None:
        radio = self.run(measure, 100, 20 * MS)
        radio.samples["lateness_ns"] = late_ms * MS
        (judged,) = judge(radio, loop, Plan.SMOKE)
        assert (judged.verdict is not Verdict.INVALID) is valid
