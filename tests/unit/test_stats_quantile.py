"""Nearest rank and order-statistic limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.stats import proportion, quantile

VALUES = st.lists(st.integers(-(10**6), 10**9), min_size=1, max_size=300).map(
    lambda values: np.sort(np.array(values, np.int64))
)
SHARES = st.sampled_from([0.1, 0.5, 0.9, 0.99, 0.999])


@given(VALUES, st.integers(0, 1000))
def test_nearest_rank_is_the_smallest_value_with_enough_at_or_below(
    values: np.ndarray, thousandths: int
) -> None:
    p = thousandths / 1000
    found = quantile.nearest_rank(values, p)
    assert found in values
    assert 1000 * np.count_nonzero(values <= found) >= thousandths * values.size
    below = values[values < found]
    if below.size:
        assert 1000 * below.size < thousandths * values.size


def test_a_share_is_the_decimal_it_is_written_as() -> None:
    assert quantile.rank(100, 0.07) == 7  # 0.07 * 100 is a little over 7 in floating point
    assert quantile.rank(1000, 0.999) == 999
    assert quantile.rank(10_000, 0.9999) == 9_999
    assert (quantile.rank(5, 0.0), quantile.rank(5, 1.0)) == (1, 5)


@pytest.mark.parametrize(
    ("n", "p", "answer"),
    [(1, 0.5, False), (2, 0.5, True), (99, 0.99, False), (100, 0.99, True), (1000, 0.999, True),
     (9_999, 0.9999, False), (10_000, 0.9999, True)],
)  # fmt: skip
def test_a_percentile_is_supported_from_one_value_above_it(n: int, p: float, answer: bool) -> None:
    assert quantile.supported(n, p) is answer


@pytest.mark.parametrize(
    ("n", "p", "expected"),
    [
        (10_000, 0.99, (9_883, 9_917)),
        (100_000, 0.999, (99_883, 99_917)),
        (300_000, 0.9999, (299_961, 299_980)),
    ],
)
def test_ranks_are_those_published(n: int, p: float, expected: tuple[int, int]) -> None:
    assert quantile.ranks(n, p) == expected


@pytest.mark.parametrize(("p", "n"), [(0.98, 149), (0.99, 299), (0.999, 2_995), (0.9999, 29_956)])
def test_an_upper_limit_exists_from_the_published_number_on(p: float, n: int) -> None:
    assert quantile.ranks(n, p)[1] == n
    assert quantile.ranks(n - 1, p)[1] is None


@given(VALUES, SHARES, st.sampled_from([1.0, 2.5, 5.0]), st.data())
def test_limits_of_a_quantile_are_the_dual_of_limits_of_a_share(
    values: np.ndarray, p: float, effect: float, data: st.DataObject
) -> None:
    low, high = quantile.interval(values, p, design_effect=effect)
    limit = data.draw(st.sampled_from(sorted(set(values.tolist()))))
    n, within = values.size / effect, np.count_nonzero(values <= limit) / effect
    assert proportion.shows(within, n, p) == (high is not None and high <= limit)
    assert proportion.refutes(within, n, p) == (low is not None and low > limit)


@given(VALUES, SHARES, st.integers(0, 200))
def test_infinite_values_count_but_are_never_a_figure(
    values: np.ndarray, p: float, infinite: int
) -> None:
    huge = 10**15
    total = values.size + infinite
    padded = np.append(values, np.full(infinite, huge))

    def figure(value: int | None) -> int | None:
        return None if value == huge else value

    assert quantile.nearest_rank(values, p, total) == figure(quantile.nearest_rank(padded, p))
    low, high = quantile.interval(padded, p)
    assert quantile.interval(values, p, n=total) == (figure(low), figure(high))


def test_limits_cover_the_true_quantile_as_often_as_stated() -> None:
    rng = np.random.default_rng(11)
    n, p, runs = 400, 0.97, 3000
    low_rank, high_rank = quantile.ranks(n, p)
    assert low_rank is not None
    assert high_rank is not None
    values = np.sort(rng.random((runs, n)), axis=1)
    allowed = 0.05 + 3 * (0.05 * 0.95 / runs) ** 0.5
    assert np.mean(values[:, high_rank - 1] < p) <= allowed
    assert np.mean(values[:, low_rank - 1] > p) <= allowed
    assert np.mean(values[:, high_rank - 2] < p) > 0.05 - 3 * (0.05 * 0.95 / runs) ** 0.5


def test_of_nothing_there_is_no_quantile() -> None:
    with pytest.raises(ValueError, match="needs values"):
        quantile.nearest_rank(np.zeros(0, np.int64), 0.5)
    with pytest.raises(ValueError, match="need values"):
        quantile.ranks(0, 0.5)
    with pytest.raises(ValueError, match="counts all values"):
        quantile.nearest_rank(np.arange(3), 0.5, 2)
