"""Exact limits of a share."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import proportion


def binomial_tail(k: int, n: int, share: float) -> float:
    """P(at least k of n), summed term by term."""
    return math.fsum(
        math.comb(n, i) * share**i * (1 - share) ** (n - i) for i in range(max(k, 0), n + 1)
    )


COUNTS = st.integers(1, 60).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n)))
CONFIDENCES = st.sampled_from([0.5, 0.8, 0.9, 0.95, 0.99])


@given(COUNTS, CONFIDENCES)
def test_limits_are_where_the_binomial_tails_reach_the_risk(
    counts: tuple[int, int], confidence: float
) -> None:
    k, n = counts
    low, high = proportion.lower(k, n, confidence), proportion.upper(k, n, confidence)
    if k > 0:
        assert binomial_tail(k, n, low) == pytest.approx(1 - confidence, rel=1e-6)
    else:
        assert low == 0
    if k < n:
        assert 1 - binomial_tail(k + 1, n, high) == pytest.approx(1 - confidence, rel=1e-6)
    else:
        assert high == 1
    if confidence >= 0.5:
        assert low <= k / n <= high


@given(st.integers(1, 40), st.floats(0.01, 0.99), CONFIDENCES)
def test_the_truth_is_missed_no_more_often_than_stated(
    n: int, truth: float, confidence: float
) -> None:
    weights = [math.comb(n, k) * truth**k * (1 - truth) ** (n - k) for k in range(n + 1)]
    above = sum(w for k, w in enumerate(weights) if proportion.lower(k, n, confidence) > truth)
    below = sum(w for k, w in enumerate(weights) if proportion.upper(k, n, confidence) < truth)
    assert above <= 1 - confidence + 1e-9
    assert below <= 1 - confidence + 1e-9


@given(st.floats(0, 1), st.floats(0.5, 1e6), CONFIDENCES)
def test_upper_limit_of_successes_is_lower_limit_of_failures(
    part: float, n: float, confidence: float
) -> None:
    k = part * n
    mirrored = 1 - proportion.lower(n - k, n, confidence)
    assert proportion.upper(k, n, confidence) == pytest.approx(mirrored, abs=1e-9)


@given(st.floats(0.01, 0.99), st.integers(1, 10_000), st.floats(1, 40))
def test_a_design_effect_only_ever_widens(part: float, n: int, effect: float) -> None:
    k = math.floor(part * n)
    assert proportion.lower(k / effect, n / effect) <= proportion.lower(k, n) + 1e-12
    assert proportion.upper(k / effect, n / effect) >= proportion.upper(k, n) - 1e-12


@given(COUNTS, st.floats(0.02, 0.98), CONFIDENCES)
def test_showing_and_refuting_agree_with_the_limits(
    counts: tuple[int, int], share: float, confidence: float
) -> None:
    k, n = counts
    low, high = proportion.lower(k, n, confidence), proportion.upper(k, n, confidence)
    if abs(low - share) > 1e-9:
        assert proportion.shows(k, n, share, confidence) == (low >= share)
    if abs(high - share) > 1e-9:
        assert proportion.refutes(k, n, share, confidence) == (high < share)


def test_edges_are_closed_forms() -> None:
    assert proportion.lower(0, 10) == 0
    assert proportion.upper(10, 10) == 1
    assert proportion.lower(10, 10) == pytest.approx(0.05**0.1, rel=1e-12)
    assert proportion.upper(0, 10) == pytest.approx(1 - 0.05**0.1, rel=1e-12)
    assert (proportion.lower(0, 0), proportion.upper(0, 0)) == (0, 1)


@pytest.mark.parametrize(
    ("share", "expected"),
    [
        (0.99, (299, 473, 628, 773, 1_049, 1_693)),
        (0.999, (2_995, 4_742, 6_294, 7_752, 10_511, 16_959)),
        (0.9999, (29_956, 47_437, 62_956, 77_535, 105_128, 169_619)),
        (0.99999, (299_572, 474_385, 629_578, 775_364, 1_051_301, 1_696_219)),
        (0.999999, (2_995_731, 4_743_863, 6_295_792, 7_753_655, 10_513_033, 16_962_216)),
    ],
)
def test_required_packets_are_those_published(share: float, expected: tuple[int, ...]) -> None:
    failures = (0, 1, 2, 3, 5, 10)
    assert tuple(proportion.required(share, 0.95, f) for f in failures) == expected


def test_required_packets_at_other_confidence_and_for_very_high_shares() -> None:
    assert proportion.required(0.9999, 0.99) == 46_050
    assert proportion.required(0.99999999) == pytest.approx(2.996e8, rel=1e-4)


@given(st.sampled_from([0.9, 0.99, 0.999]), st.integers(0, 20))
def test_one_packet_fewer_than_required_shows_nothing(share: float, failures: int) -> None:
    n = proportion.required(share, 0.95, failures)
    assert proportion.lower(n - failures, n) >= share - 1e-12
    assert proportion.lower(n - 1 - failures, n - 1) < share


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ((56, 70, 48, 80), (0.0524, 0.3339)),
        ((9, 10, 3, 10), (0.1705, 0.8090)),
        ((6, 7, 2, 7), (0.0582, 0.8062)),
        ((5, 56, 0, 29), (-0.0381, 0.1926)),
        ((0, 10, 0, 20), (-0.1611, 0.2775)),
        ((10, 10, 0, 20), (0.6791, 1.0)),
    ],
)
def test_newcombe_reproduces_the_examples_of_his_paper(
    counts: tuple[int, int, int, int], expected: tuple[float, float]
) -> None:
    assert proportion.newcombe(*counts, 0.975) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("counts", [(-1, 10), (11, 10), (1, math.inf), (math.nan, 10)])
def test_counts_that_cannot_be_are_refused(counts: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="between 0 and its total"):
        proportion.lower(*counts)
    with pytest.raises(ValueError, match="between 0 and its total"):
        proportion.upper(*counts)


def test_a_difference_needs_trials_on_both_sides() -> None:
    with pytest.raises(ValueError, match="both sides"):
        proportion.newcombe(1, 2, 0, 0)


@pytest.mark.parametrize("confidence", [0, 1, 1.5, math.nan])
def test_a_confidence_that_cannot_be_is_refused(confidence: float) -> None:
    with pytest.raises(ValueError, match="confidence"):
        proportion.lower(1, 2, confidence)


def test_the_fewest_trials_that_keep_a_difference_within_a_margin() -> None:
    """None failing, Newcombe's limit is Wilson's: z^2 / (n + z^2)."""
    fewest = proportion.required_difference(0.001)
    assert proportion.newcombe(0, fewest, 0, fewest)[1] <= 0.001
    assert proportion.newcombe(0, fewest - 1, 0, fewest - 1)[1] > 0.001
    square = 1.6448536**2
    assert fewest == math.ceil(square * 0.999 / 0.001)
