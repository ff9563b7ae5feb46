"""Every report of a run, from its record; one that fails does not take the others with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hil.errors import HilError, RigError
from hil.record.directory import RunDirectory, write_whole
from hil.record.evidence import measurement_of
from hil.record.reader import Run, read
from hil.report import allure, card, html, junit
from hil.samples import passing, store
from hil.samples.measurement import Measurement


@dataclass(frozen=True, slots=True)
class BuildResult:
    """What was built: the pages, what is to be said about them, and whether all went well.

    A tool that is not installed is a note and no failure.
    """

    index: Path
    allure: Path | None
    notes: tuple[str, ...]
    ok: bool


def build(directory: RunDirectory) -> BuildResult:
    """Cards that are missing, JUnit, Allure and ``report/index.html``, which links them all.

    Raises:
        UsageError: there is no record to build from, or one of a newer schema.
        RigError: the record cannot be read.
    """
    run = read(directory.path)
    notes: list[str] = []
    page: list[Path] = []

    def site() -> None:
        made = allure.generate(directory, run)
        if made.page is not None:
            page.append(made.page)
        if made.note is not None:
            notes.append(made.note)

    steps: tuple[tuple[str, Callable[[], object]], ...] = (
        ("cards", lambda: notes.extend(missing_cards(directory, run))),
        ("JUnit", lambda: notes.extend(junit.complete(directory))),
        ("Allure", site),
        ("index.html", lambda: html.write(directory, run)),
    )
    failed = False
    for name, step in steps:
        try:
            step()
        except Exception as error:
            failed = True
            notes.append(f"{name} failed: {_said(error)}")
    return BuildResult(directory.index, page[0] if page else None, tuple(notes), not failed)


def missing_cards(directory: RunDirectory, run: Run) -> list[str]:
    """Make the card of each judgement that has none yet; returns what is to be said.

    Raises:
        RigError: cards cannot be made or written; all others are.
    """
    faults: list[str] = []
    notes: list[str] = []
    directory.cards.mkdir(exist_ok=True)
    known: dict[str, Measurement | None] = {}
    for judgement in run.judgements:
        path = directory.card(judgement.nodeid, judgement)
        if path.is_file():
            continue
        if judgement.measurement not in known:
            known[judgement.measurement], note = _measurement(directory, run, judgement.measurement)
            notes += [note] if note else []
        title = run.title(judgement.requirement)
        try:
            write_whole(path, card.render(judgement, known[judgement.measurement], title=title))
        except Exception as error:
            faults.append(f"{judgement.target} {judgement.direction}: {_said(error)}")
    if faults:
        raise RigError("; ".join(faults))
    return notes


def _said(error: Exception) -> str:
    return str(error) if isinstance(error, HilError | OSError) else repr(error)


def _measurement(directory: RunDirectory, run: Run, name: str) -> tuple[Measurement | None, str]:
    line = run.measurements.get(name)
    if line is None or line.samples is None:
        return None, ""
    try:
        path = directory.path / line.samples.path
        samples = store.load(path)
        seen = passing.read_sightings(path, samples)
        return measurement_of(line, samples, sightings=seen), ""
    except (OSError, ValueError) as error:
        return None, f"cards of {name} are without drawings: {error}"
