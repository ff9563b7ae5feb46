"""A floor taken again after a run: held, drifted, or not known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples.floor_check import checked, compare, larger
from hil.samples.measurement import Budget

COUNT = 4_000


def floor(seed: int, scale: float = 10_000, count: int = COUNT) -> np.ndarray:
    """Sorted errors of a time source, about 20 us in the middle."""
    draw = np.random.default_rng(seed)
    return np.sort(draw.gamma(2, scale, count)).astype(np.int64)


def budget(floor_ns: np.ndarray) -> Budget:
    return Budget(common_mode_ns=200, floor_ns=floor_ns, sources=("calibrated",))


def test_the_same_floor_has_held_and_changes_nothing_but_the_words() -> None:
    before = floor(1)
    found = checked(budget(before), floor(2))
    assert found.common_mode_ns == 200
    assert found.floor_ns.tolist() == before.tolist()
    assert "within their 95 % limits" in found.sources[-1]


def test_no_drift_is_seen_where_there_is_none_as_often_as_the_limits_say() -> None:
    """Two limits of 95 % that do not meet are rarer than either of them being missed."""
    seen = sum(compare(floor(2 * k), floor(2 * k + 1)).drift_ns > 0 for k in range(200))
    assert seen < 20


@pytest.mark.parametrize("sign", [1, -1])
def test_a_floor_that_drifted_counts_by_its_larger_side_and_by_its_shift(sign: int) -> None:
    small, large = floor(1), floor(2, 14_000)
    before, after = (small, large) if sign > 0 else (large, small)
    check = compare(before, after)
    assert not check.void
    assert 0 < check.shift_ns <= check.drift_ns
    found = checked(budget(before), after)
    assert found.common_mode_ns > check.shift_ns, "both ways, k = 2"
    for share in (0.5, 0.9, 0.99, 0.999):
        most = max(budget(each).floor_quantile_ns(share) for each in (before, after))
        assert found.floor_quantile_ns(share) == most
    assert "the larger one counts" in found.sources[-1]


@pytest.mark.parametrize("scale", [3_000.0, 40_000.0])
def test_a_floor_that_is_another_one_is_none(scale: float) -> None:
    check = compare(floor(1), floor(2, scale))
    assert check.void
    found = checked(budget(floor(1)), floor(2, scale))
    assert found.floor_ns.size == 0
    assert "no floor" in found.sources[-1]


def test_a_tail_that_appeared_during_the_run_is_seen_at_its_share() -> None:
    after = floor(2)
    after[-80:] += 90_000  # two in a hundred
    check = compare(floor(1), after)
    assert check.drift_ns > 20_000
    assert check.shift_ns == 0


@given(
    st.lists(st.integers(0, 10**6), min_size=1, max_size=50),
    st.lists(st.integers(0, 10**6), min_size=1, max_size=50),
)
def test_the_larger_of_two_floors_is_below_neither_at_any_share(
    one: list[int], other: list[int]
) -> None:
    floors = [np.sort(np.array(each, np.int64)) for each in (one, other)]
    both = larger(*floors)
    assert both.size == max(len(one), len(other))
    assert np.all(np.diff(both) >= 0)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        found = budget(both).floor_quantile_ns(share)
        assert found >= max(budget(each).floor_quantile_ns(share) for each in floors)
        assert found in {*one, *other}
