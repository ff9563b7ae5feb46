"""Exact limits of a rate of events."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import rate


def at_most(events: int, mean: float) -> float:
    return math.fsum(
        math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(events + 1)
    )


@given(st.integers(0, 200), st.floats(0.01, 1e4), st.sampled_from([0.8, 0.95, 0.99]))
def test_limits_are_where_the_poisson_tails_reach_the_risk(
    events: int, hours: float, confidence: float
) -> None:
    high = rate.upper(events, hours, confidence) * hours
    assert at_most(events, high) == pytest.approx(1 - confidence, rel=1e-6)
    if events:
        low = rate.lower(events, hours, confidence) * hours
        assert 1 - at_most(events - 1, low) == pytest.approx(1 - confidence, rel=1e-6)
        assert low < events < high


def test_no_event_is_the_rule_of_three() -> None:
    assert rate.upper(0, 1) == pytest.approx(-math.log(0.05))
    assert rate.lower(0, 1) == 0


def test_nothing_is_known_of_no_time() -> None:
    assert rate.upper(0, 0) == math.inf
    assert rate.lower(0, 0) == 0


@pytest.mark.parametrize(("events", "factor"), [(0, 2.996), (1, 4.744), (2, 6.296), (3, 7.754)])
def test_hours_needed_are_those_published(events: int, factor: float) -> None:
    assert rate.required_hours(0.5, 0.95, events) == pytest.approx(factor / 0.5, abs=1e-3)


@given(st.floats(1e-3, 1e3), st.integers(0, 30))
def test_the_hours_needed_just_suffice(limit: float, events: int) -> None:
    hours = rate.required_hours(limit, 0.95, events)
    assert rate.upper(events, hours) == pytest.approx(limit)


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        rate.upper(-1, 1)
    with pytest.raises(ValueError, match="negative"):
        rate.lower(1, -1)
    with pytest.raises(ValueError, match="no number of hours"):
        rate.required_hours(0)
