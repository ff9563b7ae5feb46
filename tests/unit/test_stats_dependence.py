"""The design effect keeps verdicts honest on bursty streams."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hil.stats import dependence, proportion

LENGTHS = st.lists(st.integers(1, 200), min_size=1, max_size=60)


@given(LENGTHS, st.floats(1, 20), st.integers(1, 5))
def test_never_below_the_declared_or_the_observed(
    lengths: list[int], b0: float, times: int
) -> None:
    effect = dependence.design_effect(lengths, b0)
    assert effect >= 2 * b0 - 1
    assert effect >= dependence.variance_ratio(lengths) - 1e-9
    more = dependence.variance_ratio_upper(lengths * (times + 1))
    assert more <= dependence.variance_ratio_upper(lengths * 2) + 1e-9


@given(st.lists(LENGTHS | st.just([]), min_size=1, max_size=8), st.floats(1, 10))
def test_many_streams_at_once_are_each_on_its_own(streams: list[list[int]], b0: float) -> None:
    filled = np.zeros((len(streams), 60))
    for row, lengths in zip(filled, streams, strict=True):
        row[: len(lengths)] = lengths
    alone = [dependence.design_effect(lengths, b0) for lengths in streams]
    assert dependence.design_effects(filled, b0) == pytest.approx(alone)


def test_with_no_event_the_declared_burst_length_acts_alone() -> None:
    assert dependence.design_effect([], 5) == 9
    assert dependence.design_effect([], 1) == 1


def test_single_failures_stay_independent_where_that_was_declared() -> None:
    assert dependence.design_effect([1] * 40, 1) == 1


def test_runs_much_longer_than_declared_take_over() -> None:
    assert dependence.design_effect([10, 12, 9, 30, 11], 2) > 12


@given(st.floats(1.5, 30), st.integers(0, 2**32))
def test_geometric_runs_have_the_ratio_that_is_planned_with(mean: float, seed: int) -> None:
    lengths = np.random.default_rng(seed).geometric(1 / mean, 40_000)
    assert dependence.variance_ratio(lengths) == pytest.approx(2 * mean - 1, rel=0.1)


def test_few_runs_leave_a_wide_limit() -> None:
    """By hand: ratio 26/6, residuals -10/3 and 10/3, standard error 10/9, Student's t 6.3138."""
    assert dependence.variance_ratio_upper([1, 5]) == pytest.approx(
        26 / 6 + 6.3138 * 10 / 9, abs=1e-3
    )
    assert dependence.variance_ratio_upper([1, 5] * 50) < 6
    assert dependence.variance_ratio_upper([5]) == 5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 1 packet"):
        dependence.design_effect([], 0.5)
    with pytest.raises(ValueError, match="at least 1 packet"):
        dependence.design_effect([0], 1)


def bursty_runs(
    rng: np.random.Generator, n: int, failing: float, mean_run: float, streams: int
) -> list[NDArray[np.int64]]:
    """The run lengths of failures in each of `streams` streams of `n` packets.

    Good and bad runs alternate, both geometric (Gilbert); each stream starts in a good one.
    """
    mean_gap = mean_run * (1 - failing) / failing
    runs = int(4 * n / (mean_gap + mean_run)) + 60
    gap = rng.geometric(1 / mean_gap, (streams, runs))
    length = rng.geometric(1 / mean_run, (streams, runs))
    start = np.cumsum(gap, axis=1) + np.cumsum(length, axis=1) - length
    assert (start[:, -1] > n).all()
    clipped = np.clip(n - start, 0, length)
    return [row[row > 0] for row in clipped]


def accepted(streams: list[NDArray[np.int64]], n: int, share: float, b0: float | None) -> float:
    """How often `share` is shown; b0 None: by the rule that knows nothing of bursts."""
    passes = 0
    for lengths in streams:
        effect = 1.0 if b0 is None else dependence.design_effect(lengths, b0)
        passes += proportion.shows((n - int(lengths.sum())) / effect, n / effect, share)
    return passes / len(streams)


@pytest.mark.parametrize("mean_run", [1.0, 3.0, 6.0])
def test_a_network_at_the_limit_is_accepted_no_more_often_than_stated(mean_run: float) -> None:
    rng = np.random.default_rng(int(mean_run))
    share, n, streams = 0.99, 12_000, 3_000
    seen = bursty_runs(rng, n, 1 - share, mean_run, streams)
    allowed = 0.05 + 3 * (0.05 * 0.95 / streams) ** 0.5
    assert accepted(seen, n, share, mean_run) <= allowed
    assert accepted(seen, n, share, 6.0) <= allowed
    if mean_run >= 3:
        assert accepted(seen, n, share, None) > 2 * allowed


def test_a_network_at_the_limit_is_rejected_no_more_often_than_stated() -> None:
    rng = np.random.default_rng(8)
    share, n, streams = 0.99, 12_000, 3_000
    refuted = 0
    for lengths in bursty_runs(rng, n, 1 - share, 3.0, streams):
        effect = dependence.design_effect(lengths, 3.0)
        refuted += proportion.refutes((n - int(lengths.sum())) / effect, n / effect, share)
    assert refuted / streams <= 0.05 + 3 * (0.05 * 0.95 / streams) ** 0.5


def test_bursts_longer_than_declared_are_caught_where_enough_were_seen() -> None:
    rng = np.random.default_rng(9)
    share, n, streams = 0.99, 40_000, 1_500
    seen = bursty_runs(rng, n, 1 - share, 5.0, streams)
    assert accepted(seen, n, share, 1.0) <= 0.08
    assert accepted(seen, n, share, None) > 0.2
