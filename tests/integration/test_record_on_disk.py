"""Run directory and record against a real file system: locks, kills, no room, no permission."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from hil.errors import LeaseLost, RigError, UsageError
from hil.record import Record, RunDirectory, State, read
from hil.record.schema import EventLine


def python(code: str, *arguments: str, inside: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*inside, sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_new_run_has_its_folders_and_is_the_latest(tmp_path: Path) -> None:
    first = RunDirectory.create(tmp_path / "out", "20260101T000000Z-aaaaaa")
    second = RunDirectory.create(tmp_path / "out")
    assert (tmp_path / "out" / "latest").resolve() == second.path
    assert RunDirectory.open(tmp_path / "out" / "latest") == second
    assert first.run_id < second.run_id
    assert sorted(path.name for path in second.path.iterdir()) == [
        "allure-results",
        "cards",
        "report",
        "samples",
    ]
    second.write_exit_code(11)
    assert (tmp_path / "out" / "exit_code").read_text() == "11\n"
    assert second.exit_code.read_text() == "11\n"


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match=r"cannot keep a run there: .*name a") as refused:
        RunDirectory.create(tmp_path / "out")
    assert "\n" not in str(refused.value)


def test_a_directory_called_latest_is_not_destroyed(tmp_path: Path) -> None:
    (tmp_path / "latest").mkdir()
    (tmp_path / "latest" / "mine").write_text("x")
    with pytest.raises(UsageError, match="latest"):
        RunDirectory.create(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["latest"]
    assert (tmp_path / "latest" / "mine").exists()


_CREATE = """
import subprocess, sys
from pathlib import Path
from hil.record import RunDirectory
from hil.errors import UsageError
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", sys.argv[2], "none", str(place)], check=True)
try:
    RunDirectory.create(place)
except UsageError as error:
    print(error)
print(sorted(path.name for path in place.iterdir()))
"""


@pytest.mark.parametrize(
    ("options", "cure"),
    [("size=256k", "no space is left"), ("ro", "the file system is read-only")],
)
def test_no_room_is_said_before_anything_starts_and_nothing_is_left(
    tmp_path: Path, options: str, cure: str
) -> None:
    own_mounts = ("unshare", "--user", "--map-root-user", "--mount")
    process = python(_CREATE, str(tmp_path), options, inside=own_mounts)
    out, errors = process.communicate(timeout=60)
    assert cure in out, errors
    assert out.splitlines()[-1] == "[]"
    assert len(out.splitlines()) == 2


_FULL = """
import json, subprocess, sys
from pathlib import Path
from hil.record import Record
from hil.record.schema import EventLine
from hil.errors import RigError
place = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", str(place)], check=True)
filler = place / "filler"
with Record(place / "record.jsonl") as record:
    record.write(EventLine(category="note", text="before"))
    try:
        filler.write_bytes(bytes(1 << 20))
    except OSError:
        pass
    try:
        for _ in range(64):
            record.write(EventLine(category="note", text="x" * 3000))
    except RigError as error:
        print(error)
    filler.unlink()
    record.write(EventLine(category="note", text="after"))
texts = [line for line in (place / "record.jsonl").read_text().splitlines() if line]
try:
    print([json.loads(text)["text"] for text in (texts[0], texts[-1])])
except ValueError:
    print("the last line is no line of its own")
"""


def test_a_disk_that_fills_up_in_a_run_is_one_sentence_and_later_lines_stay_whole(
    tmp_path: Path,
) -> None:
    own_mounts = ("unshare", "--user", "--map-root-user", "--mount")
    process = python(_FULL, str(tmp_path), inside=own_mounts)
    out, errors = process.communicate(timeout=60)
    first, last = out.splitlines() or ["", errors]
    assert "cannot be written" in first
    assert last == "['before', 'after']"


def test_two_writers_never_share_a_record(tmp_path: Path) -> None:
    with Record(tmp_path / "record.jsonl"), pytest.raises(LeaseLost, match="another process"):
        Record(tmp_path / "record.jsonl")


def test_a_closed_record_takes_nothing(tmp_path: Path) -> None:
    record = Record(tmp_path / "record.jsonl")
    record.close()
    record.close()
    with pytest.raises(RigError, match="closed"):
        record.write(EventLine(category="note", text="x"))


_WRITE = """
import sys
from pathlib import Path
from hil.record import Record
from hil.record.schema import RunLine, Source, TestLine
record = Record(Path(sys.argv[1]))
record.write(RunLine(run_id="r", testbed=Source(name="t"), profile=Source(name="p"), plan="full",
    simulated=False, hil="0", host="h", kernel="k", python="p", argv=(), started_ns=1))
number = 0
while True:
    record.write(TestLine(nodeid=f"t::{number}", phase="start", title="y" * 500))
    print(number, flush=True)
    number += 1
"""


def test_after_a_kill_every_line_that_was_said_to_be_written_is_there(tmp_path: Path) -> None:
    process = python(_WRITE, str(tmp_path / "record.jsonl"))
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(200)]
    os.kill(process.pid, signal.SIGKILL)
    rest, _ = process.communicate(timeout=60)
    last = int((said + rest.splitlines())[-1])
    run = read(tmp_path)
    assert run.state is State.CUT_SHORT
    assert run.damaged == 0
    assert [line.nodeid for line in run.test_lines[: last + 1]] == [
        f"t::{number}" for number in range(last + 1)
    ]
