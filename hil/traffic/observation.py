"""Points of a run: what the receiver process is told of them, and what their rows become."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import numpy as np

from hil.samples.measurement import Measurement
from hil.samples.passing import timed
from hil.samples.sightings import NOT_MEASURED, Visit, sightings
from hil.samples.table import NOT_TAKEN, TRAILER_BAD, Table, taken
from hil.samples.trailer_clock import TrailerMap, fit
from hil.traffic.compile import Compiled
from hil.traffic.flow import Flow
from hil.traffic.point import Point
from hil.traffic.port import Port
from hil.traffic.qos import NOT_OBSERVED, qos_shown
from hil.wire import gtpu, probe
from hil.wire.trailer import FORMATS

_ENVELOPE: Final = 256  #: what tunnels and tags may put before a frame
_TAGS: Final = 2 * probe.VLAN_TAG
_FEWEST_SLOTS: Final = 4096
_MOST_UNTIMED: Final = 0.5

Times = np.ndarray[Any, np.dtype[np.int64]]


def points_of(flows: Sequence[Flow]) -> dict[Port, Point]:
    """Every port of a run that only looks on, once, in the order in which flows name them."""
    found: dict[Port, Point] = {}
    for flow in flows:
        searched = flow.search.points if flow.search is not None else ()
        for point in (*flow.through, *searched):
            found.setdefault(point.port, point)
    return found


def observer_orders(
    flows: Sequence[Flow], compiled: Sequence[Compiled], slots: int, canary: bytes
) -> list[dict[str, Any]]:
    """What the receiver process needs for each point; `slots` are frames of one stall."""
    searched = {
        point.port for flow in flows if flow.search is not None for point in flow.search.points
    }
    firsts = [next(iter(made.templates.values())) for made in compiled]
    places = [(number, one.probe_at - one.link) for number, one in enumerate(firsts)]
    longest = max(len(each.frame) for made in compiled for each in made.templates.values())
    orders = []
    for number, (port, point) in enumerate(points_of(flows).items()):
        tail = FORMATS[port.tap].size if port.tap else 0
        everything = port.mtu + probe.ETHERNET_HEADER + _TAGS + tail
        orders.append(
            {
                "name": port.name,
                "point": number,
                "interface": port.interface,
                "namespace": port.namespace,
                "kind": port.kind,
                "tap": port.tap,
                "carries": point.carries,
                "slots": max(_FEWEST_SLOTS, slots),
                "widest": everything if port in searched else longest + _ENVELOPE + tail,
                "canary": canary.hex() if port in searched else None,
                "places": places,
            }
        )
    return orders


def observed(
    measurement: Measurement,
    flow: Flow,
    flows: Sequence[Flow],
    rows: Table,
    reports: Mapping[str, Mapping[str, Any]],
    clock_map: TrailerMap | None,
) -> tuple[Measurement, Table, tuple[Visit, ...]]:
    """A measurement with what the points of its run saw of it; its rows with their times.

    Args:
        measurement: of `flow`, without sightings.
        flow: one of `flows`.
        flows: all of the run.
        rows: `OBSERVED` rows of the flow.
        reports: the receiver process's last word on each point, by name.
        clock_map: that of the tap at the flow's receiving port, None without one.
    """
    numbers = {port: number for number, port in enumerate(points_of(flows))}
    passed = timed(rows)
    visits: list[Visit] = []
    there = flow.through if measurement.direction == "uplink" else flow.through[::-1]
    for point in there:
        mine = rows["point"] == numbers[point.port]
        source, words = NOT_MEASURED, point.untimed or ""
        if point.untimed is None:
            source, words, passed["time_ns"][mine] = _times(rows[mine], point, flow, clock_map)
        report = reports[point.name]
        visit = Visit(
            name=point.name,
            point=numbers[point.port],
            source=source,
            words=words,
            complete=not (report["ring_drops"] or report["went_down"]),
        )
        visits.append(visit)
    visits = _in_order(passed, there, visits)
    seen = sightings(passed, visits, measurement.samples["seq"])
    measurement = replace(measurement, sightings=seen)
    qos = _qos(measurement, flow, rows, numbers)
    conditions = {
        **measurement.conditions,
        "qos": qos,
        **({"observed": _looked_at(flow, reports)} if flow.through else {}),
        **({"canary": found} if (found := canary_found(flow, reports)) else {}),
    }
    return replace(measurement, conditions=conditions), passed, tuple(visits)


def _in_order(rows: Table, points: Sequence[Point], visits: Sequence[Visit]) -> list[Visit]:
    """The visits in order of travel; between two devices N3 is passed up and then down again."""
    twice = [
        point.carries == "gtpu"
        and {gtpu.UPLINK, gtpu.DOWNLINK}
        <= set(np.unique(rows["pdu_type"][rows["point"] == visit.point]).tolist())
        for point, visit in zip(points, visits, strict=True)
    ]
    there = [
        replace(visit, name=f"{visit.name} up", pdu_type=gtpu.UPLINK) if again else visit
        for visit, again in zip(visits, twice, strict=True)
    ]
    back = [
        replace(visit, name=f"{visit.name} down", pdu_type=gtpu.DOWNLINK)
        for visit, again in zip(visits, twice, strict=True)
        if again
    ]
    return there + back[::-1]


def _times(
    rows: Table, point: Point, flow: Flow, clock_map: TrailerMap | None
) -> tuple[str, str, Times]:
    """Source, words and times on the host's realtime clock of what one point saw."""
    nothing = np.full(len(rows), NOT_TAKEN, np.int64)
    kernel = rows["seen_kernel_ns"].copy()
    if point.port.tap is not None:
        stated = np.where((rows["flags"] & TRAILER_BAD) == 0, rows["trailer_release_ns"], NOT_TAKEN)
        clock = point.port.tap_clock
        if clock is not None and clock == flow.rx.tap_clock and flow.rx.tap is not None:
            if clock_map is None:
                return (
                    NOT_MEASURED,
                    f"clock {clock} is mapped through no frame of this flow",
                    nothing,
                )
            words = f"tap's clock {clock}, mapped as that of {flow.rx.name}"
            return "trailer", words, clock_map.to_host(stated)
        both = taken(stated) & taken(kernel)
        if not both.any():
            return NOT_MEASURED, "no frame has the tap's time and the kernel's", nothing
        own = fit(stated[both], kernel[both])
        words = f"tap's own clock, mapped through the kernel's stamps of {own.pairs:,} frames there"
        return "trailer", words, own.to_host(stated)
    if len(rows) and np.count_nonzero(~taken(kernel)) > _MOST_UNTIMED * len(rows):
        return NOT_MEASURED, "the kernel stamped less than half of what passed", nothing
    return "kernel", "kernel's stamps on this host's clock", kernel


def _qos(
    measurement: Measurement, flow: Flow, rows: Table, numbers: Mapping[Port, int]
) -> dict[str, Any]:
    """What the tunnels show of the flow's QoS flow: `words`, `wrong` and one entry a point."""
    asked = flow.traffic.get("qos") or {}
    fiveqi = asked.get("fiveqi")
    came = measurement.samples["arrival"] >= 0
    found: dict[str, Any] = {}
    for point in flow.through:
        if point.carries != "gtpu":
            continue
        number = numbers[point.port]
        seen = np.zeros(len(came), np.bool_)
        for each in measurement.sightings:
            if each.visit.point == number:
                seen |= each.seen
        shown = qos_shown(
            rows[rows["point"] == number],
            point=point.name,
            fiveqi=fiveqi,
            expected_qfi=None if fiveqi is None else point.qfi.get(fiveqi),
            unseen=int(np.count_nonzero(came & ~seen)),
        )
        found[point.name] = shown
    words = "; ".join(each.words for each in found.values())
    return {
        "words": words or f"{NOT_OBSERVED}: no port of this run looks into N3",
        "wrong": "; ".join(each.wrong for each in found.values() if each.wrong) or None,
        **{name: shown.to_json() for name, shown in found.items()},
    }


def _looked_at(flow: Flow, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        point.name: {key: value for key, value in reports[point.name].items() if key != "canary"}
        for point in flow.through
    }


def canary_found(flow: Flow, reports: Mapping[str, Mapping[str, Any]]) -> dict[str, Any] | None:
    """Where the canary of a flow was seen and how much was looked at; None without a search."""
    if flow.search is None:
        return None
    looked: dict[str, Any] = {}
    for point in flow.search.points:
        report = reports[point.name]
        looked[point.name] = {
            "frames": report["frames"],
            "bytes": report["bytes"],
            "found": report["canary"]["found"],
            "first_ns": report["canary"]["first_ns"],
            "cut": report["canary"]["cut"],
            "ring_drops": report["ring_drops"],
        }
    return {
        "looked_at": looked,
        "seen_on": [name for name, each in looked.items() if each["found"]],
        "not_observed": list(flow.search.not_observed),
        "words": _canary_words(looked, flow.search.not_observed),
    }


def _canary_words(looked: Mapping[str, Any], not_observed: Sequence[str]) -> str:
    said = []
    for name, each in looked.items():
        if each["found"]:
            said.append(f"seen on {name} in {each['found']:,} of {each['frames']:,} frames")
    silent = [name for name, each in looked.items() if not each["found"]]
    if silent:
        frames, size = (sum(looked[name][key] for name in silent) for key in ("frames", "bytes"))
        said.append(f"not seen on {', '.join(silent)} ({frames:,} frames, {size:,} B looked at)")
    for name, each in looked.items():
        missed = [
            f"{count:,} frames {how}"
            for count, how in ((each["ring_drops"], "lost"), (each["cut"], "captured in part"))
            if count
        ]
        if missed:
            said.append(f"on {name} {' and '.join(missed)}")
    if not_observed:
        said.append(f"not observed: {', '.join(not_observed)}")
    return "; ".join(said)
