"""Clocks and the host watched while real frames run: a loss of this host is not the network's."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from hil.virtual import stage

BENCH = Path(__file__).with_name("clock_bench.py")
ROOT = Path(__file__).parents[2]


def on_stage(program: str, *names: str) -> Any:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        stage.command(names or ("near", "far"), [sys.executable, str(BENCH), program]),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_packets_that_this_host_refused_are_bracketed_and_no_loss_of_the_network() -> None:
    found = on_stage("lost_here")
    assert found["lost"] > 100
    assert found["bracketed"] == found["lost"]
    assert found["came_and_spoiled"] == 0
    assert found["invalid"] == []
    assert found["counters"]["rx_dropped"]["far/v1"] >= found["lost"]
    assert any("that had arrived at far/v1" in why for why in found["why"])


def test_a_port_whose_card_stamps_nothing_is_measured_by_the_kernel_all_the_same() -> None:
    found = on_stage("asked_for_cards")
    assert found["refused"], "SIOCSHWTSTAMP is refused, and that is not fatal"
    assert found["sent"] == [row for row in range(40) if row % 10]
    assert found["stamped"] == found["sent"], "each row has its own stamp, also after a failed send"
    assert found["in_order"]
    assert found["arrived"] == len(found["sent"])
    assert found["kernel_missing"] == 0
    assert found["by_card"] == []
