"""The fixtures `targets`, `path` and `judge`, and the one raise at the end of a test."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from hil.errors import Inconclusive, InvalidMeasurement, TargetMissed, UsageError
from hil.plugin.labels import requirement_ids
from hil.verdict import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pytest

    from hil.judge import Judgement
    from hil.lab import Paths
    from hil.plugin.session import Session
    from hil.samples.autopsy import Autopsy
    from hil.samples.measurement import Measurement
    from hil.targets import Plan, Requirement


class Targets:
    """The requirements of the profile by id; their traffic carries the count of the session."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def __getitem__(self, name: str) -> Requirement:
        return self._session.planned(name)


def paths_of(session: Session) -> Paths:
    """The routes of the testbed, with measurements that land in the session's record."""
    from hil.lab import Bench, Paths

    bench = Bench(
        testbed=session.testbed,
        directory=session.directory.samples,
        seed=session.testbed.world.seed if session.testbed.world else 1,
        keep=session.keep,
        progress=_Titled(session),
    )
    return Paths(bench)


class _Titled:
    """Progress of a measurement, under the requirements that the running test judges."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def show(self, text: str) -> None:
        """Shows one line of state."""
        names = requirement_ids(self._session.item) if self._session.item else []
        self._session.progress.show(f"{', '.join(names) or 'measurement'}: {text}")


class Judge:
    """Judges, records, and raises nothing until the test's own code is through."""

    def __init__(self, session: Session, item: pytest.Item) -> None:
        self._session = session
        self._item = item
        self._targets = Targets(session)

    def expect(
        self, measurement: Measurement, *requirements: str, against: Measurement | None = None
    ) -> tuple[Judgement, ...]:
        """Judges a measurement against requirements; whatever was missed is raised at the end.

        `against` is the paired measurement of a comparison: alone for under load, wire for 5G.
        """
        from hil.judge import judge

        if not requirements:
            raise UsageError("judge.expect needs the ids of the requirements to judge")
        judged: list[Judgement] = []
        for name in requirements:
            found = judge(measurement, self._targets[name], self._session.plan, against=against)
            self._record(found)
            judged += found
        for taken in (measurement, against):
            if taken is not None:
                self._session.keep(taken)
        for judgement in judged:
            self._show(judgement, measurement, against)
        return tuple(judged)

    def require(
        self, measurement: Measurement, *requirements: str, against: Measurement | None = None
    ) -> tuple[Judgement, ...]:
        """As `expect`, and raises at once where a target is not met."""
        judged = self.expect(measurement, *requirements, against=against)
        raise_unmet(judged, self._session.plan)
        return judged

    def value(self, requirement: str, measured: float, *, uncertainty: float) -> Judgement:
        """Judges one measured value, in the unit of its target, with its expanded uncertainty."""
        from hil.judge import judge_value

        judgement = judge_value(
            self._targets[requirement],
            measured,
            uncertainty=uncertainty,
            plan=self._session.plan,
            simulated=self._session.testbed.world is not None,
        )
        self._record([judgement])
        self._show(judgement, None, None)
        return judgement

    def _record(self, judged: Sequence[Judgement]) -> None:
        """Before anything else is done with them: what fails later takes no judgement with it."""
        known = self._session.judgements.setdefault(self._item.nodeid, [])
        known += judged
        for judgement in judged:
            self._session.journal.judgement(self._item.nodeid, judgement)

    def _show(
        self, judgement: Judgement, measurement: Measurement | None, against: Measurement | None
    ) -> None:
        """The judgement as a step of the test in Allure, with its card, and on the terminal."""
        import allure

        autopsy = self._autopsy(judgement, measurement)
        html = self._card(judgement, measurement, against, autopsy)
        simulated = " SIMULATED" if judgement.simulated else ""
        title = f"{judgement.target} {judgement.direction}: {judgement.word}{simulated}"
        try:
            with allure.step(title):
                if html:
                    allure.attach(html, title, allure.attachment_type.HTML)
                raise_unmet([judgement], self._session.plan)
        except (TargetMissed, Inconclusive, InvalidMeasurement):
            pass  # the step is red; the test goes on and `conclude` raises for all at once
        self._session.progress.done(f"{judgement.word}: {judgement.sentence}")
        if autopsy is not None:
            self._session.note(f"{judgement.target} {judgement.direction}: {autopsy.sentence}")
            self._session.progress.done(f"    {autopsy.sentence}")

    def _autopsy(self, judgement: Judgement, measurement: Measurement | None) -> Autopsy | None:
        """Why packets were late, also kept as JSON beside the card; it decides nothing."""
        if measurement is None:
            return None
        try:
            found = self._session.autopsy(judgement, measurement)
            if found is not None:
                card = self._session.directory.card(self._item.nodeid, judgement)
                text = json.dumps(found.to_json(), indent=1)
                card.with_suffix(".autopsy.json").write_text(text, "utf-8")
        except Exception as error:
            self._session.note(f"no autopsy of {judgement.target}: {error!r}")
            return None
        return found

    def _card(
        self,
        judgement: Judgement,
        measurement: Measurement | None,
        against: Measurement | None,
        autopsy: Autopsy | None,
    ) -> str:
        """The card, written; empty where it cannot be made: a picture decides nothing."""
        from hil.report import card

        title = self._targets[judgement.requirement].title
        try:
            html = card.render(
                judgement, measurement, against=against, title=title, autopsy=autopsy
            )
            self._session.directory.card(self._item.nodeid, judgement).write_text(html, "utf-8")
        except Exception as error:
            self._session.note(f"no card of {judgement.target} {judgement.direction}: {error!r}")
            return ""
        return html


def raise_unmet(judged: Sequence[Judgement], plan: Plan) -> None:
    """Raises for the worst verdict, naming every target that was not met.

    In a smoke run INCONCLUSIVE is the ordinary answer and raises nothing.
    """
    missed = [j.sentence for j in judged if j.verdict is Verdict.FAIL]
    invalid = [j.sentence for j in judged if j.verdict is Verdict.INVALID]
    undecided = [j.sentence for j in judged if j.verdict is Verdict.INCONCLUSIVE]
    if missed:
        raise TargetMissed("FAIL " + "\n".join(missed + invalid))
    if invalid:
        raise InvalidMeasurement(invalid)
    if undecided and plan.value != "smoke":
        raise Inconclusive("INCONCLUSIVE " + "\n".join(undecided))


def conclude(session: Session, item: pytest.Item) -> None:
    """The one raise after a test: for every target not met, or for a test that judged nothing."""
    judged = session.judgements.get(item.nodeid, [])
    raise_unmet(judged, session.plan)
    silent = set(requirement_ids(item)) - {j.requirement for j in judged}
    if silent:
        raise UsageError(f"the test says it judges {', '.join(sorted(silent))} and did not")
