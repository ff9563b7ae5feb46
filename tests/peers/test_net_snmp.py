"""SNMP with Net-SNMP at the other end: its client at our switch, our driver at its agent."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.registry import Registry
from hil.errors import ConnectFailed, DeviceError
from hil.testbed import SwitchEndpoint
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.outlets import Outlets
from hil.virtual.endpoints.switch_snmp import SnmpSwitch

CONTROL = "1.3.6.1.4.1.318.1.1.12.3.3.1.1.4"
SNMPD = shutil.which("snmpd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")

#: snmpd.conf(5), `pass`: -g OID asks, -s OID TYPE VALUE sets; three lines answer.
AGENT = """\
import pathlib, sys
state = pathlib.Path(sys.argv[1])
what, oid = sys.argv[2:4]
outlet = oid.rpartition(".")[2]
held = dict(line.split() for line in state.read_text().splitlines())
if what == "-s":
    if outlet == "2":
        print("not-writable")
    else:
        held[outlet] = sys.argv[5]
        state.write_text("".join(f"{k} {v}\\n" for k, v in held.items()))
elif what == "-g" and outlet in held:
    print(oid, "integer", held[outlet], sep="\\n")
"""


@pytest.fixture
def switch() -> Iterator[tuple[SnmpSwitch, list[bool]]]:
    config = SwitchEndpoint.model_validate(
        {"kind": "switch", "listen": "127.0.0.1:1", "feeds": ["cpe1"]}
    )
    powered: list[bool] = []
    outlets = Outlets("pdu1", config, Mains({"cpe1": powered.append}), locked=frozenset({2}))
    served = SnmpSwitch(("127.0.0.1", 0), outlets)
    yield served, powered
    served.close()


def net_snmp(tool: str, served: SnmpSwitch, community: str, version: str, *rest: str) -> str:
    if shutil.which(tool) is None:
        pytest.skip(f"NOT RUN: {tool} not installed (packages.debian)")
    agent = "{}:{}".format(*served.address)
    words = [tool, "-v", version, "-c", community, "-On", "-t", "1", "-r", "0", agent, *rest]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    return done.stdout + done.stderr


@pytest.mark.parametrize("version", ["1", "2c"])
def test_its_client_understands_our_switch(
    switch: tuple[SnmpSwitch, list[bool]], version: str
) -> None:
    served, powered = switch
    first = f"{CONTROL}.1"
    assert f".{first} = INTEGER: 1" in net_snmp("snmpget", served, "public", version, first)
    told = net_snmp("snmpset", served, "private", version, first, "i", "2")
    assert f".{first} = INTEGER: 2" in told
    assert powered == [False]
    locked = net_snmp("snmpset", served, "private", version, f"{CONTROL}.2", "i", "2")
    assert {"1": "noSuchName", "2c": "notWritable"}[version] in locked
    missing = net_snmp("snmpget", served, "public", version, f"{CONTROL}.9")
    assert {"1": "noSuchName", "2c": "No Such Instance"}[version] in missing
    assert "Timeout" in net_snmp("snmpset", served, "public", version, first, "i", "1")
    system = net_snmp("snmpget", served, "public", version, "1.3.6.1.2.1.1.1.0")
    assert "hil power switch" in system


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[int]:
    if SNMPD is None:
        pytest.skip("NOT RUN: snmpd not installed (packages.debian)")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "state").write_text("1 1\n2 1\n")
    command = f"{sys.executable} -I {tmp_path}/agent.py {tmp_path}/state"
    (tmp_path / "snmpd.conf").write_text(
        f"rocommunity public 127.0.0.1\nrwcommunity private 127.0.0.1\npass .{CONTROL} {command}\n"
    )
    words = [SNMPD, "-f", "-Lo", "-C", "-c", str(tmp_path / "snmpd.conf"), f"udp:127.0.0.1:{port}"]
    child = subprocess.Popen(
        words,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "SNMP_PERSISTENT_DIR": str(tmp_path)},
    )
    with child:
        yield port
        child.kill()


@pytest.mark.parametrize("version", ["1", "2c"])
def test_our_driver_understands_its_agent(agent: int, version: str) -> None:
    registry = Registry()
    fields: dict[str, Any] = {
        "driver": "switch_snmp",
        "host": "127.0.0.1",
        "port": agent,
        "version": version,
        "outlets": {"1": {"min_off": "0 s"}, "2": {}},
    }
    model = registry.config("switch_snmp")
    device: Any = registry.create("pdu1", model.model_validate(fields))
    end = time.monotonic() + 20
    while True:
        try:
            device.open()
            break
        except ConnectFailed:
            assert time.monotonic() < end, "snmpd did not start"
    assert "Linux" in device.identify().model
    device.set(1, False)
    assert device.get(1) is False
    device.set(1, True)
    assert device.get(1) is True
    with pytest.raises(DeviceError) as refused:
        device.set(2, False)
    assert refused.value.text == {"1": "noSuchName", "2c": "notWritable"}[version]
    device.close()
