"""A run judged again: the same by the same profile, and what another profile makes of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hil.cli.rejudge import rejudge as verb
from hil.errors import UsageError
from hil.record import Record, RunDirectory, read, sha256_of
from hil.record.rejudging import changed, rejudge
from hil.targets import Profile, load_profile
from hil.verdict import ExitCode, Verdict

Make = Callable[..., RunDirectory]


def judgements(file: Path) -> list[str]:
    """The lines of judgements as they are written, but for the time of writing."""
    lines = file.read_text("utf-8").splitlines()
    return [line.split(",", 1)[1] for line in lines if '"kind":"judgement"' in line]


def digests(run: RunDirectory) -> dict[str, str]:
    return {
        str(path.relative_to(run.path)): sha256_of(path)
        for path in sorted(run.path.rglob("*"))
        if path.is_file()
    }


def other_profile(tmp_path: Path, *changes: tuple[str, str]) -> Profile:
    origin = load_profile().origin
    assert origin is not None
    text = origin.read_text("utf-8")
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    path = tmp_path / "other.yaml"
    path.write_text(text, "utf-8")
    return load_profile(str(path))


@pytest.mark.parametrize(
    "how", [{}, {"broken_vision": True, "deaf_clock": True}, {"simulated": False}]
)
def test_the_same_profile_gives_the_same_judgements_to_the_byte(
    acceptance_run: Make, how: dict[str, object]
) -> None:
    run = acceptance_run(**how)
    again = rejudge(read(run.path), load_profile())
    before = judgements(run.record)
    assert len(before) > 10
    assert judgements(again.file) == before
    assert again.notes == ()
    assert list(changed(read(run.path), again.run)) == []
    assert again.run.counts == read(run.path).counts


def test_the_run_stays_as_it_is_but_for_a_file_beside_the_record(acceptance_run: Make) -> None:
    run = acceptance_run()
    before = digests(run)
    first = rejudge(read(run.path), load_profile())
    second = rejudge(read(run.path), load_profile())
    after = digests(run)
    assert {name: after[name] for name in before} == before
    assert set(after) - set(before) == {first.file.name, second.file.name}
    assert judgements(first.file) == judgements(second.file)
    lines = [json.loads(line) for line in first.file.read_text("utf-8").splitlines()]
    assert (lines[0]["kind"], lines[-1]["kind"]) == ("run", "end")
    assert lines[0]["run_id"] == run.run_id
    assert lines[0]["profile"]["sha256"] == sha256_of(load_profile().origin or Path())


def test_a_harder_profile_fails_what_passed(acceptance_run: Make, tmp_path: Path) -> None:
    run = read(acceptance_run().path)
    harder = other_profile(tmp_path, ("        limit: 10 ms\n", "        limit: 3 ms\n"))
    again = rejudge(run, harder)
    assert run.exit_code == ExitCode.OK
    assert again.run.exit_code == ExitCode.FAIL
    assert set(changed(run, again.run)) == {
        "SD-1 uplink: DEMONSTRATED -> FAIL",
        "SD-1 downlink: DEMONSTRATED -> FAIL",
    }
    assert "SD-1 uplink: DEMONSTRATED -> FAIL" in changed(run, again.run)


def test_a_milder_profile_takes_a_failure_back(acceptance_run: Make, tmp_path: Path) -> None:
    run = read(acceptance_run(broken_vision=True).path)
    milder = other_profile(
        tmp_path,
        ("        limit: 200 ms\n", "        limit: 499 ms\n"),
        ("        least: 0.999\n", "        least: 0.5\n"),
    )
    again = rejudge(run, milder).run
    assert run.exit_code == ExitCode.FAIL
    assert Verdict.FAIL not in again.verdicts, "also the test that failed by it is judged anew"
    assert again.exit_code == ExitCode.OK


def test_what_the_profile_does_not_have_is_left_out_and_named(
    acceptance_run: Make, tmp_path: Path
) -> None:
    run = read(acceptance_run().path)
    other = other_profile(
        tmp_path,
        ("  - id: AR-1\n    title", "  - id: XR-1\n    title"),
        ("      - id: AR-1\n", "      - id: XR-1\n"),
    )
    again = rejudge(run, other)
    assert again.notes == ("AR-1 is not in profile 5gdn",)
    assert list(changed(run, again.run)) == ["AR-1 uplink: DEMONSTRATED -> not judged"]
    assert "AR-1" not in [each.requirement for each in again.run.not_run]


@pytest.mark.parametrize("damage", ["changed", "missing"])
def test_other_samples_than_those_judged_are_a_fault_of_the_rig(
    acceptance_run: Make, damage: str
) -> None:
    run = acceptance_run()
    name = next(iter(read(run.path).measurements))
    samples = run.samples / f"{name}.parquet"
    if damage == "missing":
        samples.unlink()
    else:
        samples.write_bytes(samples.read_bytes() + b"\0")
    again = rejudge(read(run.path), load_profile())
    assert any(name in note for note in again.notes)
    assert name not in [line.measurement for line in again.run.judgements]
    assert again.run.exit_code == ExitCode.RIG


def test_a_run_that_still_goes_on_is_left_alone(acceptance_run: Make) -> None:
    run = acceptance_run(end="killed")
    with Record(run.record), pytest.raises(UsageError, match="still goes on"):
        rejudge(read(run.path), load_profile())
    assert not list(run.path.glob("rejudged-*"))
    again = rejudge(read(run.path), load_profile())
    assert judgements(again.file) == judgements(run.record)
    assert again.run.exit_code == ExitCode.RIG, "a run that was cut short stays one"


def test_the_command_prints_the_table_and_where_it_is_written(
    acceptance_run: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = acceptance_run()
    harder = other_profile(tmp_path, ("        limit: 10 ms\n", "        limit: 3 ms\n"))
    assert verb(run.path, str(harder.origin)) == ExitCode.FAIL
    out = capsys.readouterr().out
    assert "changed: SD-1 uplink: DEMONSTRATED -> FAIL" in out
    assert str(next(run.path.glob("rejudged-*"))) in out
    with pytest.raises(UsageError, match="--targets"):
        verb(run.path, None)  # the record of this run names a profile of another digest
