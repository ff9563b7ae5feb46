"""The design effect of bursts: how much less a stream of dependent packets says than its length.

Failures come in runs. Where a run of failures has length L, the variance of the number of failures
is about E[L^2]/E[L] times that of independent trials (a Poisson number of runs: Var = rate E[L^2],
mean = rate E[L]). For runs of geometric length with mean b that factor is 2 b - 1. Counts divided
by it are judged as if independent (the effective sample size of survey sampling; L. Kish, Survey
Sampling, 1965).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.stats import proportion
from hil.stats._special import check_confidence, student_quantiles


def variance_ratio(run_lengths: ArrayLike) -> float:
    """E[L^2]/E[L] of the runs seen; 1 where there was none.

    Raises:
        ValueError: a run shorter than 1.
    """
    lengths = _lengths(run_lengths)
    return float(np.sum(lengths**2) / np.sum(lengths)) if lengths.size else 1.0


def variance_ratio_upper(run_lengths: ArrayLike, confidence: float = 0.95) -> float:
    """Upper one-sided limit of E[L^2]/E[L], from the runs seen; 1 where there was none.

    The usual limit of a ratio of two means (W. G. Cochran, Sampling Techniques, 3rd ed., chapter 6)
    with Student's t, which widens it where runs are few. One run alone says nothing of its own
    scatter; the limit is then its length. Deterministic, so that a verdict can be recomputed.

    Raises:
        ValueError: a run shorter than 1, or not 0 < confidence < 1.
    """
    check_confidence(confidence)
    return float(_upper(_lengths(run_lengths)[None], confidence)[0])


def design_effect(
    run_lengths: ArrayLike,
    b0: float,
    confidence: float = 0.95,
    *,
    between: ArrayLike | None = None,
) -> float:
    """The factor D by which counts of a bursty stream are divided before they are judged.

    D = max(2 b0 - 1, `variance_ratio_upper`). `b0` is the design burst length in packets, declared
    before the run from the outage that the verdict must cover; it also acts where nothing failed,
    when the runs that did not happen cannot be measured. It keeps the error of a verdict where
    runs are no more scattered than geometric ones of mean `b0`, that is E[L^2]/E[L] <= 2 b0 - 1.

    With `between` the smaller of the two observed limits counts. A stream that alternates between
    geometric runs of means b and g has a variance 2 b g / (b + g) - 1 times that of independent
    packets, which exceeds neither 2 b - 1 nor 2 g - 1. It matters where failures prevail: one run
    that fills the whole stream would else be a single event, and decide nothing.

    Args:
        run_lengths: lengths, in packets, of the runs of consecutive packets that were not in time.
        b0: the declared design burst length, at least 1.
        confidence: of the observed limit.
        between: lengths of the runs of packets in time between them.

    Raises:
        ValueError: b0 below 1, a run shorter than 1, or not 0 < confidence < 1.
    """
    if not b0 >= 1:
        raise ValueError(f"a design burst length is at least 1 packet; got {b0}")
    seen = variance_ratio_upper(run_lengths, confidence)
    if between is not None:
        seen = min(seen, variance_ratio_upper(between, confidence))
    return max(2 * b0 - 1, seen)


def mean_run(run_lengths: ArrayLike, confidence: float = 0.95) -> tuple[float, float]:
    """Lower and upper limit of the mean length of runs, each one-sided at `confidence`.

    Where runs are of geometric length, each packet of one is its last with the same probability,
    the reciprocal of the mean; of all packets in runs as many are last ones as there are runs. The
    limits are those of that share (`hil.stats.proportion`). Without a run nothing is known: 1 and
    infinite. Runs cut off by the end of the stream count as whole.

    Raises:
        ValueError: a run shorter than 1, or not 0 < confidence < 1.
    """
    lengths = _lengths(run_lengths)
    check_confidence(confidence)
    if not lengths.size:
        return 1.0, math.inf
    total = float(lengths.sum())
    low = proportion.lower(lengths.size, total, confidence)
    return 1 / proportion.upper(lengths.size, total, confidence), 1 / low


def design_effects(
    run_lengths: NDArray[np.float64], b0: float, confidence: float = 0.95
) -> NDArray[np.float64]:
    """`design_effect` of many streams at once: one row of run lengths each, filled up with 0."""
    return np.maximum(2 * b0 - 1, _upper(run_lengths, confidence))


def _upper(lengths: NDArray[np.float64], confidence: float) -> NDArray[np.float64]:
    """The limit for each row; entries of 0 are no runs."""
    number = np.count_nonzero(lengths, axis=1)
    total = np.maximum(lengths.sum(axis=1), 1.0)
    ratio = np.where(number > 0, (lengths**2).sum(axis=1) / total, 1.0)
    residual = lengths**2 - ratio[:, None] * lengths
    freedom = np.maximum(number - 1, 1)
    error = np.sqrt((residual**2).sum(axis=1) * number / freedom) / total
    return ratio + np.where(number > 1, student_quantiles(freedom, confidence) * error, 0.0)


def _lengths(run_lengths: ArrayLike) -> NDArray[np.float64]:
    lengths = np.asarray(run_lengths, np.float64)
    if lengths.size and lengths.min() < 1:
        raise ValueError("a run is at least 1 packet long")
    return lengths
