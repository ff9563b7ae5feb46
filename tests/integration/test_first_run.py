"""The tutorial, step by step, as it is written."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
STEPS = re.split(r"^## \d\. ", (ROOT / "docs/tutorial/first-run.md").read_text("utf-8"), flags=re.M)


def commands(step: int) -> list[str]:
    found = re.findall(r"^ {4}(.+)$", STEPS[step], re.MULTILINE)
    return [line.replace(".venv/bin/hil", f"{sys.executable} -m hil") for line in found]


def follow(line: str, place: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", "-c", line],
        cwd=place,
        env={**os.environ, "HIL_ALLURE": str(place / "none")},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )


def test_a_poorer_cell_fails_and_a_faulty_file_is_refused(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "testbeds", tmp_path / "testbeds")
    shutil.copytree(ROOT / "suites", tmp_path / "suites")
    *prepare, run = commands(3)
    for line in prepare:
        assert follow(line, tmp_path).returncode == 0
    done = follow(run, tmp_path)
    assert done.returncode == 1, done.stdout + done.stderr
    missed = [line for line in done.stdout.splitlines() if line.startswith("FAIL: ")]
    assert any("SD-1" in line and "uplink" in line for line in missed)
    spoil, validate = commands(4)
    assert follow(spoil, tmp_path).returncode == 0
    refused = follow(validate, tmp_path)
    assert refused.returncode == 2
    assert re.match(r"poor\.yaml:\d+:\d+: world\.cell\.core_delay: .* unit", refused.stderr)


def test_the_measurement_of_the_tutorial_is_valid(tmp_path: Path) -> None:
    (measure,) = commands(2)
    done = follow(measure, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2,000 sent" in done.stdout


def test_plain_pytest_enters_the_world_whatever_it_captures(tmp_path: Path) -> None:
    suite = ROOT / "suites" / "test_modem.py"
    for options in ("-q", "-q -s"):
        pytest_ = f"{sys.executable} -m pytest -p no:cacheprovider {options} --testbed virtual"
        done = follow(f"{pytest_} {suite} -k attenuator", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "1 passed" in done.stdout
        assert "SIMULATED" in done.stdout
