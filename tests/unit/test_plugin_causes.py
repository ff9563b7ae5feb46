"""Whose fault it is when a run ends in a way it should not."""

import errno

import pluggy
import pytest

from hil.errors import DriverError, Inconclusive, InvalidMeasurement, TargetMissed
from hil.plugin.outcome import cause_of

FULL = OSError(errno.ENOSPC, "No space left on device")


@pytest.mark.parametrize(
    ("error", "when", "cause"),
    [
        (TargetMissed("late"), "call", "target missed"),
        (Inconclusive("too few"), "call", "inconclusive"),
        (InvalidMeasurement(["clock"]), "call", "invalid"),
        (DriverError("plc1", "read", "no answer"), "call", "rig"),
        (FULL, "call", "rig"),
        (AssertionError("42"), "call", "target missed"),
        (AssertionError("42"), "setup", "rig"),
        (TypeError("42"), "call", "defect"),
        (KeyboardInterrupt(), "call", "interrupted"),
        (ExceptionGroup("teardown", [FULL, FULL]), "teardown", "rig"),
        (ExceptionGroup("teardown", [FULL, TypeError()]), "teardown", "defect"),
    ],
)
def test_the_cause_says_who_has_to_look_at_it(error: BaseException, when: str, cause: str) -> None:
    assert cause_of(error, when) == cause


def test_a_warning_made_of_an_exception_stands_for_it() -> None:
    warning = pluggy.PluggyTeardownRaisedWarning("a plugin's teardown failed")
    warning.__context__ = FULL
    assert cause_of(warning, "teardown") == "rig"
