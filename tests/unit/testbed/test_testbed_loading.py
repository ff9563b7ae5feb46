"""A testbed file as a whole: what it becomes, and every fault that it can have."""

from __future__ import annotations

import os
import re
import stat
import subprocess
import sys
from collections.abc import Callable
from ipaddress import ip_interface, ip_network
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import ValidationError

from hil.errors import ConfigError, UsageError
from hil.testbed import (
    Catalogue,
    ModemEndpoint,
    PortConfig,
    Secret,
    Testbed,
    World,
    find,
    json_schema,
    load,
    shipped,
)

ReadBench = Callable[[str | bytes], Testbed]
FaultsOf = Callable[[str | bytes], list[str]]

GOOD: Final = """\
schema: 1
name: lab
devices:
  cpe1: {driver: modem_at, port: /dev/ttyUSB2, pin: "${env:SIM_PIN}", timeout: 5 s}
  plc1:
    driver: plc_modbus
    host: 192.0.2.20
ports:
  launcher: [sudo, --]
  a: {interface: enp1s0, side: device, behind: cpe1, address: 192.168.1.2/24}
  ue: {interface: ue1/uesimtun0, side: device, address: dynamic}
  mec: {interface: enp2s0, side: edge, address: "2001:db8::2/64", gateway: "2001:db8::1", tap: hil}
  n3: {interface: ran/n3, side: edge, observe: true}
paths:
  device-edge:
    - {from: a, to: mec}
    - {from: ue, to: mec}
safety:
  allow_interfaces: [enp1s0, enp2s0, ue1/uesimtun0]
  allow_networks: [192.0.2.0/24]
  max_rate: 50 Mbit/s
hooks:
  health: "test -e ${HOME}"
  faults:
    core_stops: {start: systemctl stop amf, stop: systemctl start amf}
"""

WORLD: Final = """\
schema: 1
name: small
devices:
  cpe1: {driver: modem_at, port: "${run}/cpe1"}
ports:
  lan: {interface: lan, side: device, behind: cpe1, address: 10.1.0.2/24}
  mec: {interface: mec, side: edge, address: 10.2.0.2/24}
paths:
  device-edge: [{from: lan, to: mec}]
world:
  endpoints:
    cpe1: {kind: modem, link: cpe1, imsi: "001010000000001", lan: lan}
    plc1: {kind: plc, behind: cpe1, address: 10.2.0.20/24, wire: 10.1.0.20/24}
    att1: {kind: attenuator, listen: "127.0.0.1:5025", acts_on: [cpe1]}
"""


def test_a_good_file_becomes_a_testbed(read_bench: ReadBench, tmp_path: Path) -> None:
    bench = read_bench(GOOD)
    assert (bench.version, bench.name, bench.launcher) == (1, "lab", ("sudo", "--"))
    modem: Any = bench.devices["cpe1"]
    assert type(modem).__name__ == "ModemConfig"
    assert (modem.port, modem.timeout_ns) == ("/dev/ttyUSB2", 5 * 10**9)
    assert modem.pin == Secret("${env:SIM_PIN}")
    assert list(bench.ports) == ["a", "ue", "mec", "n3"]
    ue, mec = bench.ports["ue"], bench.ports["mec"]
    assert (ue.name, ue.namespace, ue.interface, ue.side) == ("ue", "ue1", "uesimtun0", "device")
    assert (ue.address, ue.dynamic) == (None, True)
    assert (mec.namespace, mec.address, mec.dynamic) == (
        None,
        ip_interface("2001:db8::2/64"),
        False,
    )
    assert (mec.tap, mec.observe, bench.ports["n3"].observe) == ("hil", False, True)
    assert [(each.source, each.to) for each in bench.paths["device-edge"]] == [
        ("a", "mec"),
        ("ue", "mec"),
    ]
    assert bench.safety.max_rate_bps == 50_000_000
    assert bench.safety.allow_networks == (ip_network("192.0.2.0/24"),)
    assert bench.hooks.health == "test -e ${HOME}"
    assert bench.hooks.faults["core_stops"].stop == "systemctl start amf"
    assert bench.world is None
    assert bench.source == tmp_path / "lab.yaml"


def test_a_testbed_cannot_be_changed(read_bench: ReadBench) -> None:
    bench = read_bench(GOOD)
    for part, field in (
        (bench, "name"),
        (bench.ports["a"], "side"),
        (bench.devices["plc1"], "host"),
    ):
        with pytest.raises(ValidationError, match="frozen"):
            setattr(part, field, "edge")


def test_a_world_is_read_with_its_defaults(read_bench: ReadBench) -> None:
    bench = read_bench(WORLD)
    assert bench.world is not None
    modem = bench.world.endpoints["cpe1"]
    assert isinstance(modem, ModemEndpoint)
    assert modem.lan == "lan"
    assert bench.world.trailers
    assert bench.world.cell == World().cell
    assert getattr(bench.devices["cpe1"], "port") == "${run}/cpe1"  # noqa: B009 - the driver's own


@pytest.mark.parametrize("name", ["virtual", "lab-example", "open5gs-ueransim"])
def test_the_shipped_testbeds_load(
    name: str, drivers: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bench = load(name, drivers)
    assert bench.name == name
    assert bench.source == shipped.testbeds() / f"{name}.yaml"
    assert (bench.world is not None) == (name == "virtual")
    assert bench.paths["device-edge"]


def test_the_shipped_benches_are_what_they_are_for(drivers: Catalogue) -> None:
    software = load(shipped.testbeds() / "open5gs-ueransim.yaml", drivers)
    assert software.ports["ue1"].dynamic
    assert {port.name for port in software.ports.values() if port.observe} == {"n3", "upf"}
    assert software.hooks.health
    assert set(software.hooks.faults) == {"upf_stops", "deregistration", "n3_delay"}
    assert load(shipped.testbeds() / "lab-example.yaml", drivers).launcher[0].startswith("/")


def _edited(text: str, *edits: tuple[str, str]) -> str:
    for old, new in edits:
        assert old in text
        text = text.replace(old, new)
    return text


def _marked(text: str, old: str, new: str) -> tuple[str, str]:
    """The text with `old` replaced by `new`, and the line:column of the « in it."""
    edited = _edited(text, (old, new))
    before, after = edited.split("«")
    return before + after, f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("schema: 1", "schema: «2", "schema: wants 1; got the number 2"),
        ("schema: 1", "schema: «'1'", "schema: wants 1; got '1'"),
        ("schema: 1\n", "«", "schema: missing; add 'schema: …' (Version of the file format)"),
        ("name: lab\n", "name: «la b\n", "name: wants letters, digits, '_', '.' and '-',"
         " as in 'plc1'; got 'la b'"),
        ("hooks:", "«hoks:", "hoks: unknown key; did you mean 'hooks'?"),
        ("schema: 1", "schema: 1\n«launcher: [a]", "launcher: unknown key; write 'launcher:' under"
         " 'ports:'"),
        ("schema: 1", "schema: 1\n«zzz: a", "zzz: unknown key; known: clock, devices, hooks, name,"
         " paths, ports, safety, schema, world"),
        ("driver: modem_at", "driver: «modem_ta", "devices.cpe1.driver: unknown driver 'modem_ta';"
         " did you mean 'modem_at'? known: attenuator_scpi, modem_at, plc_modbus, plc_opcua,"
         " switch_http"),
        ("driver: modem_at", "driver: «xyz", "devices.cpe1.driver: unknown driver 'xyz'; known:"
         " attenuator_scpi, modem_at, plc_modbus, plc_opcua, switch_http"),
        ("driver: plc_modbus", "driver: «plc_opcua", "devices.plc1.driver: driver 'plc_opcua' needs"
         " pip install 'hil[opcua]'"),
        ("cpe1: {driver: modem_at, ", "«cpe1: {", "devices.cpe1.driver: missing; add 'driver: …'"
         " (The driver, by the name it is registered under)"),
        ("driver: modem_at", "driver: «5", "devices.cpe1.driver: wants text; got the number 5; put"
         " it in quotes: \"5\""),
        ("  plc1:\n    driver: plc_modbus\n    host: 192.0.2.20\n",
         "  «plc1:\n    driver: plc_modbus\n", "devices.plc1.host: missing; add 'host: …'"),
        ("host: 192.0.2.20", "host: h\n    port: «99999", "devices.plc1.port: must be at most"
         " 65535; got the number 99999"),
        ("host: 192.0.2.20", "host: h\n    «prt: 5", "devices.plc1.prt: unknown key; did you mean"
         " 'port'?"),
        ("timeout: 5 s", "timeout: «5", "devices.cpe1.timeout: a duration needs a number and a"
         " unit, as in '10 ms'; got 5"),
        ("  plc1:", "  «cpe1:", "devices.cpe1: a second 'cpe1'; the first is on line 4"),
        ("  plc1:", "  «1plc:", "devices.1plc: unfit as a name: wants letters, digits, '_', '.' and"
         " '-', as in 'plc1'; got '1plc'"),
        ("launcher: [sudo, --]", "launcher: «sudo", "ports.launcher: wants a list, as in [a, b];"
         " got 'sudo'"),
        ("behind: cpe1", "behind: «cpe2", "ports.a.behind: no device is called 'cpe2'; did you mean"
         " 'cpe1'?"),
        ("192.168.1.2/24", "«192.168.1.2", "ports.a.address: wants ADDRESS/PREFIX, as in"
         " 192.0.2.2/24, or dynamic; got '192.168.1.2'"),
        ('gateway: "2001:db8::1"', "gateway: «192.0.2.0/24", "ports.mec.gateway: wants an address,"
         " as in 192.0.2.1; got '192.0.2.0/24'"),
        ("side: edge, address", "side: «mec, address", "ports.mec.side: wants one of 'device',"
         " 'edge' or 'cloud'; got 'mec'"),
        ("tap: hil", "tap: «hill", "ports.mec.tap: wants one of 'hil', 'metawatch'"
         " or 'hpt'; got 'hill'; did you mean 'hil'?"),
        ("ran/n3,", "«enp1s0,", "ports.n3.interface: port 'a' has this interface already; one port"
         " an interface, or one for each `vlan` of it"),
        ("ran/n3,", "«a b/c,", "ports.n3.interface: wants IFACE or NETNS/IFACE, as in 'enp3s0' or"
         " 'ue1/uesimtun0'; got 'a b/c'"),
        ("ran/n3,", "ran/n3, «name: x,", "ports.n3.name: unknown key; the port is called 'n3'"
         " already"),
        ("from: a, to: mec", "from: «aa, to: mec", "paths.device-edge.0.from: no port is called"
         " 'aa'; did you mean 'a'?"),
        ("from: a, to: mec", "from: a, to: «ue", "paths.device-edge.0.to: port 'ue' is on the"
         " device side; a port of the edge side is wanted"),
        ("from: a, to: mec", "from: a, to: «a", "paths.device-edge.0.to: the path begins and ends"
         " at port 'a'; name two"),
        ("{from: a, to: mec}", "«{from: a}", "paths.device-edge.0.to: missing; add 'to: …' (Port at"
         " the other end: uplink arrives here)"),
        ("{from: a, to: mec}", "{from: ue, to: mec}\n    - «{from: ue, to: mec}",
         "paths.device-edge.1: this path is listed already; leave one out"),
        ("from: a, to: mec", "from: a, to: «n3", "paths.device-edge.0.to: port 'n3' only observes;"
         " no path may end there"),
        ("{from: a, to: mec}", "{from: a, to: mec, through: [«n33]}",
         "paths.device-edge.0.through.0: no port is called"
         " 'n33'; did you mean 'n3'?"),
        ("{from: a, to: mec}", "{from: a, to: mec, through: [«ue]}",
         "paths.device-edge.0.through.0: port 'ue' ends"
         " paths; write 'observe: true' there to only look on"),
        ("{from: a, to: mec}", "{from: a, to: mec, through: [n3, «n3]}",
         "paths.device-edge.0.through.1: 'n3' is listed"
         " already; leave one out"),
        ("side: edge, observe: true", "side: edge, carries: «gtpu", "ports.n3.carries: GTP-U is"
         " only looked into; write 'observe: true' too"),
        ("observe: true", "observe: true, qfi: «{82: 3}", "ports.n3.qfi: only GTP-U states a QFI;"
         " write 'carries: gtpu' too"),
        ("device-edge:", "«device-egde:", "paths.device-egde: unknown key; did you mean"
         " 'device-edge'?"),
        ("interface: enp1s0", "interface: «enp7s0", "ports.a.interface: safety.allow_interfaces"
         " does not list 'enp7s0'; add it there, or 'observe: true' here"),
        ("[192.0.2.0/24]", "[«192.0.2.1/24]", "safety.allow_networks.0: wants a network, as in"
         " 192.0.2.0/24; 192.0.2.1/24 has host bits set"),
        ("max_rate: 50 Mbit/s", "max_rate: «50 Mbps", "safety.max_rate: 'Mbps' is no unit of a"
         " rate; write one of bit/s, kbit/s, Mbit/s, Gbit/s, as in '5 Mbit/s'"),
        ("core_stops: {start: systemctl stop amf, stop: systemctl start amf}",
         "«core_stops: {start: systemctl stop amf}", "hooks.faults.core_stops.stop: missing; add"
         " 'stop: …' (Shell command that ends it)"),
        ("port: /dev/ttyUSB2", 'port: «"${run}/x"', "devices.cpe1.port: ${run} is known only to a"
         " testbed with a 'world:'; write the path itself"),
        ("host: 192.0.2.20", 'host: «"${env:HOST}"', "devices.plc1.host: ${env:HOST} means nothing"
         " here; ${run}, or a secret where a secret belongs"),
        ("host: 192.0.2.20", 'host: «"${rn}/x"', "devices.plc1.host: ${rn} means nothing here;"
         " ${run}, or a secret where a secret belongs"),
    ],
)  # fmt: skip
def test_one_thing_wrong_is_named_where_it_stands(
    faults_of: FaultsOf, old: str, new: str, said: str
) -> None:
    text, place = _marked(GOOD, old, new)
    assert f"{place}: {said}" in faults_of(text)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("kind: plc", "kind: «pcl", "world.endpoints.plc1.kind: unknown kind 'pcl'; did you mean"
         " 'plc'?"),
        ("plc1: {kind: plc, ", "«plc1: {", "world.endpoints.plc1.kind: missing; add 'kind: …', one"
         " of: modem, plc, attenuator, switch, supply"),
        ('imsi: "001010000000001"', "imsi: «001010000000001", "world.endpoints.cpe1.imsi: wants"
         " text; got the number 001010000000001; put it in quotes: \"001010000000001\""),
        ("lan: lan}", "lan: «lna}", "world.endpoints.cpe1.lan: no port is called 'lna'; did you"
         " mean 'lan'?"),
        ("lan: lan}", "lan: «mec}", "world.endpoints.cpe1.lan: port 'mec' does not lie behind"
         " 'cpe1'; write 'behind: cpe1' there"),
        ("behind: cpe1, address: 10.2", "behind: «att1, address: 10.2",
         "world.endpoints.plc1.behind: no modem is called 'att1'; known: cpe1"),
        ("acts_on: [cpe1]", "acts_on: [«cpe2]", "world.endpoints.att1.acts_on.0: no modem is called"
         " 'cpe2'; did you mean 'cpe1'?"),
        ('"127.0.0.1:5025"', "«localhost:5025", "world.endpoints.att1.listen: wants ADDRESS:PORT,"
         " as in '127.0.0.1:5025'; got 'localhost:5025'"),
        ("wire: 10.1.0.20/24", "wire: «10.9.0.20/24", "world.endpoints.plc1.wire: no port lies in"
         " 10.9.0.0/24; take an address beside that of the port on the same LAN"),
        ("address: 10.2.0.2/24}", "address: «dynamic}", "ports.mec.address: the world makes this"
         " port; give its address, as in 192.0.2.2/24"),
        ("mec: {interface: mec, side: edge, address: 10.2.0.2/24}",
         "«mec: {interface: mec, side: edge}", "ports.mec.address: the world makes this port; give"
         " its address, as in 192.0.2.2/24"),
        ("address: 10.2.0.2/24}", "address: 10.2.0.2/24}\n  tap1: {interface: tap1, side: edge,"
         " observe: «true}", "ports.tap1.observe: a world shows its N3, once: 'carries: gtpu';"
         " leave this port out"),
        ("lan: {interface: lan, side: device, behind: cpe1,",
         "«lan: {interface: lan, side: device,",
         "ports.lan.behind: a device-side port lies behind a modem of the world; known: cpe1"),
        ("  endpoints:", "  cell: {pattern: «DDD}\n  endpoints:", "world.cell.pattern: needs at"
         " least one U and one D or S slot, as in 'DSUUU'; got 'DDD'"),
        ("  endpoints:", "  cell: {core_delay: «-1 ms}\n  endpoints:", "world.cell.core_delay: must"
         " be at least 0; got '-1 ms'"),
        ("{kind: attenuator, ", "«{kind: attenuator, min: 60 dB, ", "world.endpoints.att1: min"
         " 60 dB must be below max 60 dB"),
        ("  endpoints:", "  cell: {slot: «0.4 ms}\n  endpoints:", "world.cell.slot: 5G has slots of"
         " '1 ms', '500 us', '250 us', '125 us' (TS 38.211 4.3.2); got '400 us'"),
        ("    att1:", '    cpe2: {kind: modem, link: b, imsi: «"001010000000001", lan: lan}\n'
         "    att1:", "world.endpoints.cpe2.imsi: endpoint 'cpe1' has this imsi already; each needs"
         " its own"),
    ],
)  # fmt: skip
def test_one_thing_wrong_in_a_world(faults_of: FaultsOf, old: str, new: str, said: str) -> None:
    text, place = _marked(WORLD, old, new)
    assert f"{place}: {said}" in faults_of(text)


def test_faults_in_one_device_hide_none_elsewhere(faults_of: FaultsOf) -> None:
    found = faults_of(
        _edited(
            GOOD,
            ("driver: modem_at", "driver: nokia"),
            ("host: 192.0.2.20", "hst: 192.0.2.20"),
            ("behind: cpe1", "behind: cpe9"),
            ("to: mec}\nsafety", "to: mce}\nsafety"),
            ("max_rate: 50 Mbit/s", "max_rate: 50"),
            ("health:", "helth:"),
        )
    )
    assert [fault.split(": ")[1] for fault in found] == [
        "devices.cpe1.driver",
        "devices.plc1.host",
        "devices.plc1.hst",
        "ports.a.behind",
        "paths.device-edge.1.to",
        "safety.max_rate",
        "hooks.helth",
    ]
    places = [tuple(int(part) for part in fault.split(":")[:2]) for fault in found]
    assert places == sorted(places)


def test_a_secret_in_the_clear_is_refused_and_not_shown(faults_of: FaultsOf) -> None:
    for written in ('"hunter2pw"', "48151623", "[hunter2pw]", "{a: hunter2pw}", "'${env:}'"):
        text, place = _marked(GOOD, '"${env:SIM_PIN}"', f"«{written}")
        (fault,) = faults_of(text)
        assert fault.startswith(f"{place}: devices.cpe1.pin: a secret is never written here; write")
        assert "hunter2pw" not in fault
        assert "48151623" not in fault


def test_anchors_and_merge_keys_serve_devices(read_bench: ReadBench, faults_of: FaultsOf) -> None:
    text = _edited(
        GOOD,
        (
            "  plc1:\n",
            "  cpe2: &cpe {driver: modem_at, port: USB6}\n  cpe3: {<<: *cpe}\n  plc1:\n",
        ),
    )
    devices: Any = read_bench(text).devices
    assert devices["cpe3"].port == devices["cpe2"].port == "USB6"
    found = faults_of(_edited(text, ("port: USB6", "port: 6")))
    assert [fault.partition(": wants")[0] for fault in found] == [
        "5:39: devices.cpe2.port",
        "5:39: devices.cpe3.port",
    ]


def test_the_file_is_named_as_the_user_named_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drivers: Catalogue
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("testbeds").mkdir()
    Path("testbeds/mine.yaml").write_text("schema: 1\n", "utf-8")
    for named, shown in (
        ("mine", "testbeds/mine.yaml"),
        ("./testbeds/mine.yaml", "testbeds/mine.yaml"),
        (str(tmp_path / "testbeds/mine.yaml"), str(tmp_path / "testbeds/mine.yaml")),
    ):
        with pytest.raises(ConfigError) as caught:
            load(named, drivers)
        assert caught.value.faults[0].startswith(f"{shown}:1:1: name: missing")


def test_a_name_is_looked_up_here_first_and_then_among_the_shipped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find("virtual") == shipped.testbeds() / "virtual.yaml"
    Path("testbeds").mkdir()
    Path("testbeds/virtual.yaml").touch()
    Path("testbeds/other.yml").touch()
    assert find("virtual") == Path("testbeds/virtual.yaml")
    assert find("other") == Path("testbeds/other.yml")
    assert find("a/b") == Path("a/b")
    assert find("b.yml") == Path("b.yml")
    with pytest.raises(UsageError, match="no testbed is called 'virtul'; did you mean 'virtual'"):
        find("virtul")
    with pytest.raises(UsageError, match=r"known: .*other.*virtual"):
        find("xyz")


def test_what_ships_lies_beside_the_package() -> None:
    assert (shipped.testbeds() / "virtual.yaml").is_file()
    assert shipped.suites().name == "suites"


def test_what_ships_lies_in_the_package_once_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shipped, "_PACKAGE", tmp_path / "hil")
    assert shipped.testbeds() == tmp_path / "testbeds"
    (tmp_path / "hil" / "shipped" / "testbeds").mkdir(parents=True)
    assert shipped.testbeds() == tmp_path / "hil" / "shipped" / "testbeds"
    assert shipped.suites() == tmp_path / "suites"


def test_a_port_can_be_made_without_a_file() -> None:
    port = PortConfig(name="x", interface="ue1/tun0", side="device")
    assert (port.namespace, port.interface, port.address, port.dynamic) == (
        "ue1",
        "tun0",
        None,
        False,
    )


def test_reading_a_testbed_needs_no_numpy() -> None:
    program = (
        "import sys, hil.testbed;"
        "print(sorted({'numpy', 'scipy', 'pyarrow', 'scapy', 'pytest'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_json_schema_says_what_the_file_may_hold(drivers: Catalogue) -> None:
    schema = json_schema(drivers)
    properties = schema["properties"]
    assert schema["required"] == ["schema", "name"]
    assert schema["additionalProperties"] is False
    assert set(properties) == {
        *("schema", "name", "devices", "ports", "paths", "clock", "safety", "hooks", "world")
    }
    devices = properties["devices"]["additionalProperties"]["oneOf"]
    named = {each["properties"]["driver"]["const"]: each["$ref"] for each in devices}
    assert named == {
        "attenuator_scpi": "#/$defs/AttenuatorConfig",
        "modem_at": "#/$defs/ModemConfig",
        "plc_modbus": "#/$defs/PlcConfig",
        "switch_http": "#/$defs/SwitchConfig",
    }
    assert set(schema["$defs"]["ModemConfig"]["properties"]) == {
        *("driver", "port", "dialect", "pin", "timeout")
    }
    assert properties["ports"]["properties"]["launcher"]["type"] == "array"
    port = schema["$defs"]["PortConfig"]
    assert "name" not in port["properties"]
    assert port["required"] == ["interface", "side"]
    assert port["properties"]["address"]["examples"][-1] == "dynamic"
    cell = schema["$defs"]["CellConfig"]["properties"]
    assert cell["core_delay"]["type"] == "string"
    assert "default" not in cell["core_delay"]  # a number, which the file could not say
    assert cell["pattern"]["default"] == "DSUUU"
    references = set(re.findall(r"#/\$defs/(\w+)", str(schema)))
    assert references == set(schema["$defs"])


def test_a_file_of_nobody_elses_is_said_to_be_unreadable(
    tmp_path: Path, drivers: Catalogue
) -> None:
    path = tmp_path / "closed.yaml"
    path.write_text(GOOD, "utf-8")
    path.chmod(0)
    if os.access(path, os.R_OK):  # root reads everything: a link to itself cannot be read either
        path.unlink()
        path.symlink_to(path)
    with pytest.raises(ConfigError, match=r"closed\.yaml:1:1: \(file\): cannot be read: "):
        load(path, drivers)
    assert stat.S_IMODE(path.lstat().st_mode) in (0, 0o777)
