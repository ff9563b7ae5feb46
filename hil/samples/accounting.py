"""Exact accounting: what was planned, sent and seen, joined to one sample per planned probe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

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
    difference_ns,
    taken,
)
from hil.samples.trailer_clock import TrailerMap

_SEND_TIMES = ("intended_ns", "tx_user_ns", "tx_kernel_ns", "tx_hardware_ns")
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
    seq = planned["seq"]
    if np.any(seq[1:] <= seq[:-1]):
        raise ValueError("the sequences of a plan increase strictly")
    samples = unsent(planned)
    add_sent(samples, sent[sent["flow"] == flow])
    tally = Tally(expected or Expected())
    tally.add(samples, add_arrived(samples, arrived[arrived["flow"] == flow], trailer_map))
    return samples, tally.counts(
        ports or PortCounts(), reordered=int(np.count_nonzero(reordered(samples)))
    )


@dataclass(frozen=True, slots=True)
class Seen:
    """What was found among arrived rows of one flow, in frames."""

    intact: int = 0
    damaged: int = 0  #: the unreadable ones included
    unreadable: int = 0
    unplanned: int = 0


class Tally:
    """The counts of a flow, added up over parts of its samples."""

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self._sent = self._received = self._damaged_only = self._failed = 0
        self._seen = Seen()
        self._missing: dict[str, int] = {
            **{f"tx_{source}_ns": 0 for source in expected.tx},
            **{f"rx_{source}_ns": 0 for source in expected.rx},
        }

    def add(self, samples: Table, seen: Seen) -> None:
        """Samples not yet counted, and what was found among their arrived rows."""
        received = samples["copies"] > 0
        failed = (samples["flags"] & SEND_FAILED) != 0
        self._sent += samples.size
        self._received += int(np.count_nonzero(received))
        self._damaged_only += int(np.count_nonzero(~received & (samples["damaged"] > 0)))
        self._failed += int(np.count_nonzero(failed))
        for column in self._missing:
            due = ~failed if column.startswith("tx_") else received
            self._missing[column] += int(np.count_nonzero(due & ~taken(samples[column])))
        self.add_frames(seen)

    def add_frames(self, seen: Seen) -> None:
        """Frames of the flow, whichever probe they are of."""
        mine = self._seen
        self._seen = Seen(
            mine.intact + seen.intact,
            mine.damaged + seen.damaged,
            mine.unreadable + seen.unreadable,
            mine.unplanned + seen.unplanned,
        )

    def counts(self, ports: PortCounts, *, reordered: int) -> Counts:
        """The counts; how many were reordered shows only over the whole."""
        missing = self._sent - self._received - self._damaged_only
        # An unreadable frame is some probe's; it explains a missing one, while one is missing.
        corrupted = self._damaged_only + min(self._seen.unreadable, missing)
        return Counts(
            sent=self._sent,
            warmup_sent=ports.warmup_sent,
            received=self._received,
            lost=self._sent - self._received - corrupted,
            duplicated=self._seen.intact - self._received,
            reordered=reordered,
            corrupted=corrupted,
            foreign=ports.foreign + self._seen.unplanned,
            send_failed=self._failed,
            damaged_frames=self._seen.damaged,
            tx_missing={s: self._missing[f"tx_{s}_ns"] for s in self._expected.tx},
            rx_missing={s: self._missing[f"rx_{s}_ns"] for s in self._expected.rx},
        )


def unsent(planned: Table) -> Table:
    """The samples of planned probes of which nothing is known yet."""
    samples = blank(SAMPLE, planned.size)
    for name in ("seq", "frame", "stratum", "size"):
        samples[name] = planned[name]
    return samples


def offered(planned: Table, sent: Table, *, flow: int) -> Table:
    """The planned rows up to the last one that the sender saw: what a run cut short offered."""
    mine = sent["seq"][sent["flow"] == flow]
    if mine.size == 0:
        return planned[:0]
    return planned[: np.searchsorted(planned["seq"], mine.max(), side="right")]


def spoil(samples: Table, windows: Sequence[Window], longest_ns: int | None = None) -> Table:
    """A copy of `samples` in which those that touch a window are flagged `SPOILED`.

    A sample lies from its sending to its receipt. One that never came lies from its sending for as
    long as the slowest one took: had a stall swallowed it, it would have been in that span.
    `longest_ns` is how long that was over the whole run, where `samples` are a part of it.
    """
    spoiled = samples.copy()
    start, end = _span(samples)
    placed, came = taken(start), taken(end)
    longest = longest_span_ns(samples) if longest_ns is None else longest_ns
    end = np.where(came, end, np.where(placed, start, 0) + longest)
    touched = np.zeros(samples.size, np.bool_)
    for window in windows:
        touched |= placed & (start <= window.end_ns) & (end >= window.start_ns)
    spoiled["flags"][touched] |= SPOILED
    return spoiled


def longest_span_ns(samples: Table) -> int:
    """How long the slowest of the samples took from its sending to its receipt, at least 0."""
    spans = difference_ns(*reversed(_span(samples)))
    known = spans[taken(spans)]
    return max(0, int(known.max())) if known.size else 0


def _span(samples: Table) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """When each sample was sent and when it came, by the best time that it has of either."""
    start = _first_taken(samples, "tx_kernel_ns", "tx_user_ns", "intended_ns")
    return start, _first_taken(samples, "rx_kernel_ns", "rx_trailer_ns", "rx_user_ns")


def _positions(seq: NDArray[Any], planned: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The row of each sequence in the plan, and whether it is in the plan at all."""
    position = np.searchsorted(planned, seq)
    inside = position < planned.size
    inside[inside] = planned[position[inside]] == seq[inside]
    return position, inside


def _chosen(rows: Table, which: NDArray[np.bool_]) -> Table:
    """Some of the rows; they themselves where it is all, since copying rows takes time."""
    return rows if which.all() else rows[which]


def add_sent(samples: Table, sent: Table) -> None:
    """Notes in `samples` what the sender saw: `SENT` rows of the flow; others' are passed over."""
    position, inside = _positions(sent["seq"], samples["seq"])
    position, sent = position[inside], _chosen(sent, inside)
    # NOT_TAKEN is the smallest integer there is, so the larger of two is the one taken.
    if (position[1:] > position[:-1]).all():
        for name in _SEND_TIMES:
            column = samples[name]
            column[position] = np.maximum(column[position], sent[name])
        samples["flags"][position] |= sent["flags"]
        return
    for name in _SEND_TIMES:
        np.maximum.at(samples[name], position, sent[name])
    np.bitwise_or.at(samples["flags"], position, sent["flags"])


def add_arrived(samples: Table, arrived: Table, trailer_map: TrailerMap | None) -> Seen:
    """Notes in `samples` what the receiver saw: `ARRIVED` rows of the flow, in order."""
    readable = (arrived["flags"] & UNREADABLE) == 0
    unreadable = int(np.count_nonzero(~readable))
    arrived = _chosen(arrived, readable)
    position, inside = _positions(arrived["seq"], samples["seq"])
    unplanned = int(np.count_nonzero(~inside))
    position, arrived = position[inside], _chosen(arrived, inside)

    damaged = (arrived["flags"] & DAMAGED) != 0
    per_probe = np.bincount(position[damaged], minlength=samples.size)
    samples["damaged"] = np.minimum(per_probe, _MOST)
    position, arrived = position[~damaged], _chosen(arrived, ~damaged)
    samples["copies"] = np.minimum(np.bincount(position, minlength=samples.size), _MOST)

    first = np.full(samples.size, -1, np.int64)
    first[position[::-1]] = np.arange(position.size)[::-1]  # of equal indices the last one stays
    intact = position.size
    rows = np.sort(first[first >= 0])
    if rows.size < intact:
        position, arrived = position[rows], arrived[rows]
    _add_first_copies(samples, position, arrived, trailer_map)
    total_damaged = int(np.count_nonzero(damaged)) + unreadable
    return Seen(intact, total_damaged, unreadable, unplanned)


def _add_first_copies(
    samples: Table, position: NDArray[Any], arrived: Table, trailer_map: TrailerMap | None
) -> None:
    samples["arrival"][position] = np.arange(position.size)
    for name in ("rx_user_ns", "rx_kernel_ns", "rx_hardware_ns"):
        samples[name][position] = arrived[name]
    sound = (arrived["flags"] & TRAILER_BAD) == 0
    position, arrived = position[sound], _chosen(arrived, sound)
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


def _first_taken(samples: Table, *names: str) -> NDArray[np.int64]:
    times: NDArray[np.int64] = samples[names[0]]
    for name in names[1:]:
        times = np.where(taken(times), times, samples[name])
    return times
