"""What each planned packet can testify: its delay, that it was lost, or nothing either way.

A packet without a trustworthy time is bracketed: counted late for PASS and in time for FAIL, so
that leaving it out can help neither side.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.judge.offered import Flags, Offered, offered
from hil.samples.columns import Samples
from hil.samples.measurement import Measurement
from hil.samples.table import CLOCK_OF, NOT_TAKEN, SEND_FAILED, SPOILED, difference_ns, taken
from hil.targets.traffic import Burst, Traffic, Video

#: The delay of a packet of which no intact copy came.
NEVER: Final = int(np.iinfo(np.int64).max)

#: Above this share of bracketed packets there is no claim.
MOST_BRACKETED: Final = 0.01

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """One entry for each packet that was offered, in order of sequence."""

    rows: Samples  #: the samples themselves
    sent_ns: Times  #: by the run's own send stamp, else the intended time
    received_ns: Times  #: `NOT_TAKEN` where no intact copy came or it has no stamp
    delay_ns: Times  #: `NEVER` where lost, `NOT_TAKEN` where received and not timed
    lost: Flags
    untimed: Flags  #: received and a stamp is missing, or never handed to the network
    spoiled: Flags  #: in a window that the host or clock watch calls spoiled
    in_flight: Flags  #: not yet due when the run was cut short
    offered: Offered | None  #: None where no traffic of ours was offered

    @property
    def bracketed(self) -> Flags:
        """Packets that testify for neither side."""
        flags = self.untimed | self.spoiled | self.in_flight
        return flags if self.offered is None else flags | self.offered.nonconforming

    @property
    def n(self) -> int:
        """Packets offered."""
        return len(self.rows)

    @property
    def known_ns(self) -> Times:
        """The delays that were taken, sorted."""
        timed = (self.delay_ns != NEVER) & taken(self.delay_ns)
        return np.sort(self.delay_ns[timed])

    def within(self, limit_ns: int) -> Flags:
        """Packets that came and are known to have taken at most `limit_ns`."""
        return np.asarray(taken(self.delay_ns) & (self.delay_ns <= limit_ns))

    def bracketed_words(self) -> str:
        """The bracketed packets by cause, as in ``2 off the grid, 1 untimed``."""
        causes = {
            "off the grid": self.offered.off_grid if self.offered else None,
            "beyond the token bucket": self.offered.beyond_bucket if self.offered else None,
            "in a spoiled window": self.spoiled,
            "untimed": self.untimed,
            "in flight at the end": self.in_flight,
        }
        counted = {name: int(flags.sum()) for name, flags in causes.items() if flags is not None}
        return ", ".join(f"{count:,} {name}" for name, count in counted.items() if count)


def evidence(measurement: Measurement, traffic: Traffic | None, due_ns: int) -> Evidence:
    """Reads the samples of a measurement for judging.

    Args:
        measurement: one flow in one direction, or one loop.
        traffic: what was promised to be offered; None for a loop.
        due_ns: how long after sending a packet must be there; what was sent less than this before
            a run was cut short is not yet lost.
    """
    rows = measurement.samples
    if not measurement.complete:
        rows = rows[_was_offered(rows, framed=isinstance(traffic, Burst | Video))]
    # Each array is as long as the run: no more of them at a time than must be.
    sent, arrived = rows[measurement.timing.tx_column], rows["arrival"] >= 0
    received = rows[measurement.timing.rx_column]
    if not np.array_equal(arrived, taken(received)):
        received = np.where(arrived, received, NOT_TAKEN)
    refused = (rows["flags"] & SEND_FAILED) != 0
    lost = ~arrived & ~refused
    timed = taken(received) & taken(sent)
    delay = difference_ns(received, sent)
    if not measurement.timing.comparable:
        delay[:] = NOT_TAKEN
    delay[lost] = NEVER
    on_grid = sent
    if not (stamped := taken(sent)).all():
        on_grid = np.where(stamped, sent, _intended(measurement, rows, sent))
    in_flight = np.zeros(len(rows), np.bool_)
    if not measurement.complete and len(rows):
        in_flight = lost & (on_grid > on_grid.max() - due_ns)
    return Evidence(
        rows=rows,
        sent_ns=on_grid,
        received_ns=received,
        delay_ns=delay,
        lost=lost,
        untimed=(arrived & ~timed) | refused,
        spoiled=np.asarray((rows["flags"] & SPOILED) != 0),
        in_flight=in_flight,
        offered=None if traffic is None else offered(measurement, rows, traffic),
    )


def _intended(measurement: Measurement, rows: Samples, sent: Times) -> Times:
    """When packets were due, on the clock of their send stamps; a card's is read by the others."""
    due = rows["intended_ns"]
    if CLOCK_OF[measurement.timing.tx_column] == CLOCK_OF["intended_ns"]:
        return due
    apart = difference_ns(sent, due)
    known = taken(apart)
    return due + np.int64(np.median(apart[known])) if known.any() else due


def _was_offered(rows: Samples, *, framed: bool) -> Flags:
    """Rows of which a send stamp, a refusal or an arrival tells that they were offered.

    Of frames only whole ones count. The last frame of a run that was cut short may lack packets
    that were never planned into the table, so it is left out.
    """
    seen = (rows["arrival"] >= 0) | ((rows["flags"] & SEND_FAILED) != 0)
    for name in ("tx_user_ns", "tx_kernel_ns", "tx_hardware_ns"):
        seen |= taken(rows[name])
    if framed and len(rows):
        seen &= ~np.isin(rows["frame"], rows["frame"][~seen])
        seen &= rows["frame"] != rows["frame"].max()
    return np.asarray(seen)


def preconditions(measurement: Measurement) -> list[str]:
    """Which preconditions of the promise were seen not to hold, one sentence each.

    A promise is one of a QoS flow: packets that travelled in another one testify nothing of it.
    """
    wrong = (measurement.conditions.get("qos") or {}).get("wrong")
    return [str(wrong)] if wrong else []


def implausible(measurement: Measurement, seen: Evidence) -> list[str]:
    """Why the samples cannot be what they say they are, one sentence each."""
    rows, counts = measurement.samples, measurement.counts
    faults: list[str] = []
    if len(rows) > 1 and not (np.diff(rows["seq"].astype(np.int64)) > 0).all():
        faults.append("the samples are not one row for each sequence number, in order")
    arrived = int((rows["arrival"] >= 0).sum())
    if arrived != counts.received:
        faults.append(
            f"{counts.received:,} packets are counted as received and {arrived:,} have an arrival"
        )
    if measurement.complete and len(rows) != counts.sent:
        faults.append(f"{counts.sent:,} packets are counted as sent and {len(rows):,} have a row")
    budget = measurement.budget
    error = budget.common_mode_ns + budget.floor_quantile_ns(1.0)
    known = taken(seen.delay_ns) & ~seen.spoiled
    early = int((seen.delay_ns[known] < -error).sum())
    if early:
        faults.append(
            f"{early:,} packets arrive before they are sent, by more than the uncertainty"
        )
    return faults
