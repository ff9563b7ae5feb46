"""Targets on a share: the rule's errors by enumeration and simulation, and its boundaries."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from hil.judge.evidence import NEVER, evidence
from hil.judge.share import Items, Tally, items_of, judge_share
from hil.judge.uncertainty import Uncertainty
from hil.samples import outages
from hil.samples.measurement import Measurement
from hil.samples.table import NOT_TAKEN
from hil.stats import dependence
from hil.targets import Burst, Profile, Requirement, WithinTarget

LIMIT = 10_000_000
EXACT = Uncertainty(0, 0, known=True, supported=True)


def target(share: float = 0.99, burst: int = 1, confidence: float = 0.95) -> WithinTarget:
    return WithinTarget(
        id="SD-1",
        metric="delay",
        limit="10 ms",
        share=share,
        burst=burst,
        confidence=confidence,
        source="choice",
    )


def items(values: object, bracketed: object = False, strata: object = 0) -> Items:
    array = np.asarray(values, np.int64)
    return Items(
        array,
        np.broadcast_to(np.asarray(bracketed, bool), array.shape),
        np.broadcast_to(np.asarray(strata), array.shape),
        "packets",
    )


def failing(n: int, failures: int, value: int = NEVER) -> Items:
    """`failures` of `n` not within the limit, far enough apart that no two make a run."""
    values = np.full(n, LIMIT // 2)
    values[np.linspace(0, n - 1, failures).astype(int)] = value
    assert (values == value).sum() == failures
    return items(values)


def outcome(values: Items, wanted: WithinTarget, found: Uncertainty = EXACT) -> str:
    finding = judge_share(wanted, values, found, 10_000_000)
    assert not (finding.met and finding.missed)
    return "PASS" if finding.met else "FAIL" if finding.missed else "INCONCLUSIVE"


@pytest.mark.parametrize("n", [299, 473, 628, 1049])
def test_errors_on_independent_packets_enumerated_exactly(n: int) -> None:
    """At the limit itself the probability to pass is at most 5 %, and so is that to fail."""
    wanted = target(0.99)
    passing = [k for k in range(30) if outcome(failing(n, k), wanted) == "PASS"]
    missing = [k for k in range(60) if outcome(failing(n, k), wanted) == "FAIL"]
    assert passing == list(range(max(passing) + 1)), "fewer failures can never be worse"
    assert binom.cdf(max(passing), n, 0.01) <= 0.05
    assert binom.cdf(max(passing) + 1, n, 0.01) > 0.05, "no stricter than it has to be"
    assert binom.sf(min(missing) - 1, n, 0.01) <= 0.05
    assert binom.sf(min(missing) - 2, n, 0.01) > 0.05


@pytest.mark.parametrize(
    ("n", "failures", "verdict"),
    [
        (298, 0, "INCONCLUSIVE"),
        (299, 0, "PASS"),
        (472, 1, "INCONCLUSIVE"),
        (473, 1, "PASS"),
        (1693, 10, "PASS"),
        (1693, 11, "INCONCLUSIVE"),
        (300, 7, "FAIL"),
        (300, 6, "INCONCLUSIVE"),
    ],
)
def test_verdicts_at_the_published_sample_sizes(n: int, failures: int, verdict: str) -> None:
    assert outcome(failing(n, failures), target(0.99)) == verdict


@pytest.mark.parametrize(("burst", "needed"), [(1, 299), (2, 897), (3, 1495)])
def test_a_design_burst_length_makes_the_sample_longer(burst: int, needed: int) -> None:
    """As many times longer as the design effect, 2 b0 - 1, to within one item of each run."""
    wanted, effect = target(0.99, burst), 2 * burst - 1
    assert outcome(failing(needed, 0), wanted) == "PASS"
    assert outcome(failing(needed - effect, 0), wanted) == "INCONCLUSIVE"
    assert judge_share(wanted, failing(needed, 0), EXACT, None).required == needed


def bursty(rng: np.random.Generator, n: int, share: float, mean: float) -> Items:
    """Failures in runs of geometric length with `mean`, share `1 - share` of all packets."""
    bad = np.zeros(n, bool)
    for start in np.flatnonzero(rng.random(n) < (1 - share) / mean):
        bad[start : start + rng.geometric(1 / mean)] = True
    return items(np.where(bad, NEVER, LIMIT // 2))


@pytest.mark.parametrize("mean", [1.0, 2.0, 3.0])
def test_bursts_up_to_the_design_length_do_not_loosen_the_rule(mean: float) -> None:
    """At the limit, with bursts as declared, false PASS and false FAIL stay within 5 %."""
    rng, runs, wanted = np.random.default_rng(11), 400, target(0.99, burst=3)
    found = [outcome(bursty(rng, 4000, 0.99, mean), wanted) for _ in range(runs)]
    allowed = 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)
    assert found.count("PASS") / runs <= allowed
    assert found.count("FAIL") / runs <= allowed


def test_without_a_design_effect_bursts_would_pass_far_too_often() -> None:
    """The simulation can tell: the rule for independent packets accepts what it must not."""
    rng, runs = np.random.default_rng(11), 300
    accepted = 0
    for _ in range(runs):
        within = bursty(rng, 4000, 0.99, 3.0).within(LIMIT)
        accepted += Tally(int(within.sum()), 4000, 1.0).shows(0.99, 0.95)
    assert accepted / runs > 0.1


@pytest.mark.parametrize(
    ("delay", "within_pass", "within_fail"),
    [
        (LIMIT - 200, True, True),
        (LIMIT - 199, False, True),
        (LIMIT, False, True),
        (LIMIT + 200 + 50, False, True),
        (LIMIT + 200 + 51, False, False),
    ],
)
def test_the_guard_band_works_against_pass_and_for_fail(
    delay: int, within_pass: bool, within_fail: bool
) -> None:
    """PASS at L - U_cm, FAIL at L + U_cm + floor: a swapped sign fails here."""
    values = items(np.full(2000, delay))
    finding = judge_share(target(), values, Uncertainty(200, 50, True, True), None)
    assert finding.details["within_strict"] == (2000 if within_pass else 0)
    assert finding.details["within_generous"] == (2000 if within_fail else 0)
    assert finding.met is within_pass
    assert (finding.missed is not None) is not within_fail


def test_lost_is_not_within_and_counts_as_lost() -> None:
    finding = judge_share(target(), failing(1000, 12), EXACT, None)
    assert (finding.exceeding, finding.details["lost"], finding.details["late"]) == (12, 12, 0)
    finding = judge_share(target(), failing(1000, 12, LIMIT + 1), EXACT, None)
    assert (finding.exceeding, finding.details["lost"], finding.details["late"]) == (12, 0, 12)


def test_bracketed_packets_help_neither_side() -> None:
    """As late for PASS, as in time for FAIL, whatever time they seem to have."""
    good, bad = np.full(299, LIMIT // 2), np.full(299, NEVER)
    one = np.arange(299) == 150
    assert outcome(items(good), target()) == "PASS"
    assert outcome(items(good, one), target()) == "INCONCLUSIVE"
    assert outcome(items(np.where(one, NOT_TAKEN, good), one), target()) == "INCONCLUSIVE"
    assert outcome(items(bad, bracketed=True), target()) == "INCONCLUSIVE"
    assert outcome(items(bad), target()) == "FAIL"


def test_one_bad_phase_fails_though_the_pool_does_not() -> None:
    values = np.full(20_000, LIMIT // 2)
    strata = np.arange(20_000) // 2000
    values[strata == 7] = np.where(np.arange(2000) % 25 == 0, NEVER, LIMIT // 2)
    finding = judge_share(target(0.99), items(values, strata=strata), EXACT, None)
    assert (finding.demonstrated or 0) >= 0.99, "80 of 20,000 is well within one per cent"
    assert finding.missed == "missed in one phase"
    assert finding.details["worst_phase"] == {"stratum": 7, "of": 10, "exceeding": 80, "n": 2000}


def test_phases_alike_do_not_fail_by_their_number() -> None:
    """Ten looks at a network at its limit fail no more often than one look may."""
    rng, runs, strata = np.random.default_rng(5), 300, np.arange(3000) // 300
    failed = 0
    for _ in range(runs):
        values = np.where(rng.random(3000) < 0.01, NEVER, LIMIT // 2)
        finding = judge_share(target(0.99), items(values, strata=strata), EXACT, None)
        failed += finding.missed == "missed in one phase"
    assert failed / runs <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / runs)


def test_pass_counts_bursts_in_full_though_little_lies_between_them() -> None:
    """Runs within are short here, failures come in one long run: the long run decides for PASS."""
    values = np.full(1000, LIMIT // 2)
    values[450:550] = NEVER
    values[::9] = NEVER
    finding = judge_share(target(0.7), items(values), EXACT, None)
    assert finding.design_effect == dependence.design_effect(
        outages.run_lengths(values == NEVER), 1
    )
    assert finding.details["design_effect_fail"] < 10 < finding.design_effect
    assert not finding.met


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99, 0.9999])
def test_a_dead_network_fails_whatever_was_asked_of_it(share: float) -> None:
    """One run of failures that fills the measurement is no single event."""
    assert outcome(failing(1000, 1000), target(share, burst=3)) == "FAIL"


def test_a_phase_that_misses_by_itself_is_no_pass_and_too_little_for_a_fail() -> None:
    """30 of 2,000 refute 99 % in one look, and not in the worst of ten."""
    values, strata = np.full(20_000, LIMIT // 2), np.arange(20_000) // 2000
    values[14_000:16_000:66][:30] = NEVER
    assert (values[strata == 7] == NEVER).sum() == 30
    finding = judge_share(target(0.99), items(values, strata=strata), EXACT, None)
    assert (finding.demonstrated or 0) >= 0.99, "the pool does show it"
    assert not finding.met
    assert finding.missed is None
    assert finding.undecided == "one phase suspect"


def test_a_quantile_that_n_cannot_support_is_not_given() -> None:
    values = items(np.arange(1, 1001) * 1000)
    finding = judge_share(target(0.9999), values, EXACT, None)
    assert finding.details["figure"] == "p99.9"
    assert finding.figure == 999_000
    assert finding.figure_high is None, "no finite upper limit of p99.9 from 1,000 packets"
    few = judge_share(target(0.9999), items([1000]), EXACT, None)
    assert few.figure is None
    assert "figure" not in few.details


def test_the_quantile_is_the_dual_of_the_verdict() -> None:
    """The upper limit of the quantile is within the limit exactly where the target is met."""
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = items(np.sort(rng.integers(LIMIT - 2_000_000, LIMIT + 20_000, 1000)))
        finding = judge_share(target(0.99), values, EXACT, None)
        high = finding.figure_high
        assert finding.met is (high is not None and high <= LIMIT)


def test_outages_beyond_the_design_length_are_bounded_as_a_rate() -> None:
    """With no such outage the limit is that of zero events, about 3 / T."""
    finding = judge_share(target(0.99, 3), failing(36_000, 10), EXACT, 10_000_000)
    assert finding.details["outage_rate_high_per_h"] == pytest.approx(2.9957 / 0.1, rel=1e-3)


def test_pdv_is_taken_from_the_smallest_delay(
    measure: Callable[..., Measurement], cyclic: Requirement
) -> None:
    delay = np.full(100, 5_000_000)
    delay[40] = 2_000_000
    delay[50] = 1_000_000  # in a spoiled window: no minimum to rely on
    run = measure(cyclic.traffic, 100, delay, spoiled=[50], lost=[60])
    values = items_of("pdv", evidence(run, cyclic.traffic, LIMIT), run).value_ns
    assert values[0] == 3_000_000
    assert values[40] == 0
    assert values[60] == NEVER


class TestFrames:
    """A frame is in time when its last packet is."""

    @pytest.fixture
    def images(self, profile: Profile) -> Burst:
        traffic = profile["MV-1"].traffic
        assert isinstance(traffic, Burst)
        return traffic.model_copy(update={"frame_size": 13_720, "packet_size": 1400})

    def frames(self, run: Measurement, traffic: Burst) -> Items:
        return items_of("frame_delay", evidence(run, traffic, 200_000_000), run)

    def test_the_last_packet_decides(
        self, measure: Callable[..., Measurement], images: Burst
    ) -> None:
        delay = np.full(40, 3_000_000)
        delay[13] = 90_000_000
        values = self.frames(measure(images, 4, delay), images).value_ns
        spread = 9 * 1400 * 8 * 10**9 // images.pacing_bps if images.pacing_bps else 0
        assert values[0] == 3_000_000 + spread
        assert values[1] == 90_000_000 + spread // 3

    def test_a_lost_packet_loses_its_frame(
        self, measure: Callable[..., Measurement], images: Burst
    ) -> None:
        found = self.frames(measure(images, 4, lost=[25]), images)
        assert list(found.value_ns == NEVER) == [False, False, True, False]
        assert not found.bracketed.any()

    def test_a_doubtful_packet_brackets_its_frame_unless_another_was_lost(
        self, measure: Callable[..., Measurement], images: Burst
    ) -> None:
        found = self.frames(measure(images, 4, lost=[25], spoiled=[15, 26]), images)
        assert list(found.bracketed) == [False, True, False, False]
        found = self.frames(measure(images, 4, untimed=[33]), images)
        assert list(found.bracketed) == [False, False, False, True]

    def test_a_frame_cut_off_at_the_end_of_a_run_is_left_out(
        self, measure: Callable[..., Measurement], images: Burst
    ) -> None:
        run = measure(images, 4)
        cut = replace(
            run,
            samples=run.samples[:37],
            counts=replace(run.counts, sent=37, received=37),
            complete=False,
        )
        assert self.frames(cut, images).n == 3
