"""The histogram of a running measurement: constant memory, and the error that it states."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples.histogram import ERROR, SHOWN, Histogram
from hil.samples.table import NOT_TAKEN
from hil.stats import quantile

NANOSECONDS = st.integers(-(2**52) + 1, 2**52 - 1) | st.integers(-5000, 5000)


@given(st.lists(st.lists(NANOSECONDS, max_size=30), max_size=5), st.floats(0.0, 1.0))
def test_every_quantile_is_within_the_stated_error(pieces: list[list[int]], share: float) -> None:
    histogram = Histogram()
    for piece in pieces:
        histogram.add(np.array([*piece, NOT_TAKEN], np.int64))
    values = np.sort(np.array([value for piece in pieces for value in piece], np.int64))
    assert histogram.count == values.size
    found = histogram.quantile(share)
    if not values.size:
        assert found is None
        return
    exact = int(values[quantile.rank(values.size, share) - 1])
    assert found is not None
    assert abs(found - exact) <= ERROR * abs(exact)
    assert (histogram.least, histogram.largest) == (values[0], values[-1])


@pytest.mark.parametrize("exponent", range(52))
def test_the_edges_of_the_powers_of_two_fall_into_their_own_buckets(exponent: int) -> None:
    for value in {2**exponent - 1, 2**exponent, 2**exponent + 1}:
        for sign in (1, -1):
            histogram = Histogram()
            histogram.add(np.array([sign * value, sign * value * 2, sign * value * 3], np.int64))
            found = histogram.quantile(0.5)
            assert found is not None
            assert abs(found - 2 * sign * value) <= ERROR * 2 * value


def test_a_quantile_that_is_not_supported_is_not_told_and_the_error_is() -> None:
    histogram = Histogram()
    histogram.add(np.arange(1, 1001, dtype=np.int64))
    figures = histogram.figures()
    assert figures["n"] == 1000
    assert (figures["min"], figures["p50"], figures["max"]) == (1, 500, 1000)
    assert figures["p99.9"] == 999
    assert figures["p99.99"] is None
    assert figures["relative_error"] < 0.0005
    assert set(SHOWN) < set(figures)
