"""A run whose floor was taken again after it: what judging it again makes of that."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from hil.record import RunDirectory, floor_checks, read
from hil.record.rejudging import rejudge
from hil.samples import floor, store
from hil.targets import load_profile
from hil.verdict import Verdict

Make = Callable[..., RunDirectory]


def taken_again(run: RunDirectory, change: Callable[[np.ndarray], np.ndarray]) -> list[str]:
    """Files a floor for every measurement of a run: its own, changed; returns their ids."""
    lines = list(read(run.path).measurements.values())
    for number, line in enumerate(lines):
        assert line.samples is not None
        before = floor.unpacked(store.read_metadata(run.path / line.samples.path))
        assert before is not None
        floor_checks.add(run.path, floor_checks.Check((line.id,), number, change(before)))
    return [line.id for line in lines]


def test_a_floor_that_held_changes_no_verdict_and_is_told(acceptance_run: Make) -> None:
    run = acceptance_run()
    names = taken_again(run, lambda before: before)
    again = rejudge(read(run.path), load_profile())
    assert again.run.counts == read(run.path).counts
    for note in again.notes:
        assert "within their 95 % limits" in note
    assert {note.split(":")[0] for note in again.notes} <= set(names)


def test_a_floor_that_is_another_one_voids_what_rested_on_it(acceptance_run: Make) -> None:
    run = acceptance_run()
    taken_again(run, lambda before: before * 5)
    again = rejudge(read(run.path), load_profile()).run
    assert Verdict.INVALID in again.verdicts
    assert Verdict.FAIL not in again.verdicts
    delays = [each for each in again.judgements if each.target == "SD-1"]
    assert {each.verdict for each in delays} == {Verdict.INVALID}


def test_the_last_check_of_a_measurement_is_the_one_that_counts(acceptance_run: Make) -> None:
    run = acceptance_run()
    taken_again(run, lambda before: before * 5)
    taken_again(run, lambda before: before)
    assert rejudge(read(run.path), load_profile()).run.counts == read(run.path).counts


def test_a_file_that_is_none_is_a_fault_of_the_rig(acceptance_run: Make) -> None:
    run = acceptance_run()
    (run.path / floor_checks.FILE).write_text('{"schema": 9}\n')
    again = rejudge(read(run.path), load_profile())
    assert again.run.rig_fault
    assert any("no check of a floor" in note for note in again.notes)


def test_a_run_without_a_check_has_none(acceptance_run: Make) -> None:
    assert floor_checks.read(acceptance_run().path) == ()
    run = acceptance_run()
    (run.path / floor_checks.FILE).write_text('{"schema": 1, "measurements": []}\n')
    with pytest.raises(ValueError, match="no check"):
        floor_checks.read(run.path)
