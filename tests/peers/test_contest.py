"""Other tools through the relay with the contest's list: what each counts, by its own words.

Which of them is right is shown in the table of `hil bench contest` and not judged here; that their
words are understood, and that the same happened to each, is.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.lab.relayed import NAMESPACES
from hil.virtual import stage

ROOT = Path(__file__).parents[2]
BENCH = ROOT / "tests" / "integration" / "relay_bench.py"

#: What is true of the contest's list, and what a tool has no figure for.
TRUTH = {"lost": 6, "duplicated": 3, "reordered": 7, "corrupted": 2}
NONE = {
    "irtt": {"corrupted"},
    "sockperf": {"corrupted"},
    "iperf3": {"corrupted", "duplicated"},
}


@pytest.fixture(scope="module", params=["irtt", "sockperf", "iperf3"])
def seen(request: pytest.FixtureRequest) -> Any:
    if shutil.which(request.param) is None:
        pytest.skip(f"NOT RUN: {request.param} not installed (packages.debian)")
    order = json.dumps({"tool": request.param, "count": 3000})
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        stage.command(NAMESPACES, [sys.executable, str(BENCH), "peer", order]),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert "reason" not in found, found
    return found | {"tool": request.param}


def test_the_same_happens_to_the_packets_of_every_tool(seen: Any) -> None:
    truth = seen["truth"]
    assert {name: truth[name] for name in ("lost", "duplicated", "corrupted")} == {
        name: TRUTH[name] for name in ("lost", "duplicated", "corrupted")
    }
    assert truth["packets"] > 1_500, "enough for every fault of the list"


def test_what_a_tool_counts_is_read_and_what_it_does_not_is_none(seen: Any) -> None:
    missing = {name for name, value in seen["said"].items() if value is None}
    assert missing == NONE[seen["tool"]]
    assert seen["said"]["lost"] > 0
    assert seen["said"]["reordered"] > 0


def test_delays_are_read_packet_by_packet_where_there_are_any(seen: Any) -> None:
    if seen["tool"] == "iperf3":
        assert seen["delays"] is seen["recovered_ns"] is None
        return
    assert seen["delays"] > 1_000
    # Of four delayed packets each has a record, and none is taken for another.
    assert len(seen["recovered_ns"]) == 4
    assert all(abs(each) < 50_000_000 for each in seen["recovered_ns"])


def test_only_irtt_says_that_its_sender_stood_still(seen: Any) -> None:
    if seen["tool"] == "irtt":
        assert seen["sent_late_ns"] >= 40_000_000
    else:
        assert seen["sent_late_ns"] is None
