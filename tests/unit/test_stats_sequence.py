"""Confidence sequences hold at every look."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import proportion, rate, sequence


@given(st.integers(0, 3000), st.integers(0, 3000), st.sampled_from([0.5, 0.99, 0.9999]))
def test_limits_of_a_share_enclose_it_and_more_confidence_is_wider(
    good: int, bad: int, centre: float
) -> None:
    n = good + bad
    low, high = sequence.share_limits(good, n, centre=centre)
    wider = sequence.share_limits(good, n, centre=centre, confidence=0.99)
    assert 0 <= wider[0] <= low <= high <= wider[1] <= 1
    if n:
        assert low <= good / n <= high
        assert low <= proportion.lower(good, n) + 1e-9
        assert high >= proportion.upper(good, n) - 1e-9


@given(st.integers(0, 500), st.floats(0.01, 1e3), st.floats(1e-2, 1e2))
def test_limits_of_a_rate_enclose_it(events: int, hours: float, centre: float) -> None:
    low, high = sequence.rate_limits(events, hours, centre=centre)
    assert 0 <= low <= events / hours <= high < math.inf
    assert low <= rate.lower(events, hours) * (1 + 1e-9)
    assert high >= rate.upper(events, hours) * (1 - 1e-9)


def test_the_limits_are_where_the_mixture_reaches_the_risk() -> None:
    k, n, centre = 970, 1000, 0.99
    low, high = sequence.share_limits(k, n, centre=centre)

    def log_beta(a: float, b: float) -> float:
        return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)

    for share in (low, high):
        mixture = log_beta(1 + n - k, 99 + k) - log_beta(1, 99)
        likelihood = k * math.log(share) + (n - k) * math.log(1 - share)
        assert mixture - likelihood == pytest.approx(math.log(20), abs=1e-6)


def test_without_a_failure_a_share_takes_about_1_6_times_the_fixed_sample() -> None:
    fixed = proportion.required(0.999)
    assert sequence.share_limits(1.5 * fixed, 1.5 * fixed, centre=0.999)[0] < 0.999
    assert sequence.share_limits(1.65 * fixed, 1.65 * fixed, centre=0.999)[0] > 0.999


def test_of_nothing_nothing_is_known() -> None:
    assert sequence.share_limits(0, 0, centre=0.99) == (0, 1)
    assert sequence.rate_limits(0, 0, centre=1) == (0, math.inf)


def test_looking_often_does_not_raise_the_error_of_a_share() -> None:
    rng = np.random.default_rng(5)
    truth, runs = 0.98, 600
    looks = np.unique(np.geomspace(20, 20_000, 40).astype(int))
    steps = np.diff(looks, prepend=0)
    good = np.cumsum(rng.binomial(steps, truth, (runs, looks.size)), axis=1)
    wrong = fixed_wrong = 0
    for row in good.tolist():
        limits = [
            sequence.share_limits(k, int(n), centre=truth) for k, n in zip(row, looks, strict=True)
        ]
        wrong += any(low > truth or high < truth for low, high in limits)
        fixed_wrong += any(
            proportion.shows(k, int(n), truth) or proportion.refutes(k, int(n), truth)
            for k, n in zip(row, looks, strict=True)
        )
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert fixed_wrong / runs > 0.2, "the fixed limits would have been fooled"


def test_looking_often_does_not_raise_the_error_of_a_rate() -> None:
    rng = np.random.default_rng(6)
    truth, runs = 3.0, 600
    looks = np.geomspace(0.3, 300, 40)
    steps = np.diff(looks, prepend=0)
    events = np.cumsum(rng.poisson(truth * steps, (runs, looks.size)), axis=1)
    wrong = 0
    for row in events.tolist():
        limits = [
            sequence.rate_limits(k, float(t), centre=truth) for k, t in zip(row, looks, strict=True)
        ]
        wrong += any(low > truth or high < truth for low, high in limits)
    assert wrong / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="share"):
        sequence.share_limits(1, 2, centre=1)
    with pytest.raises(ValueError, match="not a rate"):
        sequence.rate_limits(1, 2, centre=0)
