"""The serialisation standard: a good instrument agrees with it, a wrong one does not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from hil.samples.serialisation import Agreement, Spacing, agreement, spacing
from hil.samples.table import NOT_TAKEN

RATE = 8e6  # one microsecond a byte
SIZES = (128, 400, 800, 1200, 1514)
Times = NDArray[np.int64]
Bug = Callable[[int, Times], Times]


def limited(size: int, seed: int, frames: int = 300) -> tuple[Times, Times]:
    """Frames sent at once and let go by a late timer; the host stalls once for 4 ms."""
    draw = np.random.default_rng(seed)
    due = np.arange(1, frames + 1) * size * 1000
    late = draw.exponential(3_000, frames).astype(np.int64)
    stall = int(draw.integers(frames - 20))
    late[stall] += 4_000_000
    left = np.maximum.accumulate(due + late)
    return np.arange(frames, dtype=np.int64), left


def measured(bug: Bug = lambda size, came: came, seed: int = 1) -> Agreement:
    found: list[Spacing] = []
    for number, size in enumerate(SIZES):
        sent, came = limited(size, 10 * seed + number)
        found.append(spacing(size, sent, bug(size, came)))
    return agreement(found, RATE)


def test_a_sound_instrument_agrees_and_its_uncertainty_is_small() -> None:
    results = [measured(seed=seed) for seed in range(1, 21)]
    assert sum(each.agrees for each in results) >= 19
    assert all(each.slope_uncertainty_ns < 0.5 for each in results)
    assert "agree with" in results[0].sentence


@pytest.mark.parametrize(
    "bug",
    [
        lambda size, came: came + np.arange(came.size) * size,
        lambda size, came: came + np.arange(came.size) * 500,
        lambda size, came: came * 1001 // 1000,
    ],
    ids=["slow by size", "slow by frame", "clock slope"],
)
def test_an_unsound_one_does_not(bug: Bug) -> None:
    assert not measured(bug).agrees


def test_a_size_that_leaves_out_the_header_shows_as_an_intercept() -> None:
    found = [spacing(size - 14, *limited(size, size)) for size in SIZES]
    result = agreement(found, RATE)
    assert not result.agrees
    assert result.intercept_ns == pytest.approx(14_000, rel=0.05)
    assert result.slope_ns == pytest.approx(1000, rel=0.001)
    assert "do not agree" in result.sentence


def test_frames_on_credit_are_left_out_and_idle_ones_refused() -> None:
    sent, came = limited(400, 5)
    early = np.concatenate([np.arange(10), came + 10])
    first = np.concatenate([np.arange(10), np.full(sent.size, 5)])
    assert spacing(400, first, early, skip=10).spacing_ns == pytest.approx(400_000, rel=0.001)
    waited = sent.copy()
    waited[200] = came[199] + 1
    with pytest.raises(ValueError, match="1 frames found no queue"):
        spacing(400, waited, came)


def test_what_cannot_be_judged_is_refused() -> None:
    sent, came = limited(400, 6)
    lost = came.copy()
    lost[7] = NOT_TAKEN
    with pytest.raises(ValueError, match="lost"):
        spacing(400, sent, lost)
    with pytest.raises(ValueError, match="overtook"):
        spacing(400, sent, came[::-1].copy())
    with pytest.raises(ValueError, match="at least 20"):
        spacing(400, sent[:19], came[:19])
    one = Spacing(400, 300, 400_000.0, 10.0)
    with pytest.raises(ValueError, match="three sizes"):
        agreement([one, one, one], RATE)
    with pytest.raises(ValueError, match="without uncertainty"):
        agreement([Spacing(size, 300, size * 1e3, 0.0) for size in SIZES], RATE)
