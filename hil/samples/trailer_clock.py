"""The tap's clock, mapped to the host's: a foreign clock with its own epoch, offset and drift.

Each frame that has the time of one instant on both clocks is a reading of one against the other; a
line through the readings maps the tap's times to the host's realtime clock.

A tap that states when a frame had reached it (ingress) names the instant at which the kernel saw
the same frame leave the sender, up to the stamping floor; what is left over is that floor as
observed, frame by frame. A passive tap in front of the receiving port only states when the frame
passed. The kernel's receive stamp of it follows by the latency of the card and its interrupt; the
map takes the median of that into its offset, so it is as uncertain as that median is large.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import DAMAGED, NOT_TAKEN, TRAILER_BAD, UNREADABLE, Table, taken
from hil.stats import trend

_FEWEST_FOR_DRIFT = 8


@dataclass(frozen=True, slots=True)
class TrailerMap:
    """host = trailer + offset_ns + drift (trailer - origin_ns)."""

    origin_ns: int  #: on the trailer's clock
    offset_ns: int  #: host minus trailer, at the origin; the epochs' difference included
    drift: float  #: host nanoseconds gained per trailer nanosecond; 0 where none was seen
    pairs: int  #: frames that the map was fitted on
    instant: Literal["sending", "arrival"] = "sending"  #: which of the kernel's stamps they hold

    def to_host(self, trailer_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Trailer times on the host's realtime clock; `NOT_TAKEN` stays so."""
        known = taken(trailer_ns)
        times = np.where(known, trailer_ns, self.origin_ns)
        # Only the distance to the origin becomes a float: an epoch in nanoseconds does not fit one.
        gained = np.rint(self.drift * (times - self.origin_ns)).astype(np.int64)
        return np.where(known, times + self.offset_ns + gained, NOT_TAKEN)


def fit(trailer_ns: NDArray[np.int64], host_ns: NDArray[np.int64]) -> TrailerMap:
    """The map through readings of the same instants on both clocks.

    Medians throughout, so that a quarter of readings spoiled by a stalled host do not move it. A
    drift that the readings do not show at 97.5 % on its side is taken as 0.

    Args:
        trailer_ns: on the trailer's clock, all taken.
        host_ns: the same instants on the host's clock, all taken.

    Raises:
        ValueError: no readings, or lengths that differ.
    """
    if trailer_ns.size == 0 or trailer_ns.shape != host_ns.shape:
        raise ValueError("a clock map needs readings of both clocks")
    times, first = np.unique(trailer_ns, return_index=True)
    origin, base = int(times[0]), int(host_ns[first[0]]) - int(times[0])
    elapsed = (times - origin).astype(np.float64)
    gained = (host_ns[first] - times - base).astype(np.float64)
    drift = 0.0
    if times.size >= _FEWEST_FOR_DRIFT:
        slope, low, high = trend.theil_sen(elapsed, gained, 0.975)
        drift = slope if low > 0 or high < 0 else 0.0
    offset = base + int(np.rint(np.median(gained - drift * elapsed)))
    return TrailerMap(origin, offset, drift, int(trailer_ns.size))


def fit_trailer_map(sent: Table, arrived: Table, *, flow: int) -> TrailerMap | None:
    """The map from the frames of `flow` that carry a sound trailer and the kernel's stamp of it.

    That is the stamp of sending where the tap states an ingress, else that of arrival.

    Args:
        sent: `SENT` rows.
        arrived: `ARRIVED` rows; only the first intact copy of a probe is read, because a copy made
            before the tap reached it later than the probe left.
        flow: of both.

    Returns:
        None where no frame carries both times: then no trailer time can be mapped.
    """
    stamped = sent[(sent["flow"] == flow) & taken(sent["tx_kernel_ns"])]
    unfit = DAMAGED | UNREADABLE | TRAILER_BAD
    sound = arrived[(arrived["flow"] == flow) & ((arrived["flags"] & unfit) == 0)]
    passive = not taken(sound["trailer_ingress_ns"]).any()
    if passive:
        sound = sound[taken(sound["trailer_release_ns"]) & taken(sound["rx_kernel_ns"])]
    else:
        sound = sound[taken(sound["trailer_ingress_ns"])]
    seq, first = np.unique(sound["seq"], return_index=True)
    if passive:
        tap, host = sound["trailer_release_ns"][first], sound["rx_kernel_ns"][first]
        return replace(fit(tap, host), instant="arrival") if first.size else None
    _, there, here = np.intersect1d(stamped["seq"], seq, return_indices=True)
    if here.size == 0:
        return None
    return fit(sound["trailer_ingress_ns"][first[here]], stamped["tx_kernel_ns"][there])


def observed_floor_ns(samples: Table) -> NDArray[np.int64]:
    """Sorted magnitudes of ingress less kernel TX stamp: the per-sample floor of the run itself.

    For `Budget.floor_ns`. Empty where no sample has both times.
    """
    ingress: NDArray[Any] = samples["ingress_ns"]
    left: NDArray[Any] = samples["tx_kernel_ns"]
    both = taken(ingress) & taken(left)
    return np.sort(np.abs(ingress[both] - left[both]))
