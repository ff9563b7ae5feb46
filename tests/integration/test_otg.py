"""The engine behind the Open Traffic Generator API: driven by our driver, and by a plain script."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.integration.staging import on_stage

INSIDE = Path(__file__).with_name("otg_inside.py")


@pytest.fixture(scope="module")
def said() -> Any:
    return on_stage(INSIDE)


def test_the_driver_gets_exact_counts_and_kernel_times(said: Any) -> None:
    for name in ("up", "down"):
        before, after = said["driver"]["before"][name], said["driver"]["after"][name]
        assert (before["sent"], before["running"]) == (0, False)
        assert (after["sent"], after["received"], after["lost"]) == (500, 500, 0)
        assert 0 < after["delay_min_ns"] <= after["delay_mean_ns"] <= after["delay_max_ns"]
        assert after["clock"] == "same host"
        assert after["duplicated"] is None, "the API has no word for it"


def test_a_flow_that_is_stopped_is_counted_as_far_as_it_went(said: Any) -> None:
    found = said["stopped"]
    assert found["began"]
    assert not found["running"]
    assert "stop them first" in found["again"]
    assert 0 < found["sent"] < 1_000_000
    assert found["received"] == found["sent"]
    assert found["lost"] == 0


def test_a_plain_script_drives_it_with_headers_of_its_own(said: Any) -> None:
    metric = said["script"]["metric"]
    assert (int(metric["frames_tx"]), int(metric["frames_rx"])) == (300, 300)
    assert int(metric["bytes_tx"]) == 300 * 128
    assert metric["loss"] == 0
    assert metric["latency"]["minimum_ns"] > 0


def test_what_the_engine_would_not_send_as_asked_is_refused_by_name(said: Any) -> None:
    assert said["script"]["refused"] == (
        "flow own: packet.ipv4.src.increment: this server sends one value"
    )


def test_the_command_serves_until_it_is_told_to_end() -> None:
    words = [sys.executable, "-m", "hil", "otg", "--listen", "127.0.0.1:0"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert "OTG on http://127.0.0.1:" in process.stdout.readline()
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
