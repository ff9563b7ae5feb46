"""What the numbers say of a target, and the one rule that turns it into a verdict."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from hil.judge.judgement import Reason
from hil.targets.plan import Plan
from hil.verdict import Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One target held against the samples; nothing of plans or of spoiled runs is known here."""

    met: bool  #: shown, with the uncertainty against the network
    missed: Reason | None  #: refuted, with the uncertainty for the network, and how
    promising: bool  #: what was seen does not speak against the target
    undecided: Reason  #: why it is neither met nor missed, where it is neither
    sentence: str
    n: int  #: items judged
    if_met: str = ""  #: what a PASS has to say besides
    exceeding: float | None = None
    bracketed: int | None = None  #: items; None where packets are what is bracketed
    figure: float | None = None
    figure_low: float | None = None
    figure_high: float | None = None
    demonstrated: float | None = None
    design_effect: float = 1.0
    required: int | None = None
    warnings: tuple[str, ...] = ()
    details: Mapping[str, Any] = field(default_factory=dict)


#: What is said where there is nothing to judge.
NOTHING: Final = Finding(
    met=False,
    missed=None,
    promising=False,
    undecided=Reason.NOTHING,
    sentence="nothing was measured",
    n=0,
)


def verdict(finding: Finding, plan: Plan | None, *, complete: bool) -> tuple[Verdict, Reason]:
    """The verdict rule, common to all targets.

    A target that was refuted is a FAIL whatever else holds: the evidence is valid, however short.
    A run that was cut short passes nothing. A smoke run passes nothing either; it says whether what
    it saw agrees with the target.
    """
    if finding.missed is not None:
        return Verdict.FAIL, finding.missed
    if not complete:
        return Verdict.INCONCLUSIVE, Reason.CUT_SHORT
    if plan is Plan.SMOKE:
        shown = Reason.DEMONSTRATED if finding.promising else Reason.NOT_DEMONSTRATED
        return Verdict.INCONCLUSIVE, shown
    if finding.met:
        return Verdict.PASS, Reason.MET
    return Verdict.INCONCLUSIVE, finding.undecided
