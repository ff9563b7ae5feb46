"""Clocks and the host watched while real frames run: a loss of this host is not the network's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.integration.staging import on_stage

BENCH = Path(__file__).with_name("clock_bench.py")


def on_bench(program: str, *names: str) -> Any:
    return on_stage(BENCH, program, names=names or ("near", "far"))


def test_packets_that_this_host_refused_are_bracketed_and_no_loss_of_the_network() -> None:
    found = on_bench("lost_here")
    assert found["lost"] > 100
    assert found["bracketed"] == found["lost"]
    assert found["came_and_spoiled"] == 0
    assert found["invalid"] == []
    assert found["counters"]["rx_dropped"]["far/v1"] >= found["lost"]
    assert any("that had arrived at far/v1" in why for why in found["why"])


def test_a_clock_that_was_set_in_mid_run_brackets_what_lies_across_the_step() -> None:
    found = on_bench("clock_step")
    assert len(found["why"]) == 1
    size = float(found["why"][0].split("stepped by ")[1].split()[0])
    assert 49_000 < size < 51_000, "microseconds"
    assert found["bracketed"] >= found["inside"] > 0
    assert found["outside"] <= 2, "but for those on their way as it began"
    assert found["bracketed"] < 1_000
    assert found["lost"] == 0


def test_frames_of_a_tap_on_the_market_are_ours_and_timed_by_it() -> None:
    for found in on_bench("passive_tap", "near", "mid", "far"):
        counts = [found[name] for name in ("received", "lost", "corrupted", "foreign")]
        assert counts == [400, 0, 0, 0]
        assert found["stamps"]["rx"]["source"] == "trailer"
        assert found["stamps"]["rx"]["missing_by_source"] == {"trailer": 0, "kernel": 0}
        # The map puts the tap where half of the kernel's stamps of arrival are: as far as drift.
        assert abs(found["delay_ns"]["p50"] - found["kernel_p50_ns"]) < 20_000
        assert "median time from the tap" in " ".join(found["uncertainty"]["sources"])


def test_a_port_whose_card_stamps_nothing_is_measured_by_the_kernel_all_the_same() -> None:
    found = on_bench("asked_for_cards")
    assert found["refused"], "SIOCSHWTSTAMP is refused, and that is not fatal"
    assert found["sent"] == [row for row in range(40) if row % 10]
    assert found["stamped"] == found["sent"], "each row has its own stamp, also after a failed send"
    assert found["in_order"]
    assert found["arrived"] == len(found["sent"])
    assert found["kernel_missing"] == 0
    assert found["by_card"] == []
