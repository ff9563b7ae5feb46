"""`hil bench` with the tools it is compared with; figures are shown, not judged, here."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

from hil.lab.peers import PACKAGES

pytestmark = pytest.mark.timeout(480)  # both parts are measured for the first test

MISSING = [name for name in PACKAGES if shutil.which(name) is None]


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for part in ("rates", "times"):
        done = subprocess.run(
            [sys.executable, "-m", "hil", "bench", part, "--json"],
            capture_output=True,
            text=True,
            timeout=230,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        found += json.loads(done.stdout)["rows"]
    return found


def test_every_row_has_a_figure_and_its_bar(rows: list[dict[str, Any]]) -> None:
    assert len(rows) == 15
    for row in rows:
        assert row["ours"] is not None, row
        assert row["bar"], row


@pytest.mark.parametrize(
    "tool", ["trafgen", "Scapy sendp", "irtt --timer=busy", "irtt", "sockperf", "dumpcap", "C"]
)
def test_a_tool_that_is_there_gives_a_figure(rows: list[dict[str, Any]], tool: str) -> None:
    name = tool.split(maxsplit=1)[0]
    needed = {"irtt --timer=busy": {"irtt", "tcpdump"}, "C": {"cc", "tcpdump"}}.get(tool, {name})
    if gone := sorted(needed & set(MISSING)):
        pytest.skip(f"NOT RUN: {', '.join(gone)} not installed (packages.debian)")
    figures = [row["peers"][tool] for row in rows if tool in row["peers"]]
    assert figures
    assert all(isinstance(figure, float) and figure > 0 for figure in figures), figures


def test_a_bar_whose_peer_did_not_run_is_not_decided(rows: list[dict[str, Any]]) -> None:
    for row in rows:
        if any(isinstance(figure, str) for figure in row["peers"].values()):
            assert row["met"] is not True, row
