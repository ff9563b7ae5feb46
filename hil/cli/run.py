"""`hil run`: enters the world, runs pytest as a child, builds the reports, returns the code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from rich.console import Console

from hil._enter import enter
from hil.drivers.registry import Registry
from hil.errors import RigError, UsageError
from hil.testbed import Secret, Testbed, load, shipped
from hil.verdict import ExitCode

if TYPE_CHECKING:
    from hil.record import Run, RunDirectory

#: The longest one test may take before it counts as hung, by plan, in seconds.
_TIMEOUT_S: Final = {"smoke": 120, "full": 4 * 3600, "soak": 0}
RUN_DIRECTORY: Final = "HIL_RUN_DIRECTORY"
_SI_KERNEL: Final = 0x80


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for on the command line; `extra` are words for pytest."""

    paths: Sequence[str]
    testbed: str
    plan: str
    targets: str
    scenario: Sequence[str]
    requirement: Sequence[str]
    budget: str | None
    plan_only: bool
    out: Path
    extra: Sequence[str]


def run(asked: Options) -> int:
    """Runs suites on a testbed; prints the verdict table and where the report is.

    Raises: ConfigError or UsageError before anything is started.
    """
    if asked.plan not in _TIMEOUT_S:
        raise UsageError(f"no plan {asked.plan!r}; choose one of {', '.join(_TIMEOUT_S)}")
    suites = [_suite(path) for path in asked.paths] or [_suite("suites")]
    bench = load(asked.testbed, Registry())
    if asked.plan_only:
        from hil.cli.planning import plan_only

        return plan_only(asked, suites, bench)
    if bench.world is not None:
        enter(bench.source, [sys.executable, "-m", "hil", *sys.argv[1:]])
    # Only from here on what takes time to import: up to here the process may yet be replaced.
    from hil.record import RunDirectory
    from hil.targets import load_profile
    from hil.targets.campaign import budget_ns, chosen

    chosen(load_profile(asked.targets), asked.requirement, asked.scenario)
    budget_ns(asked.budget)
    _hide_secrets(bench)
    directory = RunDirectory.create(asked.out)
    status = _pytest(
        [
            *suites,
            f"--testbed={bench.source}",
            f"--plan={asked.plan}",
            f"--targets={asked.targets}",
            *(f"--scenario={name}" for name in asked.scenario),
            *(f"--requirement={name}" for name in asked.requirement),
            *([f"--budget={asked.budget}"] if asked.budget is not None else []),
            f"--alluredir={directory.allure_results}",
            f"--junitxml={directory.junit}",
            f"--timeout={_TIMEOUT_S[asked.plan]}",
            "--timeout-method=signal",
            "-p",
            "no:cacheprovider",
            *asked.extra,
        ],
        directory,
    )
    return _finish(directory, status)


def _hide_secrets(bench: Testbed) -> None:
    """The reports are built here, of what another process wrote that may quote a secret."""
    from hil.record import register

    for device in bench.devices.values():
        for name in type(device).model_fields:
            if isinstance(secret := getattr(device, name), Secret):
                with suppress(UsageError):  # not set: so nobody can have used it
                    register(secret.reveal())


def _suite(path: str) -> str:
    """The suite as given, or, where `suites` is not here, the shipped one."""
    file = path.partition("::")[0]
    if Path(file).exists():
        return path
    if file.split("/")[0] == "suites":
        there = shipped.suites() / Path(file).relative_to("suites")
        if there.exists():
            return str(there) + path[len(file) :]
    raise UsageError(f"{file}: no such suite; name a file or a folder of tests")


def _pytest(arguments: Sequence[str], directory: RunDirectory) -> int:
    """Runs pytest as a child, and passes on the signals that reach only this process.

    A Ctrl-C at a terminal is sent by the kernel to both; one by kill(1) comes here alone, and
    siginfo tells the two apart (sigaction(2), SI_KERNEL).
    """
    environment = {**os.environ, RUN_DIRECTORY: str(directory.path), "PYTHONUNBUFFERED": "1"}
    ours = {signal.SIGINT, signal.SIGTERM}
    early: list[int] = []
    before = {n: signal.signal(n, lambda number, _: early.append(number)) for n in ours}
    child = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment)
    signal.pthread_sigmask(signal.SIG_BLOCK, {*ours, signal.SIGCHLD})
    try:
        for number in early:
            child.send_signal(number)
        while child.poll() is None:
            got = signal.sigwaitinfo({*ours, signal.SIGCHLD})
            if got.si_signo in ours and got.si_code != _SI_KERNEL:
                child.send_signal(got.si_signo)
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*ours, signal.SIGCHLD})
        for number, handler in before.items():
            signal.signal(number, handler)
    return child.returncode


def _finish(directory: RunDirectory, status: int) -> int:
    """Builds the reports of whatever the record holds, also when the process died."""
    from hil.record import read

    if not directory.record.is_file():
        return _said(directory, _without_record(status))
    try:
        done = read(directory.path)
    except RigError as error:
        print(error, file=sys.stderr)
        return _said(directory, ExitCode.RIG)
    return _said(directory, _report(directory, done))


def _without_record(status: int) -> ExitCode:
    """What it means that pytest ended before it had a record."""
    import pytest

    if status in (
        ExitCode.OK,
        ExitCode.USAGE,
        pytest.ExitCode.USAGE_ERROR,
        pytest.ExitCode.NO_TESTS_COLLECTED,
    ):
        return ExitCode.USAGE
    # Told to end, or killed: subprocess gives the signal as -N, an interpreter as 128 + N.
    stopped = status < 0 or status == 128 + signal.SIGINT or status == ExitCode.RIG
    return ExitCode.RIG if stopped else ExitCode.DEFECT


def _said(directory: RunDirectory, code: ExitCode) -> ExitCode:
    """Writes the exit code down; that this fails changes no verdict."""
    try:
        directory.write_exit_code(code)
    except RigError as error:
        print(error, file=sys.stderr)
        return ExitCode.REPORT if code == ExitCode.OK else code
    return code


def _report(directory: RunDirectory, done: Run) -> ExitCode:
    from hil import report

    console = Console()
    code = _code(done)
    built = report.build(directory)
    report.table.render(done, console)
    for note in built.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(f"report: {directory.index}", markup=False, highlight=False, soft_wrap=True)
    if built.allure is not None:
        console.print(f"allure: {built.allure}", markup=False, highlight=False, soft_wrap=True)
    if not built.ok and code == ExitCode.OK:
        code = ExitCode.REPORT
    return code


def _code(done: Run) -> ExitCode:
    """The exit code in the record; made of its lines where the process died before its end."""
    return ExitCode(done.end.exit_code) if done.end is not None else done.exit_code
