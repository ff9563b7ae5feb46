"""One bench per driver: a real endpoint, a relay in front of it that can do wrong, the driver.

The suite beside this file asks the same of every driver; what differs between them is said here.
"""

from __future__ import annotations

import threading
import time
import tomllib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.registry import GROUP, Registry
from hil.testbed import (
    AttenuatorEndpoint,
    ModemEndpoint,
    PlcEndpoint,
    RadioConfig,
    SupplyEndpoint,
    SwitchEndpoint,
    World,
)
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.attenuator import AntennaCables, Attenuator
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.outlets import Outlets
from hil.virtual.endpoints.plc import Plc
from hil.virtual.endpoints.plc_s7 import PlcS7
from hil.virtual.endpoints.supply import Supply
from hil.virtual.endpoints.switch_http import HttpSwitch
from hil.virtual.endpoints.switch_snmp import SnmpSwitch
from tests.contract.bench import LIMIT, Bench, TcpRelay, TtyRelay, UdpRelay, create, free_port
from tests.contract.generators import generator_otg_bench

__all__ = ["generator_otg_bench"]

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def registry() -> Registry:
    """The drivers as the project's metadata name them, installed or not."""
    text = (ROOT / "pyproject.toml").read_text("utf-8")
    points = tomllib.loads(text)["project"]["entry-points"][GROUP]
    return Registry([EntryPoint(name, value, GROUP) for name, value in points.items()])


@pytest.fixture(scope="session")
def world() -> World:
    return World(
        radio=RadioConfig(settling="50 ms", shadowing="0 dB"),
        endpoints={
            "cpe1": {"kind": "modem", "link": "cpe1", "imsi": "001010000000001", "lan": "lan_a"},
            "plc1": {"kind": "plc", "behind": "cpe1", "address": "10.60.0.20/24"},
            "att1": {"kind": "attenuator", "listen": "127.0.0.1:5025", "acts_on": ["cpe1"]},
        },
    )


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def coupling(tmp_path: Path) -> Coupling:
    return Coupling.create(tmp_path / "coupling", ["cpe1"])


@pytest.fixture
def modem_tty(world: World, coupling: Coupling, stack: ExitStack, tmp_path: Path) -> Path:
    """The tty of a modem endpoint."""
    endpoint = world.endpoints["cpe1"]
    assert isinstance(endpoint, ModemEndpoint)
    stack.callback(Modem(endpoint, world, coupling, tmp_path).close)
    return tmp_path / "cpe1"


@pytest.fixture
def locked_tty(world: World, coupling: Coupling, stack: ExitStack, tmp_path: Path) -> Path:
    """The tty of a modem whose SIM asks for its PIN, 4711."""
    endpoint = world.endpoints["cpe1"]
    assert isinstance(endpoint, ModemEndpoint)
    stack.callback(Modem(endpoint, world, coupling, tmp_path, pin="4711").close)
    return tmp_path / "cpe1"


@pytest.fixture
def modem_driver(registry: Registry, stack: ExitStack) -> Callable[..., Any]:
    """Makes a modem driver on a tty, not yet open."""

    def make(port: Path, **fields: Any) -> Any:
        options = {"command_limit": LIMIT, "resync_limit": "1 s", **fields}
        made = create(registry, "cpe1", "modem_at", port=str(port), **options)
        stack.callback(made.close)
        return made

    return make


@pytest.fixture
def modem_bench(
    modem_tty: Path, modem_driver: Callable[..., Any], stack: ExitStack, tmp_path: Path
) -> Bench:
    relay = TtyRelay(modem_tty, tmp_path / "relay")
    stack.callback(relay.close)
    return Bench(
        driver=modem_driver(tmp_path / "relay"),
        relay=relay,
        dead=modem_driver(tmp_path / "absent"),
        ask=lambda device: device.command("AT+CGMM"),
        ask_other=lambda device: device.command("AT+CGPADDR=1"),
        refuse=lambda device: device.activate(9),
        refusal=(148, "unspecified GPRS error"),
        change=lambda device: device.deactivate(1),
        safe=lambda device: bool(device.registration().registered),
        noise=b"\xff\x00",
    )


TAGS = {
    "output": {
        "address": "hr:0", "type": "uint16", "writable": True, "min": 0, "max": 1000, "safe": 0
    },
    "heartbeat": {"address": "hr:1", "type": "uint16", "writable": True},
    "watchdog": {"address": "hr:2", "type": "uint16", "writable": True},
    "echo": {"address": "hr:3", "type": "uint16", "writable": True},
    "beyond": {"address": "hr:40", "type": "uint16"},
    "echoed": {"address": "ir:0", "type": "uint16"},
    "scan_count": {"address": "ir:1", "type": "uint16"},
    "speed": {"address": "ir:2", "type": "float32", "unit": "m/s"},
    "running": {"address": "di:0", "type": "bool"},
    "tripped": {"address": "di:1", "type": "bool"},
}  # fmt: skip


@pytest.fixture
def plc_bench(registry: Registry, world: World, stack: ExitStack) -> Bench:
    endpoint = world.endpoints["plc1"]
    assert isinstance(endpoint, PlcEndpoint)
    plc = Plc(endpoint.model_copy(update={"port": 0}), host="127.0.0.1")
    stack.callback(plc.close)
    relay = TcpRelay(plc.address)
    stack.callback(relay.close)

    def driver(port: int) -> Any:
        made = create(
            registry, "plc1", "plc_modbus", host="127.0.0.1", port=port, limit=LIMIT, tags=TAGS
        )
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(free_port()),
        ask=lambda device: device.read("watchdog")["watchdog"].value,
        ask_other=lambda device: device.read("running")["running"].value,
        refuse=lambda device: device.read("beyond"),
        refusal=(2, "illegal data address"),
        change=lambda device: device.write({"output": 700}),
        safe=lambda device: device.read("output")["output"].value == 0,
        unsafe=(
            lambda device: device.write({"output": 1001}),
            lambda device: device.write({"output": -1}),
            lambda device: device.write({"output": 0.5}),
            lambda device: device.write({"output": float("nan")}),
            lambda device: device.write({"heartbeat": 65536}),
            lambda device: device.write({"echoed": 1}),
        ),
        extra={"address": plc.address},
    )


S7_TAGS = {
    "output": {
        "address": "DB1.DBW0", "type": "uint16", "writable": True, "min": 0, "max": 1000, "safe": 0
    },
    "heartbeat": {"address": "DB1.DBW2", "type": "uint16", "writable": True},
    "watchdog": {"address": "DB1.DBW4", "type": "uint16", "writable": True},
    "echo": {"address": "DB1.DBW6", "type": "uint16", "writable": True},
    "echoed": {"address": "DB1.DBW8", "type": "uint16"},
    "scan_count": {"address": "DB1.DBW10", "type": "uint16"},
    "speed": {"address": "DB1.DBD12", "type": "float32", "unit": "m/s"},
    "running": {"address": "DB1.DBX16.0", "type": "bool"},
    "tripped": {"address": "DB1.DBX16.1", "type": "bool"},
}  # fmt: skip
S7_BEYOND = {
    "beyond": {"address": "DB1.DBW40", "type": "uint16"},
    "elsewhere": {"address": "DB7.DBW0", "type": "uint16"},
}


@pytest.fixture
def s7_bench(registry: Registry, world: World, stack: ExitStack) -> Bench:
    endpoint = world.endpoints["plc1"]
    assert isinstance(endpoint, PlcEndpoint)
    plc = PlcS7(endpoint.model_copy(update={"port": 0, "protocol": "s7"}), host="127.0.0.1")
    stack.callback(plc.close)
    relay = TcpRelay(plc.address)
    stack.callback(relay.close)

    def driver(port: int) -> Any:
        tags = {**S7_TAGS, **S7_BEYOND}
        made = create(
            registry, "plc1", "plc_s7", host="127.0.0.1", port=port, limit=LIMIT, tags=tags
        )
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(free_port()),
        ask=lambda device: device.read("watchdog")["watchdog"].value,
        ask_other=lambda device: device.read("running")["running"].value,
        refuse=lambda device: device.read("beyond"),
        refusal=(5, "Invalid address"),
        change=lambda device: device.write({"output": 700}),
        safe=lambda device: device.read("output")["output"].value == 0,
        unsafe=(
            lambda device: device.write({"output": 1001}),
            lambda device: device.write({"output": -1}),
            lambda device: device.write({"output": 0.5}),
            lambda device: device.write({"output": float("nan")}),
            lambda device: device.write({"heartbeat": 65536}),
            lambda device: device.write({"echoed": 1}),
        ),
        extra={"plc": plc, "address": plc.address},
    )


@pytest.fixture
def attenuator_bench(
    registry: Registry, world: World, coupling: Coupling, stack: ExitStack
) -> Bench:
    endpoint = world.endpoints["att1"]
    assert isinstance(endpoint, AttenuatorEndpoint)
    free = endpoint.model_copy(update={"listen": "127.0.0.1:0"})
    attenuator = Attenuator("att1", free, [0], AntennaCables(coupling))
    stack.callback(attenuator.close)
    relay = TcpRelay(attenuator.address)
    stack.callback(relay.close)

    def driver(port: int, **fields: Any) -> Any:
        resource = f"TCPIP0::127.0.0.1::{port}::SOCKET"
        options = {"max": "90 dB", "safe": "10 dB", "limit": LIMIT, **fields}
        made = create(registry, "att1", "attenuator_scpi", resource=resource, **options)
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(free_port()),
        ask=lambda device: device.get_db(1),
        ask_other=lambda device: device.identify(),
        refuse=lambda device: device.set_db(1, 75),
        refusal=(-222, "Data out of range"),
        change=lambda device: device.set_db(1, 33.25),
        safe=lambda device: device.get_db(1) == 10,
        unsafe=(
            lambda device: device.set_db(1, 90.25),
            lambda device: device.set_db(1, -0.25),
            lambda device: device.set_db(1, float("nan")),
            lambda device: device.query("ATT:CHAN1 3"),
        ),
        extra={"driver": driver, "address": attenuator.address, "coupling": coupling},
    )


@pytest.fixture
def instrument_bench(
    registry: Registry, world: World, coupling: Coupling, stack: ExitStack
) -> Bench:
    """The attenuator again, as an instrument that nobody knows more of than its file says."""
    endpoint = world.endpoints["att1"]
    assert isinstance(endpoint, AttenuatorEndpoint)
    free = endpoint.model_copy(update={"listen": "127.0.0.1:0"})
    served = Attenuator("att1", free, [0], AntennaCables(coupling))
    stack.callback(served.close)
    relay = TcpRelay(served.address)
    stack.callback(relay.close)

    def driver(port: int) -> Any:
        made = create(
            registry,
            "ins1",
            "instrument_scpi",
            resource=f"TCPIP0::127.0.0.1::{port}::SOCKET",
            limit=LIMIT,
            allow=[r"ATT:CHAN1 \d\d(\.\d+)?"],
            settings={"loss": {"get": "ATT:CHAN1?", "set": "ATT:CHAN1 {value}"}},
            safe=["ATT:CHAN1 10"],
        )
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(free_port()),
        ask=lambda device: device.query("ATT:CHAN1?"),
        ask_other=lambda device: device.query("ATT:CHAN1? MAX;*OPC?"),
        refuse=lambda device: device.write("ATT:CHAN1 75"),
        refusal=(-222, "Data out of range"),
        change=lambda device: device.write("ATT:CHAN1 33.25"),
        safe=lambda device: device.query("ATT:CHAN1?") == "10.00",
        unsafe=(
            lambda device: device.write("*RST"),
            lambda device: device.write("ATT:CHAN1 20;*RST"),
            lambda device: device.write("ATT:CHAN1 20\n*RST"),
            lambda device: device.query("ATT:CHAN1 5;ATT:CHAN1?"),
            lambda device: device.query("ATT:CHAN1 20"),
            lambda device: device.query('DISP:TEXT "?"'),
        ),
    )


@pytest.fixture
def supply_bench(registry: Registry, stack: ExitStack) -> Bench:
    config = SupplyEndpoint.model_validate(
        {"kind": "supply", "listen": "127.0.0.1:1", "channels": 2, "feeds": ["cpe1"]}
    )
    powered: list[bool] = []
    free = config.model_copy(update={"listen": "127.0.0.1:0"})
    served = Supply("psu1", free, Mains({"cpe1": powered.append}))
    stack.callback(served.close)
    relay = TcpRelay(served.address)
    stack.callback(relay.close)

    def make(port: int, **window: Any) -> Any:
        first = {
            "min_voltage": "5 V",
            "max_voltage": "25 V",
            "max_current": "6 A",
            "safe": False,
            **window,
        }
        made = create(
            registry,
            "psu1",
            "supply_scpi",
            resource=f"TCPIP0::127.0.0.1::{port}::SOCKET",
            limit=LIMIT,
            channels={"1": first},
        )
        stack.callback(made.close)
        return made

    return Bench(
        driver=make(relay.port),
        relay=relay,
        dead=make(free_port()),
        ask=lambda device: device.read(1),
        ask_other=lambda device: device.identify(),
        refuse=lambda device: device.configure(1, voltage_v=21, limit_a=2),
        refusal=(-222, "Data out of range"),
        change=lambda device: device.configure(1, voltage_v=13.5, limit_a=2),
        safe=lambda device: device.read(1).on is False,
        unsafe=(
            lambda device: device.configure(1, voltage_v=25.1, limit_a=1),
            lambda device: device.configure(1, voltage_v=4.9, limit_a=1),
            lambda device: device.configure(1, voltage_v=12, limit_a=6.1),
            lambda device: device.configure(1, voltage_v=float("nan"), limit_a=1),
            lambda device: device.configure(1, voltage_v=12, limit_a=float("nan")),
        ),
        extra={"make": make, "powered": powered, "address": served.address},
    )


def _switch_bench(
    registry: Registry, stack: ExitStack, protocol: str, driver: str, fields: Callable[[int], Any]
) -> Bench:
    """A switch of four outlets: a modem on the first, the second locked, no budget on the third."""
    config = SwitchEndpoint.model_validate(
        {
            "kind": "switch",
            "listen": "127.0.0.1:1",
            "protocol": protocol,
            "feeds": ["cpe1"],
        }
    )
    powered: list[bool] = []
    outlets = Outlets("pdu1", config, Mains({"cpe1": powered.append}), locked=frozenset({2}))
    served: Any = {"http": HttpSwitch, "snmp": SnmpSwitch}[protocol](("127.0.0.1", 0), outlets)
    stack.callback(served.close)
    relay = (UdpRelay if protocol == "snmp" else TcpRelay)(served.address)
    stack.callback(relay.close)

    def make(port: int, **options: Any) -> Any:
        guards = {
            "1": {"safe": True, "min_off": "100 ms", "feeds": "cpe1"},
            "2": {},
            "3": {"cycles": 0},
            "4": {"min_off": "1 h", "cycles": 1},
        }
        given = {"limit": LIMIT, "outlets": guards, **fields(port), **options}
        made = create(registry, "pdu1", driver, **given)
        stack.callback(made.close)
        return made

    return Bench(
        driver=make(relay.port),
        relay=relay,
        dead=make(free_port()),
        ask=lambda device: device.get(1),
        ask_other=lambda device: device.identify(),
        refuse=lambda device: device.set(2, False),
        refusal=(17, "notWritable") if protocol == "snmp" else (403, "outlet 2 is locked"),
        change=lambda device: device.set(1, False),
        safe=lambda device: device.get(1) is True,
        noise=b"\x30\x03\xff" if protocol == "snmp" else b"",
        unsafe=(
            lambda device: device.set(9, False),
            lambda device: device.cycle(9),
            lambda device: device.cycle(1, off_s=0.09),
            lambda device: device.cycle(1, off_s=float("nan")),
            lambda device: device.set(3, False),
            lambda device: device.cycle(3),
        ),
        extra={"make": make, "powered": powered, "served": served, "outlets": outlets},
    )


@pytest.fixture
def switch_http_bench(registry: Registry, stack: ExitStack) -> Bench:
    return _switch_bench(
        registry, stack, "http", "switch_http", lambda port: {"url": f"http://127.0.0.1:{port}"}
    )


@pytest.fixture
def switch_snmp_bench(registry: Registry, stack: ExitStack) -> Bench:
    return _switch_bench(
        registry, stack, "snmp", "switch_snmp", lambda port: {"host": "127.0.0.1", "port": port}
    )


@pytest.fixture(
    params=[
        "modem",
        "plc",
        "s7",
        "attenuator",
        "instrument",
        "supply",
        "switch_http",
        "switch_snmp",
        "generator_otg",
    ]
)
def bench(request: pytest.FixtureRequest) -> Bench:
    """The bench of each driver in turn."""
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], bool]:
    """Asks until a condition came true; gives a stalled machine its time."""

    def ask(condition: Callable[[], bool]) -> bool:
        end = time.monotonic() + 20
        while not condition():
            if time.monotonic() > end:
                return False
            threading.Event().wait(0.01)
        return True

    return ask
