"""From the rows of a run to a reflector and back to its measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.samples import accounting, floor, store, two_way
from hil.samples.clock_evidence import ClockEvidence
from hil.samples.measurement import Budget, Counts, Measurement, Timing, Window
from hil.samples.table import SEND_FAILED, SENT, Table, taken
from hil.samples.two_way import REPLY, Held, Ways
from hil.traffic.flow import Flow
from hil.traffic.host import host_facts
from hil.traffic.sources import spoil_missing
from hil.traffic.target import Target
from hil.units import format_duration

# Half-widths of what is assumed where it was not measured (JCGM 100 4.3, type B).
_VETH_NS: Final = 5_000
_NIC_NS: Final = 50_000
_UNKNOWN_STAMP_NS: Final = 1_000_000
_RATE: Final = 1e-4  # of two clocks against each other

NO_ONE_WAY: Final = ClockEvidence(kind="none")


@dataclass(frozen=True, slots=True, kw_only=True)
class TwoWayRun:
    """What a run brought home.

    `first` is the number of the first planned packet, `skipped` the one that the warm-up left out;
    `done` is the last report of the process; `lost_here` are the spans in which this host lost
    packets, and `host` is what it did meanwhile, both as `hil.traffic.drops` reports them.
    """

    flow: Flow
    target: Target
    files: store.Files
    replies: Path
    first: int
    skipped: int
    cut: bool
    done: Mapping[str, Any]
    lost_here: Sequence[Mapping[str, Any]]
    host: Mapping[str, Any]


def assemble(run: TwoWayRun) -> Measurement:
    """The measurement of a run; its streams become a Parquet file."""
    flow, files, target = run.flow, run.files, run.target
    sent = store.read_stream(files.sent, SENT).rows
    replies = store.read_stream(run.replies, REPLY).rows
    plan = flow.plan.rows(0, len(flow.plan))
    arrived = two_way.arrived(replies, plan["seq"], run.first)
    planned = accounting.offered(plan, sent, flow=0) if run.cut else plan
    samples, counts = accounting.join(
        planned,
        sent,
        arrived,
        flow=0,
        expected=accounting.Expected(rx=("kernel",)),
        ports=accounting.PortCounts(
            warmup_sent=len(run.done["numbers"]["warm_up"]), foreign=run.done["foreign"]
        ),
    )
    held = two_way.held(replies, len(planned), run.first)
    timing = _timed(samples, held)
    steps = [Window(**each) for each in run.done["clock"]["steps"]]
    lost_here = [Window(**each) for each in run.lost_here]
    samples = accounting.spoil(samples, steps)
    spoil_missing(samples, lost_here)
    ways = two_way.ways(
        replies,
        _numbers(run, sent, len(planned)),
        run.skipped,
        len(planned),
        run.first,
    )
    measurement = Measurement(
        id=files.name,
        flow=flow.name,
        path=flow.path or f"{flow.tx.name} -> {target} -> {flow.tx.name}",
        direction="loop",
        tx_port=flow.tx.name,
        rx_port=flow.rx.name,
        traffic=flow.traffic,
        interval_ns=flow.interval_ns,
        samples=samples,
        counts=counts,
        timing=timing,
        budget=_budget(run, samples, timing, held),
        spoiled=(*steps, *lost_here),
        conditions=_conditions(run, target, replies, held, ways),
        invalid=_invalid(run, counts, ways, target),
        simulated=flow.simulated,
        complete=not run.cut,
    )
    about = {"flow": 0, "name": flow.name, "complete": measurement.complete}
    about |= floor.packed(measurement.budget.floor_ns)
    store.write(files.parquet, measurement.samples, about)
    files.unlink_streams()
    return measurement


def _numbers(run: TwoWayRun, sent: Table, count: int) -> Any:
    """The numbers of all packets that were handed to the network, ascending."""
    failed = sent["seq"][(sent["flags"] & SEND_FAILED) != 0]
    plan = run.flow.plan.rows(0, count)["seq"]
    planned = run.first + np.flatnonzero(~np.isin(plan, failed))
    extra = run.done["numbers"]
    return np.concatenate((extra["warm_up"], planned, extra["closing"])).astype(np.int64)


def _timed(samples: Table, held: Held) -> Timing:
    """Take what the reflector held off the receipt of each answer; which times that is made of."""
    came, left = samples["copies"] > 0, taken(samples["tx_user_ns"])
    by_kernel = 2 * int(taken(samples["rx_kernel_ns"])[came].sum()) > int(came.sum())
    receipt = samples["rx_kernel_ns" if by_kernel or not came.any() else "rx_user_ns"]
    known = came & taken(receipt) & taken(held.held_ns)
    samples["rx_trailer_ns"][known] = receipt[known] - held.held_ns[known]
    stamped = 2 * int(taken(samples["tx_kernel_ns"])[left].sum()) > int(left.sum())
    return Timing("kernel" if stamped or not left.any() else "user", "reflector")


def _budget(run: TwoWayRun, samples: Table, timing: Timing, held: Held) -> Budget:
    rate_ppm = float(run.done["clock"]["rate_ppm"])
    sent, received = samples[timing.tx_column], samples[timing.rx_column]
    known = taken(sent) & taken(received)
    longest = int(np.abs(received[known] - sent[known]).max()) if known.any() else 0
    spent = held.held_ns[taken(held.held_ns)]
    most = int(spent.max()) if spent.size else 0
    rate_ns = float(np.hypot(rate_ppm * 1e-6 * longest, _RATE * most))
    near = _VETH_NS if run.flow.tx.driver == "veth" else _NIC_NS
    if timing.tx == "user":
        near = max(_NIC_NS, int(run.done["stalls"]["max_ns"] or 0) + 2_000_000)
    followed = held.by_kernel.sum() * 2 > len(spent)
    far = _NIC_NS if followed else _UNKNOWN_STAMP_NS
    how = (
        f"its kernel's at receipt and sending, assumed off by at most {format_duration(far)}"
        if followed
        else f"taken in a way that it does not tell, assumed off by at most {format_duration(far)}"
    )
    return Budget(
        common_mode_ns=round(2 * rate_ns / np.sqrt(3)),
        floor_ns=np.array([near + far], np.int64),
        sources=(
            "round trip less the time that the reflector held the packet: no two clocks are "
            "compared",
            f"rates of the clocks: {rate_ppm:.2f} ppm against CLOCK_MONOTONIC_RAW over the longest "
            f"round trip of {format_duration(longest)}; at most {_RATE * 1e6:.0f} ppm between the "
            f"hosts over the {format_duration(most)} that the reflector held a packet at most",
            f"floor: {timing.tx} stamps of this host, not calibrated, assumed off by at most "
            f"{format_duration(near)} (type B); stamps of the reflector: {how} (type B)",
        ),
    )


def _invalid(run: TwoWayRun, counts: Counts, ways: Ways, target: Target) -> tuple[str, ...]:
    """Why the instrument cannot vouch for the figures, one sentence each."""
    done, reasons = run.done, []
    missing = counts.lost + counts.corrupted
    if done["unreachable"] and missing:
        reasons.append(
            f"the host of {target} said {done['unreachable']:,} times that nobody listens there: "
            f"what was lost then is not the network's loss"
        )
    if ways.restarted and missing:
        reasons.append(
            f"the reflector {target} was started again while the run lasted: what was lost then is "
            f"not the network's loss"
        )
    if done["overrun"]:
        reasons.append(
            f"{done['overrun']:,} rows of the run were lost because they were not taken in time"
        )
    return tuple(reasons)


def _conditions(
    run: TwoWayRun, target: Target, replies: Table, held: Held, ways: Ways
) -> dict[str, Any]:
    done, flow = run.done, run.flow
    hops = sorted(set(replies["ttl"].tolist()))
    return {
        "host": host_facts(),
        "host_counters": dict(run.host),
        "stalls": done["stalls"],
        "clock": done["clock"],
        "sender": {"granted": done["granted"], "refused": done["refused"]},
        "ports": {
            "tx": {
                "interface": flow.tx.interface,
                "namespace": flow.tx.namespace,
                "kind": flow.tx.kind,
                "driver": flow.tx.driver,
                "mac": flow.tx.mac.hex(":") or None,
                "mtu": flow.tx.mtu,
            }
        },
        "two_way": asdict(ways)
        | {
            "reflector": str(target),
            "held_ns": _spread(held.held_ns[taken(held.held_ns)]),
            "held_by_kernel": int(held.by_kernel.sum()),
            "impossible_times": held.impossible,
            "sent_later_than_said_ns": _spread(held.late_ns),
            "other_length": done["asymmetric"],
            "hops_left": hops[:10],
            "unreachable": done["unreachable"],
            "closing_sent": len(done["numbers"]["closing"]),
            "one_way": {
                "forward_ns": None,
                "reverse_ns": None,
                "why": f"not measured: {NO_ONE_WAY.refusal}",
            },
        },
        "offered": {
            "together": [f"{flow.name} (loop)"],
            "directions": "there and back through a reflector",
        },
        "reference_points": f"{flow.tx.name} to {target} and back, less what the reflector held",
    }


def _spread(values: Any) -> dict[str, int] | None:
    if not len(values):
        return None
    return {"median": int(np.median(values)), "max": int(values.max())}
