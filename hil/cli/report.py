"""`hil report`: the views of a run, built again from its record."""

from __future__ import annotations

import sys
from pathlib import Path

from rich.console import Console

from hil import report as views
from hil.record import RunDirectory, read
from hil.samples import store
from hil.verdict import ExitCode


def report(directory: Path) -> int:
    """Builds every report of a run and prints its verdict table.

    Raises: UsageError when there is no run in `directory`.
    """
    run = RunDirectory.open(directory)
    for found in store.recover(run.samples):
        end = "cut off" if found.truncated else "whole"
        print(f"recovered: {found.files.parquet.name}, {found.why or end}", file=sys.stderr)
    built = views.build(run)
    console = Console()
    views.table.render(read(run.path), console)
    for note in built.notes:
        console.print(f"note: {note}", markup=False, highlight=False)
    console.print(f"report: {run.index}", markup=False, highlight=False, soft_wrap=True)
    return ExitCode.OK if built.ok else ExitCode.REPORT
