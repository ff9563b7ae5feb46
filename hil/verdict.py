"""The words of a verdict, how they combine, and the exit code they lead to.

- PASS: the target is met, with the stated confidence, uncertainty taken into account.
- FAIL: the target is missed, with the same care.
- INCONCLUSIVE: the evidence decides neither; measure longer.
- INVALID: the instrument, the clock or the offered traffic was not fit; no claim at all.
- NOT RUN: nothing was measured.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable


class Verdict(enum.StrEnum):
    """One of the five words; its value is the word as printed and stored."""

    PASS = "PASS"
    FAIL = "FAIL"
    INCONCLUSIVE = "INCONCLUSIVE"
    INVALID = "INVALID"
    NOT_RUN = "NOT RUN"


_ACROSS = (Verdict.FAIL, Verdict.INVALID, Verdict.INCONCLUSIVE, Verdict.NOT_RUN, Verdict.PASS)


def combine(verdicts: Iterable[Verdict]) -> Verdict:
    """The verdict of many measurements: FAIL > INVALID > INCONCLUSIVE > NOT RUN > PASS.

    A valid FAIL is never hidden by a broken rig elsewhere. Of nothing the answer is NOT RUN.
    """
    seen = set(verdicts)
    return next((word for word in _ACROSS if word in seen), Verdict.NOT_RUN)


class ExitCode(enum.IntEnum):
    """What a command returns; the order of precedence is that of `exit_code`."""

    OK = 0
    FAIL = 1
    USAGE = 2
    DEFECT = 3
    RIG = 10
    INCONCLUSIVE = 11
    REPORT = 12


def exit_code(
    verdicts: Iterable[Verdict],
    *,
    rig_fault: bool = False,
    interrupted: bool = False,
    defect: bool = False,
    smoke: bool = False,
) -> ExitCode:
    """The exit code of a run.

    Any valid FAIL is 1, even if the run was interrupted; then a defect of a suite or of `hil` 3;
    then a rig fault, INVALID or an interruption 10; then INCONCLUSIVE 11; else 0. Nothing judged
    is 2. In a smoke run INCONCLUSIVE is the ordinary, green answer and leads to no 11.
    """
    seen = set(verdicts)
    if Verdict.FAIL in seen:
        return ExitCode.FAIL
    if defect:
        return ExitCode.DEFECT
    if rig_fault or interrupted or Verdict.INVALID in seen:
        return ExitCode.RIG
    if not seen - {Verdict.NOT_RUN}:
        return ExitCode.USAGE
    if Verdict.INCONCLUSIVE in seen and not smoke:
        return ExitCode.INCONCLUSIVE
    return ExitCode.OK
