"""The words of a verdict as shown: each with a sign and a colour of its own, and its meaning.

In a smoke run INCONCLUSIVE is the ordinary answer; it is shown by what it says, DEMONSTRATED or
NOT DEMONSTRATED (docs/explanation/method.md).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol

from hil.record.reader import Run, State
from hil.verdict import Verdict


@dataclass(frozen=True, slots=True)
class Look:
    """How a word is shown: `css` names its class, `sign` tells it apart without colour."""

    word: str
    css: str
    sign: str
    terminal: str  #: style of rich
    meaning: str


LOOKS: Final[Mapping[str, Look]] = {
    look.word: look
    for look in (
        Look(
            "FAIL", "fail", "✖", "bold red",
            "The target is missed, with the stated confidence and the uncertainty given away to "
            "the network.",
        ),
        Look(
            "INVALID", "invalid", "⚠", "bold magenta",
            "The instrument, its clock or the offered traffic was not fit: no claim at all, and "
            "nobody's fault but the bench's.",
        ),
        Look(
            "INCONCLUSIVE", "inconclusive", "◐", "bold yellow",
            "The evidence decides neither way. Measure longer, or with less uncertainty.",
        ),
        Look(
            "NOT DEMONSTRATED", "notdemonstrated", "◔", "yellow",
            "A short run that did not reach even the share its packets could show. Not a miss: "
            "the full plan decides.",
        ),
        Look(
            "DEMONSTRATED", "demonstrated", "◕", "cyan",
            "A short run that shows the bound is kept by the share its packets support, which is "
            "less than the target asks for. Not a pass: the full plan decides.",
        ),
        Look(
            "NOT RUN", "notrun", "○", "dim",
            "Chosen, and not judged: nothing is known of it.",
        ),
        Look(
            "PASS", "pass", "✔", "bold green",
            "The target is met, with the stated confidence and the uncertainty counted against "
            "the network.",
        ),
    )
}  # fmt: skip


#: Words over a whole run, where it is not that of a verdict.
RUN_LOOKS: Final[Mapping[str, Look]] = {
    look.word: look
    for look in (
        Look("INTERRUPTED", "invalid", "⚠", "bold magenta", "Stopped by somebody before its end."),
        Look("CUT SHORT", "invalid", "⚠", "bold magenta", "Its process died."),
        Look("RUNNING", "notrun", "○", "bold", "It still goes on."),
        Look("DEFECT", "invalid", "⚠", "bold magenta", "A suite or hil itself is at fault."),
        Look("RIG FAULT", "invalid", "⚠", "bold magenta", "The bench is at fault."),
        Look("NO FAIL", "demonstrated", "◕", "bold cyan", "A short run in which nothing failed."),
    )
}


class Worded(Protocol):
    """A judgement, live or from the record, as far as its word goes."""

    @property
    def verdict(self) -> Verdict:
        """Its verdict."""

    @property
    def reason(self) -> str:
        """The reason of the verdict."""

    @property
    def plan(self) -> str:
        """The plan it was reached under."""


def look(judgement: Worded) -> Look:
    """The word of a judgement as shown."""
    if judgement.verdict is Verdict.INCONCLUSIVE and judgement.plan == "smoke":
        return LOOKS.get(str(judgement.reason), LOOKS["INCONCLUSIVE"])
    return LOOKS[judgement.verdict.value]


def overall(run: Run) -> Look:
    """The word over a run. A valid FAIL is never hidden; an unfinished run is never friendly."""
    verdict = LOOKS[run.verdict.value]
    unfinished = run.state is not State.FINISHED
    undecided = run.verdict in (Verdict.INCONCLUSIVE, Verdict.PASS)
    # As `hil.verdict.exit_code` weighs them.
    for applies, word in (
        (run.verdict is Verdict.FAIL, verdict),
        (run.defect, RUN_LOOKS["DEFECT"]),
        (unfinished, RUN_LOOKS.get(run.state.value.upper(), verdict)),
        (run.verdict is Verdict.INVALID, verdict),
        (run.rig_fault, RUN_LOOKS["RIG FAULT"]),
        (run.smoke and undecided, RUN_LOOKS["NO FAIL"]),
    ):
        if applies:
            return word
    return verdict
