"""What the supply driver does beyond the contract: windows, protections, and what hangs on it."""

from __future__ import annotations

from typing import Any

import pytest

from hil.errors import DeviceError, UnsafeOperation, UsageError


@pytest.fixture
def supply(supply_bench: Any) -> Any:
    supply_bench.driver.open()
    return supply_bench.driver


def test_reads_what_is_set_and_what_flows(supply: Any) -> None:
    supply.configure(1, voltage_v=12, limit_a=2)
    found = supply.read(1)
    assert (found.on, found.set_v, found.limit_a, found.tripped) == (True, 12.0, 2.0, ())
    assert (found.measured_v, found.measured_a) == (12.0, 0.5)


def test_the_limit_takes_the_voltage_down(supply: Any) -> None:
    supply.configure(1, voltage_v=12, limit_a=0.25)
    found = supply.read(1)
    assert (found.measured_v, found.measured_a) == (6.0, 0.25)


def test_reaching_the_limit_trips_where_that_is_asked(supply_bench: Any) -> None:
    supply = supply_bench.extra["make"](supply_bench.relay.port, trip=True)
    supply.open()
    supply.configure(1, voltage_v=12, limit_a=0.25)
    assert (supply.read(1).on, supply.read(1).tripped) == (False, ("oc",))
    with pytest.raises(DeviceError, match="channel 1 is off, tripped: oc"):
        supply.output(1, True)
    supply.configure(1, voltage_v=12, limit_a=2)
    supply.clear_protection(1)
    supply.output(1, True)
    assert supply.read(1).on


def test_over_voltage_switches_off(supply_bench: Any) -> None:
    supply = supply_bench.extra["make"](
        supply_bench.relay.port, max_voltage="13 V", over_voltage="13 V"
    )
    supply.open()
    supply.configure(1, voltage_v=13, limit_a=2)
    assert supply.read(1).on
    supply_bench.driver.open()
    supply_bench.driver.configure(1, voltage_v=13.1, limit_a=2)
    assert (supply.read(1).on, supply.read(1).tripped) == (False, ("ov",))


def test_what_somebody_left_outside_the_window_is_not_switched_on(supply_bench: Any) -> None:
    supply_bench.driver.open()
    supply_bench.driver.output(1, False)
    careful = supply_bench.extra["make"](supply_bench.relay.port, max_voltage="6 V")
    careful.open()
    with pytest.raises(UnsafeOperation, match="channel 1: as found, 12 V is outside 5 to 6 V"):
        careful.output(1, True)
    assert careful.read(1).on is False


def test_a_value_that_is_not_applied_is_an_error(
    supply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supply, "_session", _Clipping(supply._session))
    with pytest.raises(DeviceError, match="channel 1 reads back 12 V, asked were 13 V"):
        supply.configure(1, voltage_v=13, limit_a=2)


class _Clipping:
    """A session to an instrument that takes a voltage and keeps its own."""

    def __init__(self, session: Any) -> None:
        self._session = session

    def command(self, message: str) -> None:
        if not message.startswith("VOLT 13"):
            self._session.command(message)

    def query(self, message: str) -> str:
        return str(self._session.query(message))


def test_what_it_feeds_goes_dark_and_comes_back(supply_bench: Any, supply: Any) -> None:
    supply.output(1, False)
    supply.output(1, True)
    supply.configure(1, voltage_v=8, limit_a=2)
    supply.configure(1, voltage_v=12, limit_a=2)
    assert supply_bench.extra["powered"] == [False, True, False, True]


def test_an_unknown_channel_is_the_callers_fault(supply: Any) -> None:
    with pytest.raises(UsageError, match="psu1 has channels 1; no 2"):
        supply.read(2)


def test_restore_brings_the_output_back_too(supply: Any) -> None:
    found = supply.snapshot()
    supply.output(1, False)
    supply.configure(1, voltage_v=7, limit_a=1)
    supply.restore(found)
    assert supply.snapshot() == found
