"""What a record says as a whole, also one that was torn, damaged, or never ended."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import RigError, UsageError
from hil.record import Record, State, read
from hil.record.schema import (
    CollectedLine,
    CollectedTest,
    EndLine,
    EventLine,
    JudgementLine,
    Line,
    RunLine,
    Source,
    TestLine,
)
from hil.verdict import ExitCode, Verdict

FIRST, SECOND = "suites/test_a.py::test_first", "suites/test_a.py::test_second"


def run_line(plan: str = "full") -> RunLine:
    return RunLine(
        run_id="r",
        testbed=Source(name="virtual"),
        profile=Source(name="5gdn"),
        plan=plan,
        simulated=True,
        hil="0",
        host="h",
        kernel="k",
        python="p",
        argv=(),
        started_ns=1,
    )


COLLECTED = CollectedLine(
    tests=(
        CollectedTest(nodeid=FIRST, requirements=("SD-1",), scenario="smart_devices"),
        CollectedTest(nodeid=SECOND, requirements=("SD-2",)),
    )
)


def judged(verdict: Verdict, nodeid: str = FIRST, requirement: str = "SD-1") -> JudgementLine:
    return JudgementLine(
        nodeid=nodeid,
        requirement=requirement,
        target=f"{requirement}a",
        measurement="m",
        direction="uplink",
        metric="delay",
        statistic="share_within",
        verdict=verdict,
        reason="met",
        sentence="s",
        n=10,
        unit="ns",
        limit=1.0,
        confidence=0.95,
        common_mode_ns=0,
        floor_ns=0,
        burst_length=1,
        design_effect=1,
        plan="full",
        simulated=True,
    )


def begun(nodeid: str = FIRST) -> TestLine:
    return TestLine(nodeid=nodeid, phase="start")


def ended(nodeid: str = FIRST, outcome: str = "passed", **fields: str) -> TestLine:
    return TestLine.model_validate(
        {"nodeid": nodeid, "phase": "finish", "outcome": outcome, **fields}
    )


END = EndLine(exit_code=0, interrupted=False, finished_ns=9)


def written(folder: Path, lines: Sequence[Line]) -> Path:
    with Record(folder / "record.jsonl") as record:
        for line in lines:
            record.write(line)
    return folder


def test_a_whole_record_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lines = [run_line(), COLLECTED, begun(), judged(Verdict.PASS), ended(), END]
    run = read(written(tmp_path, lines))
    assert [run.run, run.test_lines[0], run.judgements[0], run.test_lines[1], run.end] == [
        lines[0],
        lines[2],
        lines[3],
        lines[4],
        END,
    ]
    assert run.state is State.FINISHED
    assert not run.notes


def test_a_requirement_without_a_judgement_is_not_run_and_says_why(tmp_path: Path) -> None:
    lines = [run_line(), COLLECTED, begun(), judged(Verdict.PASS), ended(), begun(SECOND)]
    run = read(written(tmp_path, lines))
    assert [(one.requirement, one.why) for one in run.not_run] == [
        ("SD-2", "the run ended in the middle of the test")
    ]
    assert run.counts[Verdict.NOT_RUN] == 1
    assert run.verdict is Verdict.NOT_RUN


def test_a_skipped_test_is_not_run_for_its_own_reason(tmp_path: Path) -> None:
    skipped = ended(SECOND, "skipped", detail="needs a plc; bare has none")
    lines = [run_line(), COLLECTED, begun(), judged(Verdict.PASS), ended(), begun(SECOND), skipped]
    (missing,) = read(written(tmp_path, [*lines, END])).not_run
    assert missing.why == "skipped: needs a plc; bare has none"


def test_a_judgement_of_another_test_does_not_stand_in(tmp_path: Path) -> None:
    lines = [run_line(), COLLECTED, judged(Verdict.PASS, SECOND, "SD-1"), END]
    run = read(written(tmp_path, lines))
    assert {one.requirement for one in run.not_run} == {"SD-1", "SD-2"}


@pytest.mark.parametrize(
    ("lines", "code"),
    [
        ([judged(Verdict.PASS), END], ExitCode.OK),
        ([judged(Verdict.FAIL), judged(Verdict.INVALID)], ExitCode.FAIL),
        ([judged(Verdict.PASS)], ExitCode.RIG),
        ([judged(Verdict.INCONCLUSIVE), END], ExitCode.INCONCLUSIVE),
        ([judged(Verdict.INVALID), END], ExitCode.RIG),
        ([END], ExitCode.USAGE),
        (
            [judged(Verdict.PASS), ended(SECOND, "failed", cause="target missed"), END],
            ExitCode.FAIL,
        ),
        ([judged(Verdict.PASS), ended(SECOND, "broken", cause="defect"), END], ExitCode.DEFECT),
        ([judged(Verdict.PASS), ended(SECOND, "broken", cause="rig"), END], ExitCode.RIG),
        ([judged(Verdict.PASS), ended(SECOND, "broken", cause="interrupted"), END], ExitCode.RIG),
        (
            [judged(Verdict.PASS), EventLine(category="rig fault", text="the PLC is gone"), END],
            ExitCode.RIG,
        ),
    ],
)
def test_the_exit_code_follows_from_the_lines(
    tmp_path: Path, lines: list[Line], code: ExitCode
) -> None:
    assert read(written(tmp_path, [run_line(), COLLECTED, *lines])).exit_code is code


def test_an_inconclusive_smoke_run_is_green(tmp_path: Path) -> None:
    lines = [run_line("smoke"), COLLECTED, judged(Verdict.INCONCLUSIVE), END]
    assert read(written(tmp_path, lines)).exit_code is ExitCode.OK


def test_a_record_without_an_end_was_cut_short_or_still_runs(tmp_path: Path) -> None:
    with Record(tmp_path / "record.jsonl") as record:
        record.write(run_line())
        assert read(tmp_path).state is State.RUNNING
    assert read(tmp_path).state is State.CUT_SHORT


def test_a_newer_schema_is_refused_in_one_sentence(tmp_path: Path) -> None:
    fields = run_line().model_dump(mode="json", by_alias=True) | {"schema": 2}
    (tmp_path / "record.jsonl").write_text(json.dumps(fields) + "\n")
    with pytest.raises(UsageError, match=r"record schema 2, and this hil reads up to 1") as refused:
        read(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_damaged_line_is_named_and_makes_the_run_a_faulty_one(tmp_path: Path) -> None:
    path = written(tmp_path, [run_line(), COLLECTED, judged(Verdict.PASS), END]) / "record.jsonl"
    lines = path.read_bytes().split(b"\n")
    lines[1] = lines[1][:40]
    path.write_bytes(b"\n".join(lines))
    run = read(tmp_path)
    assert run.damaged == 1
    assert "Line 2" in run.notes[0]
    assert run.exit_code is ExitCode.RIG


def test_an_unknown_kind_is_passed_over_and_named(tmp_path: Path) -> None:
    path = written(tmp_path, [run_line(), END]) / "record.jsonl"
    path.write_bytes(path.read_bytes() + b'{"kind":"hologram","at_ns":1}\n')
    run = read(tmp_path)
    assert run.damaged == 0
    assert run.notes == ("Line 3 of the record is of an unknown kind.",)


@given(cut=st.integers(min_value=1))
def test_cut_off_at_any_byte_a_record_keeps_all_whole_lines(
    tmp_path_factory: pytest.TempPathFactory, cut: int
) -> None:
    lines = [run_line(), COLLECTED, begun(), judged(Verdict.FAIL), ended(), END]
    path = written(tmp_path_factory.mktemp("cut"), lines) / "record.jsonl"
    whole = path.read_bytes()
    left = whole[: cut % len(whole)]
    path.write_bytes(left)
    complete = left.count(b"\n")
    if complete == 0:
        with pytest.raises(RigError, match="before it said what it was to run"):
            read(path)
        return
    run = read(path)
    assert run.damaged == 0
    assert len(run.judgements) == (complete >= 4)
    assert bool(run.notes) == (not left.endswith(b"\n"))
    assert (run.state is State.FINISHED) == (complete == len(lines))


def test_a_directory_without_a_record_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="holds no record"):
        read(tmp_path)
