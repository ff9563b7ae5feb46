"""What the PLC driver does beyond the contract, on a controller that runs its program."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from hil.drivers.modbus_tags import TagConfig
from hil.drivers.protocols import Health, RunState
from hil.errors import DeviceError, Unsupported, UsageError


@pytest.fixture
def plc(plc_bench: Any) -> Any:
    plc_bench.driver.open()
    return plc_bench.driver


def test_identity_says_what_it_knows(plc: Any) -> None:
    identity = plc.identify()
    assert (identity.vendor, identity.model) == ("hil", "conveyor")
    assert identity.serial is None


def test_reads_values_with_their_units(plc: Any) -> None:
    values = plc.read("speed", "running", "watchdog")
    assert list(values) == ["speed", "running", "watchdog"]
    assert (values["speed"].value, values["speed"].unit) == (0.0, "m/s")
    assert values["running"].value is True
    assert values["watchdog"].value == 100


def test_an_unknown_tag_is_the_callers_fault(plc: Any) -> None:
    with pytest.raises(UsageError, match=r"no tag 'sped'.*speed"):
        plc.read("sped")


def test_the_conveyor_follows_the_output(plc: Any, eventually: Any) -> None:
    plc.write({"output": 1000})
    assert eventually(lambda: plc.read("speed")["speed"].value > 1.5)
    plc.safe_state()
    assert eventually(lambda: plc.read("speed")["speed"].value < 0.5)


def test_a_missing_heartbeat_trips_the_controller(plc: Any, eventually: Any) -> None:
    plc.write({"output": 500, "watchdog": 50})
    assert plc.run_state() is RunState.RUN
    plc.write({"heartbeat": 1})
    assert eventually(lambda: plc.run_state() is RunState.STOP)
    assert plc.read("output", "tripped")["output"].value == 0
    assert plc.health().status is Health.DEGRADED
    # The register takes a write; the program takes it back at its next scan.
    plc.write({"output": 500}, verify=False)
    assert eventually(lambda: plc.read("output")["output"].value == 0)
    plc.write({"heartbeat": 2})
    assert eventually(lambda: plc.run_state() is RunState.RUN)
    plc.write({"heartbeat": 0})


def test_the_controllers_own_refusal(plc: Any) -> None:
    plc.tags = {**plc.tags, "output": TagConfig(address="hr:0", type="uint16", writable=True)}
    with pytest.raises(DeviceError) as refused:
        plc.write({"output": 1001})
    assert (refused.value.code, refused.value.text) == (3, "illegal data value")


def test_the_reaction_loop(plc: Any) -> None:
    turns = plc.cycle(count=20, interval_s=0.01)
    assert [turn.seq for turn in turns] == list(range(20))
    assert all(turn.tx_user_ns >= turn.intended_ns for turn in turns)
    assert all(turn.rx_user_ns > turn.tx_user_ns for turn in turns)
    assert all(turn.polls >= 1 for turn in turns)
    offsets = {turn.intended_ns - turns[0].intended_ns - 10_000_000 * turn.seq for turn in turns}
    assert len(offsets) == 20, "every turn met the scan in the same phase"
    assert all(0 <= offset <= 5_000_000 for offset in offsets)
    assert plc.read("echoed")["echoed"].value != 0


def test_a_lost_turn_is_told_and_the_next_one_is_run(plc: Any, plc_bench: Any) -> None:
    answered = plc.cycle(count=1)
    # The grid starts one interval after the first question: by then the line is dead.
    fault = threading.Timer(0.2, plc_bench.relay.hold)
    fault.start()
    (lost,) = plc.cycle(count=1, interval_s=2)
    fault.join()
    plc_bench.relay.release()
    assert lost.rx_user_ns is None
    assert [turn.rx_user_ns is None for turn in (*answered, *plc.cycle(count=1))] == [False, False]


def test_no_cable_no_reference_loop(plc: Any) -> None:
    assert plc.capabilities() == {"reaction-loop"}
    with pytest.raises(Unsupported, match="wire"):
        plc.cycle(count=1, over="wire")
