"""`hil virtual`: a world is kept, joined, looked into, disturbed and ended by other commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest

from hil import _enter

ROOT: Final = Path(__file__).parents[2]
PATIENCE_S: Final = 40.0


def hil(*words: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hil", *words],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
        cwd=ROOT,
    )


def keep(testbed: Path, *words: str) -> tuple[subprocess.Popen[str], str]:
    """A kept world: the process that keeps it, and its name."""
    process = subprocess.Popen(
        [sys.executable, "-m", "hil", "virtual", "up", "--testbed", str(testbed), *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=ROOT,
    )
    assert process.stdout is not None
    line = process.stdout.readline()
    assert " is up; " in line, line + process.stdout.read()
    return process, line.split()[2]


@pytest.fixture(scope="module")
def testbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A testbed of these tests' own, so that nobody else joins its worlds."""
    path = tmp_path_factory.mktemp("kept") / "kept.yaml"
    path.write_text((ROOT / "testbeds" / "virtual.yaml").read_text("utf-8"), "utf-8")
    return path


@pytest.fixture(scope="module")
def world(testbed: Path) -> Iterator[str]:
    process, name = keep(testbed, "--seed", "9")
    with process:
        yield name
        ended = hil("virtual", "down", name)
        assert ended.returncode == 0, ended.stderr
        assert process.wait(PATIENCE_S) == 0
        assert process.stdout is not None
        assert f"the world {name} is gone" in process.stdout.read()
    assert name not in _enter.worlds()
    assert not (_enter.directory() / name).exists()


def status(world: str) -> dict[str, Any]:
    done = hil("virtual", "status", world, "--json")
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_status_shows_radio_sessions_and_seed(world: str) -> None:
    shown = status(world)
    assert (shown["world"], shown["seed"], shown["died"]) == (world, 9, None)
    assert [each["cpe"] for each in shown["cpes"]] == ["cpe1", "cpe2"]
    for each in shown["cpes"]:
        assert each["powered"]
        assert each["session"]
        assert -90 < each["rsrp_dbm"] < -70


def test_an_attenuation_step_is_seen_at_the_radio(world: str) -> None:
    hil(
        "virtual", "fault", "attenuation", "cpe=cpe2", "by=30 dB", "duration=60 s", "--world", world
    )
    text = hil("virtual", "status", world).stdout
    assert f"{world}, seed 9" in text
    assert "cpe1: on, session up, RSRP -8" in text
    assert "cpe2: on, session up, RSRP -1" in text
    assert 'fault attenuation: cpe=cpe2 by="30 dB" on for' in text


def test_a_measurement_joins_the_kept_world_and_meets_its_faults(testbed: Path, world: str) -> None:
    begun = hil("virtual", "fault", "delay", "cpe=cpe1", "by=20 ms", "--world", world)
    assert begun.returncode == 0, begun.stderr
    assert 'fault delay: cpe=cpe1 direction=both by="20 ms" on for' in begun.stdout
    ports = ("--tx", "lan_a", "--rx", "mec", "--testbed", str(testbed))
    done = hil("measure", *ports, "--count", "100", "--interval", "2 ms", "--json")
    assert f"in the world {world}" in done.stderr
    assert json.loads(done.stdout)["delay_ns"]["min"] > 20_000_000
    (met,) = (each for each in status(world)["faults"] if each["name"] == "delay")
    assert met["on"]
    assert met["touched"] >= 100
    ended = hil("virtual", "fault", "delay", "--end", "--world", world)
    assert ended.returncode == 0
    assert "over after" in ended.stdout
    again = hil("virtual", "fault", "delay", "--end", "--world", world)
    assert again.returncode == 2
    assert f"no fault 'delay' is on in {world}" in again.stderr


def test_a_fault_that_cannot_be_is_wrong_usage(world: str) -> None:
    done = hil("virtual", "fault", "outage", "cpe=cpe9", "--world", world)
    assert done.returncode == 2
    assert "no cpe is called 'cpe9' here; there are cpe1, cpe2" in done.stderr


def test_a_shell_stands_inside(world: str) -> None:
    done = hil("virtual", "shell", world, "sh", "-c", "echo $HIL_WORLD; ls $HIL_RUN; exit 5")
    assert done.returncode == 5, done.stderr
    name, *files = done.stdout.split()
    assert name.startswith(f"{world}:")
    assert {"cpe1", "cpe2", "truth"} <= set(files)


def test_a_name_that_is_none_is_told_which_there_are(world: str) -> None:
    done = hil("virtual", "down", "nowhere")
    assert done.returncode == 2
    assert world in done.stderr


def test_ctrl_c_ends_a_kept_world(testbed: Path) -> None:
    process, name = keep(testbed)
    with process:
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 0
    assert name not in _enter.worlds()
