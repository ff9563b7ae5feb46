"""A bench run in the virtual world, from the command to the record, and its ends."""

import json
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from hil import _enter

SUITES = ("suites/test_modem.py", "suites/test_plc.py")


def started(place: Path, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hil", *words],
        cwd=place,
        env={**os.environ, "HIL_ALLURE": str(place / "none"), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def record(place: Path) -> list[dict[str, Any]]:
    lines = (place / "out" / "latest" / "record.jsonl").read_text("utf-8").splitlines()
    return [json.loads(line) for line in lines]


def wait_for(run: subprocess.Popen[str], words: str) -> None:
    """Reads what a run says until it says that."""
    assert run.stdout is not None
    for line in run.stdout:
        if words in line:
            return
    pytest.fail(f"the run ended without saying {words!r}")


@pytest.fixture
def no_world_left(tmp_path: Path) -> Iterator[None]:
    yield
    for name, world in _enter.worlds().items():
        with suppress(OSError):  # it may end while it is looked at
            holder = os.pidfd_open(world.pid)
            # Other runs on this host have worlds too: ours has the place of this test in it.
            ours = str(tmp_path).encode() in Path(f"/proc/{world.pid}/environ").read_bytes()
            ended, _, _ = select.select([holder], [], [], 5) if ours else (True, [], [])
            os.close(holder)
            assert ended, f"the world {name} outlived its run"


@pytest.mark.usefixtures("no_world_left")
def test_devices_of_the_world_are_driven_judged_and_brought_home(tmp_path: Path) -> None:
    run = started(tmp_path, "run", *SUITES)
    text, _ = run.communicate(timeout=110)
    assert run.returncode == 0, text
    lines = record(tmp_path)
    judged = {line["target"]: line for line in lines if line["kind"] == "judgement"}
    assert set(judged) == {"MO-1", "MO-2", "PLC-1"}
    assert all(line["simulated"] for line in judged.values())
    assert all(line["verdict"] == "INCONCLUSIVE" for line in judged.values())
    assert "SIMULATED" in text
    actions = [line for line in lines if line["kind"] == "event" and line["category"] == "device"]
    assert any(line["device"] == "att1" and "set_db(1, 20)" in line["text"] for line in actions)
    home = [line["device"] for line in actions if line["text"] == "restored as found"]
    assert set(home) == {"cpe1", "plc1", "att1"}
    assert lines[-1]["kind"] == "end"


@pytest.mark.usefixtures("no_world_left")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_run_that_is_told_to_stop_goes_to_the_safe_state(
    tmp_path: Path, number: signal.Signals
) -> None:
    run = started(tmp_path, "run", "suites/test_slicing.py", "suites/test_plc.py")
    wait_for(run, "received")
    run.send_signal(number)
    text, _ = run.communicate(timeout=60)
    assert run.returncode == 10, text
    lines = record(tmp_path)
    assert lines[-1]["kind"] == "end"
    assert lines[-1]["interrupted"]
    taken = [line for line in lines if line["kind"] == "measurement"]
    assert taken, "what was taken until then is on record"
    assert not taken[-1]["complete"]
    assert (tmp_path / "out" / "latest" / taken[-1]["samples"]["path"]).is_file()
    assert "NOT RUN" in text


@pytest.mark.usefixtures("no_world_left")
def test_a_killed_run_leaves_a_record_that_says_so(tmp_path: Path) -> None:
    run = started(tmp_path, "run", "suites/test_slicing.py")
    wait_for(run, "received")
    run.kill()
    run.communicate(timeout=60)  # ends when the last process of the run has let go of its output
    report = subprocess.run(
        [sys.executable, "-m", "hil", "report", "out/latest"],
        cwd=tmp_path,
        env={**os.environ, "HIL_ALLURE": str(tmp_path / "none")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert report.returncode in (0, 12), report.stderr
    assert "NOT RUN" in report.stdout
    samples = tmp_path / "out" / "latest" / "samples"
    assert list(samples.glob("*.parquet")), "samples taken so far, converted by the next command"
