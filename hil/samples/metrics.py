"""Metrics of one measurement, each by its standard definition.

Arrays run along the samples (one entry per planned probe, in order of sequence) unless said
otherwise, with `NOT_TAKEN` where a value is not known: a packet that never came, a stamp that is
missing. A lost packet has no delay here; that it counts as infinitely late is the verdict's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.columns import Samples
from hil.samples.measurement import Timing, TxSource
from hil.samples.table import CLOCK_OF, NOT_TAKEN, SEND_FAILED, difference_ns, taken
from hil.stats import quantile, trend

#: The percentiles of a `distribution`, as keys and as shares.
PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "p99.99": 0.9999}


def delay_ns(samples: Samples, timing: Timing) -> NDArray[np.int64]:
    """One-way delay (RFC 7679): receipt of the first intact copy less the send time."""
    received = samples[timing.rx_column]
    if not timing.comparable:
        return np.full(len(received), NOT_TAKEN, np.int64)
    return difference_ns(received, samples[timing.tx_column])


def received(samples: Samples) -> NDArray[np.bool_]:
    """Which probes came intact at least once."""
    return np.asarray(samples["copies"] > 0)


def pdv_ns(delay: NDArray[np.int64]) -> NDArray[np.int64]:
    """Packet delay variation (RFC 5481 section 4.2): delay less the smallest delay of the run."""
    known = taken(delay)
    if not known.any():
        return delay.copy()
    return np.where(known, delay - np.min(delay[known]), NOT_TAKEN)


def ipdv_ns(delay: NDArray[np.int64], seq: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Inter-packet delay variation (RFC 3393), signed: delay less that of the packet before.

    The selection function is consecutive sequence numbers, both received: across a loss there is no
    value, and none for the first.
    """
    variation = np.full(delay.size, NOT_TAKEN, np.int64)
    known = taken(delay)
    pair = known[1:] & known[:-1] & (seq[1:] == seq[:-1] + np.uint64(1))
    variation[1:][pair] = (delay[1:] - np.where(known[:-1], delay[:-1], 0))[pair]
    return variation


def receipts_ns(samples: Samples, timing: Timing) -> NDArray[np.int64]:
    """The times at which first intact copies came, sorted; one entry per receipt."""
    times = samples[timing.rx_column]
    # Packets come nearly in the order they were sent, which a merge sort makes use of.
    return np.sort(times[received(samples) & taken(times)], kind="stable")


def reception_intervals_ns(samples: Samples, timing: Timing) -> NDArray[np.int64]:
    """The time between each receipt and the one before, in order of time; one fewer than receipts.

    The message reception interval of 5G-ACIA, update time of TS 22.104 annex C. Across a loss the
    interval is that much longer.
    """
    return np.diff(receipts_ns(samples, timing))


def send_lateness_ns(samples: Samples, source: TxSource) -> NDArray[np.int64]:
    """Send time less intended time, signed; of the sender, not of the network.

    Raises:
        ValueError: the source's clock is not that of the schedule.
    """
    column = f"tx_{source}_ns"
    if CLOCK_OF[column] != CLOCK_OF["intended_ns"]:
        raise ValueError(f"{column} is on the clock {CLOCK_OF[column]}, the schedule is not")
    return difference_ns(samples[column], samples["intended_ns"])


def send_times_ns(samples: Samples, timing: Timing) -> NDArray[np.int64]:
    """The send time of every probe, all taken, on the clock of `timing.tx`.

    Where the stamp is missing, the intended time stands in, moved by the median distance of the
    stamps that are there from theirs.

    Raises:
        ValueError: a probe with neither a stamp nor an intended time.
    """
    sent, intended = samples[timing.tx_column], samples["intended_ns"]
    if not np.all(taken(sent) | taken(intended)):
        raise ValueError("some probes have neither a send stamp nor an intended time")
    late = difference_ns(sent, intended)
    known = late[taken(late)]
    shift = int(np.median(known)) if known.size else 0
    return np.where(taken(sent), sent, np.where(taken(intended), intended, 0) + shift)


def distribution(values: NDArray[np.int64], n: int | None = None) -> dict[str, int | None]:
    """min, p50, p90, p99, p99.9, p99.99 and max of the values taken, by nearest rank.

    A percentile that the number of values cannot tell from the maximum (n (1 - p) < 1) is None, as
    is everything of nothing. With `n` above the number of values taken, the others count as
    infinite and what falls among them is None.
    """
    known = values[taken(values)]
    total = known.size if n is None else n
    shares = {"min": 0.0, **PERCENTILES, "max": 1.0}
    ranks = {
        name: quantile.rank(total, p)
        for name, p in shares.items()
        if total and (p in (0.0, 1.0) or quantile.supported(total, p))
    }
    finite = {name: rank for name, rank in ranks.items() if rank <= known.size}
    found = quantile.order_statistics(known, list(finite.values())).tolist()
    return {**dict.fromkeys(shares), **dict(zip(finite, found, strict=True))}


@dataclass(frozen=True, slots=True)
class WatchdogReplay:
    """A watchdog replayed on the receipts: one entry per gap, in order of time.

    A gap begins at `start_ns` and lasts `gap_ns`; the last one reaches to the end of the flow.
    `certain` are gaps longer than the watchdog and its tick together, `possible` those that reach
    the watchdog, the certain ones included: in between it depends on where the tick fell.
    """

    start_ns: NDArray[np.int64]
    gap_ns: NDArray[np.int64]
    certain: NDArray[np.bool_]
    possible: NDArray[np.bool_]

    @property
    def longest_ns(self) -> int | None:
        """The longest gap; None where nothing was offered."""
        return int(self.gap_ns.max()) if self.gap_ns.size else None


def watchdog(
    samples: Samples, timing: Timing, *, watchdog_ns: int, tick_ns: int = 0
) -> WatchdogReplay:
    """Replays a PLC's communication watchdog, restarted by each receipt, on this measurement.

    It starts with the first receipt. The flow ends when its last packet would have come at the
    smallest delay seen; packets lost at the end so count as a gap. Where nothing came at all it
    starts with the first sending, so that a dead network trips it.

    Args:
        samples: of one flow.
        timing: which receive times.
        watchdog_ns: the time-out as set in the PLC.
        tick_ns: the PLC's timer tick or scan: how much later than set it may act.
    """
    if samples.size == 0:
        return _replay(np.zeros(0, np.int64), watchdog_ns, tick_ns)
    receipts, sent = receipts_ns(samples, timing), send_times_ns(samples, timing)
    delay = delay_ns(samples, timing)
    known = delay[taken(delay)]
    end = int(sent.max()) + (int(known.min()) if known.size else 0)
    start = receipts if receipts.size else np.array([sent.min()])
    return _replay(np.append(start, max(end, int(start[-1]))), watchdog_ns, tick_ns)


def _replay(times: NDArray[np.int64], watchdog_ns: int, tick_ns: int) -> WatchdogReplay:
    gap = np.diff(times)
    return WatchdogReplay(times[:-1], gap, gap > watchdog_ns + tick_ns, gap >= watchdog_ns)


@dataclass(frozen=True, slots=True)
class Frames:
    """PDU sets (images, video frames), one entry each, in order of their index.

    `delay_ns` is from the first packet in to the last packet out; it is `NOT_TAKEN` where the frame
    is not complete (then it counts as infinite) and where a stamp it needs is missing (then it is
    complete and its delay is not known). `first_ns` is when its first packet was sent, `size` its
    bytes.
    """

    frame: NDArray[np.uint32]
    first_ns: NDArray[np.int64]
    delay_ns: NDArray[np.int64]
    complete: NDArray[np.bool_]
    size: NDArray[np.int64]


def frames(samples: Samples, timing: Timing) -> Frames:
    """The PDU sets of a measurement (TS 23.501 clause 5.37.5: a set is of use only as a whole)."""
    order = np.argsort(samples["frame"], kind="stable")
    ordered = samples[order]
    index, start = np.unique(ordered["frame"], return_index=True)
    if index.size == 0:
        none = np.zeros(0, np.int64)
        return Frames(index, none, none, np.zeros(0, np.bool_), none)
    arrived = ordered[timing.rx_column]
    first = ordered[timing.tx_column][start]
    # A packet that never came has no receive time, so a frame that is not complete is not timed.
    timed = np.logical_and.reduceat(taken(arrived), start) & taken(first)
    last = np.maximum.reduceat(arrived, start)
    delay = np.where(timed, np.where(timed, last, 0) - np.where(timed, first, 0), NOT_TAKEN)
    return Frames(
        frame=index,
        first_ns=first,
        delay_ns=delay,
        complete=np.logical_and.reduceat(received(ordered), start),
        size=np.add.reduceat(ordered["size"].astype(np.int64), start),
    )


@dataclass(frozen=True, slots=True)
class Goodput:
    """What was delivered of what was offered, in windows, and whether a backlog grew.

    `offered` and `delivered` are bytes per window, the window beginning at `start_ns` on the clock
    of the schedule. `backlog` are bytes on their way as each frame began. `growth` is the slope of
    the backlog as a share of the offered rate (0.01: one byte in a hundred stays behind), with its
    one-sided 95 % limits; None where there are too few frames to tell.
    """

    window_ns: int
    start_ns: NDArray[np.int64]
    offered: NDArray[np.int64]
    delivered: NDArray[np.int64]
    backlog: NDArray[np.int64]
    growth: float | None = None
    growth_low: float | None = None
    growth_high: float | None = None

    @property
    def share(self) -> NDArray[np.float64]:
        """Delivered over offered, per window."""
        return self.delivered / self.offered


def goodput(samples: Samples, timing: Timing, *, window_ns: int) -> Goodput:
    """Goodput on the sender's own frame grid.

    A window begins with each frame and holds the frames that begin within `window_ns`. It is whole
    frames of the sender's, because bins of any other phase cut frames and show a lossless network
    as failing. Delivered counts intact packets whenever they came; that they come later and later
    shows in the backlog. A flow shorter than the window is one window. Packets that the kernel
    refused were not offered.

    Args:
        samples: of one flow.
        timing: which times the backlog is made of.
        window_ns: the averaging window, as 2 s for a GFBR (TS 23.501 clause 5.7.3.6).
    """
    sent = samples[((samples["flags"] & SEND_FAILED) == 0) & taken(samples["intended_ns"])]
    order = np.argsort(sent["frame"], kind="stable")
    sent = sent[order]
    _, start = np.unique(sent["frame"], return_index=True)
    if start.size == 0:
        none = np.zeros(0, np.int64)
        return Goodput(window_ns, none, none, none, none)
    size = sent["size"].astype(np.int64)
    begin = sent["intended_ns"][start]
    offered = _cumulated(np.add.reduceat(size, start))
    delivered = _cumulated(np.add.reduceat(np.where(received(sent), size, 0), start))
    past = np.searchsorted(begin, begin + window_ns, side="left")
    whole = begin + window_ns <= begin[-1] + _last_frame_ns(begin)
    whole[0] = True
    first = np.flatnonzero(whole)
    backlog, growth = _backlog(sent, start, timing)
    return Goodput(
        window_ns,
        begin[first],
        offered[past[first]] - offered[first],
        delivered[past[first]] - delivered[first],
        backlog,
        *growth,
    )


def _last_frame_ns(begin: NDArray[np.int64]) -> int:
    """How long the last frame lasts: as long as frames do."""
    return int(np.median(np.diff(begin))) if begin.size > 1 else 0


def _cumulated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.concatenate(([0], np.cumsum(values)))


def _backlog(
    sent: Samples, start: NDArray[Any], timing: Timing
) -> tuple[NDArray[np.int64], tuple[float | None, float | None, float | None]]:
    """Bytes on their way as each frame began, and how fast they grow against the offered rate."""
    unknown = (None, None, None)
    left, came = sent[timing.tx_column], sent[timing.rx_column]
    both = taken(left) & taken(came)
    begin = np.unique(left[start][taken(left[start])])
    if begin.size < 3 or not both.any():
        return np.zeros(0, np.int64), unknown
    size = sent["size"][both].astype(np.int64)
    backlog = _before(left[both], size, begin, "left") - _before(came[both], size, begin, "right")
    span = begin[-1] - begin[0]
    rate = float(np.sum(sent["size"][: start[-1]], dtype=np.int64)) / float(span)
    slope, low, high = trend.theil_sen(begin - begin[0], backlog)
    if not np.isfinite(low):
        return backlog, unknown
    return backlog, (slope / rate, low / rate, high / rate)


def _before(
    times: NDArray[np.int64], size: NDArray[np.int64], at: NDArray[np.int64], side: Any
) -> NDArray[np.int64]:
    """The bytes of all events before each of the times `at`."""
    order = np.argsort(times, kind="stable")
    return _cumulated(size[order])[np.searchsorted(times[order], at, side=side)]
