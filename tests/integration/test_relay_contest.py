"""Our side of the contest: a relay with a known list, and every count of ours against its truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.lab.relayed import NAMESPACES
from hil.virtual.faults import fault_list
from tests.integration.staging import on_stage

BENCH = Path(__file__).with_name("relay_bench.py")
ROOT = Path(__file__).parents[2]

FAULTS: list[dict[str, Any]] = [
    {"packet": 0, "do": "drop"},
    {"packet": 20, "do": "stall", "by": "50 ms"},
    {"packet": 40, "do": "drop", "count": 5},
    {"packet": 60, "do": "duplicate"},
    {"packet": 70, "do": "duplicate", "count": 3},
    {"packet": 90, "do": "swap"},
    {"packet": 92, "do": "swap"},
    {"packet": 110, "do": "corrupt", "byte": -1},
    {"packet": 120, "do": "corrupt", "byte": 70, "count": 2},
    {"packet": 300, "do": "delay", "by": "30 ms"},
    {"packet": 350, "do": "delay", "by": "200 ms", "count": 2},
    {"packet": 499, "do": "drop"},
]


def on_links(scenario: str, **order: Any) -> Any:
    orders = json.dumps(order)
    return on_stage(BENCH, scenario, orders, names=NAMESPACES, PYTHONWARNINGS="error")


@pytest.fixture(scope="module")
def secret(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A sealed list and its seal, drawn by another process."""
    path = tmp_path_factory.mktemp("list") / "secret"
    program = [sys.executable, "-m", fault_list.__name__, "draw", str(path), "2000"]
    done = subprocess.run(program, capture_output=True, text=True, check=True)
    return path, done.stdout.strip()


@pytest.fixture(scope="module")
def runs(secret: tuple[Path, str]) -> Any:
    known = {"count": 500, "interval_ns": 1_000_000, "faults": FAULTS}
    return on_links(
        "ours",
        runs=[
            known | {"layer": "ethernet", "size": 128},
            known | {"layer": "udp", "size": 228},
            {
                "layer": "udp",
                "size": 128,
                "count": 2000,
                "interval_ns": 500_000,
                "secret": str(secret[0]),
            },
        ],
    )


@pytest.fixture(params=[0, 1], ids=["ethernet", "udp"])
def contest(runs: Any, request: pytest.FixtureRequest) -> Any:
    return runs[request.param]


def test_every_count_is_that_of_the_relay(contest: Any) -> None:
    assert contest["counts"] == contest["truth"]
    known = {"packets": 500, "lost": 7, "duplicated": 4, "corrupted": 3}
    assert {name: contest["truth"][name] for name in known} == known
    # Whether a delayed packet is overtaken depends on the host; a swapped one always is.
    assert contest["truth"]["reordered"] >= 2


def test_each_fault_is_found_at_its_packet(contest: Any) -> None:
    met = contest["met"]
    assert contest["gone"] == met["drop"] == [0, *range(40, 45), 499]
    assert contest["damaged"] == met["corrupt"] == [110, 120, 121]
    assert contest["double"] == met["duplicate"] == [60, 70, 71, 72]
    assert met["swap"] == [90, 92]


def test_late_is_not_lost_and_its_delay_is_the_injected_one(contest: Any) -> None:
    delay = contest["delay_ns"]
    for packet, by_ns in ((300, 30_000_000), (350, 200_000_000), (351, 200_000_000)):
        assert packet not in contest["gone"]
        assert delay[packet] >= by_ns
    low, median = contest["off_ns"]
    assert low > 0, "a frame reaches the relay after it was sent, and us after it left the relay"
    # Stamps of the kernel on both sides of each hand-over; those of a process are far apart.
    assert median < 20_000


def test_a_sender_that_stood_still_skips_no_slot_and_hides_nothing(contest: Any) -> None:
    (stood_ns,) = contest["stood_still_ns"]
    assert stood_ns >= 50_000_000
    assert contest["skipped"] == contest["send_failed"] == 0
    assert contest["longest_late_ns"] >= 40_000_000


def test_the_relay_itself_loses_nothing(contest: Any) -> None:
    assert contest["report"]["forth"] == 500
    assert contest["report"]["overrun"] == contest["report"]["oversize"] == 0
    assert contest["report"]["unstamped"] == 0


def test_a_list_that_nobody_knew_is_counted_exactly(runs: Any, secret: tuple[Path, str]) -> None:
    seen = runs[2]
    assert seen["counts"] == seen["truth"]
    opened = fault_list.opened(*secret)
    by_kind = {
        kind: sorted(n for each in opened.faults if each.do == kind for n in each.packets)
        for kind in ("drop", "corrupt", "duplicate")
    }
    assert seen["gone"] == by_kind["drop"]
    assert seen["damaged"] == by_kind["corrupt"]
    assert seen["double"] == by_kind["duplicate"]


@pytest.fixture(scope="module")
def plain() -> Any:
    return on_links(
        "both_ways",
        count=12,
        patience_s=0.3,
        faults=[{"packet": 3, "do": "drop"}, {"packet": 7, "do": "drop"}],
    )


def test_any_flow_of_udp_passes_both_ways_and_meets_the_list_on_its_own(plain: Any) -> None:
    there = [number for number in range(12) if number not in (3, 7)]
    assert plain["seen"] == [there, there]
    assert (plain["forth"]["packets"], plain["forth"]["lost"]) == (12, 2)
    assert (plain["back"]["packets"], plain["back"]["lost"]) == (10, 0)
    assert plain["round_trip"]


def test_a_relay_that_cannot_do_as_it_is_told_gives_no_truth(plain: Any) -> None:
    assert plain["refused"].startswith("no truth from the relay: ")
    assert "has no byte 5000" in plain["refused"]
