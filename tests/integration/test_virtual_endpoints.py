"""The endpoints process: what it says to the holder, and how it comes and goes."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.modem_at import ModemAt, ModemConfig
from hil.drivers.registry import Registry
from hil.errors import ConnectFailed, DriverTimeout
from hil.virtual.coupling import Coupling

BENCH = """\
schema: 1
name: tiny
devices:
  cpe1: {driver: modem_at, port: "${run}/cpe1"}
ports:
  lan_a: {interface: lan_a, side: device, behind: cpe1, address: 10.61.0.2/24}
world:
  endpoints:
    cpe1: {kind: modem, link: cpe1, imsi: "001010000000001", lan: lan_a}
"""


POWER = """\
    pdu1: {kind: switch, protocol: snmp, listen: "127.0.0.1:%d", feeds: [cpe1]}
    psu1: {kind: supply, listen: "127.0.0.1:%d", feeds: [cpe1]}
    plc1: {kind: plc, protocol: s7, behind: cpe1, address: 10.60.0.20/24, port: %d}
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def go(text: str) -> subprocess.Popen[str]:
        (tmp_path / "bench.yaml").write_text(text)
        Coupling.create(tmp_path / "coupling", ["cpe1"])
        arguments = ["--testbed", "bench.yaml", "--run", ".", "--coupling", "coupling"]
        child = subprocess.Popen(
            [sys.executable, "-m", "hil.virtual.endpoints", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield go
    for child in children:
        with child:
            child.kill()


def answer(child: subprocess.Popen[str]) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def cpe(tmp_path: Path) -> ModemAt:
    fields = {"driver": "modem_at", "port": str(tmp_path / "cpe1"), "command_limit": "500 ms"}
    return ModemAt("cpe1", ModemConfig.model_validate(fields))


def test_serves_until_it_is_told_to_end(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    child = start(BENCH)
    assert answer(child) == {"ready": True}
    device = cpe(tmp_path)
    device.open()
    assert device.registration().registered
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert not (tmp_path / "cpe1").is_symlink()
    device.close()
    with pytest.raises(ConnectFailed):
        device.open()


def test_a_stopped_modem_is_a_black_hole_and_nothing_is_mixed_up_after_it(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    child = start(BENCH)
    assert answer(child) == {"ready": True}
    device = cpe(tmp_path)
    device.open()
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(DriverTimeout):
        device.command("AT+CGMM")
    child.send_signal(signal.SIGCONT)
    assert device.command("AT+CGSN") == ["860000000000000"]
    assert device.command("AT+CGMM") == ["RM520N-GL"]
    device.close()


def test_ends_when_the_holder_is_gone_before_it_began(
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    child = start(BENCH)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(20) == 1


def test_says_in_one_sentence_why_it_cannot_serve(
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    child = start(BENCH.replace("link: cpe1", "link: other"))
    assert list(answer(child)) == ["error"]
    assert child.wait(20) == 1


def test_a_modem_runs_while_all_that_feeds_it_gives_power(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    ports = [free_port() for _ in range(3)]
    child = start(BENCH + POWER % tuple(ports))
    assert answer(child) == {"ready": True}
    devices = bench_of(*ports)
    for device in devices.values():
        device.open()
    device = cpe(tmp_path)
    device.open()
    assert devices["plc1"].run_state() == "run"
    devices["pdu1"].set(1, False)
    devices["psu1"].output(1, False)
    assert device.health().status == "dead"
    devices["pdu1"].set(1, True)
    assert not (tmp_path / "cpe1").exists()
    devices["psu1"].output(1, True)
    end = time.monotonic() + 20
    while device.health().status != "ok" and time.monotonic() < end:
        threading.Event().wait(0.05)
    assert device.wait_registered(timeout_s=20).registered
    for each in (*devices.values(), device):
        each.close()
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0


def bench_of(switch: int, supply: int, plc: int) -> dict[str, Any]:
    """Drivers of the devices of `POWER`."""
    registry = Registry()
    resource = f"TCPIP0::127.0.0.1::{supply}::SOCKET"
    tags = {"output": {"address": "DB1.DBW0", "type": "uint16"}}
    fields: dict[str, dict[str, Any]] = {
        "pdu1": {
            "driver": "switch_snmp",
            "host": "127.0.0.1",
            "port": switch,
            "outlets": {"1": {"min_off": "0 s"}},
        },
        "psu1": {
            "driver": "supply_scpi",
            "resource": resource,
            "channels": {"1": {"max_voltage": "15 V", "max_current": "5 A"}},
        },
        "plc1": {"driver": "plc_s7", "host": "127.0.0.1", "port": plc, "tags": tags},
    }
    return {
        name: registry.create(name, registry.config(each["driver"]).model_validate(each))
        for name, each in fields.items()
    }


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
