"""The segments of a measurement on its card: where late packets were slow, and lost ones last."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from hil.report.markup import Child, Markup, tag
from hil.report.quantity import NOT_MEASURED, shown, whole
from hil.samples.segments import segments

if TYPE_CHECKING:
    from hil.report.figures import AnyJudgement
    from hil.samples.measurement import Measurement


def table(judgement: AnyJudgement, measurement: Measurement) -> Markup | None:
    """The table; None where no point looked on."""
    bound = judgement.limit if judgement.metric == "delay" else None
    split = segments(measurement, bound_ns=None if bound is None else int(bound))
    if split is None:
        return None
    titles = ["segment", "p50", "p99", "max", "packets"]
    if bound is not None:
        titles += [
            f"mean share, {whole(split['violating'])} late",
            f"mean share, {whole(split['on_time'])} in time",
        ]
    lines = [tag("tr", *(tag("td", cell) for cell in _cells(part, bound))) for part in _of(split)]
    return tag(
        "section",
        tag("h2", "Segments"),
        tag(
            "table",
            tag("thead", tag("tr", *(tag("th", title) for title in titles))),
            tag("tbody", *lines),
            class_="small",
        ),
        tag("p", _lost(split), class_="quiet"),
    )


def _of(split: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    parts: list[Mapping[str, Any]] = split["segments"]
    return parts


def _cells(part: Mapping[str, Any], bound: float | None) -> list[Child]:
    delay = part["delay_ns"]
    cells: list[Child] = [f"{part['from']} → {part['to']}"]
    for name in ("p50", "p99", "max"):
        cells.append(NOT_MEASURED if delay[name] is None else shown(delay[name], "ns"))
    cells.append(whole(part["n"]))
    for name in ("violating", "on_time") if bound is not None else ():
        mean = part[name]
        cells.append("—" if mean is None else f"{mean['mean_share'] * 100:.1f} %")
    return cells


def _lost(split: Mapping[str, Any]) -> str:
    lost = split["lost"]
    seen = ", ".join(f"{whole(count)} at {name}" for name, count in lost["last_seen"].items())
    words = [f"lost {whole(lost['n'])}" + (f", last seen: {seen}" if lost["n"] else "")]
    words += [f"{name} may have missed some: {why}" for name, why in lost["uncertain"].items()]
    words += [f"{name} saw nothing of it" for name in split["not_observed"]]
    return "; ".join(words)
