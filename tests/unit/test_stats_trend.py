"""A slope that outliers do not move."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import trend


@given(st.floats(-1e3, 1e3), st.floats(-1e6, 1e6), st.integers(2, 300))
def test_a_line_has_its_own_slope(slope: float, start: float, points: int) -> None:
    x = np.arange(points, dtype=float)
    found, low, high = trend.theil_sen(x, start + slope * x)
    assert found == pytest.approx(slope, abs=1e-6)
    assert low <= found <= high


def test_a_fifth_of_wild_points_does_not_move_it() -> None:
    rng = np.random.default_rng(1)
    x = np.arange(2_000.0)
    y = 0.5 * x + rng.normal(0, 1, x.size)
    y[rng.permutation(x.size)[:400]] += 1e6
    found, low, high = trend.theil_sen(x, y)
    assert found == pytest.approx(0.5, abs=0.01)
    assert low < 0.5 < high


def test_limits_of_a_flat_line_leave_out_zero_as_seldom_as_stated() -> None:
    rng = np.random.default_rng(2)
    x, runs = np.arange(40.0), 1_500
    outside = sum(trend.theil_sen(x, rng.normal(0, 1, 40))[1] > 0 for _ in range(runs))
    assert outside / runs >= 0.02, "limits wider than need be"
    assert outside / runs <= 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5


def test_two_points_have_a_slope_and_no_limits() -> None:
    assert trend.theil_sen([0, 2], [0, 1]) == (0.5, -math.inf, math.inf)


@pytest.mark.parametrize(("x", "y"), [([0], [0]), ([0, 0], [0, 1]), ([0, 1], [0, 1, 2])])
def test_what_has_no_slope_is_refused(x: list[float], y: list[float]) -> None:
    with pytest.raises(ValueError, match="two points"):
        trend.theil_sen(x, y)
