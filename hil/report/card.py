"""The measurement card: one judgement on one page, to be read at a glance and checked in detail.

A static HTML file without scripts: Allure shows it as an attachment, a browser opens it from the
disk, a printer prints it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from hil.report import causes, figures, segments
from hil.report.drawing import drawings
from hil.report.markup import Child, Markup, tag
from hil.report.page import SIMULATED, page, rows, tile, word
from hil.report.quantity import NOT_MEASURED, one_in, shown, whole
from hil.report.words import look
from hil.units import format_share, format_size

if TYPE_CHECKING:
    from hil.report.figures import AnyJudgement
    from hil.samples.autopsy import Autopsy
    from hil.samples.measurement import Measurement

_SOURCES: Final = {
    "trailer": "trailer of the tap",
    "hardware": "clock of the NIC",
    "kernel": "kernel",
    "user": "program (user space)",
    "elsewhere": "kernel of another host, on a clock of its own",
    "reflector": "kernel, less what the reflector held",
}

_SUFFIXES: Final[Mapping[str, Callable[[Any], str]]] = {
    "_ns": lambda value: shown(value, "ns"),
    "_dbm": lambda value: f"{value:g} dBm",
    "_db": lambda value: f"{value:g} dB",
    "_bps": lambda value: shown(value, "bit/s"),
    "share": lambda value: shown(value, "1"),
    "size": lambda value: format_size(int(value)),
    "bytes": lambda value: format_size(int(value)),
}


def render(
    judgement: AnyJudgement,
    measurement: Measurement | None,
    *,
    against: Measurement | None = None,
    title: str = "",
    autopsy: Autopsy | None = None,
) -> str:
    """The card of a judgement as the text of an HTML file.

    `measurement` is what was judged, None where it was one value; `against` the paired one of a
    comparison; `title` the requirement in words; `autopsy` what is known of its late packets.
    """
    name = f"{judgement.target} {judgement.direction}".strip()
    return page(
        f"{name}: {look(judgement).word}",
        SIMULATED if judgement.simulated else None,
        _head(judgement, measurement, title),
        _drawn(judgement, measurement, against),
        segments.table(judgement, measurement) if measurement is not None else None,
        causes.section(autopsy) if autopsy is not None else None,
        _numbers(judgement, measurement),
        kind="card",
    )


def _head(judgement: AnyJudgement, measurement: Measurement | None, title: str) -> Markup:
    where = [f"{_capital(figures.metric(judgement))}"] if title else []
    if judgement.direction:
        where.append(figures.direction(judgement))
    if measurement is not None:
        where.append(f"{measurement.path}, {measurement.tx_port} → {measurement.rx_port}")
    return tag(
        "section",
        tag(
            "div",
            tag(
                "div",
                tag("div", f"{judgement.target} · plan {judgement.plan}", class_="overline"),
                tag("h1", title or _capital(figures.metric(judgement))),
                tag("div", " · ".join(where), class_="quiet"),
            ),
            tag("div", word(look(judgement), big=True)),
            class_="head",
        ),
        tag("p", judgement.sentence, class_="sentence"),
        _tiles(judgement, measurement),
    )


def _tiles(judgement: AnyJudgement, measurement: Measurement | None) -> Markup:
    tiles = [tile(figures.figure(judgement), _figure_name(judgement)), _bound_tile(judgement)]
    if judgement.exceeding is not None and judgement.statistic != "tolerance":
        tiles.append(_exceeding_tile(judgement, measurement))
    if judgement.demonstrated is not None:
        tiles.append(tile(figures.demonstrated(judgement), _demonstrated_name(judgement)))
    return tag("div", *tiles, class_="tiles")


def _bound_tile(judgement: AnyJudgement) -> Markup:
    if judgement.limit is None:
        return tile("none", "declared rate")
    if figures.expected(judgement) is not None:
        return tile(figures.bound(judgement), "expected, with its tolerance")
    of = f", for {format_share(judgement.share)} of all" if judgement.share is not None else ""
    return tile(f"≤ {shown(judgement.limit, judgement.unit)}", f"bound{of}")


def _exceeding_tile(judgement: AnyJudgement, measurement: Measurement | None) -> Markup:
    if judgement.share is None:
        return tile(whole(judgement.exceeding), "events seen")
    caption = f"{figures.items(judgement)} late or lost"
    if measurement is not None:
        caption += f" ({whole(measurement.counts.lost)} packets lost)"
    return tile(f"{whole(judgement.exceeding)} of {whole(judgement.n)}", caption)


def _figure_name(judgement: AnyJudgement) -> str:
    limits = figures.limits(judgement)
    name = figures.named_figure(judgement)
    return f"{name} ({limits})" if limits != figures.NONE else name


def _demonstrated_name(judgement: AnyJudgement) -> str:
    asked = f", {format_share(judgement.share)} asked" if judgement.share is not None else ""
    return f"demonstrated at {format_share(judgement.confidence)} confidence{asked}"


def _drawn(
    judgement: AnyJudgement, measurement: Measurement | None, against: Measurement | None
) -> Markup | None:
    found = drawings(judgement, measurement, against)
    return tag("section", *found) if found else None


def _numbers(judgement: AnyJudgement, measurement: Measurement | None) -> Markup:
    blocks = [
        _block("Result", _result(judgement)),
        _block("Evidence", _evidence(judgement)),
    ]
    if measurement is not None:
        blocks += [
            _block("Packets", _counts(measurement)),
            _block("Time", _time(measurement)),
            _block("Offered traffic", _traffic(judgement, measurement)),
            _block("Conditions", _flat(measurement.conditions)),
        ]
    if rest := _flat({k: v for k, v in judgement.details.items() if not isinstance(v, list)}):
        blocks.append(_block("Details of the verdict", rest))
    return tag(
        "section",
        tag("h2", "All numbers"),
        tag("div", *blocks, class_="columns"),
        _spoiled(measurement) if measurement is not None else None,
    )


def _block(title: str, pairs: list[tuple[str, Child]]) -> Markup | None:
    return tag("div", tag("h3", title), rows(pairs)) if pairs else None


def _result(judgement: AnyJudgement) -> list[tuple[str, Child]]:
    pairs: list[tuple[str, Child]] = [
        ("verdict", _verdict(judgement)),
        ("figure", figures.figure(judgement)),
        ("its confidence limits", figures.limits(judgement)),
        ("bound", figures.bound(judgement)),
        ("confidence, one-sided", format_share(judgement.confidence)),
    ]
    if judgement.unit == "ns":
        pairs += [
            ("uncertainty, common mode", f"± {shown(judgement.common_mode_ns, 'ns')}"),
            ("uncertainty, one sample (floor)", shown(judgement.floor_ns, "ns")),
        ]
    return pairs


def _verdict(judgement: AnyJudgement) -> str:
    word, reason = look(judgement).word, str(judgement.reason)
    return word if reason == word else f"{word} ({reason})"


def _evidence(judgement: AnyJudgement) -> list[tuple[str, Child]]:
    pairs: list[tuple[str, Child]] = [
        ("judged", f"{whole(judgement.n)} {figures.items(judgement, judgement.n)}")
    ]
    if judgement.statistic == "tolerance":
        return pairs
    if judgement.exceeding is not None:
        pairs.append(("late, lost, or events", whole(judgement.exceeding)))
    pairs.append(("bracketed (no time, or spoiled)", whole(judgement.bracketed)))
    if judgement.share is not None:
        pairs += [
            (
                "promised share",
                f"{format_share(judgement.share)} ({one_in(judgement.share)} may fail)",
            ),
            ("design burst length b0", f"{judgement.burst_length:g} {figures.items(judgement)}"),
            ("design effect D", f"{judgement.design_effect:g}"),
        ]
    if judgement.required_packets is not None:
        pairs.append(("needed to show the target", whole(judgement.required_packets)))
    pairs.append(("demonstrated", figures.demonstrated(judgement)))
    return pairs


def _counts(measurement: Measurement) -> list[tuple[str, Child]]:
    counts = measurement.counts
    return [
        ("sent (planned probes)", whole(counts.sent)),
        ("received intact", whole(counts.received)),
        ("lost", whole(counts.lost)),
        ("corrupted", whole(counts.corrupted)),
        ("duplicated", whole(counts.duplicated)),
        ("reordered (RFC 4737)", whole(counts.reordered)),
        ("warm-up, not judged", whole(counts.warmup_sent)),
        ("refused on sending", whole(counts.send_failed)),
        ("foreign, ignored", whole(counts.foreign)),
    ]


def _time(measurement: Measurement) -> list[tuple[str, Child]]:
    timing, counts = measurement.timing, measurement.counts
    return [
        ("sent at", f"{_SOURCES[timing.tx]}; {whole(counts.tx_missing.get(timing.tx, 0))} missing"),
        (
            "received at",
            f"{_SOURCES[timing.rx]}; {whole(counts.rx_missing.get(timing.rx, 0))} missing",
        ),
        ("uncertainty from", "; ".join(measurement.budget.sources) or "no source named"),
        ("measurement", tag("span", measurement.id, class_="mono")),
        ("complete", "yes" if measurement.complete else "no: cut short"),
    ]


def _traffic(judgement: AnyJudgement, measurement: Measurement) -> list[tuple[str, Child]]:
    pairs: list[tuple[str, Child]] = []
    for name, value in measurement.traffic.items():
        if value is None or isinstance(value, Mapping | list | tuple):
            continue
        pairs.append((name.removesuffix("_ns").replace("_", " "), _value(name, value)))
    return pairs


def _flat(tree: Mapping[str, Any], above: str = "") -> list[tuple[str, Child]]:
    pairs: list[tuple[str, Child]] = []
    for name, value in tree.items():
        title = f"{above}{name}"
        if isinstance(value, Mapping):
            pairs += _flat(value, f"{title} ")
        else:
            label = title.removesuffix("_ns").replace("_", " ")
            pairs.append((label, _value(name, value)))
    return pairs


def _value(name: str, value: Any) -> str:
    """A value by its name's suffix; inside, a suffix is how a unit is written."""
    if value is None:
        return NOT_MEASURED
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(_value(name, item) for item in value)
    if not isinstance(value, int | float):
        return str(value)
    for suffix, say in _SUFFIXES.items():
        if name.endswith(suffix):
            return say(value)
    return whole(value)


def _spoiled(measurement: Measurement) -> Markup | None:
    said: list[Child] = [
        tag("li", f"{shown(window.end_ns - window.start_ns, 'ns')}: {window.why}")
        for window in measurement.spoiled
    ]
    said += [tag("li", f"INVALID: {why}") for why in measurement.invalid]
    if not said:
        return None
    return tag(
        "div",
        tag("h3", "Spoiled windows and faults of the instrument"),
        tag("ul", *said[:50], class_="plain small"),
        tag("p", f"and {len(said) - 50} more", class_="quiet") if len(said) > 50 else None,
    )


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
