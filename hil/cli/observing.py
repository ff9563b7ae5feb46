"""What `hil measure` shows of the points on the way: segments, QoS flow, canary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from hil.units import format_duration

if TYPE_CHECKING:
    from rich.console import Console

    from hil.testbed import Testbed
    from hil.traffic.point import Point, Search


def points(
    bench: Testbed | None, ends: tuple[str, str | None], named: Sequence[str] | None
) -> tuple[Point, ...]:
    """The points on the way, in the order of uplink: those named, else those of the route.

    Raises: UsageError: a port or an interface that is not there.
    """
    from hil.errors import UsageError
    from hil.lab.path import route_between

    tx, rx = ends
    if rx is None and named:
        raise UsageError("--observe goes with --rx: a reflector's answers are not looked for")
    if named is None:
        route = None if bench is None or rx is None else route_between(bench, tx, rx)
        named = () if route is None else route.through
    return tuple(_point(bench, name) for name in named)


def search(bench: Testbed | None, rx: str | None, named: Sequence[str]) -> Search | None:
    """Where to look for the canary; names that are neither port nor interface are not observed."""
    from hil.errors import UsageError
    from hil.traffic.point import Search

    if not named:
        return None
    if rx is None:
        raise UsageError("--canary goes with --rx: packets to a reflector hold none")
    there: list[Point] = []
    absent: list[str] = []
    for name in named:
        try:
            there.append(_point(bench, name))
        except UsageError:
            if bench is not None and name in bench.ports:
                raise
            absent.append(name)
    return Search(points=tuple(there), not_observed=tuple(absent))


def _point(bench: Testbed | None, name: str) -> Point:
    from hil.lab.path import live_point
    from hil.traffic import parse_port, resolve_port
    from hil.traffic.point import Point

    if bench is not None and name in bench.ports:
        return live_point(bench, name)
    namespace, interface = parse_port(name)
    return Point(port=resolve_port(interface, namespace))


def show(console: Console, summary: Mapping[str, Any]) -> None:
    """The segments, where losses were seen last, and what is shown of QoS flow and canary."""
    split = summary["segments"]
    if split is not None:
        console.print(grid(split))
        for line in sentences(split):
            console.print(f"  {line}", markup=False)
        console.print(f"QoS flow: {summary['conditions']['qos']['words']}", markup=False)
    canary = summary["conditions"].get("canary")
    if canary is not None:
        console.print(f"canary: {canary['words']}", markup=False)


def grid(split: Mapping[str, Any]) -> Any:
    """The segments as a table of rich."""
    from rich.table import Table as Grid

    table = Grid(box=None, pad_edge=False, header_style="")
    table.add_column("segment")
    judged = split["bound_ns"] is not None
    titles = ["p50", "p99", "max", "packets"]
    titles += ["share of the late", "share of the rest"] if judged else []
    for title in titles:
        table.add_column(title, justify="right")
    for part in split["segments"]:
        delay = part["delay_ns"]
        cells = [time_words(delay[name]) for name in ("p50", "p99", "max")]
        cells.append(f"{part['n']:,}")
        cells += [_share(part[name]) for name in ("violating", "on_time")] if judged else []
        table.add_row(f"{part['from']} -> {part['to']}", *cells)
    return table


def sentences(split: Mapping[str, Any]) -> list[str]:
    """What the table does not say, a sentence each."""
    said = []
    if split["bound_ns"] is not None:
        said.append(f"late {split['violating']:,}, in time {split['on_time']:,} with every time")
    lost = split["lost"]
    if lost["n"]:
        seen = ", ".join(f"{count:,} at {name}" for name, count in lost["last_seen"].items())
        said.append(f"lost {lost['n']:,}, last seen: {seen}")
    said += [f"{name} may have missed some: {why}" for name, why in lost["uncertain"].items()]
    for point in split["points"]:
        if "clock" in point:
            said.append(f"{point['name']}: {point['source']}, {point['clock']}")
    if split["not_observed"]:
        said.append(f"saw nothing of it: {', '.join(split['not_observed'])}")
    return said


def time_words(value: int | None) -> str:
    """A time with its unit, or a dash."""
    return "-" if value is None else format_duration(value)


def _share(mean: Mapping[str, float] | None) -> str:
    return "-" if mean is None else f"{mean['mean_share'] * 100:.1f} %"
