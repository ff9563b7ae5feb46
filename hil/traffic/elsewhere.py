"""A flow between ports of two hosts: what holds of it, by what is known of their clocks.

Where nothing shows that they agree: counts, and all that is made of the times of one end alone, as
the offered schedule and gaps between receipts. A one-way delay would be the difference of two
clocks, and is not measured. Where a check has bounded how far they are apart, that bound is a part
of the delay's uncertainty.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from hil.samples.clock_evidence import ONE_HOST, ClockEvidence
from hil.samples.measurement import Budget, Timing, Window
from hil.samples.table import SPOILED, Table, taken
from hil.traffic.flow import Flow
from hil.units import format_duration

_NIC_NS: Final = 50_000  # half-width of the error of a software stamp, assumed (JCGM 100 4.3)


def clocks_of(flow: Flow) -> ClockEvidence:
    """What is known of the clocks of the two ends of a flow."""
    if flow.tx.host is None and flow.rx.host is None:
        return ONE_HOST
    from hil.traffic.remote import evidence

    found = evidence(flow.tx, flow.rx)
    declared = [each for each in (flow.tx.clocks, flow.rx.clocks) if each is not None]
    # What is declared is of another clock and this host's: two other hosts have two of them.
    return declared[0] if found.kind == "none" and len(declared) == 1 else found


def apart(timing: Timing) -> Timing:
    """The sources of a flow whose receive times are on a clock of their own."""
    return Timing(timing.tx, "elsewhere")


def spoil(samples: Table, steps: Sequence[Window], lost_here: Sequence[Window]) -> None:
    """Flag what was received around a step of the receiver's clock, or lost by its host.

    The windows are on the receiver's clock, so a packet that never came is in none of them for
    certain: where that host lost anything, every missing packet may be among it.
    """
    came = samples["rx_kernel_ns"]
    for window in steps:
        around = taken(came) & (came >= window.start_ns) & (came <= window.end_ns)
        samples["flags"][around] |= SPOILED
    if lost_here:
        samples["flags"][samples["copies"] == 0] |= SPOILED


def widened(budget: Budget, clocks: ClockEvidence) -> Budget:
    """A budget of delays with what two clocks may differ by; all packets of a run share that."""
    if clocks.kind == "one host" or clocks.bound_ns is None:
        return budget
    apart_ns = 2 * clocks.bound_ns / math.sqrt(3)
    return replace(
        budget,
        common_mode_ns=round(math.hypot(budget.common_mode_ns, apart_ns)),
        sources=(clocks.words, *budget.sources),
    )


def budget(why: str) -> Budget:
    """The uncertainty of the times of one end; `why` says that there is no delay."""
    return Budget(
        common_mode_ns=0,
        floor_ns=np.array([_NIC_NS], np.int64),
        sources=(
            f"one-way delay is not measured: {why}",
            f"floor: software stamps of either host, assumed off by at most "
            f"{format_duration(_NIC_NS)} (type B)",
        ),
    )
