"""Fields that change from packet to packet: each combination is sent, and each byte compared."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.integration.staging import on_stage

INSIDE = Path(__file__).with_name("sweep_inside.py")


@pytest.fixture(scope="module")
def inside() -> Any:
    return on_stage(INSIDE)


def test_every_combination_arrives_unharmed(inside: Any) -> None:
    said = inside["said"]
    assert (said["sent"], said["received"]) == (240, 240)
    assert (said["lost"], said["corrupted"], said["foreign"]) == (0, 0, 0)
    assert said["stamps"]["tx"]["missing"] == said["stamps"]["rx"]["missing"] == 0


def test_the_wire_saw_each_of_them_as_often(inside: Any) -> None:
    """lcm(4 addresses, 3 ports, 2 code points, 5 fillers) = 60 packets, four times."""
    assert len(inside["seen"]) == 60
    assert {count for _, count in inside["seen"]} == {4}
    headers = {tuple(key[:3]) for key, _ in inside["seen"]}
    assert headers == {(f"10.99.8.{1 + k % 4}", 40000 + k % 3, (0, 46)[k % 2]) for k in range(12)}


def test_a_field_that_the_packets_do_not_have_is_named(inside: Any) -> None:
    assert "flow swept: sweep of vlan: its packets have not a tag" in inside["refused"]
