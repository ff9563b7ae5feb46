"""Exact accounting: what was planned, sent and seen, joined to one sample per planned probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.samples.measurement import Counts, RxSource, TxSource, Window
from hil.samples.table import (
    DAMAGED,
    HELD_UP,
    SAMPLE,
    SEND_FAILED,
    SPOILED,
    TRAILER_BAD,
    UNREADABLE,
    Table,
    blank,
    taken,
)
from hil.samples.trailer_clock import TrailerMap

_MOST = int(np.iinfo(np.uint16).max)


@dataclass(frozen=True, slots=True)
class Expected:
    """The sources whose stamps the ports were to take; only of these is a stamp missing."""

    tx: tuple[TxSource, ...] = ("kernel",)
    rx: tuple[RxSource, ...] = ("kernel",)


@dataclass(frozen=True, slots=True)
class PortCounts:
    """What the ports counted that is in no row."""

    warmup_sent: int = 0  #: probes sent before the first planned one, flagged so on the wire
    foreign: int = 0  #: frames of our kind that belong to another run or to no flow of this one


def join(
    planned: Table,
    sent: Table,
    arrived: Table,
    *,
    flow: int,
    trailer_map: TrailerMap | None = None,
    expected: Expected | None = None,
    ports: PortCounts | None = None,
) -> tuple[Table, Counts]:
    """One `SAMPLE` row per planned probe, in order of sequence, and the counts of the flow.

    The rules are those of `Counts`. Rows of other flows are passed over. A readable frame of this
    flow with a sequence that was not planned counts as foreign. An unreadable frame counts for the
    flow that the receiver put it to; its sequence is not looked at.

    Args:
        planned: `PLANNED` rows of this flow with sequences strictly increasing.
        sent: `SENT` rows. A probe may have several, as when a stamp comes late; the latest time
            taken in each column counts.
        arrived: `ARRIVED` rows in order of arrival, one per frame.
        flow: the flow's number on the wire.
        trailer_map: maps the tap's clock to the host's; None where no trailer can be trusted, and
            then no trailer time is taken.
        expected: sources of which missing stamps are counted; by default the kernel's.
        ports: counts that the rows do not hold.

    Raises:
        ValueError: sequences of `planned` that do not strictly increase.
    """
    expected = expected or Expected()
    ports = ports or PortCounts()
    seq = planned["seq"]
    if np.any(seq[1:] <= seq[:-1]):
        raise ValueError("the sequences of a plan increase strictly")
    samples = blank(SAMPLE, planned.size)
    for name in ("seq", "frame", "stratum", "size"):
        samples[name] = planned[name]
    _add_sent(samples, sent[sent["flow"] == flow])
    seen = _add_arrived(samples, arrived[arrived["flow"] == flow], trailer_map)

    received = samples["copies"] > 0
    damaged_only = int(np.count_nonzero(~received & (samples["damaged"] > 0)))
    arrivals = int(np.count_nonzero(received))
    # An unreadable frame is some probe's; it explains a missing one, as long as one is missing.
    corrupted = damaged_only + min(seen.unreadable, planned.size - arrivals - damaged_only)
    failed = (samples["flags"] & SEND_FAILED) != 0
    return samples, Counts(
        sent=planned.size,
        warmup_sent=ports.warmup_sent,
        received=arrivals,
        lost=planned.size - arrivals - corrupted,
        duplicated=seen.intact - arrivals,
        reordered=_reordered(samples),
        corrupted=corrupted,
        foreign=ports.foreign + seen.unplanned,
        send_failed=int(np.count_nonzero(failed)),
        damaged_frames=seen.damaged,
        tx_missing={s: _missing(samples[f"tx_{s}_ns"], ~failed) for s in expected.tx},
        rx_missing={s: _missing(samples[f"rx_{s}_ns"], received) for s in expected.rx},
    )


def offered(planned: Table, sent: Table, *, flow: int) -> Table:
    """The planned rows up to the last one that the sender saw: what a run cut short offered."""
    mine = sent["seq"][sent["flow"] == flow]
    if mine.size == 0:
        return planned[:0]
    return planned[: np.searchsorted(planned["seq"], mine.max(), side="right")]


def spoil(samples: Table, windows: Sequence[Window]) -> Table:
    """A copy of `samples` in which those that touch a window are flagged `SPOILED`.

    A sample lies from its sending to its receipt. One that never came lies from its sending for as
    long as the slowest one took: had a stall swallowed it, it would have been in that span.
    """
    spoiled = samples.copy()
    start = _first_taken(samples, "tx_kernel_ns", "tx_user_ns", "intended_ns")
    end = _first_taken(samples, "rx_kernel_ns", "rx_trailer_ns", "rx_user_ns")
    placed, came = taken(start), taken(end)
    both = placed & came
    longest = max(0, int(np.max(end[both] - start[both]))) if both.any() else 0
    end = np.where(came, end, np.where(placed, start, 0) + longest)
    touched = np.zeros(samples.size, np.bool_)
    for window in windows:
        touched |= placed & (start <= window.end_ns) & (end >= window.start_ns)
    spoiled["flags"][touched] |= SPOILED
    return spoiled


class _Seen(NamedTuple):
    intact: int
    damaged: int
    unreadable: int
    unplanned: int


def _positions(seq: NDArray[Any], planned: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The row of each sequence in the plan, and whether it is in the plan at all."""
    position = np.searchsorted(planned, seq)
    inside = position < planned.size
    inside[inside] = planned[position[inside]] == seq[inside]
    return position, inside


def _add_sent(samples: Table, sent: Table) -> None:
    position, inside = _positions(sent["seq"], samples["seq"])
    position, sent = position[inside], sent[inside]
    for name in ("intended_ns", "tx_user_ns", "tx_kernel_ns", "tx_hardware_ns"):
        # NOT_TAKEN is the smallest integer there is, so the larger of two is the one taken.
        np.maximum.at(samples[name], position, sent[name])
    np.bitwise_or.at(samples["flags"], position, sent["flags"])


def _add_arrived(samples: Table, arrived: Table, trailer_map: TrailerMap | None) -> _Seen:
    readable = (arrived["flags"] & UNREADABLE) == 0
    unreadable = int(np.count_nonzero(~readable))
    arrived = arrived[readable]
    position, inside = _positions(arrived["seq"], samples["seq"])
    unplanned = int(np.count_nonzero(~inside))
    position, arrived = position[inside], arrived[inside]

    damaged = (arrived["flags"] & DAMAGED) != 0
    per_probe = np.bincount(position[damaged], minlength=samples.size)
    samples["damaged"] = np.minimum(per_probe, _MOST)
    position, arrived = position[~damaged], arrived[~damaged]
    samples["copies"] = np.minimum(np.bincount(position, minlength=samples.size), _MOST)

    first = np.full(samples.size, -1, np.int64)
    first[position[::-1]] = np.arange(position.size)[::-1]  # of equal indices the last one stays
    rows = np.sort(first[first >= 0])
    _add_first_copies(samples, position[rows], arrived[rows], trailer_map)
    total_damaged = int(np.count_nonzero(damaged)) + unreadable
    return _Seen(position.size, total_damaged, unreadable, unplanned)


def _add_first_copies(
    samples: Table, position: NDArray[Any], arrived: Table, trailer_map: TrailerMap | None
) -> None:
    samples["arrival"][position] = np.arange(position.size)
    for name in ("rx_user_ns", "rx_kernel_ns", "rx_hardware_ns"):
        samples[name][position] = arrived[name]
    sound = (arrived["flags"] & TRAILER_BAD) == 0
    position, arrived = position[sound], arrived[sound]
    samples["flags"][position[(arrived["flags"] & HELD_UP) != 0]] |= SPOILED
    samples["lateness_ns"][position] = arrived["trailer_lateness_ns"]
    if trailer_map is not None:
        samples["rx_trailer_ns"][position] = trailer_map.to_host(arrived["trailer_release_ns"])
        samples["ingress_ns"][position] = trailer_map.to_host(arrived["trailer_ingress_ns"])


def reordered(samples: Table) -> NDArray[np.bool_]:
    """Which probes arrived, by their first intact copy, after one with a higher sequence.

    RFC 4737 section 3.3: a packet is reordered where its sequence is below the next expected one,
    which is one more than the highest seen.
    """
    came = np.flatnonzero(samples["arrival"] >= 0)
    in_order = came[np.argsort(samples["arrival"][came], kind="stable")]
    late = np.zeros(samples.size, np.bool_)
    late[in_order[1:]] = in_order[1:] < np.maximum.accumulate(in_order)[:-1]
    return late


def _reordered(samples: Table) -> int:
    return int(np.count_nonzero(reordered(samples)))


def _missing(column: NDArray[Any], due: NDArray[Any]) -> int:
    return int(np.count_nonzero(due & ~taken(column)))


def _first_taken(samples: Table, *names: str) -> NDArray[np.int64]:
    times: NDArray[np.int64] = samples[names[0]]
    for name in names[1:]:
        times = np.where(taken(times), times, samples[name])
    return times
