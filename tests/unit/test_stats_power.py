"""The probability to pass, and how long to measure."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import dependence, power, proportion, rate


def test_a_minimal_plan_is_a_gamble() -> None:
    """Figures known for the smallest sample that can show 99.9 %."""
    assert power.share_power(2_995, 0.999, 1) == pytest.approx(0.05, abs=0.002)
    assert power.share_power(2_995, 0.999, 5) == pytest.approx(0.55, abs=0.005)


@given(st.sampled_from([0.99, 0.999]), st.integers(0, 6), st.sampled_from([1.0, 3.0, 9.0]))
def test_allowed_failures_are_the_most_that_still_show_the_share(
    share: float, failures: int, effect: float
) -> None:
    n = int(proportion.required(share, 0.95, failures) * effect * 1.1)
    allowed = power.allowed_failures(n, share, design_effect=effect)
    assert allowed is not None
    assert proportion.shows((n - allowed) / effect, n / effect, share)
    assert not proportion.shows((n - allowed - 1) / effect, n / effect, share)


def test_too_few_packets_allow_not_even_none() -> None:
    assert power.allowed_failures(2_994, 0.999) is None
    assert power.share_power(2_994, 0.999, 1e9) == 0
    assert power.allowed_failures(2_995, 0.999) == 0


@given(
    st.sampled_from([0.99, 0.999, 0.9999]),
    st.sampled_from([1.5, 2.0, 5.0, 20.0]),
    st.sampled_from([0.5, 0.8, 0.95]),
)
def test_the_required_packets_reach_the_power_and_one_fewer_does_not(
    share: float, better: float, wanted: float
) -> None:
    n = power.required_packets(share, better, wanted)
    assert power.share_power(n, share, better) >= wanted
    assert power.share_power(n - 1, share, better) < wanted


def test_power_of_single_failures_is_how_often_they_are_few_enough() -> None:
    rng = np.random.default_rng(3)
    share, better, n = 0.999, 6.0, 6_600
    allowed = power.allowed_failures(n, share)
    assert allowed is not None
    failures = rng.binomial(n, (1 - share) / better, 40_000)
    predicted = power.share_power(n, share, better)
    assert np.mean(failures <= allowed) == pytest.approx(predicted, abs=0.01)


@pytest.mark.parametrize(("share", "better", "mean_run"), [(0.99, 4.0, 3.0), (0.999, 10.0, 5.0)])
def test_a_network_that_was_planned_for_passes_as_often_as_planned(
    share: float, better: float, mean_run: float
) -> None:
    """Through the verdict's own rule, design effect of the runs seen included."""
    rng = np.random.default_rng(10)
    n = power.required_packets(share, better, 0.8, design_effect=2 * mean_run - 1)
    passes, streams = 0, 3_000
    for number in rng.poisson(n * (1 - share) / better / mean_run, streams):
        lengths = rng.geometric(1 / mean_run, number)
        effect = dependence.design_effect(lengths, mean_run)
        passes += proportion.shows((n - int(lengths.sum())) / effect, n / effect, share)
    assert passes / streams == pytest.approx(0.81, abs=0.04)


@given(st.floats(0.1, 10), st.floats(1.5, 30), st.sampled_from([0.5, 0.8, 0.95]))
def test_the_required_hours_reach_the_power(limit: float, better: float, wanted: float) -> None:
    hours = power.required_hours(limit, better, wanted)
    slightly_more = hours * (1 + 1e-9)
    assert power.rate_power(slightly_more, limit, better) >= wanted - 1e-6
    assert power.rate_power(hours * 0.999, limit, better) < wanted


def test_a_rate_needs_the_rule_of_three_first() -> None:
    hours = rate.required_hours(2.0)
    assert power.rate_power(hours * 0.99, 2.0, 1e6) == 0
    assert power.rate_power(hours * 1.01, 2.0, 1e6) == pytest.approx(1, abs=1e-3)


def test_a_network_that_barely_complies_cannot_be_planned_for() -> None:
    with pytest.raises(ValueError, match="better than the limit"):
        power.required_packets(0.999, 1.0)
    with pytest.raises(ValueError, match="better than the limit"):
        power.required_hours(1.0, 0.5)
    with pytest.raises(ValueError, match="design effect"):
        power.share_power(1000, 0.99, 2, design_effect=0.5)
