"""The verdict table at the end of a run: on a terminal in colour, elsewhere as plain text."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil.record.reader import Run, State
from hil.record.schema import JudgementLine
from hil.report import figures
from hil.report.quantity import whole
from hil.report.words import LOOKS, Look, look, overall
from hil.verdict import Verdict

#: Width of the table where no terminal says how wide it is.
PLAIN_WIDTH: Final = 160
_NARROW: Final = 120
_GREEN: Final = ("PASS", "DEMONSTRATED")
_STATES: Final = {
    State.INTERRUPTED: "The run was interrupted: what is not in this table was not measured.",
    State.CUT_SHORT: "The run was cut short (its process died): what is not here was not measured.",
    State.RUNNING: "The run still goes on: this is what it has so far.",
}


def text(run: Run) -> str:
    """The table and the sentences below it as plain text, without colours."""
    out = io.StringIO()
    console = Console(file=out, width=PLAIN_WIDTH, color_system=None, force_terminal=False)
    render(run, console)
    return out.getvalue().rstrip("\n")


def render(run: Run, console: Console) -> None:
    """Prints the verdict table, then a sentence for each judgement that is not green."""
    if not console.encoding.lower().startswith("utf"):
        plain = text(run).encode(console.encoding, "replace").decode(console.encoding)
        console.print(plain, markup=False, highlight=False, soft_wrap=True)
        return
    if not console.is_terminal and console.width < PLAIN_WIDTH:
        # A pipe has no width; half a table would be worse than a long line.
        console.print(text(run), markup=False, highlight=False, soft_wrap=True)
        return
    if run.state in _STATES:
        console.print(Text(_STATES[run.state], style="bold red"), soft_wrap=True)
    if run.judgements or run.not_run:
        if console.width >= _NARROW:
            console.print(_table(run))
        else:
            for line in _stacked(run):
                console.print(line)
    for sentence, style in _sentences(run):
        console.print(Text(sentence, style=style), soft_wrap=True)
    console.print(_summary(run), soft_wrap=True)


def _table(run: Run) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading in ("requirement", "direction"):
        table.add_column(heading, no_wrap=True)
    table.add_column("packets", justify="right", no_wrap=True)
    for heading in ("figure (confidence limits)", "uncertainty", "bound"):
        table.add_column(heading, overflow="fold")
    table.add_column("demonstrated", justify="right", no_wrap=True)
    table.add_column("verdict", no_wrap=True, min_width=12)
    for judgement in run.judgements:
        table.add_row(*_cells(judgement))
    for missing in run.not_run:
        table.add_row(
            missing.requirement, *([figures.NONE] * 6), _word(LOOKS["NOT RUN"], run.run.simulated)
        )
    return table


def _cells(judgement: JudgementLine) -> tuple[str | Text, ...]:
    return (
        judgement.target,
        figures.direction(judgement),
        figures.packets(judgement),
        _figure(judgement),
        figures.uncertainty(judgement),
        figures.bound(judgement),
        figures.demonstrated(judgement),
        _word(look(judgement), judgement.simulated),
    )


def _figure(judgement: JudgementLine) -> str:
    name = figures.named_figure(judgement, short=True)
    return f"{name} {figures.figure(judgement)} ({figures.limits(judgement, short=True)})"


def _stacked(run: Run) -> Iterator[Text]:
    """The same facts in lines of prose, for a terminal too narrow for the table."""
    for judgement in run.judgements:
        head = Text(f"{judgement.target} {figures.direction(judgement)} ", style="bold")
        yield head.append_text(_word(look(judgement), judgement.simulated))
        yield Text(
            f"  {whole(judgement.n)} {figures.items(judgement, judgement.n)}, "
            f"{_figure(judgement)}, "
            f"U {figures.uncertainty(judgement)}, bound {figures.bound(judgement)}, "
            f"demonstrated {figures.demonstrated(judgement)}"
        )
    for missing in run.not_run:
        head = Text(f"{missing.requirement} ", style="bold")
        yield head.append_text(_word(LOOKS["NOT RUN"], run.run.simulated))


def _word(shown: Look, simulated: bool) -> Text:
    word = Text(f"{shown.sign} {shown.word}", style=shown.terminal)
    return word.append(" SIMULATED", style="dim") if simulated else word


def _sentences(run: Run) -> Iterator[tuple[str, str]]:
    for judgement in run.judgements:
        shown = look(judgement)
        if shown.word not in _GREEN:
            yield f"{shown.word}: {judgement.sentence}", shown.terminal
    for missing in run.not_run:
        yield f"NOT RUN {missing.requirement} ({missing.nodeid}): {missing.why}", ""
    for history in run.tests.values():
        finish = history.finish
        if finish is None or finish.cause is None or _judged_so(run, history.nodeid):
            continue
        detail = (finish.detail or "no reason given").strip().splitlines()[0]
        yield f"{finish.cause.value.upper()} {history.nodeid}: {detail}", "bold red"
    for note in run.notes:
        yield note, "bold red"


def _judged_so(run: Run, nodeid: str) -> bool:
    """The test failed for its judgements, whose sentences are there already."""
    return any(
        line.nodeid == nodeid and line.verdict is not Verdict.PASS for line in run.judgements
    )


def _summary(run: Run) -> Text:
    counts = ", ".join(f"{count} {word}" for word, count in shown_counts(run).items() if count)
    simulated = ", SIMULATED" if run.run.simulated else ""
    word = overall(run)
    return Text(f"{word.word}{simulated}", style=word.terminal).append(
        f" ({counts or 'nothing judged'}; plan {run.run.plan})", style="default"
    )


def shown_counts(run: Run) -> dict[str, int]:
    """How often each word as shown occurs, worst first."""
    counts = dict.fromkeys(LOOKS, 0)
    for judgement in run.judgements:
        counts[look(judgement).word] += 1
    counts["NOT RUN"] += len(run.not_run)
    return counts
