"""Reading a record, also that of a run that was killed, and what it says as a whole."""

from __future__ import annotations

import enum
import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import ValidationError

from hil.errors import RigError, UsageError
from hil.record.directory import RunDirectory
from hil.record.schema import (
    KINDS,
    LINE,
    SCHEMA,
    AnyLine,
    Cause,
    CollectedLine,
    CollectedTest,
    EndLine,
    EventCategory,
    EventLine,
    JudgementLine,
    MeasurementLine,
    Outcome,
    RunLine,
    TestLine,
)
from hil.record.writer import being_written
from hil.verdict import ExitCode, Verdict, combine, exit_code

_WORD_OF = {
    Cause.TARGET_MISSED: Verdict.FAIL,
    Cause.INCONCLUSIVE: Verdict.INCONCLUSIVE,
    Cause.INVALID: Verdict.INVALID,
}


class State(enum.StrEnum):
    """How far the run came."""

    FINISHED = "finished"
    INTERRUPTED = "interrupted"
    CUT_SHORT = "cut short"
    RUNNING = "running"


@dataclass(frozen=True, slots=True)
class TestHistory:
    """What the record says of one test: its start, and its finish if it came to one."""

    __test__ = False

    nodeid: str
    start: TestLine | None
    finish: TestLine | None

    @property
    def unfinished(self) -> bool:
        """It was running when the record ends."""
        return self.start is not None and self.finish is None

    @property
    def green(self) -> bool:
        """It came to its end and passed."""
        return self.finish is not None and self.finish.outcome is Outcome.PASSED

    @property
    def requirements(self) -> tuple[str, ...]:
        """The requirements that it names, from whichever line has them."""
        line = self.finish or self.start
        return line.requirements if line else ()


@dataclass(frozen=True, slots=True)
class NotRun:
    """A requirement of a chosen test on which no judgement was reached, and why."""

    requirement: str
    nodeid: str
    scenario: str | None
    why: str


@dataclass(frozen=True)
class Run:
    """A record as read: every line of it, sorted by kind, and what follows from them.

    `notes` are sentences on what is wrong with the record itself. `damaged` counts lines that
    could not be read, the torn last one of a killed run not among them.
    """

    directory: RunDirectory
    run: RunLine
    collected: tuple[CollectedTest, ...]
    test_lines: tuple[TestLine, ...]
    measurements: Mapping[str, MeasurementLine]
    judgements: tuple[JudgementLine, ...]
    events: tuple[EventLine, ...]
    end: EndLine | None
    notes: tuple[str, ...]
    damaged: int
    alive: bool

    @property
    def state(self) -> State:
        """How far the run came."""
        if self.end is None:
            return State.RUNNING if self.alive else State.CUT_SHORT
        return State.INTERRUPTED if self.end.interrupted else State.FINISHED

    @property
    def smoke(self) -> bool:
        """The plan shows plumbing, not targets."""
        return self.run.plan == "smoke"

    @cached_property
    def tests(self) -> Mapping[str, TestHistory]:
        """Each test by its node id, in the order of collection; a rerun replaces the run before."""
        histories = {test.nodeid: TestHistory(test.nodeid, None, None) for test in self.collected}
        for line in self.test_lines:
            before = histories.get(line.nodeid)
            if line.phase == "start":
                histories[line.nodeid] = TestHistory(line.nodeid, line, None)
            else:
                start = before.start if before else None
                histories[line.nodeid] = TestHistory(line.nodeid, start, line)
        return histories

    @cached_property
    def not_run(self) -> tuple[NotRun, ...]:
        """The requirements of chosen tests without a judgement from that very test."""
        judged = {(line.nodeid, line.requirement) for line in self.judgements}
        return tuple(
            NotRun(requirement, test.nodeid, test.scenario, self._why_not(test.nodeid))
            for test in self.collected
            for requirement in test.requirements
            if (test.nodeid, requirement) not in judged
        )

    def _why_not(self, nodeid: str) -> str:
        history = self.tests[nodeid]
        if history.finish is not None:
            outcome = history.finish.outcome or Outcome.BROKEN
            said = (history.finish.detail or "").strip().splitlines()
            if said:
                return f"{outcome.value}: {said[0]}"
            return f"the test ended {outcome.value} and judged nothing"
        if history.start is not None:
            return "the run ended in the middle of the test"
        return "the run ended before the test began"

    @cached_property
    def counts(self) -> Mapping[Verdict, int]:
        """How many judgements have each word, NOT RUN included; every word is there."""
        found = Counter(line.verdict for line in self.judgements)
        found[Verdict.NOT_RUN] += len(self.not_run)
        return {word: found[word] for word in Verdict}

    @cached_property
    def verdicts(self) -> frozenset[Verdict]:
        """Every word that the run came to, also by tests that failed without a judgement."""
        return frozenset(word for word, count in self.counts.items() if count) | {
            _WORD_OF[history.finish.cause]
            for history in self.tests.values()
            if history.finish is not None and history.finish.cause in _WORD_OF
        }

    @property
    def verdict(self) -> Verdict:
        """The one word over all judgements, failed checks and what was not run."""
        return combine(self.verdicts)

    @property
    def rig_fault(self) -> bool:
        """Something of the bench, the host or the record itself failed."""
        return (
            self.damaged > 0
            or any(event.category is EventCategory.RIG_FAULT for event in self.events)
            or any(
                history.finish is not None
                and history.finish.cause in (Cause.RIG, Cause.INVALID, Cause.TIMEOUT)
                for history in self.tests.values()
            )
        )

    @property
    def defect(self) -> bool:
        """A suite or `hil` itself is at fault."""
        return any(
            history.finish is not None and history.finish.cause is Cause.DEFECT
            for history in self.tests.values()
        )

    @property
    def exit_code(self) -> ExitCode:
        """The exit code that the record leads to, whatever the process that wrote it returned."""
        interrupted = self.state is not State.FINISHED or any(
            history.finish is not None and history.finish.cause is Cause.INTERRUPTED
            for history in self.tests.values()
        )
        return exit_code(
            self.verdicts,
            rig_fault=self.rig_fault,
            interrupted=interrupted,
            defect=self.defect,
            smoke=self.smoke,
        )

    def title(self, requirement: str) -> str:
        """The requirement's title; empty where the profile is not known to have it."""
        return next((one.title for one in self.run.requirements if one.id == requirement), "")

    def scenario(self, requirement: str) -> str:
        """The scenario a requirement belongs to, from the profile or else from its test."""
        for one in self.run.requirements:
            if one.id == requirement and one.scenario:
                return one.scenario
        for test in self.collected:
            if requirement in test.requirements and test.scenario:
                return test.scenario
        return ""


def read(path: Path) -> Run:
    """The run whose directory (or ``record.jsonl``) is `path`.

    A line torn by a kill is passed over and named in `Run.notes`; so is a damaged line elsewhere,
    which also makes the run a faulty one.

    Raises:
        UsageError: no record there, or one of a newer schema.
        RigError: the record does not even say what was run.
    """
    directory = RunDirectory.open(path.parent if path.name == "record.jsonl" else path)
    if not directory.record.is_file():
        raise UsageError(f"{directory.path}: holds no record.jsonl, so nothing was run there")
    try:
        # The lock is asked before the content, or a run that ends in between would look cut short.
        alive = being_written(directory.record)
        content = directory.record.read_bytes()
    except OSError as error:
        raise RigError(f"{directory.record}: cannot be read: {error.strerror}") from error
    lines, notes, damaged = _parse(directory.record, content)
    run = next((line for line in lines if isinstance(line, RunLine)), None)
    if run is None:
        raise RigError(f"{directory.record}: the run ended before it said what it was to run")
    ends = [line for line in lines if isinstance(line, EndLine)]
    return Run(
        directory=directory,
        run=run,
        collected=tuple(
            test for line in lines if isinstance(line, CollectedLine) for test in line.tests
        ),
        test_lines=tuple(line for line in lines if isinstance(line, TestLine)),
        measurements={line.id: line for line in lines if isinstance(line, MeasurementLine)},
        judgements=tuple(line for line in lines if isinstance(line, JudgementLine)),
        events=tuple(line for line in lines if isinstance(line, EventLine)),
        end=ends[-1] if ends else None,
        notes=tuple(notes),
        damaged=damaged,
        alive=alive,
    )


def _parse(path: Path, content: bytes) -> tuple[list[AnyLine], list[str], int]:
    lines: list[AnyLine] = []
    notes: list[str] = []
    damaged = 0
    *whole, last = content.split(b"\n")
    if last:
        notes.append("The last line of the record is torn and was passed over.")
    for number, text in enumerate(whole, 1):
        if not text:
            continue
        try:
            fields = json.loads(text)
            _refuse_newer(path, fields)
            if isinstance(fields, dict) and fields.get("kind") not in KINDS:
                notes.append(f"Line {number} of the record is of an unknown kind.")
                continue
            lines.append(LINE.validate_python(fields))
        except (ValueError, ValidationError):
            damaged += 1
            notes.append(f"Line {number} of the record is damaged and was passed over.")
    return lines, notes, damaged


def _refuse_newer(path: Path, fields: object) -> None:
    if not isinstance(fields, dict) or fields.get("kind") != "run":
        return
    schema = fields.get("schema")
    if isinstance(schema, int) and schema > SCHEMA:
        raise UsageError(
            f"{path}: is of record schema {schema}, and this hil reads up to {SCHEMA}: "
            "read it with a newer one"
        )
