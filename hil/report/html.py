"""The report of a run: one page that needs nothing but a browser and works from the disk."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Final

from hil.record.directory import RunDirectory, write_whole
from hil.record.reader import NotRun, Run, State
from hil.record.schema import EventCategory, EventLine, JudgementLine, Outcome
from hil.report import figures
from hil.report.markup import Child, Markup, tag
from hil.report.page import SIMULATED, page, word
from hil.report.quantity import shown
from hil.report.table import shown_counts
from hil.report.words import LOOKS, look, overall

_COLUMNS: Final = ("Target", "Direction", "Packets", "Figure", "Uncertainty", "Bound",
                   "Demonstrated", "Verdict")  # fmt: skip
_NUMBERS: Final = frozenset(("Packets", "Demonstrated"))
_GREEN: Final = frozenset(("PASS", "DEMONSTRATED"))
_GRAVE: Final = frozenset(("FAIL", "INVALID"))

_ENDS: Final = {
    State.INTERRUPTED: "This run was interrupted. What is missing below was not measured, and "
    "nothing follows from it.",
    State.CUT_SHORT: "This run was cut short: its process died. What is missing below was not "
    "measured, and nothing follows from it.",
    State.RUNNING: "This run still goes on; the page shows what it has so far.",
}
_SAID: Final = {
    "FAIL": "At least one promise was not kept",
    "INVALID": "For at least one target no claim can be made",
    "INCONCLUSIVE": "Nothing failed, and not everything is decided",
    "NOT RUN": "Not everything that was chosen was judged",
    "PASS": "Every target that was chosen is met",
    "NO FAIL": "Nothing failed. A smoke run is too short to pass a target: it shows how far each "
    "one is demonstrated",
}
_OUTCOMES: Final = {
    Outcome.PASSED: ("✔", "pass"),
    Outcome.FAILED: ("✖", "fail"),
    Outcome.BROKEN: ("⚠", "invalid"),
    Outcome.SKIPPED: ("○", "notrun"),
}
_ABBREVIATED: Final = frozenset(("ar", "plc", "mec", "hmi"))
_LOUD: Final = frozenset(
    (EventCategory.RIG_FAULT, EventCategory.SAFETY, EventCategory.FAULT_INJECTED)
)


def write(directory: RunDirectory, run: Run) -> None:
    """Write ``report/index.html``.

    Raises:
        RigError: it cannot be written.
    """
    directory.index.parent.mkdir(exist_ok=True)
    write_whole(directory.index, render(run))


def render(run: Run) -> str:
    """The text of the page."""
    return page(
        f"{overall(run).word}: {run.run.testbed.name}, {run.run.plan}",
        SIMULATED if run.run.simulated else None,
        tag("div", _ENDS[run.state], class_="cut") if run.state in _ENDS else None,
        _head(run),
        _verdicts(run),
        _tests(run),
        _events(run),
        _meaning(run),
        _legend(run),
        _files(run),
    )


def _head(run: Run) -> Markup:
    line = run.run
    counts = [
        tag("li", word(LOOKS[name]), f" {count}")
        for name, count in shown_counts(run).items()
        if count
    ]
    return tag(
        "section",
        tag(
            "div",
            tag(
                "div",
                tag("div", f"Run {line.run_id}", class_="overline"),
                tag("h1", f"{line.profile.name} on testbed {line.testbed.name}"),
                tag(
                    "div",
                    f"plan {line.plan} · {_when(line.started_ns)}{_took(run)}",
                    class_="quiet",
                ),
            ),
            tag("div", word(overall(run), big=True)),
            class_="head",
        ),
        tag("p", _summary(run), class_="sentence"),
        tag("ul", *counts, class_="counts") if counts else None,
        tag("details", tag("summary", "What was run, where and by what"), _facts(run)),
    )


def _summary(run: Run) -> str:
    judged, missing = len(run.judgements), len(run.not_run)
    asked = (
        f"{judged} of {judged + missing} targets judged" if missing else f"{judged} targets judged"
    )
    word = overall(run)
    said = _SAID.get(word.word, f"{word.meaning} The run as a whole shows nothing")
    return f"{said} ({asked})."


def _facts(run: Run) -> Markup:
    line = run.run
    seed = "none" if line.seed is None else str(line.seed)
    commit = "not known"
    if line.git_commit:
        commit = line.git_commit + (", with changes" if line.git_dirty else "")
    facts: list[tuple[str, Child]] = [
        ("testbed", f"{line.testbed.name} ({line.testbed.path or 'no file'})"),
        ("testbed sha256", tag("span", line.testbed.sha256 or "not known", class_="mono")),
        ("profile", f"{line.profile.name} {line.profile.version or ''}".strip()),
        ("profile sha256", tag("span", line.profile.sha256 or "not known", class_="mono")),
        ("bench", "simulated" if line.simulated else "real"),
        ("seed", seed),
        ("started", _when(line.started_ns)),
        ("finished", _when(run.end.finished_ns) if run.end else "it has no end"),
        ("exit code", str(int(run.exit_code) if run.end is None else run.end.exit_code)),
        ("host", f"{line.host}, {line.kernel}, Python {line.python}"),
        ("hil", line.hil),
        ("suites at commit", tag("span", commit, class_="mono")),
        ("command", tag("span", " ".join(line.argv), class_="mono")),
    ]
    pairs = [child for name, value in facts for child in (tag("dt", name), tag("dd", value))]
    return tag("dl", *pairs, class_="facts")


def _verdicts(run: Run) -> Markup:
    heads = [
        tag("th", name, scope="col", class_="num" if name in _NUMBERS else None)
        for name in _COLUMNS
    ]
    return tag(
        "section",
        tag("h2", "Verdicts"),
        tag(
            "div",
            tag("table", tag("thead", tag("tr", *heads)), tag("tbody", *_groups(run))),
            class_="scroll",
        ),
    )


def _groups(run: Run) -> Iterable[Markup]:
    """Rows by scenario and requirement, in the order of the profile, what was not run included."""
    order = {one.id: place for place, one in enumerate(run.run.requirements)}
    names = {line.requirement for line in run.judgements} | {one.requirement for one in run.not_run}
    scenario = None
    for name in sorted(names, key=lambda name: (order.get(name, len(order)), name)):
        here = _scenario(run.scenario(name))
        if here != scenario:
            scenario = here
            yield tag("tr", tag("th", here, colspan=str(len(_COLUMNS))), class_="group")
        title = run.title(name)
        yield tag(
            "tr",
            tag("td", tag("b", name), f" {title}" if title else None, colspan=str(len(_COLUMNS))),
        )
        for judgement in run.judgements:
            if judgement.requirement == name:
                yield from _judged(run, judgement)
        for missing in run.not_run:
            if missing.requirement == name:
                yield from _missing(missing)


def _scenario(name: str) -> str:
    if not name:
        return "Other requirements"
    words = [word.upper() if word in _ABBREVIATED else word for word in name.split("_")]
    return " ".join([words[0][:1].upper() + words[0][1:], *words[1:]])


def _judged(run: Run, judgement: JudgementLine) -> Iterable[Markup]:
    seen = look(judgement)
    card = f"../cards/{run.directory.card(judgement.nodeid, judgement).name}"
    named = figures.named_figure(judgement)
    yield tag(
        "tr",
        tag("td", judgement.target),
        tag("td", _tight(figures.direction(judgement))),
        tag("td", figures.packets(judgement), class_="num"),
        tag(
            "td",
            tag("b", _tight(figures.figure(judgement))),
            tag("div", _tight(f"{named}: {figures.limits(judgement)}"), class_="quiet small"),
        ),
        tag("td", _tight(figures.uncertainty(judgement))),
        tag("td", _tight(figures.bound(judgement))),
        tag("td", figures.demonstrated(judgement), class_="num"),
        tag("td", word(seen), tag("div", tag("a", "card", href=card), class_="small")),
        class_="grave" if seen.word in _GRAVE else None,
    )
    if seen.word not in _GREEN:
        yield tag(
            "tr",
            tag("td"),
            tag("td", judgement.sentence, colspan=str(len(_COLUMNS) - 1), class_="small"),
            class_="grave" if seen.word in _GRAVE else None,
        )


def _missing(missing: NotRun) -> Iterable[Markup]:
    yield tag(
        "tr",
        tag("td", missing.requirement),
        tag(
            "td",
            f"{missing.why} ({missing.nodeid})",
            colspan=str(len(_COLUMNS) - 2),
            class_="small",
        ),
        tag("td", word(LOOKS["NOT RUN"])),
    )


def _tests(run: Run) -> Markup:
    rows = []
    for test in run.collected:
        history = run.tests[test.nodeid]
        finish = history.finish
        if finish is None:
            said = "running when the run ended" if history.start else "not begun"
            sign, css, taken, detail = "○", "notrun", figures.NONE, ""
        else:
            sign, css = _OUTCOMES[finish.outcome or Outcome.BROKEN]
            said = str(finish.cause or finish.outcome or Outcome.BROKEN)
            taken = (
                shown(finish.duration_ns, "ns", 3)
                if finish.duration_ns is not None
                else figures.NONE
            )
            detail = (finish.detail or "").strip()
        badge = tag("span", tag("span", sign, aria_hidden="true"), said, class_=f"word {css}")
        prose = [
            tag("div", tag("b", f"{name}: "), text, class_="small")
            for name, text in (("Steps", test.steps), ("Verify", test.verify))
            if text
        ]
        about = tag("details", tag("summary", "what it does"), *prose) if prose else None
        rows.append(
            tag(
                "tr",
                tag(
                    "td",
                    test.title or test.nodeid,
                    tag("div", test.nodeid, class_="mono quiet") if test.title else None,
                    about,
                ),
                tag("td", badge, tag("div", detail, class_="small") if detail else None),
                tag("td", taken, class_="num"),
            )
        )
    head = tag("tr", *(tag("th", name, scope="col") for name in ("Test", "Outcome", "Took")))
    table = tag("table", tag("thead", head), tag("tbody", *rows))
    return tag("section", tag("h2", "Tests"), tag("div", table, class_="scroll"))


def _events(run: Run) -> Markup | None:
    loud = [event for event in run.events if event.category in _LOUD or event.level != "info"]
    quiet = [event for event in run.events if event not in loud]
    if not run.events and not run.notes:
        return None
    notes = (
        tag("ul", *(tag("li", note) for note in run.notes), class_="plain") if run.notes else None
    )
    return tag(
        "section",
        tag("h2", "What happened on the bench"),
        notes,
        _event_table(run, loud) if loud else tag("p", "No fault of the rig.", class_="quiet"),
        tag(
            "details",
            tag("summary", f"{len(quiet)} actions and notes"),
            _event_table(run, quiet),
        )
        if quiet
        else None,
    )


def _event_table(run: Run, events: list[EventLine]) -> Markup:
    rows = (
        tag(
            "tr",
            tag("td", f"+{(event.at_ns - run.run.started_ns) / 1e9:,.1f} s", class_="num"),
            tag("td", event.category.value),
            tag("td", event.device or figures.NONE),
            tag("td", event.text),
        )
        for event in events
    )
    head = tag("tr", *(tag("th", name) for name in ("After", "Kind", "Device", "What")))
    return tag("div", tag("table", tag("thead", head), tag("tbody", *rows)), class_="scroll")


def _meaning(run: Run) -> Markup:
    points: list[str] = []
    if run.smoke:
        points += [
            "A smoke run sends a few seconds of each traffic. It proves that the bench, the "
            "drivers, the suites, the clock and the rules work together.",
            "It proves no target. DEMONSTRATED names the share that this many packets can show, "
            "which is less than was promised; the plan full decides.",
            "A FAIL in a smoke run is a real FAIL: it takes fewer packets to see a promise broken "
            "than to see it kept.",
        ]
    if run.run.simulated:
        points += [
            "The bench is simulated. The verdicts say how the suites and the rules answer to a "
            "cell of these properties, and nothing about a real network or about the accuracy of "
            "real time stamps.",
        ]
    points += [
        "A lost packet counts as infinitely late. A packet without a trustworthy time counts "
        "as late for PASS and as on time for FAIL.",
        "A limit in this report is one-sided at the confidence named on the card. The design "
        "effect keeps it true when losses come in bursts.",
    ]
    return tag(
        "section",
        tag("h2", "What this run proves, and what it does not"),
        tag("ul", *(tag("li", point) for point in points), class_="plain"),
    )


def _legend(run: Run) -> Markup:
    used = [one for one in LOOKS.values() if run.smoke or "DEMONSTRATED" not in one.word]
    rows = (tag("tr", tag("td", word(one)), tag("td", one.meaning)) for one in used)
    table = tag("table", tag("tbody", *rows), class_="legend")
    return tag("section", tag("h2", "How to read the words"), table)


def _files(run: Run) -> Markup:
    directory = run.directory
    links: list[tuple[str, str]] = [
        ("../record.jsonl", "record, the source of this report (JSON lines)")
    ]
    if directory.junit.is_file():
        links.append(("../junit.xml", "JUnit XML"))
    if (directory.allure_report / "index.html").is_file():
        links.append(("../allure-report/index.html", "Allure report, for engineers"))
    for line in run.measurements.values():
        if line.samples is not None and (directory.path / line.samples.path).is_file():
            rows = f"{line.samples.rows:,} samples of {line.flow or line.id}, {line.direction}"
            links.append((f"../{line.samples.path}", f"{rows} (Parquet)"))
    items = (tag("li", tag("a", text, href=target)) for target, text in links)
    return tag("section", tag("h2", "Files"), tag("ul", *items, class_="plain"))


def _tight(text: str) -> str:
    """A number and its unit, an arrow and its word, stay on one line."""
    return re.sub(r"(?<=[\d±≤↑↓↻]) (?=\S)", "\N{NO-BREAK SPACE}", text)


def _when(time_ns: int) -> str:
    return f"{datetime.fromtimestamp(time_ns // 10**9, UTC):%Y-%m-%d %H:%M:%S} UTC"


def _took(run: Run) -> str:
    if run.end is None:
        return ""
    seconds = (run.end.finished_ns - run.run.started_ns) // 10**9
    return (
        f", took {seconds // 60} min {seconds % 60} s" if seconds >= 60 else f", took {seconds} s"
    )
