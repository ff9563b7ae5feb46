"""Quantiles without interpolation: nearest rank, and limits that are values seen.

A tail is never interpolated: a value between two samples was not measured. Ranks are 1-based.
Where some of the `n` values are infinite (packets that never came), `values` holds the finite ones,
sorted, and `n` counts all; a rank among the infinite ones has no figure, so its answer is None.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.stats import proportion
from hil.stats._special import check_confidence, smallest

_FEW: Final = 1 << 16  # values that are sorted outright
_PART: Final = 1 << 18  # values looked at together
_BIN_BITS: Final = 16


def rank(n: int, p: float) -> int:
    """The nearest rank of the p-quantile of `n` values: ceil(p n), at least 1.

    `p` is taken as the decimal it is written as, so that 0.07 of 100 is rank 7 and not 8.

    Raises:
        ValueError: no values, or not 0 <= p <= 1.
    """
    if n < 1 or not 0 <= p <= 1:
        raise ValueError(f"a quantile needs values and a p from 0 to 1; got n = {n}, p = {p}")
    exact = _decimal(p) * n
    return max(1, -(-exact.numerator // exact.denominator))


def supported(n: int, p: float) -> bool:
    """True where `n` values can tell the p-quantile from their maximum: n (1 - p) >= 1."""
    return n * (1 - _decimal(p)) >= 1


def nearest_rank(values: NDArray[Any], p: float, n: int | None = None) -> int | None:
    """The p-quantile of sorted `values` by nearest rank; None where it is infinite.

    Raises:
        ValueError: no values at all, or not 0 <= p <= 1.
    """
    return _at(values, rank(_total(values, n), p))


def order_statistics(values: NDArray[np.int64], wanted: Sequence[int]) -> NDArray[np.int64]:
    """The values at some ranks, from 1, of `values` in any order; as sorting them would give.

    Of many values only those are sorted that share a bin with a wanted one.

    Raises:
        ValueError: a rank below 1 or above the number of values.
    """
    places = np.asarray(wanted, np.int64) - 1
    if places.size == 0:
        return np.zeros(0, np.int64)
    if places.min() < 0 or places.max() >= values.size:
        raise ValueError(f"ranks reach from 1 to {values.size}; got {list(wanted)}")
    least, largest = int(values.min()), int(values.max())
    if values.size < _FEW or largest - least >= 2**62:
        return np.sort(values)[places]
    shift = max(0, (largest - least).bit_length() - _BIN_BITS)
    count = np.zeros((largest - least >> shift) + 1, np.int64)
    for part in _parts(values):
        count += np.bincount((part - least) >> shift, minlength=count.size)
    up_to = np.cumsum(count)
    bin_of = np.searchsorted(up_to, places, side="right")
    looked_at = np.zeros(count.size, np.bool_)
    looked_at[bin_of] = True
    few = np.concatenate([p[looked_at[(p - least) >> shift]] for p in _parts(values)])
    few.sort()
    left_out = np.cumsum(np.where(looked_at, 0, count))
    return np.asarray(few[places - left_out[bin_of]])


def _parts(values: NDArray[np.int64]) -> Iterator[NDArray[np.int64]]:
    for first in range(0, values.size, _PART):
        yield values[first : first + _PART]


def ranks(
    n: int, p: float, confidence: float = 0.95, design_effect: float = 1.0
) -> tuple[int | None, int | None]:
    """The ranks of the lower and the upper limit of the p-quantile of `n` values.

    Order-statistic limits (H. A. David, H. N. Nagaraja, Order Statistics, 3rd ed., 7.1), each
    one-sided at `confidence`. They are the dual of the exact limits of a share: the upper limit is
    at most L exactly where `proportion.lower` of the share within L is at least p, and the lower
    limit is above L exactly where `proportion.upper` of it is below p. None where no rank reaches
    the confidence. `design_effect` divides the counts, as in a verdict.

    Raises:
        ValueError: no values, not 0 < p < 1, not 0 < confidence < 1, a design effect below 1.
    """
    check_confidence(confidence)
    if n < 1 or design_effect < 1:
        raise ValueError(f"limits need values and a design effect >= 1; got {n}, {design_effect}")
    total = n / design_effect

    def high_enough(k: int) -> bool:
        return proportion.shows(min(k / design_effect, total), total, p, confidence)

    def too_high(k: int) -> bool:
        return not proportion.refutes(min(k / design_effect, total), total, p, confidence)

    high = smallest(1, lambda k: k >= n or high_enough(k))
    low = smallest(0, lambda k: k >= n or too_high(k))
    return (low if low >= 1 else None, high if high_enough(high) else None)


def interval(
    values: NDArray[Any],
    p: float,
    confidence: float = 0.95,
    *,
    n: int | None = None,
    design_effect: float = 1.0,
) -> tuple[int | None, int | None]:
    """The limits of the p-quantile of sorted `values`, each one of the values, by `ranks`.

    The lower one is None where `n` cannot support it, or where it is itself infinite; the upper one
    is None where no finite value bounds the quantile.

    Raises:
        ValueError: as `ranks`.
    """
    low, high = ranks(_total(values, n), p, confidence, design_effect)
    return (
        None if low is None else _at(values, low),
        None if high is None else _at(values, high),
    )


def _decimal(p: float) -> Fraction:
    return Fraction(repr(float(p)))


def _total(values: NDArray[Any], n: int | None) -> int:
    if n is None:
        return int(np.size(values))
    if n < np.size(values):
        raise ValueError(f"n counts all values, so at least {np.size(values)}; got {n}")
    return n


def _at(values: NDArray[Any], position: int) -> int | None:
    return int(values[position - 1]) if position <= np.size(values) else None
