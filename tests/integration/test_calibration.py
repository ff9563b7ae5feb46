"""The instrument against a standard it did not write, and its own floor on ports of a hop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hil.lab.standard import NAMESPACES
from tests.integration.staging import on_stage

BENCH = Path(__file__).with_name("calibration_bench.py")
ROOT = Path(__file__).parents[2]


def on_bench(program: str, state: Path) -> Any:
    return on_stage(BENCH, program, names=NAMESPACES, XDG_STATE_HOME=str(state))


def test_spacing_behind_a_token_bucket_is_what_its_rate_says(tmp_path: Path) -> None:
    found = on_bench("token_bucket", tmp_path)
    assert found["agrees"], found["sentence"]
    assert found["slope_uncertainty_ns"] < 50, "one twentieth of the slope: it says something"


@pytest.fixture(scope="module")
def calibrated(tmp_path_factory: pytest.TempPathFactory) -> Any:
    return on_bench("calibrate", tmp_path_factory.mktemp("state"))


def sources(shown: Any) -> str:
    return " ".join(shown["uncertainty"]["sources"])


def test_calibrate_shows_three_floors_and_keeps_that_of_the_ports(calibrated: Any) -> None:
    shown = calibrated["calibrated"]
    assert shown["code"] == 0, shown["said"]
    for word in ("(a)", "artefact", "(b)", "(c)", "near.e0--far.e1.json"):
        assert word in shown["said"]
    assert "not measured" not in shown["said"]


def test_a_floor_taken_again_says_how_far_it_is_off_the_one_before(calibrated: Any) -> None:
    assert calibrated["again"]["code"] == 0
    assert calibrated["again"]["drift_ns"] >= 0
    assert calibrated["again"]["hop_ns"]["p50"] > 0


def test_the_floor_of_a_run_is_checked_after_it_and_the_check_kept_beside_its_record(
    calibrated: Any,
) -> None:
    after = calibrated["after"]
    assert "the floor taken after the run" in after["said"], after
    assert "hil rejudge" in after["said"]
    assert after["code"] == (10 if "no floor" in after["said"] else 0)
    assert calibrated["checks"] == 1
    assert calibrated["after another way"]["code"] == 2
    assert "has a calibrated floor" in calibrated["after another way"]["said"]


def test_only_a_run_can_be_checked_after_it(calibrated: Any) -> None:
    assert calibrated["after nothing"]["code"] == 2
    assert "/nowhere" in calibrated["after nothing"]["said"]


def test_measure_uses_the_floor_of_exactly_these_ports(calibrated: Any) -> None:
    used = sources(calibrated["used"])
    assert "calibrated on these very ports" in used
    assert "1,000 packets of 128 B" in used
    assert "assumed" not in used


def test_stamps_that_the_hop_takes_again_are_counted_and_not_used(calibrated: Any) -> None:
    used = calibrated["used"]
    sender = used["conditions"]["sender"]
    assert sender["repeated_stamps"] > used["sent"] // 2
    assert used["stamps"]["tx"]["missing"] == 0
    assert used["delay_ns"]["p50"] > 1_000, "from the port to the far end, not from the hop"


def test_a_change_of_the_ports_since_refuses_the_floor_and_says_which(calibrated: Any) -> None:
    changed = sources(calibrated["changed"])
    assert "refused: mtu of far/e1 was 1500 and is 1400; calibrate again" in changed
    assert "assumed" in changed


def test_ports_without_a_floor_are_told_why(calibrated: Any) -> None:
    assert calibrated["one pair"]["code"] == 2
    assert "taken in one call" in calibrated["one pair"]["said"]
    assert calibrated["unplugged"]["code"] == 10
    assert "1,000 were lost" in calibrated["unplugged"]["said"]
