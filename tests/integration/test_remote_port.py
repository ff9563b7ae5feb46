"""A port on another host: its processes run there, its rows come home, nothing stays behind.

Everything runs in user and network namespaces that unshare(1) makes, hence without privilege.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

OnBench = Callable[[str], Any]
BENCH = Path(__file__).with_name("remote_bench.py")
SCENARIOS = ("back", "both", "declared", "killed", "orphaned", "other")


def test_between_two_kernels_counts_are_exact_and_no_delay_is_measured(on_bench: OnBench) -> None:
    found = on_bench("back")
    assert found["code"] == 0, found
    assert (found["sent"], found["received"], found["lost"]) == (200, 200, 0)
    assert found["valid"] is True
    assert found["delay_ns"]["max"] is None
    assert found["uncertainty_ns"] is None
    assert found["stamps"]["rx"]["source"] == "elsewhere"
    assert found["reception_interval_ns"]["p50"] > 0
    assert found["send_lateness_ns"]["p50"] >= 0
    assert "not measured" in found["uncertainty"]["sources"][0]


def test_both_directions_run_at_once_and_one_kernel_has_one_clock(on_bench: OnBench) -> None:
    for found in on_bench("both"):
        assert (found["sent"], found["received"]) == (200, 200)
        assert found["directions"] == "both at once"
        assert found["delay_ns"]["max"] > 0
        assert found["stamps"]["rx"]["source"] == "kernel"
        assert found["stamps"]["rx"]["missing"] == 0


def test_a_delay_that_rests_on_ptp_is_void_where_ptp_was_not_seen(on_bench: OnBench) -> None:
    found = on_bench("declared")
    assert found["code"] == 10
    assert (found["received"], found["lost"]) == (200, 0)
    assert found["delay_ns"]["max"] is not None
    assert found["uncertainty"]["common_mode_ns"] >= 346  # 2 x 300 ns / sqrt(3)
    assert "apart by at most 300 ns" in found["uncertainty"]["sources"][0]
    assert any("rests on PTP" in why for why in found["invalid_reasons"])


def test_a_far_host_that_dies_is_a_rig_fault_and_its_rows_are_kept(on_bench: OnBench) -> None:
    found = on_bench("killed")
    assert found["code"] == 10
    assert any("gone with its connection" in why for why in found["invalid_reasons"])
    assert found["gone"]
    (received,) = found["kept"]
    assert received > 0


def test_nothing_stays_behind_there_when_this_end_is_killed(on_bench: OnBench) -> None:
    found = on_bench("orphaned")
    assert found["there"] >= 2
    assert found["gone"]


def test_another_version_of_hil_there_is_refused_in_one_sentence(on_bench: OnBench) -> None:
    found = on_bench("other")
    assert found["code"] == 2
    assert "has hil 0.0.1" in found["said"]
    assert "install the same there" in found["said"]
