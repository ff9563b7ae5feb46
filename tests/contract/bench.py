"""What a bench of the contract is made of: a relay that can do wrong, and what to ask a driver."""

from __future__ import annotations

import abc
import os
import select
import socket
import struct
import threading
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hil.drivers.protocols import Device
from hil.drivers.registry import Registry
from hil.virtual.endpoints.pty_port import PtyPort

LIMIT = "500 ms"
LIMIT_S = 0.5


class Relay(abc.ABC):
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

    @abc.abstractmethod
    def cut(self) -> None:
        """Break what is connected and take no new connection."""

    @abc.abstractmethod
    def mend(self) -> None:
        """Take connections again."""

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


class UdpRelay(Relay):
    """Datagrams are never cut up: noise comes as a datagram of its own."""

    def __init__(self, upstream: tuple[str, int]) -> None:
        super().__init__()
        self._upstream = upstream
        self._thread: threading.Thread | None = None
        self._ended = False
        self._waker, self._wakee = socket.socketpair()
        self.port = free_port()
        self.mend()

    def hold(self) -> None:
        super().hold()
        self._waker.send(b"x")

    def release(self) -> None:
        super().release()
        self._waker.send(b"x")

    def mend(self) -> None:
        if self._thread is not None:
            return
        self._ended = False
        front = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        front.bind(("127.0.0.1", self.port))
        back = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        back.connect(self._upstream)
        self._thread = threading.Thread(target=self._pump, args=(front, back), daemon=True)
        self._thread.start()

    def cut(self) -> None:
        if self._thread is not None:
            self._ended = True
            self._waker.send(b"x")
            self._thread.join()  # only then is the port free
            self._thread = None

    def close(self) -> None:
        super().close()
        self._waker.close()
        self._wakee.close()

    def _pump(self, front: socket.socket, back: socket.socket) -> None:
        peer: Any = None
        with front, back:
            while True:
                watched = [self._wakee] if self._held else [self._wakee, front, back]
                ready = select.select(watched, [], [])[0]
                if self._wakee in ready:
                    self._wakee.recv(64)
                elif front in ready:
                    question, peer = front.recvfrom(65536)
                    if not self.lose:
                        back.send(question)
                else:
                    answer = back.recv(65536)
                    for datagram in (self.noise, answer):
                        if datagram:
                            front.sendto(datagram, peer)
                if self._ended:
                    return


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


def create(registry: Registry, name: str, driver: str, **fields: Any) -> Any:
    model = registry.config(driver)
    return registry.create(name, model.model_validate({"driver": driver, **fields}))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
