"""The evidence of the instrument, as far as it needs no traffic: checks hold, bugs are found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import RigError
from hil.lab.validation import blind, item, planted, secret, truth
from hil.lab.validation.bugs import LIVE, PURE
from hil.lab.validation.planting import Bug
from hil.lab.validation.planting import planted as plant
from hil.stats import dependence


@pytest.mark.parametrize("name", planted.CHECKS)
def test_a_check_holds_where_no_bug_is(name: str) -> None:
    assert planted.complaint(planted.CHECKS[name]) is None


@pytest.mark.parametrize("bug", PURE, ids=lambda bug: str(bug.id))
def test_a_planted_bug_is_found_by_the_check_that_is_named_with_it(bug: Bug) -> None:
    (fate,) = planted.fates([bug])
    assert not fate.trouble, fate.trouble
    assert fate.said is not None, f"{bug.sentence} {bug.found_by} does not see it"


@pytest.mark.parametrize("bug", LIVE, ids=lambda bug: str(bug.id))
def test_a_bug_for_real_traffic_can_be_planted(bug: Bug) -> None:
    with plant(bug):
        assert bug.found_by


def test_bugs_are_many_and_none_is_told_twice() -> None:
    assert len({bug.id for bug in PURE}) == len(PURE) >= 30
    assert len({(bug.where, bug.was, bug.put) for bug in PURE}) == len(PURE)


def test_a_bug_is_gone_when_its_block_ends() -> None:
    bug = next(bug for bug in PURE if bug.id == "percentile-off-by-one")
    from hil.stats import quantile

    with plant(bug):
        assert quantile.rank(1001, 0.5) == 500
    assert quantile.rank(1001, 0.5) == 501


def test_a_bug_whose_text_is_gone_is_a_fault_of_the_rig() -> None:
    bug = Bug(
        id="old",
        sentence="",
        where="hil.stats.quantile:rank",
        was="no such words",
        put="",
        found_by="percentiles_by_nearest_rank",
    )
    with pytest.raises(RigError, match="write the bug anew"), plant(bug):
        pass


def test_a_bug_that_cannot_be_planted_leaves_the_item_untried() -> None:
    gone = Bug(
        id="gone",
        sentence="",
        where="hil.stats.quantile:no_such_function",
        was="x",
        put="y",
        found_by="percentiles_by_nearest_rank",
    )
    found = planted.report(planted.fates([gone]), {}, "here")
    assert found.holds is None
    assert "write the bug anew" in found.notes[0]


def test_a_survivor_fails_the_item() -> None:
    harmless = Bug(
        id="harmless",
        sentence="Nothing is wrong.",
        where="hil.stats.quantile:supported",
        was="n * (1 - _decimal(p)) >= 1",
        put="(1 - _decimal(p)) * n >= 1",
        found_by="percentiles_by_nearest_rank",
    )
    found = planted.report(planted.fates([harmless]), {}, "here")
    assert found.holds is False
    assert "survivors: harmless" in found.sentence


def _blind(directory: Path, seeds: range) -> dict[str, str]:
    first, last = str(seeds.start), str(seeds.stop)
    said: dict[str, str] = {}
    for verb, name in (("draw", "drawn"), ("measure", "found")):
        said[name] = getattr(blind, f"_{verb}")(directory, range(int(first), int(last)))
    return said


def test_blind_runs_are_counted_exactly_and_their_intervals_hold_the_truth(tmp_path: Path) -> None:
    seals = _blind(tmp_path, range(12))
    pairs = blind.opened(tmp_path, seals)
    report = blind.report(pairs)
    assert report.holds, report.sentence
    assert report.notes == ()
    covered = {f.what: f for f in report.figures}
    assert covered["packets lost"].value == 12
    verdicts = [(done["level"], found["verdict"]) for done, found in pairs]
    assert {("healthy", "PASS"), ("broken", "FAIL")} <= set(verdicts)
    assert not {("healthy", "FAIL"), ("broken", "PASS")} & set(verdicts)


def test_what_was_sealed_cannot_be_changed_afterwards(tmp_path: Path) -> None:
    seal = secret.seal(tmp_path / "sealed.json", [1, 2])
    assert secret.unseal(tmp_path / "sealed.json", seal) == [1, 2]
    assert (tmp_path / "sealed.json").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        secret.seal(tmp_path / "sealed.json", [3])
    text = (tmp_path / "sealed.json").read_text("utf-8")
    (tmp_path / "sealed.json").write_text(text.replace("[1, 2]", "[1, 3]"), "utf-8")
    with pytest.raises(RigError, match="changed"):
        secret.unseal(tmp_path / "sealed.json", seal)


@given(
    frames=st.lists(st.tuples(st.integers(0, 7), st.booleans()), max_size=24),
)
def test_true_counts_add_up(frames: list[tuple[int, bool]]) -> None:
    found = truth.counted(8, frames)
    assert found.received + found.lost + found.corrupted == 8
    assert found.received + found.duplicated == sum(whole for _, whole in frames)


def test_true_counts_by_hand() -> None:
    frames = [(0, True), (3, True), (1, True), (2, True), (2, True), (5, False), (5, False)]
    known = truth.TrueCounts(received=4, lost=1, corrupted=1, duplicated=1, reordered=2)
    assert truth.counted(6, frames) == known
    assert truth.differences(known.to_json() | {"lost": 0}, known) == ["lost 0 instead of 1"]


@pytest.mark.parametrize(("covered", "holds"), [(190, True), (182, True), (177, False), (0, False)])
def test_coverage_fails_only_where_the_claim_is_refuted(covered: int, holds: bool) -> None:
    assert item.coverage("x", covered, 200).holds is holds


def test_coverage_of_nothing_says_nothing() -> None:
    found = item.coverage("x", 0, 0)
    assert (found.value, found.holds) == (None, None)


def test_items_survive_being_written_down() -> None:
    made = item.Item(
        id="a",
        title="A",
        holds=True,
        sentence="so",
        figures=(item.exact("counts", 3, 3, unit_of="runs"),),
        notes=("n",),
    )
    assert item.Item.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize("mean", [1.0, 2.5])
def test_the_limits_of_a_mean_run_hold_as_often_as_they_say(mean: float) -> None:
    random = np.random.default_rng(11)
    held = 0
    for _ in range(400):
        low, high = dependence.mean_run(random.geometric(1 / mean, 40), 0.975)
        held += low <= mean <= high
    assert held >= 372  # 380 expected at least; fewer than this has odds of 1 in 100


def test_a_mean_run_without_a_run_is_unknown() -> None:
    empty: list[Any] = []
    assert dependence.mean_run(empty) == (1.0, float("inf"))
