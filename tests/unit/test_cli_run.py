"""`hil run` around pytest: what goes to it, and what its end means."""

import signal
from pathlib import Path

import pytest

from hil.cli import _divided
from hil.cli.run import _finish, _hide_secrets
from hil.drivers.registry import Registry
from hil.record import RunDirectory, redact
from hil.testbed import load
from hil.verdict import ExitCode

WORDS = {
    "suites -k foo -x": ("suites", "-k foo -x"),
    "-k foo suites": ("suites", "-k foo"),
    "-xvs suites/test_a.py --lf suites/test_b.py": (
        "suites/test_a.py suites/test_b.py",
        "-xvs --lf",
    ),
    "suites --maxfail=1 -W error -rs --tb short": (
        "suites",
        "--maxfail=1 -W error -rs --tb short",
    ),
    "--deselect suites/test_a.py::test_b suites": ("suites", "--deselect suites/test_a.py::test_b"),
}


@pytest.mark.parametrize("given", WORDS)
def test_an_option_of_pytest_keeps_its_value(given: str) -> None:
    suites, options = _divided(given.split())
    assert (" ".join(suites), " ".join(options)) == WORDS[given]


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (0, ExitCode.USAGE),
        (2, ExitCode.USAGE),
        (4, ExitCode.USAGE),
        (1, ExitCode.DEFECT),
        (-signal.SIGTERM, ExitCode.RIG),
        (128 + signal.SIGINT, ExitCode.RIG),
    ],
)
def test_a_pytest_that_ended_before_its_record_is_told_by_its_status(
    tmp_path: Path, status: int, code: ExitCode
) -> None:
    directory = RunDirectory.create(tmp_path / "out")
    assert _finish(directory, status) == code
    assert (tmp_path / "out" / "exit_code").read_text() == f"{code}\n"


def test_a_record_that_ends_in_its_first_line_is_the_rigs(tmp_path: Path) -> None:
    directory = RunDirectory.create(tmp_path / "out")
    directory.record.write_text('{"kind": "ru')
    assert _finish(directory, -signal.SIGKILL) == ExitCode.RIG
    assert (tmp_path / "out" / "exit_code").read_text() == "10\n"


def test_an_exit_code_that_cannot_be_written_is_still_returned(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = RunDirectory.create(tmp_path / "out")
    (tmp_path / "out" / "exit_code").mkdir()
    assert _finish(directory, 2) == ExitCode.USAGE
    assert "exit_code: cannot be written" in capsys.readouterr().err


def test_a_new_run_forgets_what_the_run_before_said(tmp_path: Path) -> None:
    RunDirectory.create(tmp_path / "out").write_exit_code(0)
    RunDirectory.create(tmp_path / "out")
    assert not (tmp_path / "out" / "exit_code").exists()


def test_the_reports_hide_the_secrets_of_the_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LAB_PIN_OF_CPE", "kingfisher")
    file = tmp_path / "bench.yaml"
    file.write_text(
        "schema: 1\nname: bench\ndevices:\n"
        "  cpe1: {driver: modem_at, port: /dev/ttyUSB2, pin: '${env:LAB_PIN_OF_CPE}'}\n"
        "  cpe2: {driver: modem_at, port: /dev/ttyUSB3, pin: '${env:LAB_PIN_NOT_SET}'}\n"
    )
    _hide_secrets(load(str(file), Registry()))
    assert redact("the modem said kingfisher") == "the modem said ***"
