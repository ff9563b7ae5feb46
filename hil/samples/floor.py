"""The floor of a measurement beside its samples: every error that was observed, not a few points.

A verdict takes a quantile of the floor, at whatever share a target promises. Kept whole, the same
samples can be judged again, also against other targets, to the same last digit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

KEY: Final = "floor_ns"
"""Key in the metadata of a Parquet file of samples; a list of [error, how often]."""


def packed(floor_ns: NDArray[np.int64]) -> dict[str, list[list[int]]]:
    """The floor as metadata for `hil.samples.store.write`."""
    values, counts = np.unique(floor_ns, return_counts=True)
    return {KEY: [[int(v), int(n)] for v, n in zip(values, counts, strict=True)]}


def unpacked(metadata: Mapping[str, Any]) -> NDArray[np.int64] | None:
    """The floor as it was, sorted; None where the metadata hold none."""
    pairs = metadata.get(KEY)
    if not isinstance(pairs, list):
        return None
    values = np.array([value for value, _ in pairs], np.int64)
    return np.repeat(values, [count for _, count in pairs]) if pairs else values
