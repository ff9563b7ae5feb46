"""From samples to what is drawn: a complementary distribution, its band, a course over time.

A packet that never came is infinitely late: it holds the curve up to the right edge, as a plateau.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.measurement import Measurement
from hil.samples.table import NOT_TAKEN, taken
from hil.stats import proportion, quantile

Floats = NDArray[np.float64]

#: Vertices of a drawn curve at most; half along the body, half the last order statistics.
_VERTICES: Final = 800
_BAND_POINTS: Final = 60
_SLICES: Final = 240


@dataclass(frozen=True, slots=True)
class Ccdf:
    """The share of `n` values greater than x, thinned for drawing.

    `values_ns` rises, `exceeding` falls: right of ``values_ns[i]`` the share is ``exceeding[i]``.
    `missing` of the `n` never came. `band_ns`, `low` and `high` are the pointwise one-sided
    limits of the exceeding share at the given confidence.
    """

    n: int
    missing: int
    values_ns: Floats
    exceeding: Floats
    band_ns: Floats
    low: Floats
    high: Floats


def ccdf(
    values_ns: NDArray[np.int64], n: int, *, confidence: float, design_effect: float = 1.0
) -> Ccdf:
    """The curve of `values_ns` among `n`; the rest of the `n` counts as infinitely late.

    The band is exact Clopper-Pearson at each point, with counts divided by the design effect as
    the verdict does (docs/explanation/method.md).
    """
    came = values_ns.size
    missing = n - came
    body = np.linspace(0, came - 1, min(came, _VERTICES // 2)).astype(int)
    tail = np.arange(max(0, came - _VERTICES // 2), came)
    index = np.unique(np.concatenate((body, tail))) if came else np.empty(0, int)
    exceeding = (n - 1 - index) / n if n else np.empty(0)
    points = np.unique(
        np.concatenate(
            (
                np.linspace(0, came - 1, min(came, _BAND_POINTS // 2)).astype(int),
                came - 1 - np.geomspace(1, came, _BAND_POINTS // 2).astype(int) + 1,
            )
        )
        if came
        else np.empty(0, int)
    )
    points = points[(points >= 0) & (points < came)]
    drawn = np.concatenate((index, points)).astype(np.int64)
    ordered = quantile.order_statistics(values_ns, (drawn + 1).tolist()).astype(np.float64)
    effect = max(1.0, design_effect)
    late = (n - 1 - points) / effect
    whole = n / effect
    return Ccdf(
        n=n,
        missing=missing,
        values_ns=ordered[: index.size],
        exceeding=exceeding,
        band_ns=ordered[index.size :],
        low=np.array([proportion.lower(k, whole, confidence) for k in late], float),
        high=np.array([proportion.upper(k, whole, confidence) for k in late], float),
    )


@dataclass(frozen=True, slots=True)
class Course:
    """A delay over the time of the run, in slices of equal length; times in seconds from 0."""

    at_s: Floats
    median_ns: Floats
    max_ns: Floats
    lost_s: Floats
    spoiled_s: tuple[tuple[float, float], ...]
    length_s: float


def course(measurement: Measurement) -> Course | None:
    """The course of a measurement's delay by intended send time; None where nothing was planned."""
    samples = measurement.samples
    intended = samples["intended_ns"]
    known = taken(intended)
    if not known.any():
        return None
    delay, lost = measurement.delay_ns, samples["copies"] == 0
    if not known.all():
        intended, delay, lost = intended[known], delay[known], lost[known]
    if (intended[1:] < intended[:-1]).any():
        order = np.argsort(intended, kind="stable")
        intended, delay, lost = intended[order], delay[order], lost[order]
    start = int(intended[0])
    length = int(intended[-1] - start) / 1e9 or 1e-9
    ends = start + np.arange(1, _SLICES) * int(intended[-1] - start) // _SLICES
    rows = []
    for number, inside in enumerate(np.split(delay, np.searchsorted(intended, ends))):
        came = inside[inside != NOT_TAKEN]
        if came.size:
            rows.append(((number + 0.5) * length / _SLICES, np.median(came), came.max()))
    table = np.array(rows, float).reshape(-1, 3)
    never = np.flatnonzero(lost & (delay == NOT_TAKEN))
    return Course(
        at_s=table[:, 0],
        median_ns=table[:, 1],
        max_ns=table[:, 2],
        lost_s=(intended[never] - start) / 1e9,
        spoiled_s=tuple(
            (
                max(0.0, (window.start_ns - start) / 1e9),
                min(length, (window.end_ns - start) / 1e9),
            )
            for window in measurement.spoiled
            if window.end_ns > start and window.start_ns < start + length * 1e9
        ),
        length_s=length,
    )
