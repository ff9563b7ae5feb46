"""`hil validate-method`: runs the validation of the instrument and writes its dossier."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from hil.errors import RigError, UsageError
from hil.lab.validation import campaign
from hil.lab.validation.item import Item
from hil.report import dossier
from hil.verdict import ExitCode


def validate_method(seeds: int | None, out: Path, *, quick: bool, as_json: bool) -> int:
    """Tries every item, shows the table and writes `dossier.json` and `dossier.html` to `out`.

    Returns 0 where every item holds, 1 where one does not, 10 where the rig kept one from being
    tried.

    Raises:
        UsageError: too few seeds to say anything.
        RigError: the dossier cannot be written.
    """
    if seeds is not None and seeds < 1:
        raise UsageError(f"--seeds is at least 1, and was {seeds}")
    make = campaign.Extent.quick if quick else campaign.Extent.full
    extent = make(seeds)
    console = Console(stderr=True, highlight=False)
    started_ns = time.time_ns()
    found: list[Item] = []
    with tempfile.TemporaryDirectory(prefix="hil-validate-") as directory:
        for item in campaign.items(extent, Path(directory)):
            found.append(item)
            look = dossier.HELD[item.holds]
            console.print(f"{look.sign} {item.title}: {item.sentence}", markup=False)
    plain = campaign.dossier(extent, found, started_ns, time.time_ns())
    try:
        out.mkdir(parents=True, exist_ok=True)
        (out / "dossier.json").write_text(json.dumps(plain, indent=1), "utf-8")
        (out / "dossier.html").write_text(dossier.render(plain), "utf-8")
    except OSError as error:
        raise RigError(
            f"the dossier cannot be written: {error.filename}: {error.strerror}"
        ) from None
    if as_json:
        print(json.dumps(plain))
    else:
        _show(found, out)
    return ExitCode(plain["exit_code"])


def _show(found: list[Item], out: Path) -> None:
    table = Table(box=None, pad_edge=False, header_style="")
    for title in ("item", "what was found", "took", ""):
        table.add_column(title, overflow="fold")
    for item in found:
        look = dossier.HELD[item.holds]
        took = "" if item.seconds is None else f"{item.seconds:,.0f} s"
        table.add_row(item.title, item.sentence, took, f"{look.sign} {look.word}")
    console = Console(highlight=False, markup=False)
    console.print(table)
    for item in found:
        for figure in item.figures:
            if figure.holds is False:
                console.print(f"{item.title}: {figure.what}: {figure.source or figure.expected}")
    console.print(f"dossier: {out / 'dossier.html'}", soft_wrap=True)
