"""From the rows of a run to its measurements: sources chosen, windows spoiled, budget drawn up."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.samples import accounting
from hil.samples.measurement import Budget, Counts, Measurement, Timing, Window
from hil.samples.table import SPOILED, Table, taken
from hil.samples.trailer_clock import TrailerMap, fit_trailer_map, observed_floor_ns
from hil.traffic.compile import Compiled
from hil.traffic.flow import Flow
from hil.units import format_duration
from hil.wire import probe

#: A tap's ingress and the kernel's own stamp of the same frame may be this far apart; a frame that
#: was held up on this host in between tells nothing about the network.
SAME_INSTANT_NS: Final = 100_000

#: Half-widths of the error of a software stamp that was not calibrated, as assumed (JCGM 100 4.3).
_VETH_NS: Final = 5_000
_NIC_NS: Final = 50_000
_HOP_NS: Final = 1_000
_MOST_TRAILERS_BAD: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a run brought home, before it is made into measurements."""

    run: int
    complete: bool
    sender: Mapping[str, Any]  #: its last report
    receiver: Mapping[str, Any]
    host: Mapping[str, Any]  #: facts, and counters over the run
    together: tuple[tuple[str, str], ...] = ()  #: name and direction of each flow of the run


def assemble(
    flow: Flow, number: int, made: Compiled, sent: Table, arrived: Table, run: Taken
) -> Measurement:
    """The measurement of flow `number` from its rows of `SENT` and `ARRIVED`."""
    planned = flow.planned
    if not run.complete:
        planned = accounting.offered(planned, sent, flow=number)
    tapped = flow.rx.tap is not None
    clock_map = fit_trailer_map(sent, arrived, flow=number) if tapped else None
    port = run.receiver["ports"][flow.rx.name]
    samples, counts = accounting.join(
        planned,
        sent,
        arrived,
        flow=number,
        trailer_map=clock_map,
        expected=accounting.Expected(rx=("trailer", "kernel") if tapped else ("kernel",)),
        ports=accounting.PortCounts(
            warmup_sent=run.sender["warm_up_sent"][number], foreign=port["foreign"]
        ),
    )
    timing = choose_timing(samples, counts)
    windows = [Window(**each) for each in run.receiver["clock"]["steps"]]
    samples = accounting.spoil(samples, windows)
    if timing.rx == "trailer":
        _spoil_held_up(samples)
    return Measurement(
        id=measurement_id(run.run, number),
        flow=flow.name,
        path=flow.path or f"{flow.tx.name} -> {flow.rx.name}",
        direction=flow.direction,
        tx_port=flow.tx.name,
        rx_port=flow.rx.name,
        traffic=flow.traffic,
        interval_ns=flow.interval_ns,
        samples=samples,
        counts=counts,
        timing=timing,
        budget=_budget(flow, samples, timing, clock_map, run),
        spoiled=tuple(windows),
        conditions=_conditions(flow, made, port, run),
        invalid=_invalid(flow, counts, port, run),
        simulated=flow.simulated,
        complete=run.complete,
    )


def measurement_id(run: int, number: int) -> str:
    """The name of a measurement, also of its files."""
    return f"{run:016x}-{number}"


def choose_timing(samples: Table, counts: Counts) -> Timing:
    """The best source of either time that the samples have: trailer, kernel, then user.

    A source of which more than half of the times are missing is none.
    """
    came = samples["copies"] > 0
    left = taken(samples["tx_user_ns"])
    tx_kernel = int(taken(samples["tx_kernel_ns"])[left].sum()) * 2 > int(left.sum())
    for source in ("trailer", "kernel"):
        found = int(taken(samples[f"rx_{source}_ns"])[came].sum())
        if counts.received and found > _MOST_TRAILERS_BAD * counts.received:
            return Timing("kernel" if tx_kernel else "user", source)
    if not counts.received:
        return Timing("kernel" if tx_kernel or not left.any() else "user", "kernel")
    return Timing("kernel" if tx_kernel else "user", "user")


def _spoil_held_up(samples: Table) -> None:
    """Flag samples whose two stamps of the same instant disagree."""
    ingress, left = samples["ingress_ns"], samples["tx_kernel_ns"]
    both = taken(ingress) & taken(left)
    apart = np.abs(np.where(both, ingress, 0) - np.where(both, left, 0))
    samples["flags"][both & (apart > SAME_INSTANT_NS)] |= SPOILED


def _budget(
    flow: Flow, samples: Table, timing: Timing, clock_map: TrailerMap | None, run: Taken
) -> Budget:
    rate_ppm = float(run.receiver["clock"]["rate_ppm"])
    sent, received = samples[timing.tx_column], samples[timing.rx_column]
    known = taken(sent) & taken(received)
    longest = int(np.abs(received[known] - sent[known]).max()) if known.any() else 0
    rate_ns = rate_ppm * 1e-6 * longest
    sources = [
        f"rate of the host's clock: {rate_ppm:.2f} ppm against CLOCK_MONOTONIC_RAW, over the "
        f"longest delay of {format_duration(longest)}",
    ]
    if timing.rx == "trailer" and clock_map is not None:
        clean = samples[(samples["flags"] & SPOILED) == 0]
        sources.append(
            f"tap's clock mapped to the host's through {clock_map.pairs:,} frames; the time from "
            f"the kernel's stamp to the tap, at most {_HOP_NS / 1000:g} us, is not told from offset"
        )
        sources.append("floor: the tap's ingress against the kernel's TX stamp of the same frame")
        floor = observed_floor_ns(clean)
        if not floor.size:
            floor = np.array([SAME_INSTANT_NS], np.int64)
        return Budget(
            common_mode_ns=round(2 * np.hypot(rate_ns, _HOP_NS) / np.sqrt(3)),
            floor_ns=floor,
            sources=tuple(sources),
        )
    if flow.tx.touches(flow.rx):
        sources.append(
            "both ports are ends of one veth pair: both stamps fall inside one send call, so the "
            "delay is an artefact of the host and not a transport delay"
        )
    if flow.floor is not None and timing == Timing("kernel", "kernel"):
        sources.append(flow.floor.words)
        if flow.floor.floor_ns.size:
            return Budget(
                common_mode_ns=round(2 * rate_ns / np.sqrt(3)),
                floor_ns=flow.floor.floor_ns,
                sources=tuple(sources),
            )
    virtual = flow.tx.driver == flow.rx.driver == "veth"
    half = _VETH_NS if virtual else _NIC_NS
    if timing != Timing("kernel", "kernel"):
        half = _user_half_ns(run)
    sources.append(
        f"floor: {'user' if 'user' in (timing.tx, timing.rx) else 'software'} stamps, not "
        f"calibrated on these ports; assumed off by at most {format_duration(half)} (type B)"
    )
    return Budget(
        common_mode_ns=round(2 * rate_ns / np.sqrt(3)),
        floor_ns=np.array([half], np.int64),
        sources=tuple(sources),
    )


def _user_half_ns(run: Taken) -> int:
    """How far off a stamp taken by a process may be: the worst stall that was seen."""
    worst = run.receiver["stalls"]["max_ns"]
    return max(_NIC_NS, int(worst or 0) + 2_000_000)


def _invalid(flow: Flow, counts: Counts, port: Mapping[str, Any], run: Taken) -> tuple[str, ...]:
    """Why the instrument cannot vouch for the figures, one sentence each."""
    reasons: list[str] = []
    missing = counts.lost + counts.corrupted
    if port["ring_drops"] and missing:
        reasons.append(
            f"the receive ring of {flow.rx.name} overflowed by {port['ring_drops']:,} frames: "
            f"what was lost there is not the network's loss"
        )
    if port["went_down"] and missing:
        reasons.append(
            f"{flow.rx.name} was taken down on this host while the run lasted: what was lost then "
            f"is not the network's loss"
        )
    dropped = run.host["counters"]["rx_dropped"].get(flow.rx.name, 0)
    if dropped and missing:
        reasons.append(
            f"this host dropped {dropped:,} frames that had arrived at {flow.rx.name}: what was "
            f"lost there is not the network's loss"
        )
    if run.sender["overrun"] or run.receiver["overrun"]:
        reasons.append(
            "rows of the run were lost because they were not taken in time "
            f"({run.sender['overrun']:,} sent, {run.receiver['overrun']:,} arrived)"
        )
    return tuple(reasons)


def _conditions(flow: Flow, made: Compiled, port: Mapping[str, Any], run: Taken) -> dict[str, Any]:
    one = next(iter(made.templates.values()))
    return {
        "host": dict(run.host["facts"]),
        "host_counters": dict(run.host["counters"]),
        "stalls": run.receiver["stalls"],
        "clock": run.receiver["clock"],
        "sender": {
            "granted": run.sender["granted"],
            "refused": run.sender["refused"],
            "unreadable_stamps": run.sender["unreadable_stamps"],
            "repeated_stamps": run.sender["repeated_stamps"],
        },
        "receiver": {
            "frames": port["frames"],
            "ring_drops": port["ring_drops"],
            "went_down": port["went_down"],
            "warm_up_received": port["warm_up"],
        },
        "ports": {
            role: {
                "interface": found.interface,
                "namespace": found.namespace,
                "kind": found.kind,
                "driver": found.driver,
                "mac": found.mac.hex(":") or None,
                "mtu": found.mtu,
                "tap": found.tap,
            }
            for role, found in (("tx", flow.tx), ("rx", flow.rx))
        },
        "frame": {
            "layer": flow.layer,
            "sizes": sorted(made.templates)[:10],
            "on_wire": len(one.frame) + 4 if flow.tx.kind == "ethernet" else None,
            "payload": len(one.frame) - one.probe_at,
            "header": one.frame[: one.probe_at].hex(),
            "probe": probe.SIZE,
            "udp_port": made.udp_port,
            "routed": made.routed,
        },
        "offered": _offered(run),
        "reference_points": f"{flow.tx.name} to {flow.rx.name}",
    }


def _offered(run: Taken) -> dict[str, Any]:
    """What ran together, and whether both ways: traffic one way changes grants the other way."""
    ways = {way for _, way in run.together}
    both = {"uplink", "downlink"} <= ways
    return {
        "together": [f"{name} ({way})" for name, way in run.together],
        "directions": "both at once" if both else "one direction only",
    }
