"""Loops through a device, as measurements: the same table and the same judge as for packets."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, Literal
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from hil.clock import SYSTEM
from hil.drivers.protocols import Cycle, Plc
from hil.errors import UsageError
from hil.lab import world
from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.table import NOT_TAKEN, SAMPLE, blank
from hil.targets import Requirement
from hil.virtual import userplane_truth as truth

_READINGS: Final = 10_000


def reaction(plc: Plc, requirement: Requirement, *, over: Literal["5g", "wire"]) -> Measurement:
    """The reaction loop of a PLC: a value written until its program's answer is read back.

    Each loop is a row of the samples table with user-space times at both ends; a loop whose answer
    did not come counts as lost. User-space times hold the tester's own lateness, so the figure is
    an upper limit; what the network adds is the difference to the same loop over the wire.

    Args:
        plc: the controller.
        requirement: says how many loops, and how far apart.
        over: the way through the network, or the cable beside it.

    Raises:
        UsageError: the requirement has no loop.
        DriverError: the controller does not answer at all.
    """
    loop = requirement.loop
    if loop is None or loop.count is None:
        raise UsageError(f"{requirement.id} has no loop to run")
    cycles = plc.cycle(count=loop.count, interval_s=loop.every_ns / 1e9, over=over)
    table = blank(SAMPLE, len(cycles))
    table["seq"] = table["frame"] = [cycle.seq for cycle in cycles]
    table["intended_ns"] = [cycle.intended_ns for cycle in cycles]
    table["tx_user_ns"] = [cycle.tx_user_ns for cycle in cycles]
    table["rx_user_ns"] = [
        NOT_TAKEN if cycle.rx_user_ns is None else cycle.rx_user_ns for cycle in cycles
    ]
    answered = table["rx_user_ns"] != NOT_TAKEN
    if over == "5g" and (run := world.run_directory()) is not None:
        table["lateness_ns"] = delivery_lateness_ns(cycles, run / "truth")
    table["copies"] = answered
    table["arrival"][answered] = np.arange(int(answered.sum()))
    simulated = world.run_directory() is not None
    return Measurement(
        id=f"loop-{over}-{uuid4().hex[:8]}",
        flow=f"{plc.name} reaction over {over}",
        path=over,
        direction="loop",
        tx_port=plc.name,
        rx_port=plc.name,
        traffic={"pattern": "loop", "every_ns": loop.every_ns, "over": over},
        interval_ns=loop.every_ns,
        samples=table,
        counts=Counts(
            sent=len(cycles),
            warmup_sent=0,
            received=int(answered.sum()),
            lost=int((~answered).sum()),
            duplicated=0,
            reordered=0,
            corrupted=0,
            foreign=0,
            send_failed=0,
        ),
        timing=Timing("user", "user"),
        budget=Budget(
            common_mode_ns=0,
            floor_ns=_clock_floor_ns(),
            sources=(
                "both times by one user-space clock; the tester's lateness is inside the figure",
                "floor: spans between readings of that clock back to back",
            ),
        ),
        conditions={"polls_per_loop": float(np.mean([cycle.polls for cycle in cycles]))},
        simulated=simulated,
    )


def delivery_lateness_ns(cycles: Sequence[Cycle], log: Path) -> NDArray[np.int64]:
    """What a busy host added to each loop: how late, in sum, the cell's frames left during it.

    A loop is one question after the other, so what each frame lost is lost to the loop. Frames that
    only acknowledge are counted too, so this is an upper limit.

    Args:
        cycles: the loops, in user-space times.
        log: the truth log of the world (`hil.virtual.userplane_truth`).
    """
    rows, clock = truth.read(log)
    rows = rows[(rows["reason"] == 0) & (rows["flags"] & truth.PROBE == 0)]
    late_ns = rows["lateness_ns"].astype(np.int64)
    left_ns = clock.to_host(rows["at_ns"] + late_ns)
    order = np.argsort(left_ns, kind="stable")
    left_ns, sums = left_ns[order], np.concatenate(([0], np.cumsum(late_ns[order])))
    begins = np.array([cycle.tx_user_ns for cycle in cycles], np.int64)
    following = np.append(begins[1:], np.iinfo(np.int64).max)
    ends = [c.rx_user_ns or int(after) for c, after in zip(cycles, following, strict=True)]
    first, last = np.searchsorted(left_ns, begins), np.searchsorted(left_ns, ends, side="right")
    return np.asarray(sums[last] - sums[first], np.int64)


def _clock_floor_ns() -> NDArray[np.int64]:
    """What a user-space time can be off by the reading itself: spans of readings back to back."""
    readings = np.array([SYSTEM.realtime_ns() for _ in range(_READINGS)], np.int64)
    return np.sort(np.diff(readings))
