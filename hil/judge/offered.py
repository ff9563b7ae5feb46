"""Was the offered traffic as promised? Judged from send stamps, apart from what the network did.

A packet that left too far off its grid, or that exceeded the token bucket of its QoS flow, carries
no promise of the network. It is nonconforming: bracketed, not dropped.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.samples.columns import Samples
from hil.samples.measurement import Measurement
from hil.samples.table import CLOCK_OF, difference_ns, taken
from hil.targets.traffic import AVERAGING_WINDOW_NS, QosFlow, Traffic

Flags = NDArray[np.bool_]

_FALLBACKS = ("tx_kernel_ns", "tx_user_ns")


@dataclass(frozen=True, slots=True)
class Offered:
    """Which of the offered packets kept to the promise, one flag per row of the table given."""

    off_grid: Flags  #: off the intended time by more than the tolerance
    beyond_bucket: Flags  #: exceeds the burst volume or the guaranteed rate of the QoS flow
    tolerance_ns: int
    worst_ns: int | None  #: the largest distance from the grid; None where nothing was stamped
    source: str  #: column of the samples that the packets were timed by

    @property
    def nonconforming(self) -> Flags:
        """Packets without a promise."""
        return self.off_grid | self.beyond_bucket


def offered(measurement: Measurement, rows: Samples, traffic: Traffic) -> Offered:
    """Holds the send stamps of `rows` against the schedule and the QoS flow of the traffic.

    Stamps on the clock of the schedule are preferred, in the order kernel, user; a network card's
    own clock is a different one, so its stamps are first freed of their median distance.

    Args:
        measurement: says which stamps the run relies on.
        rows: the samples of packets that were sent.
        traffic: what was promised.
    """
    column, distance, known = _off_schedule(measurement, rows)
    tolerance = round(traffic.tolerance * traffic.interval_ns)
    np.abs(distance, out=distance)
    worst = int(distance.max()) if known.any() else None
    off_grid = known & (distance > tolerance)
    del distance  # as long as the run
    beyond = np.zeros(len(rows), np.bool_)
    if traffic.qos is not None and (stamped := taken(sent := rows[column])).any():
        every = bool(stamped.all())
        size = rows["size"]
        beyond[stamped] = _beyond(
            sent if every else sent[stamped], size if every else size[stamped], traffic.qos
        )
    return Offered(
        off_grid=off_grid,
        beyond_bucket=beyond,
        tolerance_ns=tolerance,
        worst_ns=worst,
        source=column,
    )


def off_grid_share(measurement: Measurement, tolerance: float = 0.25) -> float | None:
    """The share of packets that left more than `tolerance` of the interval off their schedule.

    None where nothing was stamped, or the traffic has no interval.
    """
    _, distance, known = _off_schedule(measurement, measurement.samples)
    if measurement.interval_ns is None or not known.any():
        return None
    off = np.abs(distance[known]) > round(tolerance * measurement.interval_ns)
    return float(off.mean())


def _off_schedule(measurement: Measurement, rows: Samples) -> tuple[str, NDArray[np.int64], Flags]:
    """By which stamps packets left, how far off the intended time, and where that is known."""
    column = _column(measurement, rows)
    distance = difference_ns(rows[column], rows["intended_ns"])
    known = taken(distance)
    distance[~known] = 0
    if known.any() and CLOCK_OF[column] != CLOCK_OF["intended_ns"]:
        distance[known] -= np.int64(np.median(distance[known]))
    return column, distance, known


def _column(measurement: Measurement, rows: Samples) -> str:
    own = measurement.timing.tx_column
    realtime = CLOCK_OF["intended_ns"]
    for name in (own, *_FALLBACKS):
        if CLOCK_OF[name] == realtime and taken(rows[name]).any():
            return name
    return own


def _beyond(sent: NDArray[np.int64], size: NDArray[Any], qos: QosFlow) -> Flags:
    """Packets with which a sliding window holds more than the flow may offer in it.

    The burst volume counts over the delay budget of the access network (TS 23.501 5.7.3.7), the
    guaranteed rate over the averaging window of 2 s (5.7.3.6).
    """
    if (sent[1:] < sent[:-1]).any():
        order = np.argsort(sent, kind="stable")
        flags = np.zeros(len(sent), np.bool_)
        flags[order] = _beyond(sent[order], size[order], qos)
        return flags
    volume = np.zeros(len(sent) + 1, np.int64)
    np.cumsum(size, out=volume[1:])
    largest = int(size.max())
    over = np.zeros(len(sent), np.bool_)
    if qos.mdbv_bytes is not None and qos.an_pdb_ns is not None:
        over[_exceeding(sent, volume, largest, qos.an_pdb_ns, qos.mdbv_bytes)] = True
    if qos.gfbr_bps is not None:
        budget = qos.gfbr_bps * (AVERAGING_WINDOW_NS // 10**9) // 8
        over[_exceeding(sent, volume, largest, AVERAGING_WINDOW_NS, budget)] = True
    return over


def _exceeding(
    times: NDArray[np.int64], volume: NDArray[np.int64], largest: int, window_ns: int, budget: int
) -> NDArray[np.intp]:
    """The packets t with more than `budget` bytes in the window (t - window, t].

    `volume` is cumulated, one longer than `times`. As many packets of the `largest` size as the
    budget holds never exceed it, so only packets whose window holds more are looked at closer.
    """
    fit = min(budget // largest, len(times))
    close = np.flatnonzero(times[fit:] - times[: len(times) - fit] < window_ns) + fit
    first = np.searchsorted(times, times[close] - window_ns, side="right")
    return close[volume[close + 1] - volume[first] > budget]


def contradictions(measurement: Measurement, traffic: Traffic) -> list[str]:
    """Where the traffic that was offered is not the traffic that the requirement promises for.

    Compares what both sides state; what the measurement does not state is not held against it.
    """
    promised = traffic.model_dump(mode="json", by_alias=True)
    names = ("pattern", "size", "interval", "frame_size", "rate", "fps", "packet_size")
    return [
        f"{name} {measurement.traffic[name]} instead of {promised[name]}"
        for name in names
        if name in promised
        and name in measurement.traffic
        and measurement.traffic[name] != promised[name]
    ]
