"""The serialisation standard: frames that wait for a rate limiter leave it 8 S / R apart.

The spacing is known before anything is measured, from the size S of the frame at the limiter and
its rate R alone, so it is a reference that nobody here wrote: the kernel's token bucket (tc-tbf(8))
or an Ethernet of known bit rate. Spacings over several sizes must lie on a line through the origin
with the slope 8 / R: a stamp that is late by a constant cancels, one that depends on size, load or
time does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from hil.samples.table import taken

_Z95 = 1.959964  # two-sided 95 % of the normal distribution
_FEWEST = 20


@dataclass(frozen=True, slots=True)
class Spacing:
    """The spacing at which frames of one size left the limiter, as measured.

    `uncertainty_ns` is U = 2u (JCGM 100) of `spacing_ns`, over `frames` departures.
    """

    size: int
    frames: int
    spacing_ns: float
    uncertainty_ns: float


@dataclass(frozen=True, slots=True)
class Agreement:
    """Spacings against their prediction; the uncertainties are U = 2u.

    `slope_ns` is the time of one byte, `intercept_ns` the spacing of a frame of no size, which is
    predicted to be 0. `departures_ns` are the spacings less their own predictions.
    """

    rate_bit_s: float
    spacings: tuple[Spacing, ...]
    slope_ns: float
    slope_uncertainty_ns: float
    intercept_ns: float
    intercept_uncertainty_ns: float

    @property
    def predicted_slope_ns(self) -> float:
        """8 / R: what one byte takes."""
        return 8e9 / self.rate_bit_s

    @property
    def departures_ns(self) -> tuple[float, ...]:
        """Each spacing less 8 S / R."""
        return tuple(
            each.spacing_ns - each.size * self.predicted_slope_ns for each in self.spacings
        )

    @property
    def agrees(self) -> bool:
        """Slope and intercept are the predicted ones within their uncertainty."""
        slope = abs(self.slope_ns - self.predicted_slope_ns) <= self.slope_uncertainty_ns
        return slope and abs(self.intercept_ns) <= self.intercept_uncertainty_ns

    @property
    def sentence(self) -> str:
        """What was found, in one sentence."""
        word = "agree" if self.agrees else "do not agree"
        return (
            f"{len(self.spacings)} sizes at {self.rate_bit_s / 1e6:g} Mbit/s {word} with the "
            f"standard: slope {self.slope_ns:.4f} +- {self.slope_uncertainty_ns:.4f} ns/B "
            f"(predicted {self.predicted_slope_ns:.4f}), intercept {self.intercept_ns:.1f} +- "
            f"{self.intercept_uncertainty_ns:.1f} ns (predicted 0)"
        )


def spacing(
    size: int, sent_ns: NDArray[np.int64], received_ns: NDArray[np.int64], *, skip: int = 0
) -> Spacing:
    """The spacing of frames of `size` bytes, from their times in order of sequence.

    The slope of receipt over rank by Theil and Sen: the median over all pairs, which a host that
    stalls for some of the frames does not move. The limiter's timer may be late for each frame, but
    the bucket keeps the time, so lateness does not add up: it is scatter about the line. Its
    uncertainty is Sen's interval, and a change of the typical lateness from the first frame to the
    last by as much as nine in ten frames scatter (rectangular).

    Args:
        size: of the frame as the limiter counts it, in bytes.
        sent_ns: when each frame was sent.
        received_ns: when it came.
        skip: frames at the beginning that may have passed on the bucket's credit.

    Raises:
        ValueError: a frame has no time, came out of turn or found the limiter idle, so that its
            spacing is not predicted; or there are too few frames.
    """
    if not (taken(sent_ns).all() and taken(received_ns).all()):
        raise ValueError(f"size {size} B: a frame was lost or has no time")
    if (np.diff(received_ns) < 0).any():
        raise ValueError(f"size {size} B: frames overtook each other")
    idle = np.flatnonzero(sent_ns[1:] > received_ns[:-1]) + 1
    if (idle > skip).any():
        raise ValueError(f"size {size} B: {int((idle > skip).sum())} frames found no queue")
    came = (received_ns[skip:] - received_ns[skip]).astype(np.float64)
    if came.size < _FEWEST:
        raise ValueError(f"size {size} B: {came.size} frames, at least {_FEWEST} are needed")
    rank = np.arange(came.size, dtype=np.float64)
    slope, _, low, high = stats.theilslopes(came, rank, alpha=0.95)
    about = came - slope * rank
    scatter = float(np.quantile(about, 0.95) - np.quantile(about, 0.05))
    by_sample = (high - low) / 2 / _Z95
    by_change = scatter / (came.size - 1) / sqrt(3)
    return Spacing(size, int(came.size), float(slope), 2 * hypot(by_sample, by_change))


def agreement(spacings: Sequence[Spacing], rate_bit_s: float) -> Agreement:
    """The line through the spacings, weighted by their uncertainties, against 8 S / R.

    Raises:
        ValueError: fewer than three sizes, or a spacing without uncertainty.
    """
    if len({each.size for each in spacings}) < 3:
        raise ValueError("a line with two parameters needs at least three sizes")
    sigma = np.array([each.uncertainty_ns / 2 for each in spacings])
    if not (sigma > 0).all():
        raise ValueError("a spacing without uncertainty cannot be weighted")
    design = np.column_stack([np.ones(sigma.size), [float(each.size) for each in spacings]])
    weighted = design / sigma[:, None]
    covariance = np.linalg.inv(weighted.T @ weighted)
    measured = np.array([each.spacing_ns for each in spacings]) / sigma
    intercept, slope = covariance @ weighted.T @ measured
    return Agreement(
        rate_bit_s=rate_bit_s,
        spacings=tuple(spacings),
        slope_ns=float(slope),
        slope_uncertainty_ns=2 * sqrt(float(covariance[1, 1])),
        intercept_ns=float(intercept),
        intercept_uncertainty_ns=2 * sqrt(float(covariance[0, 0])),
    )
