"""The Allure 3 site of a run: one HTML file that opens from the disk and asks nobody for anything.

Allure is a view for engineers, never the source of truth: its generator exits 0 on failed tests,
on damaged results and on none at all, so nothing is concluded from what it says.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import hil
from hil.errors import RigError
from hil.record.directory import RunDirectory, write_whole
from hil.record.reader import Run
from hil.report import allure_results

#: Where Allure is, if not in ``node_modules`` of the checkout or of the working directory.
VARIABLE: Final = "HIL_ALLURE"
_OLDEST_NODE: Final = 22
_LONGEST_S: Final = 180

#: The generator writes the page-view counter of Google into each page and has no way to leave it
#: out (allure-framework/allure3#476).
_COUNTER: Final = re.compile(
    r'\s*<script async src="https://www\.googletagmanager\.com/.*?</script>'
    r"\s*<script>\s*window\.dataLayer.*?</script>",
    re.S,
)
_TRACKERS: Final = ("googletagmanager", "google-analytics", "gtag/js")
_LOADED: Final = re.compile(
    r"<(?:script|link|img|iframe|source)\b[^>]*?\s(?:src|href)=[\"']?(?:https?:)?//([^\"'\s/>]+)",
    re.I,
)
#: Tells the browser itself to go nowhere, whatever an attachment or a later version may hold.
_POLICY: Final = (
    '<meta http-equiv="Content-Security-Policy" content="default-src \'self\' data: blob: '
    "'unsafe-inline' 'unsafe-eval'\">"
)


@dataclass(frozen=True, slots=True)
class Generated:
    """The page, or None and in `note` why there is none."""

    page: Path | None
    note: str | None = None
    added: tuple[str, ...] = ()  #: tests that had left no result of their own


def generate(directory: RunDirectory, run: Run) -> Generated:
    """Complete the results and make the site from them.

    Where Node or Allure is missing, `Generated.note` says so and the results are still complete,
    for an Allure elsewhere.

    Raises:
        RigError: the generator failed, or a page would still load something from outside.
    """
    directory.allure_results.mkdir(exist_ok=True)
    allure_results.redact_results(directory.allure_results)
    added = allure_results.finish_missing(directory, run)
    allure_results.write_context(directory, run)
    tools = find_tools()
    if isinstance(tools, str):
        return Generated(None, f"Allure report not generated: {tools}", added)
    _run(*tools, directory, run)
    page = directory.allure_report / "index.html"
    if not page.is_file():
        raise RigError("Allure report: its generator ended well and left no page")
    for path in directory.allure_report.rglob("*.html"):
        _close_off(path)
    refuse_outside(directory.allure_report)
    return Generated(page, None, added)


def find_tools() -> tuple[Path, Path] | str:
    """Node and Allure's entry point, or one sentence on what is missing.

    Node is looked for beside this interpreter (where the wheel puts it), then on PATH; Allure in
    the directory that ``HIL_ALLURE`` names, else in ``node_modules`` of the checkout that this hil
    belongs to, else in that of the working directory.
    """
    node = _node()
    if node is None:
        return f"no Node of version {_OLDEST_NODE} or newer; pip install 'hil[allure]'"
    named = os.environ.get(VARIABLE)
    places = (
        [Path(named), Path(named) / "node_modules" / "allure"]
        if named
        else [
            root / "node_modules" / "allure" for root in (Path(hil.__file__).parents[1], Path.cwd())
        ]
    )
    for place in places:
        if (entry := place / "cli.js").is_file():
            return node, entry
    if named:
        return f"{VARIABLE} names {named}, and there is no Allure in it"
    return f"Allure is not installed; npm ci, or let {VARIABLE} name its directory"


def refuse_outside(folder: Path) -> None:
    """Prove that no page or script of a site asks another host for anything.

    Raises:
        RigError: one does; the sentence names file and host.
    """
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".html", ".js", ".mjs", ".css"):
            continue
        text = path.read_text("utf-8", errors="replace")
        for tracker in _TRACKERS:
            if tracker in text:
                raise RigError(f"{path}: still holds {tracker}, so it is not given to anybody")
        # In a script, markup stands inside texts: only pages are looked at for what they load.
        if path.suffix == ".html" and (found := _LOADED.search(_without_scripts(text))):
            raise RigError(f"{path}: would load something from {found[1]}")


def _node() -> Path | None:
    # Not resolved: in a virtual environment the interpreter is a link, and node lies beside it.
    for place in (Path(sys.executable).parent / "node", shutil.which("node")):
        if place is None or not Path(place).is_file():
            continue
        try:
            answer = subprocess.run(
                (str(place), "--version"), capture_output=True, text=True, timeout=30, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if (found := re.match(r"v(\d+)\.", answer.stdout)) and int(found[1]) >= _OLDEST_NODE:
            return Path(place)
    return None


def _run(node: Path, allure: Path, directory: RunDirectory, run: Run) -> None:
    settings = {
        "name": allure_results.title(run),
        "output": str(directory.allure_report),
        "appendHistory": False,
        "hideLabels": ["host", "thread", "package", "framework", "language", "nodeid"],
        "categories": allure_results.categories(),
        "plugins": {
            "awesome": {
                "options": {
                    "singleFile": True,
                    "reportLanguage": "en",
                    "groupBy": ["epic", "feature", "story"],
                    "theme": "light",
                }
            }
        },
    }
    config = directory.path / "allurerc.json"
    write_whole(config, json.dumps(settings, indent=2))
    shutil.rmtree(directory.allure_report, ignore_errors=True)
    command = (
        str(node), str(allure), "generate", str(directory.allure_results), "--config", str(config),
    )  # fmt: skip
    try:
        answer = subprocess.run(
            command,
            cwd=directory.path,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
            env={**os.environ, "NO_COLOR": "1"},
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RigError(f"Allure report: its generator did not run: {error}") from error
    if answer.returncode != 0:
        said = (answer.stderr or answer.stdout).strip().splitlines() or ["it said nothing"]
        raise RigError(f"Allure report: its generator failed ({answer.returncode}): {said[-1]}")


def _close_off(path: Path) -> None:
    before = path.read_text("utf-8")
    after = _COUNTER.sub("", before)
    after = re.sub(r"<head[^>]*>", lambda head: f"{head[0]}{_POLICY}", after, count=1)
    if after != before:
        write_whole(path, after)


def _without_scripts(text: str) -> str:
    return re.sub(r"(<script\b[^>]*>).*?</script>", r"\1</script>", text, flags=re.S | re.I)
