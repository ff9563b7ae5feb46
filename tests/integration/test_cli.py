"""Wrong input of the commands: one clear text, exit code 2, nothing started, nothing left."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

BARE = "schema: 1\nname: bare\ndevices: {}\nports: {}\npaths: {}\n"


def hil(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hil", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "bare.yaml").write_text(BARE)
    (tmp_path / "faulty.yaml").write_text(
        "schema: 1\nname: x\ndevice: {}\nports: {a: {side: up}}\n"
    )
    (tmp_path / "test_it.py").write_text("def test_it(): pass\n")
    (tmp_path / "file").write_text("in the way\n")
    return tmp_path


WRONG = {
    "faulty testbed": (
        ("run", "test_it.py", "--testbed", "faulty.yaml"),
        "faulty.yaml:3:1: device",
    ),
    "no such testbed": (("run", "test_it.py", "--testbed", "lab-z"), "lab-z"),
    "no such suite": (("run", "test_other.py", "--testbed", "bare.yaml"), "test_other.py"),
    "no such plan": (("run", "test_it.py", "--testbed", "bare.yaml", "--plan", "long"), "smoke"),
    "no such profile": (("run", "test_it.py", "--testbed", "bare.yaml", "--targets", "6g"), "5gdn"),
    "file in the way": (("run", "test_it.py", "--testbed", "bare.yaml", "--out", "file"), "file"),
    "missing interface": (("measure", "--tx", "nothere0", "--rx", "lo"), "nothere0"),
    "missing namespace": (("measure", "--tx", "nowhere/eth0", "--rx", "lo"), "nowhere"),
    "bare number": (("measure", "--tx", "lo", "--rx", "lo", "--interval", "10"), "10 ms"),
    "share without bound": (("measure", "--tx", "lo", "--rx", "lo", "--share", "0.9"), "--bound"),
    "port of no testbed": (("measure", "--tx", "x", "--rx", "y", "--testbed", "bare.yaml"), "x"),
    "no run": (("report", "nothing"), "nothing"),
    "not empty": (("init", "."), "not empty"),
    "no such format": (("schema", "bench"), "testbed"),
    "no such verb": (("mesure",), "mesure"),
    "no such option": (("validate", "bare.yaml", "--fast"), "--fast"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_one_clear_text_and_exit_code_2(case: str, place: Path) -> None:
    words, expected = WRONG[case]
    before = sorted(place.rglob("*"))
    done = hil(*words, cwd=place)
    assert done.returncode == 2, done.stderr
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert sorted(place.rglob("*")) == before


def test_every_fault_of_a_file_is_named_at_once(place: Path) -> None:
    done = hil("validate", "faulty.yaml", cwd=place)
    assert done.returncode == 2
    assert len([line for line in done.stderr.splitlines() if line.startswith("faulty.yaml:")]) >= 3


def test_init_makes_a_repository_whose_testbed_is_valid(tmp_path: Path) -> None:
    assert hil("init", "bench", cwd=tmp_path).returncode == 0
    assert hil("validate", "testbeds/lab.yaml", cwd=tmp_path / "bench").returncode == 0
    collected = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "--collect-only",
            "-q",
            "-p",
            "no:cacheprovider",
            "suites",
        ],
        cwd=tmp_path / "bench",
        capture_output=True,
        text=True,
        check=False,
    )
    assert "1 test collected" in collected.stdout


def test_the_wheel_brings_suites_and_testbeds(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=root,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    assert "hil/shipped/suites/test_smart_devices.py" in names
    assert "hil/shipped/testbeds/virtual.yaml" in names
    assert "hil/targets/profiles/5gdn.yaml" in names
    assert "hil/report/style.css" in names
