"""Points that look on: what passes them is recognised, and in a world it is the truth."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from hil.wire import gtpu
from tests.integration.staging import on_stage, said

ROOT = Path(__file__).parents[2]
BENCH = Path(__file__).with_name("observation_bench.py")
INSIDE = Path(__file__).with_name("observation_inside.py")
VIRTUAL = ROOT / "testbeds" / "virtual.yaml"


@pytest.fixture(scope="module")
def passed() -> Any:
    """Frames of every kind past one port, in a private network."""
    return on_stage(BENCH)


def test_of_bare_frames_those_with_a_sound_probe_of_the_run_are_seen(passed: Any) -> None:
    seen = passed["bare"]
    assert seen["seq"] == [0, 1, 2, 7], "damage behind a probe is the receiving port's business"
    assert seen["warm_up"] == [False, False, True, False]
    assert seen["point"] == [3]
    assert set(seen["qfi"]) == set(seen["pdu_type"]) == {gtpu.ABSENT}
    assert seen["report"]["frames"] == 9, "ARP and TCP are left to the kernel"
    assert seen["report"]["ring_drops"] == 0


def test_inside_gtp_u_the_inner_probe_is_found_whatever_session_and_outer_ip(passed: Any) -> None:
    seen = passed["tunnels"]
    assert seen["seq"] == [0, 1, 2, 3, 4]
    assert seen["qfi"] == [3, 4, 5, 6, 7]
    assert set(seen["teid"]) == {9}
    assert set(seen["pdu_type"]) == {gtpu.UPLINK}
    assert seen["release_ns"] == [1_000, 2_000, 3_000, 4_000, None]
    assert seen["unmarked"] == [False] * 4 + [True]
    assert seen["report"]["tunnels"] == 6, "and the one that ends the test"


def test_a_canary_is_searched_in_every_frame_that_passes(passed: Any) -> None:
    bare, tunnels = passed["searched"], passed["searched_tunnels"]
    assert bare["seq"] == passed["bare"]["seq"]
    assert bare["report"]["frames"] == 11
    assert bare["report"]["canary"]["found"] == 1
    assert tunnels["report"]["frames"] == 9
    assert tunnels["report"]["canary"]["found"] == 1
    in_vain = passed["searched_in_vain"]["report"]
    assert (in_vain["canary"]["found"], in_vain["canary"]["cut"]) == (0, 0)
    assert in_vain["bytes"] == bare["report"]["bytes"] > 500


@pytest.fixture(scope="module")
def world() -> Any:
    """A world in which faults lose packets on either side of its N3."""
    return said([sys.executable, str(INSIDE), str(VIRTUAL)])


@pytest.mark.parametrize("way", ["uplink", "downlink"])
def test_the_segments_are_those_of_the_truth(world: Any, way: str) -> None:
    split = world["split"][way]
    assert split["seen"] == split["packets"] == 100
    assert split["source"] == "trailer"
    # Between the clocks lies the map, and now and then a stall of the host between two stamps.
    assert split["close"] >= 90


@pytest.mark.parametrize("way", ["uplink", "downlink"])
def test_every_loss_lies_on_the_side_of_n3_where_the_fault_made_it(world: Any, way: str) -> None:
    found = world["lost"][way]
    assert found["lost"] == found["truth_lost"] != []
    assert found["behind_n3"] == found["truth_behind_n3"]
    assert found["behind_n3"] == ([] if way == "uplink" else found["lost"])
    last = {"uplink": {"lan_a", "n3"}, "downlink": {"mec", "n3"}}[way]
    assert set(found["last_seen"]) == last
    assert found["last_seen"]["n3"] == len(found["behind_n3"])
    assert found["uncertain"] == {}


def test_what_goes_from_device_to_device_passes_n3_up_and_down(world: Any) -> None:
    assert world["across"]["segments"] == [
        ["lan_a", "n3 up"],
        ["n3 up", "n3 down"],
        ["n3 down", "lan_b"],
    ]
    assert world["across"]["turn_ns"] == pytest.approx(2_000_000, abs=50_000)


def test_the_5qi_of_the_profile_is_shown_and_another_qos_flow_leaves_no_claim(world: Any) -> None:
    assert world["split"]["uplink"]["qos"].startswith("5QI 82 shown by QFI 3 on n3: 20 packets")
    assert world["split"]["uplink"]["verdict"] != "outside its preconditions"
    assert world["wrong_qfi"]["verdicts"] == ["INVALID"]
    assert world["wrong_qfi"]["reasons"] == ["outside its preconditions"]
    assert "QFI 1, and 5QI 82 has QFI 3 there" in world["wrong_qfi"]["sentence"]


def test_the_canary_is_seen_where_it_passes_and_not_where_only_others_do(world: Any) -> None:
    canary = world["split"]["uplink"]["canary"]
    assert canary["seen_on"] == ["n3"]
    assert canary["looked_at"]["n3"]["found"] > 100
    assert canary["looked_at"]["cloud"]["found"] == 0
    assert canary["looked_at"]["cloud"]["frames"] >= 100
    assert canary["not_observed"] == ["internet"]
    assert "not seen on cloud (" in canary["words"]
    assert canary["words"].endswith("B looked at); not observed: internet")


def test_while_nobody_looks_nothing_is_copied(world: Any) -> None:
    assert world["copied"]["before"] == world["copied"]["after"]
    assert world["copied"]["overrun"] == 0
