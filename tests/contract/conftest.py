"""One bench per driver: a real endpoint, a relay in front of it that can do wrong, the driver.

The suite beside this file asks the same of every driver; what differs between them is said here.
"""

from __future__ import annotations

import os
import select
import socket
import struct
import threading
import time
import tomllib
import tty
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.protocols import Device
from hil.drivers.registry import GROUP, Registry
from hil.testbed import AttenuatorEndpoint, ModemEndpoint, PlcEndpoint, RadioConfig, World
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.attenuator import AntennaCables, Attenuator
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.plc import Plc
from hil.virtual.endpoints.pty_port import PtyPort

ROOT = Path(__file__).parents[2]
LIMIT = "500 ms"
LIMIT_S = 0.5


class Relay:
    """Passes bytes between a driver and an endpoint, and does wrong when told to.

    `fragment`: answers come a byte at a time. `noise`: bytes put before each answer. `lose`:
    questions never arrive.
    """

    def __init__(self) -> None:
        self.fragment = False
        self.noise = b""
        self.lose = False
        self._open = threading.Condition()
        self._held = False

    def hold(self) -> None:
        """From now on nothing passes; what comes is kept."""
        with self._open:
            self._held = True

    def release(self) -> None:
        """Let everything pass, first what was kept."""
        with self._open:
            self._held = False
            self._open.notify_all()

    def cut(self) -> None:
        """Break what is connected and take no new connection."""
        raise NotImplementedError

    def mend(self) -> None:
        """Take connections again."""
        raise NotImplementedError

    def close(self) -> None:
        self.release()
        self.cut()

    def pass_on(self, data: bytes, send: Callable[[bytes], object], *, answer: bool) -> None:
        with self._open:
            self._open.wait_for(lambda: not self._held)
        if self.lose and not answer:
            return
        if answer:
            data = self.noise + data
        pieces = [data[i : i + 1] for i in range(len(data))] if answer and self.fragment else [data]
        for piece in pieces:
            send(piece)


class TcpRelay(Relay):
    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__()
        self._upstream = upstream
        self._ends: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.mend()

    def mend(self) -> None:
        if self._listener.fileno() < 0:
            self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start(self._accept, self._listener)

    def cut(self) -> None:
        # close alone does not free a port that another thread accepts on
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for end in self._ends:
            with suppress(OSError):
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.shutdown(socket.SHUT_RDWR)
        self._ends.clear()

    def close(self) -> None:
        super().close()
        for thread in self._threads:
            thread.join()

    def _start(self, target: Callable[..., None], *arguments: Any) -> threading.Thread:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()
        return thread

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                self._start(self._serve, listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._upstream) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._ends.append(end)
            back = self._start(self._pump, server, client, True)
            self._pump(client, server, False)
            back.join()

    def _pump(self, source: socket.socket, sink: socket.socket, answer: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.pass_on(data, sink.sendall, answer=answer)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


class TtyRelay(Relay):
    def __init__(self, upstream: Path, link: Path) -> None:
        super().__init__()
        self._modem = os.open(upstream, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self._modem)
        self._client = PtyPort(link)
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.mend()
        self._threads = [
            threading.Thread(target=pump, daemon=True) for pump in (self._to_modem, self._to_client)
        ]
        for thread in self._threads:
            thread.start()

    def mend(self) -> None:
        with self._lock:
            if not self._client.plugged:
                self._client.plug()

    def cut(self) -> None:
        with self._lock:
            self._client.unplug()

    def close(self) -> None:
        self._ended.set()
        super().close()
        for thread in self._threads:
            thread.join()
        os.close(self._modem)

    def say(self, data: bytes) -> None:
        """Something the modem says by itself."""
        self._send(data)

    def _send(self, data: bytes) -> None:
        with self._lock:
            if self._client.plugged:
                self._client.write(data)

    def _to_modem(self) -> None:
        while not self._ended.is_set():
            with self._lock:
                plugged = self._client.plugged
                data = self._client.read() if plugged else b""
            if data:
                self.pass_on(data, lambda piece: os.write(self._modem, piece), answer=False)
            else:
                self._ended.wait(0.002)

    def _to_client(self) -> None:
        while not self._ended.is_set():
            if select.select([self._modem], [], [], 0.05)[0]:
                self.pass_on(os.read(self._modem, 4096), self._send, answer=True)


@dataclass
class Bench:
    """What the suite needs to know of one driver; `driver` is new and not yet open."""

    driver: Any
    relay: Any
    dead: Device
    """The same driver, where nothing lives."""

    ask: Callable[[Any], object]
    ask_other: Callable[[Any], object]
    """Two harmless questions with different answers that stay the same."""

    refuse: Callable[[Any], object]
    """Something the device itself refuses."""

    refusal: tuple[int | None, str]
    change: Callable[[Any], object]
    """Changes a setting that a snapshot holds."""

    safe: Callable[[Any], bool]
    """Whether the device is in its safe state."""

    noise: bytes = b""
    """What may come before an answer on such a line."""

    unsafe: tuple[Callable[[Any], object], ...] = ()
    """What the driver's own guard refuses."""

    extra: dict[str, Any] = field(default_factory=dict)


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


def _create(registry: Registry, name: str, driver: str, **fields: Any) -> Any:
    model = registry.config(driver)
    return registry.create(name, model.model_validate({"driver": driver, **fields}))


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
        made = _create(registry, "cpe1", "modem_at", port=str(port), **options)
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
        made = _create(
            registry, "plc1", "plc_modbus", host="127.0.0.1", port=port, limit=LIMIT, tags=TAGS
        )
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(_free_port()),
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
        made = _create(registry, "att1", "attenuator_scpi", resource=resource, **options)
        stack.callback(made.close)
        return made

    return Bench(
        driver=driver(relay.port),
        relay=relay,
        dead=driver(_free_port()),
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
        ),
        extra={"driver": driver, "address": attenuator.address, "coupling": coupling},
    )


@pytest.fixture(params=["modem", "plc", "attenuator"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """The bench of each driver in turn."""
    found: Bench = request.getfixturevalue(f"{request.param}_bench")
    return found


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


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
