"""From the rows of a run to its measurements: sources chosen, windows spoiled, budget drawn up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hil.samples import accounting
from hil.samples.columns import Samples
from hil.samples.measurement import (
    Budget,
    Counts,
    Measurement,
    RxSource,
    Timing,
    TxSource,
    Window,
)
from hil.samples.table import Table
from hil.samples.trailer_clock import TrailerMap, fit_trailer_map
from hil.traffic import elsewhere
from hil.traffic.budget import draw_up
from hil.traffic.compile import Compiled
from hil.traffic.flow import Flow
from hil.traffic.sources import (
    choose_timing,
    spoil_across_cards,
    spoil_held_up,
    spoil_missing,
)
from hil.traffic.stamping import Stamping, stamping
from hil.wire import probe


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """What a run brought home, before it is made into measurements."""

    run: int
    complete: bool
    sender: Mapping[str, Any]  #: its last report
    receiver: Mapping[str, Any]
    host: Mapping[str, Any]  #: facts of it
    together: tuple[tuple[str, str], ...] = ()  #: name and direction of each flow of the run
    seen: tuple[Mapping[str, Any], ...] = ()  #: of each flow, counted while the run lasted
    references: tuple[Mapping[str, Any], ...] = ()  #: what went over a cable meanwhile
    memory: Mapping[str, Any] = field(default_factory=dict)  #: held by the processes of the run


class Found(NamedTuple):
    """What the rows of a flow say."""

    samples: Samples
    counts: Counts
    timing: Timing
    budget: Budget
    crossed: tuple[str, ...]  #: why the stamps of cards void the run


def assemble(
    flow: Flow, number: int, made: Compiled, sent: Table, arrived: Table, run: Taken
) -> Measurement:
    """The measurement of flow `number` from its rows of `SENT` and `ARRIVED`."""
    planned = flow.plan.rows(0, len(flow.plan))
    if not run.complete:
        planned = accounting.offered(planned, sent, flow=number)
    tapped = flow.rx.tap is not None
    clock_map = fit_trailer_map(sent, arrived, flow=number) if tapped else None
    cards = stamping(flow, run.sender, run.receiver)
    samples, counts = accounting.join(
        planned,
        sent,
        arrived,
        flow=number,
        trailer_map=clock_map,
        expected=expected_of(flow, cards),
        ports=port_counts(flow, number, run),
    )
    cards.bring_together(samples)
    timing = timing_of(flow, samples, counts)
    samples, budget, crossed = settled(samples, flow, timing, (clock_map, cards), run)
    found = Found(samples, counts, timing, budget, crossed)
    return described(flow, number, (made, cards), run, found)


def port_counts(flow: Flow, number: int, run: Taken) -> accounting.PortCounts:
    """What the ports of flow `number` counted that is in no row."""
    port = run.receiver["ports"][flow.rx.name]
    return accounting.PortCounts(
        warmup_sent=run.sender["warm_up_sent"][number], foreign=port["foreign"]
    )


def timing_of(flow: Flow, samples: Table, counts: Counts) -> Timing:
    """The sources of the times of a flow."""
    timing = choose_timing(samples, counts)
    return timing if elsewhere.clocks_of(flow).refusal is None else elsewhere.apart(timing)


def settled(
    samples: Table,
    flow: Flow,
    timing: Timing,
    maps: tuple[TrailerMap | None, Stamping],
    run: Taken,
    longest_ns: int | None = None,
) -> tuple[Table, Budget, tuple[str, ...]]:
    """The samples of a run, or of a part, with what is spoiled flagged; what is said of them.

    That is their uncertainty, and why stamps of the cards void the run. `maps` are as in
    `hil.traffic.budget.draw_up`. `longest_ns` is how long the slowest sample of the whole run took,
    where this is a part of it.
    """
    steps, lost_here = _windows(run.receiver["clock"]["steps"]), _lost_here(flow, run)
    clocks = elsewhere.clocks_of(flow)
    refusal = clocks.refusal
    if clocks.kind != "one host":
        elsewhere.spoil(samples, steps, lost_here)
    else:
        samples = accounting.spoil(samples, steps, longest_ns)
        spoil_missing(samples, lost_here, longest_ns)
    if timing.rx == "trailer":
        spoil_held_up(samples, maps[0])
    crossed = spoil_across_cards(samples, maps[1]) if timing.tx == "hardware" else ()
    if refusal is not None:
        return samples, elsewhere.budget(refusal), crossed
    budget = draw_up(flow, samples, timing, maps, run.receiver)
    return samples, elsewhere.widened(budget, clocks), crossed


def described(
    flow: Flow, number: int, made: tuple[Compiled, Stamping], run: Taken, found: Found
) -> Measurement:
    """The measurement of flow `number`, with the conditions it was taken under."""
    port = run.receiver["ports"][flow.rx.name]
    return Measurement(
        id=measurement_id(run.run, number),
        flow=flow.name,
        path=flow.path or f"{flow.tx.name} -> {flow.rx.name}",
        direction=flow.direction,
        tx_port=flow.tx.name,
        rx_port=flow.rx.name,
        traffic=flow.traffic,
        interval_ns=flow.interval_ns,
        samples=found.samples,
        counts=found.counts,
        timing=found.timing,
        budget=found.budget,
        spoiled=(*_windows(run.receiver["clock"]["steps"]), *_lost_here(flow, run)),
        conditions=_conditions(flow, made[0], port, run)
        | {"cards": made[1].report(), "clocks": _clocks(flow)}
        | {"while_running": dict(run.seen[number]) if run.seen else {}, "memory": dict(run.memory)},
        invalid=(*_invalid(flow, found.counts, port, run), *found.crossed),
        simulated=flow.simulated,
        complete=run.complete,
    )


def _clocks(flow: Flow) -> dict[str, str]:
    clocks = elsewhere.clocks_of(flow)
    return {"kind": clocks.kind, "words": clocks.words}


def expected_of(flow: Flow, cards: Stamping) -> accounting.Expected:
    """The sources whose missing stamps are counted: of a card once it has stamped warm-up frames.

    A port without a tap or such a card owes no stamp of it, and load that goes unstamped owes none
    of its sending.
    """
    tx: tuple[TxSource, ...] = ("kernel", "hardware") if cards.live else ("kernel",)
    tx = tx if flow.stamped else ()
    rx: tuple[RxSource, ...] = ("trailer", "kernel") if flow.rx.tap is not None else ("kernel",)
    return accounting.Expected(tx=tx, rx=(*rx, "hardware") if cards.live else rx)


def measurement_id(run: int, number: int) -> str:
    """The name of a measurement, also of its files."""
    return f"{run:016x}-{number}"


def _lost_here(flow: Flow, run: Taken) -> list[Window]:
    """The spans in which this host lost frames on their way through either port of a flow."""
    receiver = run.receiver
    return _windows(
        [
            *receiver["lost_on_the_way_out"].get(flow.tx.name, ()),
            *receiver["ports"][flow.rx.name]["lost_here"],
            *receiver["backlog"],
        ]
    )


def _windows(rows: Iterable[Mapping[str, Any]]) -> list[Window]:
    return [Window(**each) for each in rows]


def _invalid(flow: Flow, counts: Counts, port: Mapping[str, Any], run: Taken) -> tuple[str, ...]:
    """Why the instrument cannot vouch for the figures, one sentence each."""
    reasons: list[str] = []
    if port["went_down"] and counts.lost + counts.corrupted:
        reasons.append(
            f"{flow.rx.name} was taken down on this host while the run lasted: what was lost then "
            f"is not the network's loss"
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
        "host": dict(run.host),
        "host_counters": dict(run.receiver["host"]),
        "stalls": run.receiver["stalls"],
        "clock": run.receiver["clock"],
        "references": list(run.references),
        "sender": {
            "granted": run.sender["granted"],
            "refused": run.sender["refused"],
            "unreadable_stamps": run.sender["unreadable_stamps"],
            "repeated_stamps": run.sender["repeated_stamps"],
            "stamped": flow.stamped,
        },
        "receiver": {
            "frames": port["frames"],
            "ring_drops": port["ring_drops"],
            "went_down": port["went_down"],
            "warm_up_received": port["warm_up"],
            "checksum_pending": port["checksum_pending"],
            "other_vlan": port["other_vlan"],
            "complaints": dict(run.receiver["complaints"]),
            "neighbours_answered": run.receiver["neighbours_answered"],
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
                "vlan": found.vlan,
                "nat": found.nat,
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
            "ip": made.version,
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
