"""Sweeps: fields that change in a fixed round, written as values, lists or ranges."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hil.targets.sweep import Sweep


def test_each_field_goes_round_by_itself() -> None:
    sweep = Sweep.model_validate(
        {"source_port": "40000-40002", "dscp": [0, 46], "source_address": "192.0.2.7-192.0.2.8"}
    )
    assert sweep.count == 6
    seen = [dict(sweep.packet(k)) for k in range(6)]
    assert [each["source_port"] for each in seen] == [40000, 40001, 40002] * 2
    assert [each["dscp"] for each in seen] == [0, 46] * 3
    assert [str(each["source_address"]) for each in seen] == ["192.0.2.7", "192.0.2.8"] * 3
    assert sweep.packet(6) == sweep.packet(0)


def test_one_value_and_ipv6_are_sweeps_too() -> None:
    sweep = Sweep.model_validate({"source_address": "2001:db8::1-2001:db8::4", "vlan": 7})
    assert sweep.count == 4
    assert str(sweep.packet(3)["source_address"]) == "2001:db8::4"
    assert sweep.packet(3)["vlan"] == 7


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"source_port": "40002-40000"}, "a range rises"),
        ({"source_port": [0]}, "lies between 1 and 65535; got 0"),
        ({"dscp": [64]}, "lies between 0 and 63; got 64"),
        ({"vlan": "1-5000"}, "a range rises, by less than 1024"),
        ({"source_address": "192.0.2.7-2001:db8::1"}, "in one version of IP"),
        ({"source_address": "lab"}, "write an address, or two with - between"),
        ({"source_port": "1-1000", "payload": 7}, "7,000 combinations, and at most 1,024"),
    ],
)
def test_what_cannot_be_swept_is_refused(fields: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        Sweep.model_validate(fields)
