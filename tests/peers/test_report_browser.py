"""Both reports in a real browser: the words are seen, the curves are painted, nobody is asked.

The browser cannot reach anything, and its own log says what a page has asked for.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hil.record import RunDirectory, read
from hil.report import build

Make = Callable[..., RunDirectory]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT RUN: chromium is not installed (packages.debian)"
)
#: The colour of a card's curve.
CURVE = (0x1A, 0x56, 0xB0)


#: A port of this host where nobody listens: whatever the browser asks for goes nowhere.
NOWHERE = "127.0.0.1:9"


def browse(page: Path, folder: Path, *what: str) -> tuple[str, list[str]]:
    """What the browser prints of a page, and the addresses that the page asked it for.

    The browser asks its maker for things of its own; its log says who asked for what.
    """
    assert CHROMIUM is not None
    log = folder / "requests.json"
    done = subprocess.run(
        [
            CHROMIUM,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            "--hide-scrollbars",
            f"--user-data-dir={folder / 'profile'}",
            f"--proxy-server={NOWHERE}",
            "--proxy-bypass-list=<-loopback>",
            f"--log-net-log={log}",
            "--virtual-time-budget=10000",
            *what,
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=100,
        check=True,
    )
    return done.stdout, asked_by_pages(log)


def asked_by_pages(log: Path) -> list[str]:
    """The addresses in a net log that were asked for by a page and lie outside of it."""
    events = json.loads(log.read_text("utf-8"))
    number = events["constants"]["logEventTypes"]["URL_REQUEST_START_JOB"]
    starts = [each.get("params", {}) for each in events["events"] if each["type"] == number]
    return [
        str(start["url"])
        for start in starts
        if start.get("initiator", "not an origin") != "not an origin"
        and not str(start.get("url", "")).startswith(("data:", "blob:", "file:"))
    ]


def painted(page: Path, folder: Path, colour: tuple[int, int, int]) -> int:
    """How many points of the page's picture have a colour."""
    picture = folder / "page.png"
    browse(page, folder, f"--screenshot={picture}", "--window-size=1000,1400")
    with Image.open(picture) as image:
        points = np.asarray(image.convert("RGB"))
    return int(np.count_nonzero(np.all(points == colour, axis=2)))


@pytest.fixture(scope="module")
def run(acceptance_run: Make) -> RunDirectory:
    directory = acceptance_run(broken_vision=True)
    built = build(directory)
    assert built.ok, built.notes
    assert built.allure is not None, built.notes
    return directory


def test_the_log_tells_what_a_page_asks_for(tmp_path: Path) -> None:
    page = tmp_path / "asks.html"
    page.write_text('<!doctype html><img src="http://outside.example/pixel.png">')
    _, asked = browse(page, tmp_path, "--dump-dom")
    assert any("outside.example" in line for line in asked)


def test_the_index_shows_every_verdict_and_asks_nobody(run: RunDirectory, tmp_path: Path) -> None:
    shown, asked = browse(run.index, tmp_path, "--dump-dom")
    for word in ("FAIL", "DEMONSTRATED", "SIMULATED", "What this run proves"):
        assert word in shown
    for judgement in read(run.path).judgements:
        assert judgement.target in shown
    assert asked == []


def test_a_card_shows_its_word_and_paints_its_curve(run: RunDirectory, tmp_path: Path) -> None:
    judgement = next(one for one in read(run.path).judgements if one.verdict == "FAIL")
    page = run.card(judgement.nodeid, judgement)
    shown, asked = browse(page, tmp_path, "--dump-dom")
    assert "FAIL" in shown
    assert "forbidden by the bound" in shown
    assert asked == []
    assert painted(page, tmp_path, CURVE) > 500


def test_the_allure_site_opens_from_the_disk_and_asks_nobody(
    run: RunDirectory, tmp_path: Path
) -> None:
    shown, asked = browse(run.allure_report / "index.html", tmp_path, "--dump-dom")
    for text in ("machine_vision", "SIMULATED", "Allure"):
        assert text in shown
    assert asked == []
