"""A slope that outliers do not move, with limits."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.stats._special import check_confidence, normal_quantile

_MOST_POINTS = 64


def theil_sen(x: ArrayLike, y: ArrayLike, confidence: float = 0.95) -> tuple[float, float, float]:
    """The median slope of all pairs of points, with its lower and upper limit.

    P. K. Sen, JASA 63, 1968: distribution-free; a quarter of the points may be wrong. The limits
    are each one-sided at `confidence`; they are infinite where the points are too few to give any.
    Many points are first thinned by `block_medians`, because the number of pairs grows with the
    square.

    Args:
        x: strictly increasing.
        y: as long as `x`.
        confidence: of each limit.

    Raises:
        ValueError: fewer than two points, lengths that differ, `x` not increasing.
    """
    check_confidence(confidence)
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if x.size < 2 or x.shape != y.shape or not np.all(np.diff(x) > 0):
        raise ValueError("a slope needs two points or more, at increasing places")
    if x.size > _MOST_POINTS:
        x, y = block_medians(x, y, _MOST_POINTS)
    first, second = np.triu_indices(x.size, 1)
    slopes = np.sort((y[second] - y[first]) / (x[second] - x[first]))
    # The scatter of Kendall's S under no trend gives how far from the median the limits lie.
    scatter = math.sqrt(x.size * (x.size - 1) * (2 * x.size + 5) / 18)
    below = math.floor((slopes.size - normal_quantile(confidence) * scatter) / 2)
    if below < 1:
        return float(np.median(slopes)), -math.inf, math.inf
    return float(np.median(slopes)), float(slopes[below - 1]), float(slopes[-below])


def block_medians(
    x: NDArray[Any], y: NDArray[Any], blocks: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The medians of `x` and of `y` over `blocks` consecutive parts of about equal length."""
    parts = np.array_split(np.arange(x.size), min(blocks, x.size))
    return (
        np.array([np.median(x[part]) for part in parts]),
        np.array([np.median(y[part]) for part in parts]),
    )
