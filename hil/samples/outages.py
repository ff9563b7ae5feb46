"""Outages: runs of packets that were not in time, and down events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, taken


def runs(mask: NDArray[np.bool_]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The first index and the length of every longest run of True in `mask`."""
    edges = np.diff(np.concatenate(([False], mask, [False])).astype(np.int8))
    start = np.flatnonzero(edges == 1)
    return start, np.flatnonzero(edges == -1) - start


def run_lengths(mask: NDArray[np.bool_]) -> NDArray[np.intp]:
    """The lengths of the runs of True in `mask`, one entry per planned packet in order of sequence.

    Of lost packets these are the loss periods of RFC 3357; of packets not in time they feed
    `hil.stats.dependence.design_effect`.
    """
    return runs(mask)[1]


@dataclass(frozen=True, slots=True)
class DownEvents:
    """Spans in which the communication service was down, on the clock of the send times.

    `start_ns` and `end_ns` have one entry per event; the end is `NOT_TAKEN` where the flow ended
    before the service came back. `observed_ns` is how long the service was due.
    """

    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    observed_end_ns: int
    observed_ns: int

    @property
    def count(self) -> int:
        """How often the service went down."""
        return int(self.start_ns.size)

    @property
    def down_ns(self) -> int:
        """How long it was down altogether; an event without an end lasts as long as observed."""
        end = np.where(taken(self.end_ns), self.end_ns, self.observed_end_ns)
        return int(np.sum(end - self.start_ns))

    @property
    def availability(self) -> float | None:
        """The share of the observed time in which it was up; None where no time was observed."""
        return 1 - self.down_ns / self.observed_ns if self.observed_ns > 0 else None


def down_events(
    sent_ns: NDArray[np.int64],
    received_ns: NDArray[np.int64],
    in_time: NDArray[np.bool_],
    *,
    limit_ns: int,
    survival_ns: int,
) -> DownEvents:
    """Down events of a cyclic service: 3GPP TS 22.104 clause 3.1 and annex C.

    The service goes down where no message has come in time for the survival time after the deadline
    of the first one that was missed, s + limit + survival, and up again with the next message that
    is received in time. This is not a watchdog, which runs from the last receipt
    (`hil.samples.metrics.watchdog`).

    Args:
        sent_ns: send time of every planned message, all taken (`metrics.send_times_ns`).
        received_ns: receipt of each, on the same clock; looked at only where `in_time`, and where
            it was not taken there the deadline stands for it.
        in_time: which messages were received within the limit. Unknown ones are for the caller to
            count either way.
        limit_ns: the deadline after the send time.
        survival_ns: the survival time.
    """
    if sent_ns.size == 0:
        none = np.zeros(0, np.int64)
        return DownEvents(none, none, 0, 0)
    deadline = sent_ns + limit_ns
    far = np.iinfo(np.int64).max
    good = np.where(in_time, np.where(taken(received_ns), received_ns, deadline), far)
    next_good: NDArray[Any] = np.append(np.minimum.accumulate(good[::-1])[::-1], far)
    first, length = runs(~in_time)
    start, up = deadline[first] + survival_ns, next_good[first + length]
    observed_end = int(deadline.max())
    down = start < np.minimum(up, observed_end)
    start, up = start[down], up[down]
    return DownEvents(
        start_ns=start,
        end_ns=np.where(up == far, NOT_TAKEN, up),
        observed_end_ns=observed_end,
        observed_ns=observed_end - int(deadline[0]),
    )
