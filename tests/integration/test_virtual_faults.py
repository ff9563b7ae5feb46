"""Each fault of a world turns the requirement red that it should, with exact truth."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import pytest

ROOT: Final = Path(__file__).parents[2]
VIRTUAL: Final = ROOT / "testbeds" / "virtual.yaml"
INSIDE: Final = Path(__file__).with_name("faults_inside.py")
BOTH: Final = ("uplink", "downlink")
NO_LINK, LOST, DELAYED, DUPLICATED, CORRUPTED = "1", "2", "4", "16", "64"
BY_FAULT: Final = "7"


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """One world, all faults; what each did."""
    testbed = tmp_path_factory.mktemp("faults") / "faults.yaml"
    offered = "faults:\n    short_gap: {kind: outage, cpe: cpe1, duration: 200 ms}\n  seed: 5"
    text = VIRTUAL.read_text("utf-8")
    assert "  seed: 5" in text
    testbed.write_text(text.replace("seed: 5", offered, 1), "utf-8")
    done = subprocess.run(
        [sys.executable, str(INSIDE), str(testbed)],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def verdicts(one: dict[str, Any]) -> dict[str, str]:
    return {target: word for target, (word, _) in one["judged"].items()}


@pytest.mark.parametrize("way", BOTH)
def test_a_link_outage_trips_the_watchdog_and_every_lost_packet_is_accounted_for(
    seen: dict[str, Any], way: str
) -> None:
    one = seen["gap_and_delay"][f"cpe1 {way}"]
    assert verdicts(one)["SD-2d"] == "FAIL"
    assert verdicts(one)["SD-1"] == "FAIL"
    assert one["truth"]["packets"] == 200
    assert one["lost"] == one["truth"]["lost"]
    assert set(one["truth"]["reasons"]) == {BY_FAULT}
    assert one["truth"]["effects"][NO_LINK] == len(one["lost"])
    # 200 ms of a 10 ms cycle, and one hole in it: as few as the host's own grid allows.
    first, last = one["lost"][0], one["lost"][-1]
    assert one["lost"] == list(range(first, last + 1))
    assert 10 <= len(one["lost"]) <= 30


@pytest.mark.parametrize("way", BOTH)
def test_a_delay_step_misses_the_bound_and_nothing_else(seen: dict[str, Any], way: str) -> None:
    one = seen["gap_and_delay"][f"cpe2 {way}"]
    assert verdicts(one)["SD-1"] == "FAIL"
    assert "10 ms" in one["judged"]["SD-1"][1]
    assert verdicts(one)["SD-2a"] != "FAIL", "the cycle itself is as even as before"
    assert verdicts(one)["SD-2d"] != "FAIL", "and the controller never waits"
    assert one["lost"] == one["truth"]["lost"] == []
    assert one["truth"]["effects"] == {DELAYED: 200}
    assert one["p50_ns"] > 13_000_000


@pytest.mark.parametrize("way", BOTH)
def test_a_list_meets_the_very_packets_that_it_names(seen: dict[str, Any], way: str) -> None:
    one = seen["listed"][f"cpe1 {way}"]
    assert one["truth"]["packets"] == 200
    assert set(one["truth"]["lost"]) >= {0, 50, 51, 52, 53}
    assert set(one["lost"]) == {*one["truth"]["lost"], 120}, "a corrupted one is lost to a PLC"
    effects = one["truth"]["effects"]
    assert [effects[each] for each in (LOST, DUPLICATED, DELAYED, CORRUPTED)] == [5, 1, 1, 1]
    other = seen["listed"][f"cpe2 {way}"]
    assert set(other["truth"]["effects"]) == {"0"}


@pytest.mark.parametrize("way", BOTH)
def test_burst_loss_breaks_reliability_and_availability(seen: dict[str, Any], way: str) -> None:
    one = seen["bursts_and_fade"][f"cpe1 {way}"]
    assert verdicts(one)["SD-1"] == "FAIL"
    assert verdicts(one)["SD-2c"] == "FAIL"
    assert one["lost"] == one["truth"]["lost"]
    assert one["truth"]["effects"][LOST] == len(one["lost"]) > 0


def test_an_attenuation_step_takes_the_uplink_by_way_of_the_radio(seen: dict[str, Any]) -> None:
    one = seen["bursts_and_fade"]["cpe2 uplink"]
    assert verdicts(one)["SD-1"] == "FAIL"
    assert BY_FAULT not in one["truth"]["reasons"], "it is the cell that cannot carry it"
    assert one["lost"] == one["truth"]["lost"]


def test_without_a_cell_the_registration_is_lost_and_the_plc_answers_by_wire_alone(
    seen: dict[str, Any],
) -> None:
    off = seen["cell_off"]
    assert off["lost"]
    assert off["over_5g"] in ("DriverTimeout", "ConnectionLost", "ConnectFailed")
    assert off["over_wire"] is True
    assert off["back"], "the modem finds the cell again"


def test_faults_of_a_connection_meet_it_in_front_of_the_server(seen: dict[str, Any]) -> None:
    found = seen["connections"]
    assert found["refuse"][:2] == ["True", "ConnectFailed"]
    assert found["reset"][:2] == ["ConnectionLost", "ConnectFailed"]
    assert found["slow_answer"][:2] == ["True", "True"]
    assert float(found["slow_answer"][2]) >= 0.4, "two answers, each later by 200 ms"
    assert {found[f"after {kind}"][0] for kind in ("refuse", "reset", "slow_answer")} == {"True"}


def test_what_no_fault_met_is_released_as_the_model_says_on_any_host(seen: dict[str, Any]) -> None:
    assert seen["replayed"]["compared"] >= 300
    assert seen["replayed"]["different"] == 0


def test_what_is_not_offered_is_refused_with_what_is(seen: dict[str, Any]) -> None:
    storm, nobody = seen["refused"]
    assert "offers no fault 'storm'; it offers: short_gap, outage, burst_loss" in storm
    assert "no cpe is called 'cpe9' here; there are cpe1, cpe2" in nobody


def test_every_fault_is_told_to_the_record_with_what_it_met(seen: dict[str, Any]) -> None:
    said = [f"{name}: {text}" for name, text in seen["said"]]
    assert "fault delay: begun: cpe cpe2, by 12 ms" in said
    assert any(text.startswith("fault burst_loss: ended; ") for text in said)
    assert "fault cell_off: ended" in said


def test_the_world_states_its_faults_from_when_to_when(seen: dict[str, Any]) -> None:
    stated = {each["name"]: each for each in seen["status"]}
    assert set(stated) == {"short_gap", "delay", "burst_loss", "list"}
    gap = stated["short_gap"]
    assert gap["end_ns"] - gap["start_ns"] == 200_000_000
    assert all(each["end_ns"] and each["touched"] for each in stated.values())
