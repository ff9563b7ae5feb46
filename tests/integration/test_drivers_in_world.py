"""The three drivers on the shipped virtual testbed: one physical world behind three protocols."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

INSIDE = """\
import json, statistics
from hil.drivers.registry import Registry
from hil.lab.world import resolve
from hil.testbed import load

registry = Registry()
testbed = load("testbeds/virtual.yaml", registry)
cpe, plc, attenuator = (
    registry.create(name, resolve(testbed.devices[name])) for name in ("cpe1", "plc1", "att1")
)
told = {}
for device in (cpe, plc, attenuator):
    device.open()
    told[device.name] = device.health().status
for over in ("wire", "5g"):
    turns = plc.cycle(count=20, interval_s=0.03, over=over)
    times = [turn.rx_user_ns - turn.tx_user_ns for turn in turns if turn.rx_user_ns]
    told[over] = [len(times), statistics.median(times)]
before = cpe.settled_rsrp()
attenuator.set_db(1, 20)
after = cpe.settled_rsrp()
attenuator.safe_state()
told["shift"] = [before.dbm - after.dbm, before.uncertainty_db + after.uncertainty_db]
told["rrc"] = cpe.command("AT+CSCON?")
cpe.radio_on(False)
try:
    plc.read("output")
    told["radio off"] = "answered"
except Exception as error:
    told["radio off"] = type(error).__name__
plc.safe_state()
cpe.radio_on(True)
told["registered"] = cpe.wait_registered(timeout_s=60).registered
for device in (cpe, plc, attenuator):
    device.close()
print(json.dumps(told))
"""

ENTER = """\
import pathlib, sys
from hil import _enter
_enter.enter(pathlib.Path("testbeds/virtual.yaml"), [sys.executable, "-c", sys.argv[1]])
"""


@pytest.fixture(scope="module")
def told() -> Any:
    run = subprocess.run(
        [sys.executable, "-c", ENTER, INSIDE],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


def test_every_device_is_well(told: Any) -> None:
    assert [told[name] for name in ("cpe1", "plc1", "att1")] == ["ok", "ok", "ok"]


def test_the_loop_over_5g_takes_longer_than_over_the_wire(told: Any) -> None:
    (wire, wire_ns), (radio, radio_ns) = told["wire"], told["5g"]
    assert (wire, radio) == (20, 20)
    # Two round trips through the cell; one alone has two slots and the core in each direction.
    assert radio_ns > wire_ns + 4_000_000


def test_the_attenuator_moves_the_modems_level(told: Any) -> None:
    shift, uncertainty = told["shift"]
    # The shadowing of the default world moves by 0.7 dB (one sigma) between the readings.
    assert shift == pytest.approx(20, abs=uncertainty + 3)


def test_the_modem_sees_the_traffic_of_the_controller(told: Any) -> None:
    assert told["rrc"] == ["+CSCON: 1,1"]


def test_without_its_modem_the_controller_is_out_of_reach_but_for_the_cable(told: Any) -> None:
    assert told["radio off"] == "DriverTimeout"
    assert told["registered"] is True
