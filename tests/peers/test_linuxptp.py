"""The watch over PTP with linuxptp at the other end: two ptp4l over a veth, by software stamps."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hil.virtual import stage

BENCH = Path(__file__).with_name("ptp_bench.py")
ROOT = Path(__file__).parents[2]
PATH = f"{os.environ.get('PATH', '')}:/usr/sbin"


def test_states_offset_and_the_loss_of_a_master_are_seen(tmp_path: Path) -> None:
    ptp4l = shutil.which("ptp4l", path=PATH)
    if ptp4l is None or shutil.which("pmc", path=PATH) is None:
        pytest.skip("NOT RUN: ptp4l or pmc not installed (packages.debian)")
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        stage.command(("near", "far"), [sys.executable, str(BENCH), ptp4l, str(tmp_path)]),
        env=os.environ | {"PYTHONPATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    logs = "".join(each.read_text() for each in tmp_path.glob("*.log"))
    assert done.returncode == 0, done.stderr + logs
    found = json.loads(done.stdout)
    assert found["kept"] is None
    assert found["master"] == ["MASTER"]
    assert found["heard"] == found["own"], "the follower names the very master"
    assert found["path_delay_ns"] > 0
    # Both ends have one clock: what the servo calls an offset is what its path is unequal by.
    assert abs(found["offset_ns"]) < 50_000_000
    # A servo that may adjust nothing never leaves UNCALIBRATED, and that is said.
    assert "UNCALIBRATED" in found["free"]
    watch = found["watch"]
    assert watch["refused"] is None
    assert watch["readings"] >= 2
    assert watch["last"]["states"] == ["LISTENING"]
    assert watch["spoiled"]
    assert "no ptp4l behind" in found["gone"] or "does not answer" in found["gone"]
    assert "domain 5" in found["elsewhere"]
