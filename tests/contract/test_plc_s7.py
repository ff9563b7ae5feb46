"""What the S7 driver does beyond the contract: a run state that is measured, one program."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from hil.drivers.protocols import Health, RunState
from hil.drivers.s7_tags import S7Tag
from hil.errors import DeviceError


@pytest.fixture
def plc(s7_bench: Any) -> Any:
    s7_bench.driver.open()
    return s7_bench.driver


def test_identity_is_the_order_number(plc: Any) -> None:
    identity = plc.identify()
    assert (identity.vendor, identity.model) == ("Siemens", "6ES7 315-2EH14-0AB0")
    assert identity.firmware == "3.3.0"


def test_a_stopped_cpu_is_seen_to_stop(plc: Any, s7_bench: Any) -> None:
    assert plc.run_state() is RunState.RUN
    plc.write({"output": 500})
    s7_bench.extra["plc"].stop()
    assert plc.run_state() is RunState.STOP
    assert plc.health().status is Health.DEGRADED
    assert plc.read("output", "running")["running"].value is False
    s7_bench.extra["plc"].start()
    assert plc.run_state() is RunState.RUN


def test_reads_values_of_every_width(plc: Any) -> None:
    values = plc.read("speed", "running", "tripped", "watchdog")
    assert (values["speed"].value, values["speed"].unit) == (0.0, "m/s")
    assert (values["running"].value, values["tripped"].value) == (True, False)
    assert values["watchdog"].value == 100


def test_the_conveyor_is_the_same_as_behind_modbus(plc: Any, eventually: Any) -> None:
    plc.write({"output": 1000})
    assert eventually(lambda: plc.read("speed")["speed"].value > 1.5)
    plc.write({"heartbeat": 1})
    assert eventually(lambda: plc.read("tripped")["tripped"].value is True)
    assert plc.read("output")["output"].value == 0


def test_what_is_not_there_and_what_is_not_accepted(plc: Any) -> None:
    with pytest.raises(DeviceError) as missing:
        plc.read("elsewhere")
    assert missing.value.code == 10
    with pytest.raises(DeviceError):
        plc.write({"watchdog": 9})
    assert plc.read("watchdog")["watchdog"].value == 100


def test_the_reaction_loop(plc: Any) -> None:
    turns = plc.cycle(count=20, interval_s=0.01)
    assert all(turn.rx_user_ns > turn.tx_user_ns for turn in turns)
    assert plc.read("echoed")["echoed"].value != 0


@pytest.mark.parametrize(
    ("address", "kind", "place"),
    [
        ("DB1.DBX16.3", "bool", ("DB", 1, 16, 1)),
        ("DB12.DBW4", "int16", ("DB", 12, 4, 2)),
        ("DB1.DBD8", "float32", ("DB", 1, 8, 4)),
        ("DB1.DBD8", "float64", ("DB", 1, 8, 8)),
        ("M0.1", "bool", ("MK", 0, 0, 1)),
        ("QW2", "uint16", ("PA", 0, 2, 2)),
    ],
)
def test_addresses(address: str, kind: str, place: tuple[str, int, int, int]) -> None:
    tag = S7Tag.model_validate({"address": address, "type": kind})
    assert (tag.area, tag.block, tag.start, tag.size) == place


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("DB1.DBX16", "bool"),
        ("DB1.DBX0.8", "bool"),
        ("DB1.DBW4", "float32"),
        ("DB1.DBD4", "int16"),
        ("DB1.DBW4.1", "uint16"),
        ("M0", "bool"),
        ("MX0.1", "bool"),
        ("hr:1", "uint16"),
    ],
)
def test_addresses_that_do_not_fit(address: str, kind: str) -> None:
    with pytest.raises(ValidationError):
        S7Tag.model_validate({"address": address, "type": kind})


@pytest.mark.parametrize(("address", "kind"), [("IW0", "uint16"), ("M0.1", "bool")])
def test_tags_that_cannot_be_written(address: str, kind: str) -> None:
    with pytest.raises(ValidationError, match="cannot be writable"):
        S7Tag.model_validate({"address": address, "type": kind, "writable": True})
