"""Outcomes in which no verdict gets lost.

pytest knows passed, failed and skipped, and several ways to lose even these: a Ctrl-C in a test
leaves it green in Allure, a time-out reads like a failure of the product, SIGTERM drops the result.
Here each of those becomes an exception of our tree before pytest and Allure see it, and the exit
code is made of verdicts, not of pytest's count.
"""

from __future__ import annotations

import signal
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pluggy
import pytest

from hil.clock import SYSTEM
from hil.errors import (
    HilError,
    Inconclusive,
    Interrupted,
    InvalidMeasurement,
    RigError,
    TargetMissed,
)
from hil.plugin import labels
from hil.verdict import ExitCode, Verdict, exit_code

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from hil.plugin.session import Session

#: After these, devices go to their safe state and not back to what they were found in.
_ABNORMAL = frozenset(("rig", "interrupted", "timeout", "defect"))
_TIMED_OUT = "from pytest-timeout"
_ONE_INTERRUPT_NS = 1_000_000_000


class TimedOut(Interrupted):
    """A test took longer than it may; no verdict was reached."""


@dataclass(slots=True)
class Ending:
    """How a test ends, as far as its phases have told."""

    outcome: str = "passed"
    cause: str | None = None
    detail: str = ""
    duration_ns: int = 0

    def add(self, cause: str, detail: str) -> None:
        """One more thing that went wrong; the worst is the cause, every one is told."""
        if self.cause is None or _WORST.index(cause) < _WORST.index(self.cause):
            self.cause = cause
            self.detail = f"{detail}\n{self.detail}".strip()
        elif detail not in self.detail:
            self.detail = f"{self.detail}\n{detail}"
        of_cause = {"target missed": "failed", "needs": "skipped"}
        self.outcome = of_cause.get(self.cause, "broken")


#: Of several causes in one test the first of these is how the test ended (method, 5).
_WORST = (
    "target missed", "defect", "rig", "interrupted", "timeout", "invalid", "inconclusive", "needs",
)  # fmt: skip

_CAUSES: tuple[tuple[type[BaseException] | tuple[type[BaseException], ...], str], ...] = (
    (TargetMissed, "target missed"),
    (Inconclusive, "inconclusive"),
    (InvalidMeasurement, "invalid"),
    (TimedOut, "timeout"),
    ((Interrupted, KeyboardInterrupt), "interrupted"),
    ((RigError, OSError), "rig"),
)


def cause_of(error: BaseException, when: str) -> str:
    """Who has to look at it: the word of `hil.record.schema.Cause`.

    Of several teardowns that failed together a defect says most; else the first speaks for all. A
    warning made of an exception (pluggy does so for a plugin's own teardown) stands for it.
    """
    if isinstance(error, BaseExceptionGroup):
        causes = [cause_of(each, when) for each in error.exceptions]
        return "defect" if "defect" in causes else causes[0]
    if isinstance(error, pluggy.PluggyTeardownRaisedWarning) and error.__context__ is not None:
        return cause_of(error.__context__, when)
    for kinds, cause in _CAUSES:
        if isinstance(error, kinds):
            return cause
    if isinstance(error, AssertionError | pytest.fail.Exception):
        # An assertion in a test speaks of the product; in a fixture it speaks of the bench.
        return "target missed" if when == "call" else "rig"
    return "defect"


class Outcomes:
    """The hooks of a bench run; registered only where a testbed is chosen."""

    def __init__(self, session: Session) -> None:
        self.session = session
        self.causes: set[str] = set()
        self.endings: dict[str, Ending] = {}
        self._interrupted_ns: int | None = None
        self._internal = False
        self._homeward = False
        # SIGTERM is how CI cancels: treated as Ctrl-C, so that teardown still runs.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._interrupt)

    def _interrupt(self, number: int, frame: object) -> None:
        """Raises KeyboardInterrupt; signals in quick succession are one.

        A Ctrl-C at a terminal comes twice, from the terminal and by way of `hil run`; the second
        must not break the teardown that the first one started, and none at all the way home of
        the devices, each step of which is bounded in time.
        """
        if self._homeward:
            return
        now_ns = SYSTEM.monotonic_ns()
        if self._interrupted_ns is None or now_ns - self._interrupted_ns > _ONE_INTERRUPT_NS:
            self._interrupted_ns = now_ns
            raise KeyboardInterrupt

    # -- collection -------------------------------------------------------------------------

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_modifyitems(
        self, config: pytest.Config, items: list[pytest.Item]
    ) -> None:
        """Leaves out tests of requirements that nobody asked for, and labels the others."""
        asked = self.session.chosen
        if len(asked) < len(self.session.profile.requirements):
            kept = [item for item in items if set(labels.requirement_ids(item)) & set(asked)]
            config.hook.pytest_deselected(items=[item for item in items if item not in kept])
            items[:] = kept
        for item in items:
            labels.apply(item, self.session)

    @pytest.hookimpl(tryfirst=True)
    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Writes the inventory: what the run set out to do."""
        profile = self.session.profile
        judged = [name for item in session.items for name in labels.requirement_ids(item)]
        self.session.set_out(judged)
        with self._recording():
            self.session.journal.collected(
                [labels.inventory(item, profile) for item in session.items]
            )

    def pytest_exception_interact(self, report: pytest.CollectReport | pytest.TestReport) -> None:
        """A suite that cannot be collected is a defect, not a verdict."""
        if isinstance(report, pytest.CollectReport):
            self.causes.add("defect")

    # -- one test ---------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        """The test at hand, from its first word in the record to its last."""
        self.session.item = item
        self.endings[item.nodeid] = Ending()
        with self._recording():
            self.session.journal.test_started(
                item.nodeid, labels.requirement_ids(item), labels.prose(item)
            )
        try:
            return (yield)
        except BaseException as error:
            # Between the phases of a test, where no report is made of it.
            stopped = isinstance(error, KeyboardInterrupt | pytest.exit.Exception)
            cause = "interrupted" if stopped else cause_of(error, "teardown")
            self.causes.add(cause)
            self.endings[item.nodeid].add(cause, f"no verdict was reached: {error!r}")
            raise
        finally:
            with self._recording():
                self._finish(item)
            self.session.item = None

    @contextmanager
    def _recording(self) -> Iterator[None]:
        """What cannot be written down is not measured: without a record the run ends here."""
        try:
            yield
        except RigError as fault:
            self.causes.add("rig")
            pytest.exit(str(fault), returncode=ExitCode.RIG)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """An interruption in a fixture is no skip."""
        yield from self._guarded(item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """After the test's own code: raise once, naming every target that was not met."""
        from hil.plugin.judging import conclude, raise_unmet

        try:
            yield from self._guarded(item)
        except (pytest.skip.Exception, pytest.xfail.Exception):
            # Leaving early takes back nothing that was judged before.
            raise_unmet(self.session.judgements.get(item.nodeid, ()), self.session.plan)
            raise
        conclude(self.session, item)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """An interruption in a teardown is the rig's; what a fixture judges there counts too."""
        from hil.plugin.judging import raise_unmet

        before = len(self.session.judgements.get(item.nodeid, ()))
        yield from self._guarded(item)
        raise_unmet(self.session.judgements.get(item.nodeid, [])[before:], self.session.plan)

    def _guarded(self, item: pytest.Item) -> Generator[None, None, None]:
        try:
            yield
        except (KeyboardInterrupt, Interrupted) as stop:
            item.session.shouldstop = "interrupted"
            if isinstance(stop, Interrupted):
                raise
            raise Interrupted("interrupted before a verdict was reached") from stop
        except pytest.fail.Exception as failure:
            if _TIMED_OUT not in str(failure):
                raise
            raise TimedOut(f"time-out, no verdict: {failure}") from failure

    # -- reports ----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Says whose fault a failure is, in the record and in JUnit."""
        report = yield
        ending = self.endings.setdefault(item.nodeid, Ending())
        ending.duration_ns += int(report.duration * 1e9)
        error = call.excinfo.value if call.excinfo is not None else None
        if isinstance(error, pytest.skip.Exception | pytest.xfail.Exception):
            reason = error.msg or str(report.longrepr)
            ending.add("needs", reason)
        elif error is not None:
            self._failed(item, report, error)
        elif report.failed:  # a strict xfail that passed: what the suite says is out of date
            self.causes.add("defect")
            ending.add("defect", str(report.longrepr))
        if report.when == "call":
            self._attach_properties(item)
        return report

    def _failed(self, item: pytest.Item, report: pytest.TestReport, error: BaseException) -> None:
        """Notes a failure, also one that an `xfail` mark expects: that is no pardon."""
        cause = cause_of(error, report.when)
        self.causes.add(cause)
        expected = "" if report.failed else "expected to fail: "
        self.endings[item.nodeid].add(cause, f"{expected}{type(error).__name__}: {error}")
        if report.failed:
            report.hil_cause = cause  # type: ignore[attr-defined]
            item.user_properties.append(("hil.cause", cause))
            if isinstance(error, TargetMissed | Inconclusive | InvalidMeasurement):
                # What was missed is in the sentence; how the plugin came to raise it helps nobody.
                report.longrepr = str(error)
        if report.when == "teardown" and cause in ("rig", "timeout", "defect"):
            # Allure drops a teardown fault after a failed call; the record does not.
            self.session.rig_fault(f"{item.nodeid}: {report.when}: {error}")

    def _attach_properties(self, item: pytest.Item) -> None:
        for judgement in self.session.judgements.get(item.nodeid, ()):
            simulated = " SIMULATED" if judgement.simulated else ""
            name = f"hil.verdict.{judgement.target}.{judgement.direction}"
            item.user_properties.append(
                (name, f"{judgement.verdict}{simulated}: {judgement.sentence}")
            )

    def _finish(self, item: pytest.Item) -> None:
        from hil.record.schema import Cause, Outcome

        ending = self.endings[item.nodeid]
        self.session.journal.test_finished(
            item.nodeid,
            outcome=Outcome(ending.outcome),
            cause=Cause(ending.cause) if ending.cause else None,
            detail=ending.detail,
            duration_ns=ending.duration_ns,
        )

    def pytest_report_teststatus(
        self, report: pytest.CollectReport | pytest.TestReport
    ) -> tuple[str, str, str] | None:
        """The verdict's own word instead of FAILED, in pytest's own category."""
        cause: str | None = getattr(report, "hil_cause", None)
        if cause is None or cause == "target missed":
            return None
        category = "failed" if report.when == "call" else "error"
        return category, cause[0].upper(), cause.upper()

    def pytest_internalerror(self, excinfo: pytest.ExceptionInfo[BaseException]) -> None:
        """What breaks pytest itself is a defect, unless it is the rig: a full disk, for one."""
        self._internal = True
        self.causes.add(cause_of(excinfo.value, "teardown"))
        self.session.rig_fault(f"pytest broke off: {excinfo.value}")

    # -- the end ----------------------------------------------------------------------------

    @pytest.hookimpl(wrapper=True, trylast=True)
    def pytest_sessionfinish(
        self, session: pytest.Session, exitstatus: int
    ) -> Generator[None, None, None]:
        """Brings devices home, then makes the exit code of verdicts.

        After the last fixture is torn down, which may still use a device, and before the summary.
        """
        if exitstatus == pytest.ExitCode.INTERRUPTED and "defect" not in self.causes:
            self.causes.add("interrupted")
        if exitstatus == pytest.ExitCode.INTERNAL_ERROR and not self._internal:
            self.causes.add("defect")
        try:
            yield
        except BaseException as error:  # raised on, it would end pytest before devices are home
            self.causes.add(cause_of(error, "teardown"))
            self.session.rig_fault(f"the last teardown failed: {error}")
        self._homeward = True
        try:
            self.session.close_lab(abnormal=bool(self.causes & _ABNORMAL))
        except HilError as error:
            self.causes.add("rig")
            self.session.rig_fault(f"the lab did not close cleanly: {error}")
        session.exitstatus = self.code(int(exitstatus))
        try:
            self.session.journal.end(
                exit_code=int(session.exitstatus), interrupted="interrupted" in self.causes
            )
        except RigError as fault:
            self.session.progress.done(str(fault))
            if session.exitstatus != ExitCode.FAIL:
                session.exitstatus = ExitCode.RIG

    def code(self, exitstatus: int) -> int:
        """The exit code of the run, from its verdicts."""
        if exitstatus in (pytest.ExitCode.USAGE_ERROR, pytest.ExitCode.NO_TESTS_COLLECTED):
            return ExitCode.USAGE
        verdicts = {j.verdict for judged in self.session.judgements.values() for j in judged}
        if "target missed" in self.causes:
            verdicts.add(Verdict.FAIL)
        return exit_code(
            verdicts,
            rig_fault=bool(self.causes & {"rig", "timeout"}),
            interrupted="interrupted" in self.causes,
            defect="defect" in self.causes,
            smoke=self.session.plan.value == "smoke",
        )

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The verdict table, where no `hil run` prints it."""
        if self.session.hosted:
            return
        from hil.record import read
        from hil.report import table

        terminalreporter.section("verdicts")
        terminalreporter.write_line(table.text(read(self.session.directory.path)))
        terminalreporter.write_line(f"record: {self.session.directory.path}")
        terminalreporter.write_line(f"for the report: hil report {self.session.directory.path}")
