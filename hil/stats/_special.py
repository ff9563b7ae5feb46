"""The special functions that limits are made of, and what all of them check.

scipy is loaded at the first use and not at import: it takes longer to load than a command that
needs no limit takes to answer.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray


def beta_cdf(a: float, b: float, x: float) -> float:
    """The regularised incomplete beta function I_x(a, b)."""
    from scipy.special import betainc

    return float(betainc(a, b, x))


def beta_quantile(a: float, b: float, p: float) -> float:
    """The x at which I_x(a, b) is p."""
    from scipy.special import betaincinv

    return float(betaincinv(a, b, p))


def gamma_quantile(shape: float, p: float) -> float:
    """The x at which the regularised lower incomplete gamma function P(shape, x) is p."""
    from scipy.special import gammaincinv

    return float(gammaincinv(shape, p))


def poisson_cdf(k: int, mean: float) -> float:
    """The probability of at most `k` events where `mean` are expected."""
    from scipy.special import pdtr

    return float(pdtr(k, mean)) if k >= 0 else 0.0


def normal_quantile(p: float) -> float:
    """The standard normal quantile at `p`."""
    from scipy.special import ndtri

    return float(ndtri(p))


def student_quantiles(degrees: NDArray[np.int64], p: float) -> NDArray[np.float64]:
    """Student's t quantiles at `p`, one for each number of degrees of freedom."""
    from scipy.special import stdtrit

    return np.asarray(stdtrit(degrees, p), np.float64)


def check_confidence(confidence: float) -> None:
    """Raises ValueError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence lies between 0 and 1; got {confidence}")


def check_share(share: float) -> None:
    """Raises ValueError unless 0 < share < 1."""
    if not 0 < share < 1:
        raise ValueError(f"a share to be shown lies between 0 and 1; got {share}")


def check_counts(k: float, n: float) -> None:
    """Raises ValueError unless 0 <= k <= n, both finite."""
    if not (0 <= k <= n and math.isfinite(n)):
        raise ValueError(f"a count lies between 0 and its total; got {k} of {n}")


def smallest(low: int, fits: Callable[[int], bool]) -> int:
    """The smallest integer from `low` on that fits, where all after a fitting one fit too."""
    step = 1
    while not fits(low + step - 1):
        step *= 2
    first, last = low + step // 2, low + step - 1
    while first < last:
        middle = (first + last) // 2
        if fits(middle):
            last = middle
        else:
            first = middle + 1
    return first
