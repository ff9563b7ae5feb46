"""`hil run`: enters the world, runs pytest as a child, builds the reports, returns the code."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from rich.console import Console

from hil import report
from hil._enter import enter
from hil.drivers.registry import Registry
from hil.errors import UsageError
from hil.record import Run, RunDirectory, read
from hil.targets import load_profile
from hil.testbed import load, shipped
from hil.verdict import ExitCode

#: The longest one test may take before it counts as hung, by plan, in seconds.
_TIMEOUT_S: Final = {"smoke": 120, "full": 4 * 3600, "soak": 0}
RUN_DIRECTORY: Final = "HIL_RUN_DIRECTORY"


def run(
    paths: Sequence[str], testbed: str, plan: str, targets: str, out: Path, extra: Sequence[str]
) -> int:
    """Runs suites on a testbed; prints the verdict table and where the report is.

    Raises: ConfigError or UsageError before anything is started.
    """
    bench = load(testbed, Registry())
    load_profile(targets)
    suites = [_suite(path) for path in paths] or [_suite("suites")]
    handed = os.environ.get(RUN_DIRECTORY)
    directory = RunDirectory(Path(handed)) if handed else RunDirectory.create(out)
    if bench.world is not None:
        os.environ[RUN_DIRECTORY] = str(directory.path)
        enter(bench.source, [sys.executable, "-m", "hil", *sys.argv[1:]])
    status = _pytest(
        [
            *suites,
            f"--testbed={bench.source}",
            f"--plan={plan}",
            f"--targets={targets}",
            f"--alluredir={directory.allure_results}",
            f"--junitxml={directory.junit}",
            f"--timeout={_TIMEOUT_S[plan]}",
            "--timeout-method=signal",
            "-p",
            "no:cacheprovider",
            *extra,
        ],
        directory,
    )
    return _finish(directory, status)


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


@contextmanager
def _passing_on(child: Callable[[int], None]) -> Iterator[None]:
    """SIGTERM goes to the child; Ctrl-C has reached it already, as one of the terminal's group."""
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda number, _: child(number)),
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _pytest(arguments: Sequence[str], directory: RunDirectory) -> int:
    environment = {**os.environ, RUN_DIRECTORY: str(directory.path), "PYTHONUNBUFFERED": "1"}
    child = subprocess.Popen([sys.executable, "-m", "pytest", *arguments], env=environment)
    with _passing_on(child.send_signal):
        return child.wait()


def _finish(directory: RunDirectory, status: int) -> int:
    """Builds the reports of whatever the record holds, also when the process died."""
    console = Console()
    if not directory.record.is_file():
        code = ExitCode.USAGE if status in (2, 4, 5) else ExitCode.DEFECT
        directory.write_exit_code(code)
        return code
    done = read(directory.path)
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
    directory.write_exit_code(code)
    return code


def _code(done: Run) -> ExitCode:
    """The exit code in the record; made of its lines where the process died before its end."""
    return ExitCode(done.end.exit_code) if done.end is not None else done.exit_code
