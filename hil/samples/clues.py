"""What can be seen of late packets beside their lateness: events, others' load, phase and place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions

from hil.samples.measurement import Measurement
from hil.samples.phase import PhaseMap, part_of
from hil.samples.segments import last_seen, way
from hil.samples.table import difference_ns, taken

_BEFORE_NS: Final = 200_000_000  # an event may have begun before a packet that it delays is sent
_LOAD_NS: Final = 10_000_000
_CHANCE: Final = 0.001

Flags = NDArray[np.bool_]
Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to the network, on the realtime clock: ``cpe1: rrc idle``."""

    t_ns: int
    what: str


@dataclass(frozen=True, slots=True)
class Parts:
    """The part of the period that each sample was sent in, and where that part starts."""

    number: NDArray[np.int64]
    start_ns: Times


def events(
    sent: Times, delay: Times, rows: NDArray[np.intp], bound_ns: int, known: Sequence[Event]
) -> Mapping[int, str]:
    """The last event of those that touch each of `rows`: on its way, or 200 ms before.

    A packet that never came counts as on its way for twice the bound.
    """
    if not known:
        return {}
    ordered = sorted(known, key=lambda each: each.t_ns)
    times = np.array([each.t_ns for each in ordered], np.int64)
    until = sent[rows] + np.where(taken(delay[rows]), delay[rows], 2 * bound_ns)
    last = np.searchsorted(times, until, side="right") - 1
    touched = (last >= 0) & (times[np.maximum(last, 0)] >= sent[rows] - _BEFORE_NS)
    return {
        int(row): ordered[place].what
        for row, place, yes in zip(rows.tolist(), last.tolist(), touched.tolist(), strict=True)
        if yes
    }


def load(sent: Times, beside: Sequence[Measurement]) -> NDArray[np.int64] | None:
    """The bytes that others offered in the 10 ms before each packet; None where nobody did."""
    if not beside:
        return None
    times, sizes = [], []
    for other in beside:
        theirs = other.samples[other.timing.tx_host_column]
        times.append(theirs[taken(theirs)])
        sizes.append(other.samples["size"][taken(theirs)].astype(np.int64))
    at = np.concatenate(times)
    order = np.argsort(at, kind="stable")
    at, volume = at[order], np.concatenate(([0], np.cumsum(np.concatenate(sizes)[order])))
    known = np.where(taken(sent), sent, 0)
    until = np.searchsorted(at, known, side="right")
    since = np.searchsorted(at, known - _LOAD_NS, side="right")
    return np.asarray(volume[until] - volume[since], np.int64)


def parts(measurement: Measurement, folded: PhaseMap | None) -> Parts | None:
    """The part of the period each packet was sent in; None where delays show no such period."""
    if folded is None or not folded.periodic:
        return None
    number = part_of(measurement, folded)
    return Parts(number, np.array(folded.start_ns, np.int64)[number])


def places(measurement: Measurement, late: Flags) -> Mapping[int, str]:
    """Where each late packet lost most of its time, or was lost; of nothing without points.

    Most is half of what it took longer, segment by segment, than packets in time usually do.
    """
    if not measurement.sightings:
        return {}
    names, times = way(measurement)
    lost = measurement.samples["arrival"] < 0
    found: dict[int, str] = {}
    seen = last_seen(measurement)
    for row in np.flatnonzero(late & lost).tolist():
        after = names[0] if seen[row] < 0 else measurement.sightings[seen[row]].visit.name
        found[row] = f"lost after {after}"
    took = np.stack([difference_ns(end, start) for start, end in pairwise(times)])
    whole = np.all(taken(took), axis=0)
    on_time, slow = whole & ~late & ~lost, np.flatnonzero(whole & late & ~lost)
    if not on_time.any() or not slow.size:
        return found
    usual = np.median(took[:, on_time], axis=1)
    excess = np.maximum(took[:, slow] - usual[:, None], 0)
    most = excess.argmax(axis=0)
    for place, row, much, all_of_it in zip(
        most.tolist(), slow.tolist(), excess.max(axis=0), excess.sum(axis=0), strict=True
    ):
        if 2 * much >= all_of_it > 0:
            found[row] = f"slow from {names[place]} to {names[place + 1]}"
    return found


def more_often_above(amount: NDArray[np.int64] | None, late: Flags, judged: Flags) -> Flags:
    """Packets with more than the usual amount beside them, if such packets are late more often.

    Usual is the median of the packets in time.
    """
    nobody = np.zeros(len(late), np.bool_)
    on_time = judged & ~late
    if amount is None or not on_time.any():
        return nobody
    above = amount > np.median(amount[on_time])
    return above if _more_often(above, late, judged, 1) else nobody


def more_often_in(part: Parts | None, late: Flags, judged: Flags) -> Flags:
    """Packets of those parts of the period in which packets are late more often than elsewhere."""
    found = np.zeros(len(late), np.bool_)
    if part is None:
        return found
    numbers = np.unique(part.number[judged & late])
    compared = len(np.unique(part.number[judged]))
    for number in numbers.tolist():
        inside = part.number == number
        if _more_often(inside, late, judged, compared):
            found |= inside
    return found


def _more_often(some: Flags, late: Flags, judged: Flags, compared: int) -> bool:
    """Fisher's exact test, one-sided, shared out over so many comparisons (Bonferroni)."""
    table = [
        [int((judged & chosen & late).sum()), int((judged & chosen & ~late).sum())]
        for chosen in (some, ~some)
    ]
    if not sum(table[0]) or not sum(table[1]):
        return False
    return float(distributions.fisher_exact(np.array(table), "greater").pvalue) * compared < _CHANCE
