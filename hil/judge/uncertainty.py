"""How uncertain each metric is, and whether the time source is fit for the target.

What all samples of a run share (synchronisation, asymmetry, frequency) shifts the limit; it cancels
in differences of times of one clock. What differs from sample to sample is the floor; its quantile
at the promised share is added before a network is failed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.stats import quantile
from hil.units import format_duration, format_share

#: The floor's quantile where the target promises no share (gaps, events).
EVENT_SHARE: Final = 0.999

FIT: Final = 1 / 10
UNFIT: Final = 1 / 4


@dataclass(frozen=True, slots=True)
class Uncertainty:
    """Of one metric at one share, in nanoseconds."""

    common_mode_ns: int
    floor_ns: int
    known: bool  #: False where the error of the time source was never measured
    supported: bool  #: False where the floor has too few values for its quantile

    @property
    def total_ns(self) -> int:
        """Both together, what a time source must be fit by."""
        return self.common_mode_ns + self.floor_ns


def uncertainty(measurement: Measurement, metric: str, share: float | None) -> Uncertainty:
    """The uncertainty of a metric.

    - delay, frame delay, loop time: the common-mode part and the floor as they are.
    - PDV: an offset cancels. Its place is taken by the error of the smallest delay, which all PDV
      values share and which the floor bounds.
    - gaps, watchdog, down events: an offset cancels; two receipts each bring their floor.
    - shift between two runs: an offset cancels; each side brings its floor.
    """
    budget = measurement.budget
    at = EVENT_SHARE if share is None else share
    floor = budget.floor_quantile_ns(at)
    known = budget.floor_ns.size > 0
    # A single value is a stated bound (JCGM 100 4.3, type B), not a sample of the error.
    supported = budget.floor_ns.size == 1 or (
        known and quantile.supported(budget.floor_ns.size, at)
    )
    if metric == "pdv":
        return Uncertainty(floor, floor, known, supported)
    if metric in ("reception_gap", "watchdog", "down_events", "delay_shift"):
        return Uncertainty(0, 2 * floor, known, supported)
    if metric == "goodput":
        return Uncertainty(0, 0, True, True)
    return Uncertainty(budget.common_mode_ns, floor, known, supported)


def unfit(found: Uncertainty, limit_ns: int) -> str | None:
    """Why the time source is not fit for a limit; None where it is.

    Never above a quarter of the limit (JCGM 106 gives the theory of guard bands), and never
    unmeasured: an unknown error is no small one.
    """
    if not found.known:
        return "the error of the time source was not measured"
    if found.total_ns > UNFIT * limit_ns:
        return (
            f"the time source is off by up to {format_duration(found.total_ns)}, more than a "
            f"quarter of the {format_duration(limit_ns)} to be judged"
        )
    return None


def late_delivery(measurement: Measurement, share: float, limit_ns: int) -> str | None:
    """Why a loop through a simulated network does not count; None where it does.

    A loop feels when frames are really delivered, not when the model releases them. The lateness of
    a share of deliveries may take a tenth of the limit.
    """
    lateness = measurement.samples["lateness_ns"]
    known = np.sort(lateness[taken(lateness)])
    if known.size == 0:
        return None
    late = quantile.nearest_rank(known, share)
    if late is None or late <= FIT * limit_ns:
        return None
    return (
        f"{format_share(share)} of deliveries were late by up to {format_duration(late)} on this "
        f"host, more than a tenth of the {format_duration(limit_ns)} to be judged"
    )


def warnings(found: Uncertainty, limit_ns: int, share: float | None) -> tuple[str, ...]:
    """What weakens a judgement without voiding it."""
    said: list[str] = []
    if found.total_ns > FIT * limit_ns:
        said.append(
            f"the time source is off by up to {format_duration(found.total_ns)}, more than a tenth "
            f"of the limit"
        )
    if found.known and not found.supported:
        at = EVENT_SHARE if share is None else share
        said.append(f"the floor has too few values for its quantile at {format_share(at)}")
    return tuple(said)
