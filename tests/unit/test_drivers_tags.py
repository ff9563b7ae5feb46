"""Modbus tags: coding both ways, and a guard that lets nothing wrong through."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hil.drivers.modbus_tags import TagConfig
from hil.errors import UnsafeOperation

SPANS = {
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
    "uint32": (0, 2**32 - 1),
}


def tag(**fields: Any) -> TagConfig:
    return TagConfig.model_validate({"address": "hr:0", "type": "uint16", **fields})


@given(st.data(), st.sampled_from(sorted(SPANS)), st.sampled_from(["big", "little"]))
def test_whole_numbers_come_back(data: st.DataObject, kind: str, order: str) -> None:
    value = data.draw(st.integers(*SPANS[kind]))
    one = tag(type=kind, word_order=order)
    registers = one.encode(value)
    assert len(registers) == one.words
    assert all(0 <= register < 65536 for register in registers)
    assert one.decode(registers) == value


@given(st.floats(width=32, allow_nan=False), st.sampled_from(["big", "little"]))
def test_floats_come_back(value: float, order: str) -> None:
    one = tag(type="float32", word_order=order)
    assert one.decode(one.encode(value)) == value


def test_word_order() -> None:
    assert tag(type="uint32").encode(0x00010002) == [1, 2]
    assert tag(type="uint32", word_order="little").encode(0x00010002) == [2, 1]


@given(st.one_of(st.integers(), st.floats(), st.booleans()))
def test_only_what_is_in_range_passes_the_guard(value: float) -> None:
    guarded = tag(writable=True, min=10, max=1000)
    try:
        guarded.check("plc1", "speed", value)
    except UnsafeOperation:
        return
    assert math.isfinite(value)
    assert 10 <= value <= 1000
    assert value == int(value)


def test_a_tag_that_is_not_writable_is_never_written() -> None:
    with pytest.raises(UnsafeOperation, match="plc1: speed is not writable"):
        tag().check("plc1", "speed", 1)


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"address": "co:0"}, "do not go together"),
        ({"type": "bool"}, "do not go together"),
        ({"address": "ir:0", "writable": True}, "no write"),
        ({"safe": 1}, "not writable"),
        ({"safe": 5, "max": 4, "writable": True}, "above max"),
        ({"address": "hr0"}, "pattern"),
    ],
)
def test_what_cannot_be_is_refused(fields: dict[str, Any], why: str) -> None:
    with pytest.raises(ValidationError, match=why):
        tag(**fields)
