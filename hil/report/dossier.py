"""The dossier of a validation of the instrument as a page: every item with every figure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

from hil.report.markup import Child, Markup, tag
from hil.report.page import page, rows, tile, word
from hil.report.quantity import NOT_MEASURED
from hil.report.words import Look

#: Whether an item holds, as a word.
HELD: Final[Mapping[bool | None, Look]] = {
    True: Look("HOLDS", "pass", "✔", "bold green", "It was shown."),
    False: Look("DOES NOT HOLD", "fail", "✖", "bold red", "It was tried, and it is not so."),
    None: Look("NOT TRIED", "notrun", "○", "dim", "The rig kept it from being tried."),
}
_COLUMNS: Final = ("What", "Figure", "95 % limits", "n", "Held against", "", "Where from")
_TITLE: Final = "Validation of the instrument"


def render(dossier: Mapping[str, Any]) -> str:
    """The text of the page."""
    found = dossier["items"]
    whole = None if any(each["holds"] is None for each in found) else True
    whole = False if any(each["holds"] is False for each in found) else whole
    return page(
        f"{HELD[whole].word}: {_TITLE}",
        _head(dossier, HELD[whole]),
        _summary(found),
        *(_item(each) for each in found),
    )


def _head(dossier: Mapping[str, Any], look: Look) -> Markup:
    found = dossier["items"]
    judged = [figure for each in found for figure in each["figures"] if figure["holds"] is not None]
    seconds = (dossier["finished_ns"] - dossier["started_ns"]) / 1e9
    host = dossier["host"]
    facts: list[tuple[str, Child]] = [
        ("Instrument", f"hil {dossier['hil']}, Python {dossier['python']}"),
        ("Host", f"{host['name']}: {host['kernel']}, {host['processors']} processors"),
        ("Clock source", str(host["clocksource"] or NOT_MEASURED)),
        ("Load at the end", " ".join(f"{each:.2f}" for each in dossier["load"])),
        ("Begun", _time(dossier["started_ns"])),
        ("Lasted", f"{seconds:,.0f} s"),
        ("Extent", ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in dossier["extent"].items())),
    ]
    return tag(
        "section",
        tag(
            "div",
            tag(
                "div",
                tag("div", "Evidence for ISO/IEC 17025, 7.2.2", class_="overline"),
                tag("h1", _TITLE),
            ),
            word(look, big=True),
            class_="head",
        ),
        tag(
            "div",
            tile(f"{sum(each['holds'] is True for each in found)} of {len(found)}", "items hold"),
            tile(str(len(judged)), "figures judged"),
            tile(str(sum(each["holds"] is False for each in judged)), "of them do not hold"),
            class_="tiles",
        ),
        tag("h2", "Under what conditions"),
        rows(facts),
    )


def _summary(found: list[Mapping[str, Any]]) -> Markup:
    lines = [
        tag(
            "tr",
            tag("td", tag("a", each["title"], href=f"#{_anchor(each)}")),
            tag("td", each["sentence"]),
            tag("td", _seconds(each), class_="num"),
            tag("td", word(HELD[each["holds"]])),
        )
        for each in found
    ]
    heads = tag("tr", *(tag("th", name) for name in ("Item", "What was found", "Took", "")))
    table = tag("table", tag("thead", heads), tag("tbody", *lines))
    return tag("section", tag("h2", "Items"), tag("div", table, class_="scroll"))


def _item(each: Mapping[str, Any]) -> Markup:
    lines = [_line(figure) for figure in each["figures"]]
    heads = tag("tr", *(tag("th", name) for name in _COLUMNS))
    table = tag("table", tag("thead", heads), tag("tbody", *lines)) if lines else None
    notes = [tag("li", note) for note in each["notes"]]
    return tag(
        "section",
        tag("h2", each["title"], " ", word(HELD[each["holds"]])),
        tag("p", each["sentence"], class_="sentence"),
        tag("div", table, class_="scroll") if table is not None else None,
        tag("ul", *notes, class_="plain") if notes else None,
        id=_anchor(each),
    )


def _line(figure: Mapping[str, Any]) -> Markup:
    unit = figure["unit"]
    limits = ""
    if figure["low"] is not None and figure["high"] is not None:
        limits = f"{_shown(figure['low'], unit)} to {_shown(figure['high'], unit)}"
    count = "" if figure["n"] is None else f"{figure['n']:,} {figure['of']}"
    judged = figure["holds"] is not None
    value = _shown(figure["value"], unit) if unit else ""
    return tag(
        "tr",
        tag("td", figure["what"]),
        tag("td", value, class_="num"),
        tag("td", limits, class_="num"),
        tag("td", count, class_="num"),
        tag("td", figure["expected"]),
        tag("td", word(HELD[figure["holds"]]) if judged else ""),
        tag("td", figure["source"], class_="small quiet"),
        class_="grave" if figure["holds"] is False else None,
    )


def _shown(value: float | None, unit: str) -> str:
    """A figure with its unit; a share as per cent."""
    if value is None:
        return NOT_MEASURED
    if unit == "1":
        return f"{100 * value:.1f} %"
    if unit in ("exact", "runs"):
        return f"{value:,.0f} {unit}"
    return f"{value:,.6g} {unit}"


def _seconds(each: Mapping[str, Any]) -> str:
    return "" if each["seconds"] is None else f"{each['seconds']:,.0f} s"


def _anchor(each: Mapping[str, Any]) -> str:
    return str(each["id"])


def _time(at_ns: int) -> str:
    return datetime.fromtimestamp(at_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
