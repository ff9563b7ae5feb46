"""Judging the samples of a run again, with the profile of the run or another one.

Judged are the same measurements for the same requirements. The measurement comes back from the
record and its Parquet file whole, so with the same profile and the same rule every judgement is
what it was, but for the time of writing. The run stays as it is: the judgements go into a file of
their own beside the record, in lines of the record's schema.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import hil
from hil.clock import SYSTEM
from hil.errors import UsageError
from hil.judge import Judgement, judge, judge_value
from hil.record import floor_checks
from hil.record.directory import new_run_id, sha256_of
from hil.record.evidence import judgement_line, measurement_of
from hil.record.reader import Run, State
from hil.record.schema import (
    Cause,
    EndLine,
    EventCategory,
    EventLine,
    JudgementLine,
    MeasurementLine,
    Outcome,
    RequirementTitle,
    Source,
    TestLine,
)
from hil.record.writer import Record
from hil.samples import floor, floor_check, passing, store
from hil.samples.measurement import Measurement
from hil.targets import Plan, Profile
from hil.targets.target import LevelTarget, SpanTarget
from hil.verdict import Verdict

#: How the text of a test begins that failed for its judgements and for nothing else.
_JUDGED: Final = {
    Cause.TARGET_MISSED: "TargetMissed: FAIL ",
    Cause.INCONCLUSIVE: "Inconclusive: INCONCLUSIVE ",
    Cause.INVALID: "InvalidMeasurement: ",
}


@dataclass(frozen=True, slots=True)
class Rejudged:
    """A run judged again.

    `run` is the run with the new judgements in place of the old ones; `file` is where they are
    written; `notes` says what could not be judged again, and why.
    """

    run: Run
    file: Path
    notes: tuple[str, ...]


def rejudge(run: Run, profile: Profile) -> Rejudged:
    """Judges every measurement and value of a run again, for the requirements it was judged for.

    A requirement that the profile does not have is left out. Where samples are missing, or are
    not those that were judged, nothing is judged of them and that is a fault of the rig.

    Raises:
        UsageError: the run still goes on.
        RigError: the judgements cannot be written.
    """
    if run.state is State.RUNNING:
        raise UsageError(f"{run.directory.path}: the run still goes on: wait for its end")
    bench = _Evidence(run, profile)
    judgements = tuple(bench.judgements())
    again = replace(
        run,
        run=run.run.model_copy(update={"profile": _source(profile), **_titles(profile)}),
        collected=tuple(
            test.model_copy(
                update={"requirements": tuple(r for r in test.requirements if profile.get(r))}
            )
            for test in run.collected
        ),
        test_lines=tuple(_without_verdict(run, line) for line in run.test_lines),
        judgements=judgements,
        events=(*run.events, *bench.faults),
    )
    file = run.directory.path / f"rejudged-{new_run_id()}.jsonl"
    _write(file, again, bench)
    return Rejudged(again, file, tuple(bench.notes))


def _source(profile: Profile) -> Source:
    origin = profile.origin
    return Source(
        name=profile.name,
        version=profile.version,
        path=None if origin is None else str(origin),
        sha256=None if origin is None else sha256_of(origin),
    )


def _titles(profile: Profile) -> dict[str, tuple[RequirementTitle, ...]]:
    return {
        "requirements": tuple(
            RequirementTitle(id=each.id, title=each.title, scenario=each.scenario)
            for each in profile.requirements
        )
    }


def _without_verdict(run: Run, line: TestLine) -> TestLine:
    """The line of a test without a cause that was nothing but the verdicts before."""
    begins = _JUDGED.get(line.cause) if line.cause is not None else None
    if begins is None or not (line.detail or "").startswith(begins):
        return line
    if not any(each.nodeid == line.nodeid for each in run.judgements):
        return line
    return line.model_copy(update={"cause": None, "detail": None, "outcome": Outcome.PASSED})


@dataclass(frozen=True, slots=True)
class _Group:
    """Judgements that one call of the judge gave: a measurement, or a value, and a requirement."""

    lines: list[JudgementLine]

    @property
    def first(self) -> JudgementLine:
        return self.lines[0]

    @property
    def against(self) -> str | None:
        """The measurement that the judge compared with, where one of the targets did."""
        named = [line.details.get("against") for line in self.lines]
        return next((str(name) for name in named if name), None)

    def takes(self, line: JudgementLine) -> bool:
        """True where the line is the next one of the same call."""
        first = self.first
        return (
            bool(first.measurement)
            and (line.nodeid, line.measurement, line.requirement)
            == (first.nodeid, first.measurement, first.requirement)
            and line.target not in [each.target for each in self.lines]
        )


class _Evidence:
    """The measurements of a run, read once each, and what is wrong with them."""

    def __init__(self, run: Run, profile: Profile) -> None:
        self._run = run
        self._profile = profile
        self._plan = Plan(run.run.plan)
        self._read: dict[str, Measurement | None] = {}
        self.notes: list[str] = []
        self.faults: list[EventLine] = []

    def judgements(self) -> Iterator[JudgementLine]:
        """The new lines, in the order of the old ones."""
        groups: list[_Group] = []
        for line in self._run.judgements:
            if groups and groups[-1].takes(line):
                groups[-1].lines.append(line)
            else:
                groups.append(_Group([line]))
        for group in groups:
            for judgement in self._again(group):
                yield judgement_line(judgement, group.first.nodeid)

    def _again(self, group: _Group) -> Sequence[Judgement]:
        first = group.first
        if self._profile.get(first.requirement) is None:
            self._note(f"{first.requirement} is not in profile {self._profile.name}")
            return ()
        requirement = self._profile[first.requirement]
        requirement = requirement.planned(self._plan.packets(requirement))
        on_value = isinstance(requirement.targets[0], LevelTarget | SpanTarget)
        if on_value != (not first.measurement):
            self._note(f"{first.requirement} is on another kind of metric than in this run")
            return ()
        if on_value:
            return self._value_again(first)
        measurement = self._measurement(first.measurement)
        against = None if group.against is None else self._measurement(group.against)
        if measurement is None or (group.against is not None and against is None):
            return ()
        try:
            return judge(measurement, requirement, self._plan, against=against)
        except ValueError as error:
            self._note(f"{first.requirement} cannot be judged from this run: {error}")
            return ()

    def _value_again(self, line: JudgementLine) -> Sequence[Judgement]:
        requirement = self._profile[line.requirement]
        if line.target not in [target.id for target in requirement.targets]:
            self._note(f"{line.target} is not in profile {self._profile.name}")
            return ()
        return (
            judge_value(
                requirement,
                line.figure,
                uncertainty=line.details.get("uncertainty", 0.0),
                plan=self._plan,
                expected=line.details.get("expected", 0.0),
                target=line.target,
                simulated=line.simulated,
            ),
        )

    def _measurement(self, name: str) -> Measurement | None:
        if name not in self._read:
            self._read[name] = self._load(name, self._run.measurements)
        return self._read[name]

    def _load(self, name: str, known: Mapping[str, MeasurementLine]) -> Measurement | None:
        line = known.get(name)
        if line is None or line.samples is None:
            self._fault(f"the record holds no samples of {name}")
            return None
        path = self._run.directory.path / line.samples.path
        try:
            if sha256_of(path) != line.samples.sha256:
                self._fault(f"{path} is not what was judged: its SHA-256 is another one")
                return None
            samples, metadata = store.load(path), store.read_metadata(path)
            whole = floor.unpacked(metadata)
            if whole is None and len(line.budget.floor) > 1:
                self._note(f"{name}: of its floor only some points are on record")
            found = measurement_of(line, samples, whole, passing.read_sightings(path, samples))
            return self._checked(found)
        except (OSError, ValueError) as error:
            self._fault(f"{path} cannot be read: {error}")
            return None

    def _checked(self, measurement: Measurement) -> Measurement:
        """The measurement with what a calibration after the run says of its floor."""
        for check in reversed(floor_checks.read(self._run.directory.path)):
            if measurement.id in check.measurements:
                budget = floor_check.checked(measurement.budget, check.floor_ns)
                self._note(f"{measurement.id}: {budget.sources[-1]}")
                return replace(measurement, budget=budget)
        return measurement

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _fault(self, text: str) -> None:
        self._note(text)
        self.faults.append(EventLine(category=EventCategory.RIG_FAULT, level="error", text=text))


def _write(file: Path, again: Run, bench: _Evidence) -> None:
    with Record(file) as record:
        record.write(again.run)
        record.write(
            EventLine(category=EventCategory.NOTE, text=f"judged again by hil {hil.__version__}")
        )
        for note in bench.notes:
            record.write(EventLine(category=EventCategory.NOTE, text=note))
        for fault in bench.faults:
            record.write(fault)
        for line in again.judgements:
            record.write(line)
        record.write(
            EndLine(exit_code=again.exit_code, interrupted=False, finished_ns=SYSTEM.realtime_ns())
        )


def changed(before: Run, after: Run) -> Iterator[str]:
    """A line for each verdict that is another one, and for each judgement only one side has."""

    def by_name(run: Run) -> Mapping[tuple[str, ...], JudgementLine]:
        return {
            (line.nodeid or "", line.measurement, line.direction, line.target): line
            for line in run.judgements
        }

    old, new = by_name(before), by_name(after)
    for name in (*old, *(each for each in new if each not in old)):
        one, other = old.get(name), new.get(name)
        words = [_word(line) for line in (one, other)]
        if words[0] != words[1]:
            yield f"{name[3]} {name[2]}".strip() + f": {words[0]} -> {words[1]}"


def _word(line: JudgementLine | None) -> str:
    if line is None:
        return "not judged"
    smoke = line.plan == Plan.SMOKE and line.verdict is Verdict.INCONCLUSIVE
    return line.reason if smoke else line.verdict.value
