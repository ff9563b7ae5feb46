"""`hil bench`: the instrument beside other people's tools."""

from __future__ import annotations

import json
import os
import platform
import sys
from typing import Final

from rich.console import Console
from rich.table import Table

from hil.cli import bench_length
from hil.errors import UsageError
from hil.lab import benchmark, contest, rates, standard
from hil.lab.row import Row
from hil.lab.row import as_json as row_as_json
from hil.verdict import ExitCode
from hil.virtual import stage

#: What can be measured, each in some minutes.
PARTS: Final = {
    "rates": rates.rows,
    "times": benchmark.rows,
    "contest": contest.rows,
    "length": bench_length.rows,
}

_WORDS = {True: "met", False: "NOT MET", None: "not decided"}


def bench(part: str = "rates", *, as_json: bool) -> int:
    """Measures each row and shows it; 0 when all could be measured, whether or not a bar is met.

    `part` is a key of `PARTS`.

    Links are made on a private stage; nothing outside of it is touched.

    Raises:
        UsageError: there is no such part, or the kernel refuses a stage.
    """
    if part not in PARTS:
        raise UsageError(f"no part of the bench is called {part!r}; there are {', '.join(PARTS)}")
    if not stage.standing():
        words = [sys.executable, "-m", "hil", *sys.argv[1:]]
        argv = stage.command(standard.NAMESPACES, words)
        os.execv(argv[0], argv)
    console = Console(stderr=True, highlight=False)
    rows: list[Row] = []
    for row in PARTS[part]():
        rows.append(row)
        console.print(f"{row.what}: {_figure(row.ours, row.unit)}", markup=False)
    if as_json:
        host = {
            "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
            "processors": os.cpu_count(),
            "python": platform.python_version(),
        }
        print(json.dumps({"host": host, "rows": [row_as_json(row) for row in rows]}))
    else:
        _show(rows)
    return ExitCode.RIG if any(row.ours is None for row in rows) else ExitCode.OK


def _show(rows: list[Row]) -> None:
    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("what", "hil", "others", "bar", ""):
        table.add_column(title, overflow="fold")
    for row in rows:
        others = [
            f"{name}: {peer if isinstance(peer, str) else _figure(peer, row.unit)}"
            for name, peer in row.peers.items()
        ]
        figure = _figure(row.ours, row.unit)
        table.add_row(row.what, figure, "\n".join(others), row.bar, _WORDS[row.met])
    console = Console(highlight=False, markup=False, soft_wrap=True)
    Console(highlight=False, markup=False).print(table)
    for row in rows:
        for note in row.notes:
            console.print(f"{row.what}: {note}")


def _figure(value: float | None, unit: str) -> str:
    if value is None:
        return "not measured"
    if unit == "ns":
        return f"{value / 1000:,.2f} us"
    if unit == "1/s":
        return f"{value:,.0f}/s"
    return f"{value:,.0f} {unit}" if unit == "packets" else f"{value:,.1f} {unit}"
