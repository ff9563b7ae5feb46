"""Writes what the run does into its record: live objects in, lines of schema v1 out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil.clock import SYSTEM
from hil.plugin.provenance import provenance, source
from hil.record import schema
from hil.record.directory import RunDirectory, sha256_of
from hil.record.evidence import judgement_line, measurement_line
from hil.record.writer import Record
from hil.samples.summarise import summarise

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.samples.measurement import Measurement
    from hil.targets import Plan, Profile
    from hil.testbed import Testbed


class Journal:
    """The record of one run, in the words of a run."""

    def __init__(self, directory: RunDirectory) -> None:
        self.directory = directory
        self._record = Record(directory.record)

    def begin(self, *, testbed: Testbed, profile: Profile, plan: Plan, argv: Sequence[str]) -> None:
        """Writes the first line: what is run, on what, by which software."""
        self._record.write(
            schema.RunLine(
                run_id=self.directory.run_id,
                testbed=source(testbed.name, testbed.source),
                profile=source(profile.name, profile.origin, profile.version),
                requirements=tuple(
                    schema.RequirementTitle(id=r.id, title=r.title, scenario=r.scenario)
                    for r in profile.requirements
                ),
                plan=plan.value,
                simulated=testbed.world is not None,
                seed=testbed.world.seed if testbed.world else None,
                started_ns=SYSTEM.realtime_ns(),
                **provenance(argv, Path.cwd()),
            )
        )

    def collected(self, tests: Sequence[Mapping[str, Any]]) -> None:
        """Writes the inventory: what the run set out to do."""
        self._record.write(
            schema.CollectedLine(tests=tuple(schema.CollectedTest(**test) for test in tests))
        )

    def test_started(
        self, nodeid: str, requirements: Sequence[str], prose: Mapping[str, str]
    ) -> None:
        """Writes that a test began, so that a dying process leaves a trace of it."""
        self._record.write(
            schema.TestLine(
                nodeid=nodeid, phase="start", requirements=tuple(requirements), **dict(prose)
            )
        )

    def test_finished(
        self,
        nodeid: str,
        *,
        outcome: schema.Outcome,
        cause: schema.Cause | None,
        detail: str,
        duration_ns: int,
    ) -> None:
        """Writes how a test ended, and who has to look at it."""
        self._record.write(
            schema.TestLine(
                nodeid=nodeid,
                phase="finish",
                outcome=outcome,
                cause=cause,
                detail=detail or None,
                duration_ns=duration_ns,
            )
        )

    def measurement(self, nodeid: str, measurement: Measurement, samples: Path | None) -> None:
        """Writes a measurement, but for its samples, which lie beside the record."""
        file = None
        if samples is not None:
            file = schema.SamplesFile(
                path=self.directory.relative(samples),
                sha256=sha256_of(samples),
                rows=len(measurement.samples),
            )
        self._record.write(
            measurement_line(
                measurement, nodeid or None, summary=summarise(measurement), samples=file
            )
        )

    def judgement(self, nodeid: str, judgement: Judgement) -> None:
        """Writes a judgement with all its numbers."""
        self._record.write(judgement_line(judgement, nodeid or None))

    def event(
        self, category: schema.EventCategory, text: str, *, nodeid: str = "", device: str = ""
    ) -> None:
        """Writes something that happened and explains the rest."""
        grave = category is schema.EventCategory.RIG_FAULT
        self._record.write(
            schema.EventLine(
                category=category,
                level="error" if grave else "info",
                text=text,
                nodeid=nodeid or None,
                device=device or None,
            )
        )

    def end(self, *, exit_code: int, interrupted: bool) -> None:
        """Writes the last line: the run came to an end by itself."""
        self._record.write(
            schema.EndLine(
                exit_code=exit_code, interrupted=interrupted, finished_ns=SYSTEM.realtime_ns()
            )
        )

    def close(self) -> None:
        """Forces everything to the disk; may be called again."""
        self._record.close()
