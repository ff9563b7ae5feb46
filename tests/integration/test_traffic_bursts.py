"""Packets that are due together: counted exactly, each with its stamps, refusals in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.staging import on_stage

BENCH = Path(__file__).with_name("burst_bench.py")
ROOT = Path(__file__).parents[2]
COUNTS = ("lost", "duplicated", "reordered", "corrupted", "send_failed")


def on_bench(program: str) -> Any:
    return on_stage(BENCH, program)


@pytest.fixture(scope="module")
def images() -> Any:
    return on_bench("images")


def test_bursts_and_what_runs_beside_them_are_counted_exactly(images: Any) -> None:
    for each in images:
        assert {name: each[name] for name in COUNTS} == dict.fromkeys(COUNTS, 0), each["flow"]
        assert each["received"] == each["sent"]
        assert each["invalid"] == []
    image, cyclic, load = images
    assert image["sent"] > 8 * 1300
    assert (cyclic["sent"], load["sent"]) == (400, 20_000)


def test_every_packet_of_a_burst_has_its_own_two_stamps(images: Any) -> None:
    for each in images[:2]:
        assert each["stamps"]["tx"] == {
            "source": "kernel",
            "missing": 0,
            "missing_by_source": {"kernel": 0},
        }
        assert each["stamps"]["rx"]["missing"] == 0
        assert each["stamped_both"] == each["sent"]
        # Both stamps of a veth are taken in one call: one packet's stamp put to the next one's row
        # would make some of these distances negative.
        assert each["apart_ns"][0] >= 0
        assert each["before_handed_over"] == 0


def test_load_is_counted_and_says_that_the_kernel_did_not_time_its_sending(images: Any) -> None:
    load = images[2]
    assert load["conditions"]["sender"]["stamped"] is False
    assert load["stamps"]["tx"]["source"] == "user"
    assert load["stamps"]["tx"]["missing_by_source"] == {}
    assert load["stamped_both"] == 0
    assert any("background load" in each for each in load["uncertainty"]["sources"])


def test_packets_refused_in_the_middle_of_a_burst_are_the_ones_and_only_the_ones_lost() -> None:
    (seen,) = on_bench("shrunk")
    assert seen["sent"] == 20_000
    assert 0 < seen["send_failed"] == seen["lost"]
    assert sum(seen["conditions"]["sender"]["refused"].values()) == seen["send_failed"]
    assert seen["refused_sizes"] == [1400]
    assert seen["refused_came"] == 0
    assert seen["received"] == 20_000 - seen["lost"]
    assert seen["stamps"]["tx"]["missing"] == 0
    assert seen["stamped_both"] == seen["received"]
    assert seen["apart_ns"][0] >= 0
    assert seen["before_handed_over"] == 0


def test_a_schedule_ends_where_it_was_to_end_and_no_slot_is_skipped() -> None:
    seen = on_bench("drift")
    assert seen["sent"] == seen["received"] == 30_000
    assert seen["untaken"] == 0
    assert seen["intervals"] == [100_000]
    assert seen["earliest_ns"] > -1_000, "nothing leaves before its time"
    # A stall delays some packets of a second; what a drift delays is all of them.
    for name in ("first_second_ns", "last_second_ns"):
        assert seen[name] < 100_000
