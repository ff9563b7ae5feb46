"""Counts of values in buckets whose width grows with the value: constant memory, stated error.

The buckets are those of HdrHistogram (G. Tene): each power of two is divided into 1024 equal parts,
and below 2048 ns each nanosecond has one of its own. A value told from its bucket is the middle of
it, so it is off by at most `ERROR` of itself. For display and for the record of a running
measurement; verdicts count the samples themselves.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import taken
from hil.stats import quantile

_BITS: Final = 10
_PARTS: Final = 1 << _BITS
_LARGEST: Final = (1 << 52) - 1  # 52 days; larger ones share the last bucket
_BUCKETS: Final = (52 - _BITS) * _PARTS + _PARTS

#: The most that a quantile is off by, as a share of itself: half a bucket.
ERROR: Final = 1 / (2 * _PARTS)

#: The quantiles of `figures`, as keys and as shares.
SHOWN: Final = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999, "p99.999": 0.99999}


class Histogram:
    """How often values of either sign came; least and largest are kept exactly."""

    def __init__(self) -> None:
        self._above = np.zeros(_BUCKETS, np.int64)
        self._below = np.zeros(_BUCKETS, np.int64)  # by magnitude
        self.count = 0
        self.least: int | None = None
        self.largest: int | None = None

    def add(self, values: NDArray[np.int64]) -> None:
        """Count what was taken of `values`, in nanoseconds."""
        known = values[taken(values)]
        if not known.size:
            return
        low, high = int(known.min()), int(known.max())
        self.least = low if self.least is None else min(low, self.least)
        self.largest = high if self.largest is None else max(high, self.largest)
        self.count += known.size
        for counts, side in ((self._above, known[known >= 0]), (self._below, -known[known < 0])):
            if side.size:
                found, many = np.unique(_bucket(side), return_counts=True)
                counts[found] += many

    def quantile(self, share: float) -> int | None:
        """The value at `share` by nearest rank, within `ERROR`; None of nothing."""
        if self.least is None or self.largest is None:
            return None
        rank = quantile.rank(self.count, share)
        before = int(self._below.sum())
        if rank <= before:
            place = np.searchsorted(np.cumsum(self._below[::-1]), rank)
            value = -_middle(_BUCKETS - 1 - int(place))
        else:
            value = _middle(int(np.searchsorted(np.cumsum(self._above), rank - before)))
        return min(max(value, self.least), self.largest)

    def figures(self) -> dict[str, Any]:
        """Count, least, largest and quantiles as JSON values, with the error of the quantiles.

        A quantile that the count cannot tell from the largest value is None.
        """
        shown = {
            name: self.quantile(share) if quantile.supported(self.count, share) else None
            for name, share in SHOWN.items()
        }
        return {
            "n": self.count,
            "min": self.least,
            **shown,
            "max": self.largest,
            "relative_error": ERROR,
        }


def _bucket(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """The bucket of each value, all of them 0 or above."""
    values = np.minimum(values, _LARGEST)
    _, exponent = np.frexp(values.astype(np.float64))  # exact below 2^53: the length in bits
    shift = np.maximum(exponent.astype(np.int64) - _BITS - 1, 0)
    return np.asarray(shift * _PARTS + (values >> shift), np.int64)


def _middle(bucket: int) -> int:
    """The value in the middle of a bucket."""
    shift = max(0, bucket // _PARTS - 1)
    low = (bucket - shift * _PARTS) << shift
    return low + ((1 << shift) - 1) // 2
