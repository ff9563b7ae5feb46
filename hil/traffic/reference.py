"""The in-situ reference channel: a low-rate twin of a flow over a cable, in the same run.

A packet over a cable has nothing to wait for but this host and its ports. Where one is late or lost
there, whatever is late on the network at that moment says nothing of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hil.samples import metrics
from hil.samples.measurement import Measurement
from hil.samples.planned import Regular
from hil.samples.table import taken
from hil.traffic.assemble import Taken
from hil.traffic.flow import Flow
from hil.traffic.port import Port
from hil.traffic.sources import SAME_INSTANT_NS

#: No twin is sent more often: it must not load what it watches.
INTERVAL_NS: Final = 20_000_000
_FEWEST: Final = 20  # packets, below which there is no usual delay


def twin(flow: Flow, tx: Port, rx: Port) -> Flow:
    """The twin of a flow over a cable from `tx` to `rx`: its size, for as long, at a low rate."""
    offsets = flow.plan.rows(len(flow.plan) - 1, len(flow.plan))["offset_ns"]
    interval = max(INTERVAL_NS, flow.interval_ns or 0)
    size = flow.plan.sizes[0]
    count = int(offsets[0]) // interval + 1
    return Flow(
        name=f"reference {flow.direction}",
        tx=tx,
        rx=rx,
        planned=Regular(count, interval, size),
        layer=flow.layer,
        path="reference",
        direction=flow.direction,
        traffic={
            "pattern": "periodic",
            "layer": flow.layer,
            "size": size,
            "interval_ns": interval,
            "count": count,
        },
        interval_ns=interval,
        reference=True,
        simulated=flow.simulated,
    )


def windows(measurement: Measurement) -> list[dict[str, Any]]:
    """Where the cable itself was slow, as rows of `Window`.

    A packet is slow that took 100 us longer than the median of the run, or never came. A lost one
    spoils the time until the next one came. Below 20 packets nothing is usual.
    """
    samples = measurement.samples
    sent = samples[measurement.timing.tx_host_column]
    received, delay = samples[measurement.timing.rx_host_column], measurement.delay_ns
    known = taken(delay) & taken(sent) & taken(received)
    if int(known.sum()) < _FEWEST:
        return []
    usual = int(np.median(delay[known]))
    name = f"{measurement.tx_port} -> {measurement.rx_port}"
    found: list[dict[str, Any]] = []
    came = np.flatnonzero(known)
    lost = taken(sent) & (samples["arrival"] < 0)
    for row in np.flatnonzero(lost | (known & (delay > usual + SAME_INSTANT_NS))).tolist():
        start = int(sent[row])
        if lost[row]:
            later = came[np.searchsorted(came, row) :]
            end = int(received[later[0]]) if len(later) else start + INTERVAL_NS
            why = f"the reference {name} lost a packet"
        else:
            end = int(received[row])
            why = f"the reference {name} took {(delay[row] - usual) / 1000:.0f} us too long"
        found.append({"start_ns": start, "end_ns": max(start, end), "why": why})
    return found


def watched(run: Taken, references: Sequence[Measurement]) -> Taken:
    """The same run, with what its references saw: windows to bracket, and figures on record."""
    if not references:
        return run
    clock = run.receiver["clock"]
    slow = [row for each in references for row in windows(each)]
    receiver = {**run.receiver, "clock": {**clock, "steps": [*clock["steps"], *slow]}}
    figures = tuple(
        {
            "measurement": each.id,
            "from": each.tx_port,
            "to": each.rx_port,
            "sent": each.counts.sent,
            "lost": each.counts.lost,
            "delay_ns": metrics.distribution(each.delay_ns),
            "windows": len(windows(each)),
        }
        for each in references
    )
    return replace(run, receiver=receiver, references=figures)
