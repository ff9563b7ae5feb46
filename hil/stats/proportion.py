"""Exact limits of a share, and how many trials they need.

Counts may be real numbers: dependent trials are judged on counts divided by their design effect
(`hil.stats.dependence`), which are no longer whole. The beta form of the limits is defined for
them and falls together with the binomial one on whole numbers.
"""

from __future__ import annotations

import math

from hil.stats._special import (
    beta_cdf,
    beta_quantile,
    check_confidence,
    check_counts,
    check_share,
    normal_quantile,
    smallest,
)


def lower(k: float, n: float, confidence: float = 0.95) -> float:
    """Lower one-sided limit of the share of which `k` of `n` trials were successes.

    Exact (C. J. Clopper, E. S. Pearson, Biometrika 26, 1934): the smallest share at which `k` or
    more successes still have a probability of 1 - confidence. 0 where k = 0.

    Raises:
        ValueError: not 0 <= k <= n, or not 0 < confidence < 1.
    """
    check_counts(k, n)
    check_confidence(confidence)
    if k == 0:
        return 0.0
    if k == n:
        return math.exp(math.log1p(-confidence) / n)
    return beta_quantile(k, n - k + 1, 1 - confidence)


def upper(k: float, n: float, confidence: float = 0.95) -> float:
    """Upper one-sided limit of the share of which `k` of `n` trials were successes.

    Exact (Clopper-Pearson, as `lower`). 1 where k = n, so also where nothing was tried.

    Raises:
        ValueError: not 0 <= k <= n, or not 0 < confidence < 1.
    """
    check_counts(k, n)
    check_confidence(confidence)
    if k == n:
        return 1.0
    if k == 0:
        return -math.expm1(math.log1p(-confidence) / n)
    return beta_quantile(k + 1, n - k, confidence)


def shows(k: float, n: float, share: float, confidence: float = 0.95) -> bool:
    """True where `lower(k, n, confidence)` is at least `share`.

    Asked of the distribution itself, not of its inverse, so that a share that is met exactly is
    not lost to the rounding of an inverse.
    """
    check_counts(k, n)
    check_confidence(confidence)
    check_share(share)
    return k > 0 and beta_cdf(k, n - k + 1, share) <= 1 - confidence


def refutes(k: float, n: float, share: float, confidence: float = 0.95) -> bool:
    """True where `upper(k, n, confidence)` is below `share`."""
    check_counts(k, n)
    check_confidence(confidence)
    check_share(share)
    return k < n and beta_cdf(k + 1, n - k, share) > confidence


def required(share: float, confidence: float = 0.95, failures: int = 0) -> int:
    """The smallest number of trials of which `failures` may fail and `share` is still shown.

    "Shown" is `lower(n - failures, n, confidence) >= share`.

    Raises:
        ValueError: a share or confidence that does not lie between 0 and 1, negative failures.
    """
    check_share(share)
    check_confidence(confidence)
    if failures < 0:
        raise ValueError(f"failures cannot be negative; got {failures}")
    return smallest(failures + 1, lambda n: shows(n - failures, n, share, confidence))


def wilson(k: float, n: float, confidence: float = 0.95) -> tuple[float, float]:
    """Score limits of a share, each one-sided at `confidence` (E. B. Wilson, JASA 22, 1927)."""
    check_counts(k, n)
    check_confidence(confidence)
    if n == 0:
        return 0.0, 1.0
    z = normal_quantile(confidence)
    share, square = k / n, z * z
    centre = share + square / (2 * n)
    half = z * math.sqrt(share * (1 - share) / n + square / (4 * n * n))
    scale = 1 + square / n
    low = 0.0 if k == 0 else (centre - half) / scale
    high = 1.0 if k == n else (centre + half) / scale
    return low, high


def newcombe(
    k1: float, n1: float, k2: float, n2: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Limits of the difference of two independent shares, k1/n1 - k2/n2.

    The hybrid score interval (R. G. Newcombe, Statistics in Medicine 17, 1998, method 10). Each
    limit is one-sided at `confidence`; together they hold at 2 confidence - 1.

    Raises:
        ValueError: not 0 <= k <= n for either pair, an empty one, or not 0 < confidence < 1.
    """
    if n1 == 0 or n2 == 0:
        raise ValueError("a difference of shares needs trials on both sides")
    (low1, high1), (low2, high2) = wilson(k1, n1, confidence), wilson(k2, n2, confidence)
    share1, share2 = k1 / n1, k2 / n2
    difference = share1 - share2
    return (
        difference - math.hypot(share1 - low1, high2 - share2),
        difference + math.hypot(high1 - share1, share2 - low2),
    )


def required_difference(margin: float, confidence: float = 0.95) -> int:
    """The fewest trials on each side with which `newcombe`, none failing, is within `margin`.

    Raises:
        ValueError: a margin or confidence that does not lie between 0 and 1.
    """
    check_share(margin)
    return smallest(1, lambda n: newcombe(0, n, 0, n, confidence)[1] <= margin)
