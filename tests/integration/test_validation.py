"""Real traffic in real-time mode against the cell's own stamps; a bug planted into a receiver."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.lab.validation import campaign


@pytest.fixture(scope="module")
def items(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("validation")
    orders = {
        "testbed": str(campaign._world(directory / "realtime.yaml", trailers=False)),
        "trailers": False,
        "directory": str(directory),
        "count": 200,
        "bugs": ["receive-stamp-of-the-process"],
    }
    words = [sys.executable, "-m", "hil.lab.validation.in_world", json.dumps(orders)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {each["id"]: each for each in json.loads(done.stdout)["items"]}


def test_counts_are_those_of_the_truth_log_and_delays_those_of_the_cell(
    items: dict[str, Any],
) -> None:
    figures = {each["what"]: each for each in items["realtime"]["figures"]}
    for name in ("received", "lost", "corrupted", "duplicated", "reordered"):
        assert figures[f"packets {name}"]["holds"], items["realtime"]
    assert figures["packets that came and have a delay"]["holds"]
    assert figures["receive stamps not before the frame left"]["holds"]
    assert figures["delays right within the uncertainty stated"]["n"] > 1200


def test_a_bug_in_the_receiver_is_found_under_real_frames(items: dict[str, Any]) -> None:
    (figure,) = items["bugs-with-real-traffic"]["figures"]
    assert figure["holds"] is True
    assert "delays are off" in figure["source"]


def test_the_world_of_a_validation_is_a_testbed(tmp_path: Path) -> None:
    from hil.drivers.registry import Registry
    from hil.testbed import load

    bench = load(campaign._world(tmp_path / "world.yaml", trailers=False), Registry())
    assert bench.world is not None
    assert not bench.world.trailers
    assert bench.world.radio.shadowing_db == 0
