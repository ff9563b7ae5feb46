"""Measurements to a reflector and back: exact counts each way, and ends by force.

Everything runs in user and network namespaces that unshare(1) makes, hence without privilege.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

OnBench = Callable[[str], Any]
BENCH = Path(__file__).with_name("far_end_bench.py")
SCENARIOS = ("both_ways", "plain", "silent", "killed", "interrupted", "cautious")


def test_what_happens_on_either_way_is_counted_there(on_bench: OnBench) -> None:
    found = on_bench("both_ways")
    assert found["code"] == 0, found
    names = ("sent", "received", "lost", "duplicated", "reordered", "corrupted", "foreign")
    assert [found[name] for name in names] == [300, 295, 5, 3, 2, 0, 0]
    ways = found["conditions"]["two_way"]
    assert ways["stateful"] is True
    assert (ways["forward_lost"], ways["reverse_lost"]) == (3, 2)
    assert (ways["forward_duplicated"], ways["reverse_duplicated"]) == (1, 2)
    assert (ways["forward_reordered"], ways["reverse_reordered"]) == (1, 1)
    assert ways["held_by_kernel"] >= 290  # its own transmit stamps came after
    assert ways["other_length"] == ways["impossible_times"] == 0
    assert found["stamps"]["tx"] == {
        "source": "kernel",
        "missing": 0,
        "missing_by_source": {"kernel": 0},
    }
    assert found["stamps"]["rx"]["source"] == "reflector"
    assert found["direction"] == "loop"
    assert found["judgement"]["n"] == 300
    assert found["delay_ns"]["min"] > 0
    one_way = ways["one_way"]
    assert one_way["forward_ns"] is one_way["reverse_ns"] is None
    assert "not measured" in one_way["why"]
    assert found["files"] == ["parquet", "replies.arrows"]
    assert found["far"]["code"] == 0
    assert "answered in 2 sessions" in found["far"]["out"]  # the greeting is one


def test_a_reflector_that_knows_no_extension_will_do(on_bench: OnBench) -> None:
    found = on_bench("plain")
    assert found["code"] == 0
    assert (found["received"], found["lost"], found["corrupted"]) == (99, 1, 0)
    ways = found["conditions"]["two_way"]
    assert (ways["forward_lost"], ways["reverse_lost"]) == (1, 0)
    assert ways["held_by_kernel"] == 0
    assert found["uncertainty_ns"] > 1_000_000  # nobody says how it takes its times


def test_where_nobody_listens_nothing_is_measured(on_bench: OnBench) -> None:
    found = on_bench("silent")
    assert found["code"] == 10
    assert found["sent"] is None
    (why,) = found["invalid_reasons"]
    assert "nobody listens on UDP port 862" in why
    assert "hil reflector" in why


def test_a_reflector_that_is_killed_is_no_failure_of_the_network(on_bench: OnBench) -> None:
    found = on_bench("killed")
    assert found["code"] == 10
    assert found["verdict"] == "INVALID"
    assert found["lost"] > 0
    assert found["sent"] == found["received"] + found["lost"]
    assert any("nobody listens there" in why for why in found["invalid_reasons"])


def test_a_run_that_is_interrupted_keeps_what_it_has(on_bench: OnBench) -> None:
    found = on_bench("interrupted")
    assert found["code"] == 10
    assert found["complete"] is False
    assert 0 < found["sent"] < 5000
    assert found["received"] == found["sent"]


def test_a_reflector_never_amplifies_and_keeps_its_rate(on_bench: OnBench) -> None:
    found = on_bench("cautious")
    assert found["lengths"] == [54, 44, 41, None, None]
    assert found["numbers"] == [0, 1, 5, 9]  # its own count, and the sender's
    assert 0 < found["came"] <= 100
    assert found["code"] == 0
    for why in ("not a test packet", "from a reflector's port", "beyond the rate"):
        assert f"not answered: {why}" in found["out"]
