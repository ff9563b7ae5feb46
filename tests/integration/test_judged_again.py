"""Several flows of one measurement in the virtual world, judged, and judged again from the disk."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hil.record import read

SUITE = """
import pytest

import hil


@pytest.mark.requirement("SD-2", "AR-3", "SL-02")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_several_flows_at_once(path, targets, judge):
    line = path("device-edge")
    cycle = targets["SD-2"].traffic.model_copy(update={"count": 100})
    video = targets["AR-3"].traffic.model_copy(update={"count": 60})
    up, down = hil.together(line.uplink().offer(cycle), line.downlink().offer(video))
    again = line.uplink().run(cycle)
    judge.expect(up, "SD-2")
    judge.expect(down, "AR-3")
    judge.expect(up, "SL-02", against=again)
"""


def hil(place: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hil", *words],
        cwd=place,
        env={**os.environ, "HIL_ALLURE": str(place / "none")},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def judgements(file: Path) -> list[str]:
    lines = file.read_text("utf-8").splitlines()
    return [line.split(",", 1)[1] for line in lines if '"kind":"judgement"' in line]


def test_flows_measured_together_are_judged_again_to_the_byte(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(SUITE, "utf-8")
    done = hil(tmp_path, "run", "test_it.py")
    # A busy host may spoil a measurement; its judgements are then INVALID, now and later.
    assert done.returncode in (0, 10), done.stdout + done.stderr
    run = read(tmp_path / "out" / "latest")
    by_flow = {line.flow: line for line in run.measurements.values()}
    assert {"device-edge uplink 1", "device-edge downlink 2"} < set(by_flow)
    counts = [by_flow[f].counts for f in ("device-edge uplink 1", "device-edge downlink 2")]
    assert counts[0].sent == 100
    assert counts[1].sent > 60 * 30, "a frame of the rendered video has some 46 packets"
    assert {line.target for line in run.judgements} == {
        *("SD-2a", "SD-2b", "SD-2c", "SD-2d", "AR-3a", "AR-3b", "SL-02")
    }
    again = hil(tmp_path, "rejudge", "out/latest")
    assert again.returncode == done.returncode, again.stdout + again.stderr
    assert "every verdict is as it was" in again.stdout
    (file,) = run.directory.path.glob("rejudged-*.jsonl")
    assert judgements(file) == judgements(run.directory.record)
