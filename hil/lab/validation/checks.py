"""Checks of counts, times and metrics: known packets in, the instrument's figures out.

Each check is a function without arguments that raises `Wrong` with one sentence where the
instrument does not say what is known. What is known is written down or counted here, by other
means than the instrument's.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np

from hil.lab.validation import recording, truth
from hil.lab.validation.recording import Done, Recording, record
from hil.samples import metrics
from hil.samples.accounting import join
from hil.samples.measurement import Timing
from hil.samples.table import ARRIVED, NOT_TAKEN, SENT, Table, blank, taken
from hil.stats import quantile
from hil.traffic.flow import periodic
from hil.traffic.watch import ClockReading, ClockWatch
from hil.virtual.faults.fault_list import FaultList
from hil.wire import probe

_COUNT: Final = 400
_DRIFT_PPB: Final = 40_000
_CLOSE_NS: Final = 2_000  # more than the way from the send stamp to the tap varies in a recording
_MS: Final = 1_000_000
_START: Final = 1_790_000_000 * 10**9


class Wrong(Exception):
    """The instrument does not say what is known."""


def same(what: str, found: Any, known: Any) -> None:
    """Raises `Wrong` where two values differ."""
    if found != known:
        raise Wrong(f"{what}: {found} instead of {known}")


def _held_together(first: int, count: int) -> list[dict[str, Any]]:
    """Packets in a row that are held back until the same time, far behind those that follow."""
    return [
        {"do": "delay", "packet": first + k, "by": f"{30 + count - k} ms"} for k in range(count)
    ]


@cache
def _scene() -> tuple[Recording, Done]:
    """A run in which one of everything happens, on a tap whose clock drifts."""
    faults = FaultList.model_validate(
        {
            "schema": 1,
            "delay": "2 ms",
            "faults": (
                {"do": "drop", "packet": 0},
                {"do": "drop", "packet": 10, "count": 5},
                {"do": "duplicate", "packet": 20, "count": 9},
                {"do": "swap", "packet": 60},
                *_held_together(100, 8),
                {"do": "corrupt", "packet": 200, "byte": -1, "count": 3},
                {"do": "corrupt", "packet": 210, "byte": 60},
                {"do": "drop", "packet": _COUNT - 2, "count": 2},
            ),
        }
    )
    random = np.random.default_rng(20_260)
    return record(recording.calm(), random, faults, count=_COUNT, drift_ppb=_DRIFT_PPB, strangers=4)


def counts_of_a_known_list() -> None:
    """Lost, doubled, overtaken, corrupted, foreign and warm-up frames are counted exactly."""
    recorded, done = _scene()
    counts = recorded.measurement().counts
    known = truth.counted(_COUNT, zip(done.seq.tolist(), done.intact.tolist(), strict=True))
    if wrong := truth.differences(counts, known):
        raise Wrong("; ".join(wrong))
    same("packets sent", counts.sent, _COUNT)
    same("frames foreign", counts.foreign, 4)
    same("warm-up frames", counts.warmup_sent, recording.WARM_UP)
    same("damaged frames", counts.damaged_frames, 4)


def delays_packet_by_packet() -> None:
    """Each packet has its own delay, of its first intact copy, mapped from a clock that drifts."""
    recorded, done = _scene()
    measured = recorded.measurement()
    first: dict[int, int] = {}
    for place, (seq, intact) in enumerate(
        zip(done.seq.tolist(), done.intact.tolist(), strict=True)
    ):
        if intact:
            first.setdefault(seq, place)
    came = measured.samples["rx_kernel_ns"]
    for seq, delay in enumerate(measured.delay_ns.tolist()):
        if seq not in first:
            same(f"delay of packet {seq}, which never came", delay, NOT_TAKEN)
            continue
        stamp = int(recorded.kernel_ns[recording.WARM_UP + first[seq]])
        same(f"receive stamp of packet {seq}", int(came[seq]), stamp)
        known = int(done.left_ns[first[seq]] - done.entered_ns[seq])
        if abs(delay - known) > _CLOSE_NS:
            raise Wrong(f"delay of packet {seq}: {delay} ns instead of {known} within 2 us")


def trailers_one_by_one() -> None:
    """A trailer that was left from the frame before is no time of this frame."""
    recorded, _ = _scene()
    payload = recorded.payload.copy()
    stale = recording.WARM_UP + 150
    payload[stale, recording.LENGTH :] = payload[stale - 1, recording.LENGTH :]
    changed = Recording(
        recorded.offset_ns, recorded.sent, payload, recorded.lengths, recorded.kernel_ns
    )
    before, after = (each.measurement().samples for each in (recorded, changed))
    lost = int(taken(before["rx_trailer_ns"]).sum() - taken(after["rx_trailer_ns"]).sum())
    same("trailers not believed", lost, 1)


def numbers_beyond_16_bits() -> None:
    """Sequence numbers go on where 16 bits end."""
    recorded, _ = _scene()
    first = (1 << 16) - _COUNT // 2
    offsets = np.zeros(first + _COUNT, np.int64)
    offsets[first:] = recorded.offset_ns
    payload = recorded.payload.copy()
    judged = slice(recording.WARM_UP, None)
    old = probe.decode(payload)["seq"][judged]
    payload[judged, : probe.SIZE] = probe.encode(
        recording.RUN, recording.FLOW, old + np.uint64(first), recording.START_NS, 0
    )
    moved = Recording(offsets, recorded.sent, payload, recorded.lengths, recorded.kernel_ns)
    rows, _, _ = moved.arrived()
    same("highest number seen", int(rows["seq"].max()), first + int(old.max()))
    same("lowest number seen", int(rows["seq"].min()), first + int(old.min()))


def missing_stamps_are_not_zero() -> None:
    """A stamp that was not taken makes a delay unknown, is counted, and is no time of its own."""
    recorded, _ = _scene()
    sent = recorded.sent.copy()
    sent["tx_kernel_ns"][150:155] = NOT_TAKEN
    changed = Recording(
        recorded.offset_ns, sent, recorded.payload, recorded.lengths, recorded.kernel_ns
    )
    measured = changed.measurement()
    same("delays of packets without a stamp", set(measured.delay_ns[150:155].tolist()), {NOT_TAKEN})
    same("stamps missing", measured.counts.tx_missing["kernel"], 5)
    smallest = metrics.distribution(measured.delay_ns)["min"]
    if smallest is None or smallest <= 0:
        raise Wrong(f"smallest delay: {smallest} ns")


def steps_of_the_clock_are_seen() -> None:
    """A step of 50 us is a spoiled window; a change of rate is none."""
    for step, known in ((50_000, 1), (0, 0)):
        watch = ClockWatch()
        for look in range(20):
            offset = look * 500 + (step if look >= 10 else 0)
            at = _START + look * 100 * _MS
            watch.add(ClockReading(at + offset, at, offset, 60))
        same(f"steps seen after one of {step} ns", len(watch.windows), known)


def _samples(delay_ns: Any, *, lost: Any = (), interval_ns: int = 10 * _MS) -> Table:
    """Samples of a cyclic flow with known delays."""
    delays = np.asarray(delay_ns, np.int64)
    planned = periodic(len(delays), interval_ns, 128)
    return _joined(planned, delays, lost)


def _joined(planned: Table, delays: Any, lost: Any = ()) -> Table:
    sent = blank(SENT, len(planned))
    sent["flow"], sent["flags"], sent["seq"] = 1, 0, planned["seq"]
    sent["intended_ns"] = sent["tx_kernel_ns"] = _START + planned["offset_ns"]
    arrived = blank(ARRIVED, len(planned))
    arrived["flow"], arrived["flags"], arrived["seq"] = 1, 0, planned["seq"]
    arrived["rx_kernel_ns"] = sent["tx_kernel_ns"] + delays
    arrived = np.delete(arrived, list(lost))
    arrived = arrived[np.argsort(arrived["rx_kernel_ns"], kind="stable")]
    return join(planned, sent, arrived, flow=1)[0]


_KERNEL: Final = Timing("kernel", "kernel")


def percentiles_by_nearest_rank() -> None:
    """A percentile is a value that was seen, at the rank ceil(p n)."""
    values = np.arange(1, 1002)
    known = {0.5: 501, 0.9: 901, 0.99: 991, 0.999: 1000}
    found = {p: quantile.nearest_rank(values, p) for p in known}
    same("percentiles of 1 to 1001", found, known)


def variation_against_the_smallest() -> None:
    """PDV is delay less the smallest delay of the run (RFC 5481)."""
    delays = np.array([5, 3, 9, 4], np.int64) * _MS
    found = metrics.pdv_ns(delays).tolist()
    same("PDV", found, [2 * _MS, 0, 6 * _MS, 1 * _MS])


def frames_from_first_in_to_last_out() -> None:
    """The delay of a frame ends with its last packet, and a frame that misses one has none."""
    planned = periodic(9, 0, 1400)
    planned["frame"] = np.arange(9) // 3
    planned["offset_ns"] = np.arange(9) // 3 * 33 * _MS
    delays = np.array([1, 7, 4, 1, 2, 3, 1, 2, 3]) * _MS
    found = metrics.frames(_joined(planned, delays, [7]), _KERNEL)
    same("frame delays", found.delay_ns.tolist(), [7 * _MS, 3 * _MS, NOT_TAKEN])
    same("frames complete", found.complete.tolist(), [True, True, False])


def watchdog_from_the_last_receipt() -> None:
    """A PLC's watchdog runs from one receipt to the next, whatever the deadlines were."""
    for missing, known in ((2, 0), (3, 1)):
        rows = _samples(np.full(100, 3 * _MS), lost=range(50, 50 + missing))
        found = metrics.watchdog(rows, _KERNEL, watchdog_ns=30 * _MS, tick_ns=_MS)
        same(f"trips with {missing} messages missing", int(found.certain.sum()), known)
        same("longest gap", found.longest_ns, (missing + 1) * 10 * _MS)


def goodput_on_the_senders_grid() -> None:
    """A lossless flow of frames of many sizes delivers all it offers in every window."""
    random = np.random.default_rng(7)
    per_frame = random.integers(1, 12, 180)
    planned = periodic(int(per_frame.sum()), 0, 1400)
    planned["frame"] = np.repeat(np.arange(180), per_frame)
    planned["offset_ns"] = planned["frame"].astype(np.int64) * 16_666_667
    found = metrics.goodput(
        _joined(planned, np.full(len(planned), 3 * _MS)), _KERNEL, window_ns=500 * _MS
    )
    same("windows short", int((found.share < 1).sum()) + int((found.share > 1).sum()), 0)


#: By name, as the bugs name them.
CHECKS: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each
    for each in (
        counts_of_a_known_list,
        delays_packet_by_packet,
        trailers_one_by_one,
        numbers_beyond_16_bits,
        missing_stamps_are_not_zero,
        steps_of_the_clock_are_seen,
        percentiles_by_nearest_rank,
        variation_against_the_smallest,
        frames_from_first_in_to_last_out,
        watchdog_from_the_last_receipt,
        goodput_on_the_senders_grid,
    )
}
