"""`hil measure`: more samples than memory holds, a stop before the first, a mix over IPv6."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.staging import on_stage

INSIDE = Path(__file__).with_name("edges_inside.py")


@pytest.fixture(scope="module")
def inside() -> Any:
    return on_stage(INSIDE)


def test_samples_in_a_file_are_judged_where_nobody_asked_to_keep_them(inside: Any) -> None:
    said = inside["long"]
    assert (said["sent"], said["received"]) == (400, 400)
    assert said["verdict"] == "PASS"
    assert said["phase"]["period_ns"] == 2_500_000


def test_a_long_run_that_is_stopped_before_its_first_packet_has_none(inside: Any) -> None:
    assert inside["stopped"] == {"sent": 0, "complete": False}


def test_a_mix_is_cut_for_the_version_of_ip_that_its_ports_speak(inside: Any) -> None:
    """1,352 of 1,400 B of an image have room beside the headers of IPv6, and 48 B are left."""
    images = inside["six"]["flows"][0]
    assert (images["sent"], images["received"], images["corrupted"]) == (6, 6, 0)
    assert images["conditions"]["frame"]["ip"] == 6
    assert images["conditions"]["frame"]["sizes"] == [96, 1400]


def test_each_flow_of_a_mix_is_searched_and_keeps_its_violations(inside: Any) -> None:
    for each in inside["searched"]["flows"]:
        assert each["conditions"]["canary"]["not_observed"] == ["elsewhere"]
        assert each["conditions"]["violations"]["packets"] == 40


def test_what_comes_at_random_does_not_come_at_random_together(inside: Any) -> None:
    calls, alarms = inside["intended"]
    assert len(set(calls) & set(alarms)) <= 1
