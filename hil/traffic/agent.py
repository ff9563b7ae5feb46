"""The far side of a remote port: answers questions about ports, and runs a port's process.

Executed by execnet in an interpreter on the host of the port, one call for each question and each
process; `hil.traffic.remote` is the near side. A process started here ends with the connection,
and with this interpreter, which does not outlive the silence of the near side.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import time
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hil.errors import HilError, UsageError
from hil.samples.table import ARRIVED, SEND_FAILED, SENT, taken
from hil.traffic import neighbour, orders, port
from hil.traffic.exchange import RowRing
from hil.traffic.far_words import SILENT_NS, TICK_NS, packed, unpacked
from hil.traffic.process import Child
from hil.traffic.watch import realtime_offset_ns

_QUESTIONS: Final[dict[str, Callable[..., Any]]] = {
    "resolve_port": port.resolve_port,
    "next_hop": port.next_hop,
    "neighbour_mac": neighbour.neighbour_mac,
    "free_udp_port": orders.free_udp_port,
}
_ROWS: Final = {"sent": SENT, "arrived": ARRIVED}
_SETTLED_NS: Final = 500_000_000  # after which a sent row has its stamp, if it ever gets one
_LOOK_S: Final = 0.05
_MOST_ROWS: Final = 1 << 14  # in one message


def answer(channel: Any) -> None:
    """Answer one question: a function's name and arguments come, its value goes back."""
    name, arguments, named = channel.receive()
    try:
        value = _QUESTIONS[name](*unpacked(arguments), **unpacked(named))
    except (HilError, OSError) as error:
        channel.send(("error", str(error), isinstance(error, UsageError)))
    else:
        channel.send(("value", packed(value)))


def stay(channel: Any) -> None:
    """End this interpreter, and with it its children, once the near side is silent.

    A connection whose cable was pulled ends on its own only after hours.
    """
    with contextlib.suppress(EOFError):  # the connection ended in order, and so will this
        while True:
            try:
                channel.receive(SILENT_NS / 1e9)
            except channel.TimeoutError:
                os._exit(1)


def run(channel: Any) -> None:
    """Run one process of a port: its orders come, then lines both ways and its rows."""
    told = channel.receive()
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    heard: deque[Any] = deque()

    def hear(message: Any) -> None:
        heard.append(message)
        with contextlib.suppress(BlockingIOError):
            os.write(writing, b".")

    channel.setcallback(hear, endmarker=None)
    try:
        room = sum(len(each) for each in told["files"].values())
        width = _ROWS[told["rows"]].itemsize
        with orders.private_directory(room + told["capacity"] * width + (1 << 20)) as directory:
            path = _written(directory, told)
            ring = RowRing.create(directory / told["rows"], _ROWS[told["rows"]], told["capacity"])
            served = _Served(channel, ring, told["rows"])
            child = Child(told["module"], path, told["launcher"])
            with contextlib.closing(child):
                served.all(child, heard, reading)
    except (HilError, OSError) as error:
        with contextlib.suppress(OSError):
            channel.send(("error", str(error), isinstance(error, UsageError)))
    finally:
        os.close(reading)
        os.close(writing)


def _written(directory: Path, told: Mapping[str, Any]) -> Path:
    """The files of a process, in `directory`; returns its orders."""
    for name, content in told["files"].items():
        (directory / Path(name).name).write_bytes(content)
    own = json.loads(told["orders"])
    own |= {
        "directory": str(directory),
        "parent": None if told["launcher"] else os.getpid(),
        "capacity": told["capacity"],
    }
    path = directory / "orders.json"
    path.write_text(json.dumps(own))
    return path


class _Served:
    """What goes between a process here and the near side."""

    def __init__(self, channel: Any, ring: RowRing, kind: str) -> None:
        self._channel, self._ring = channel, ring
        self._stamped = kind == "sent"
        self._published: deque[tuple[int, int]] = deque()
        self._told_ns = time.monotonic_ns()

    def all(self, child: Child, heard: deque[Any], reading: int) -> None:
        """Pass everything on until the near side is gone or wants no more."""
        while True:
            select.select([child.fileno, reading], [], [], _LOOK_S)
            with contextlib.suppress(BlockingIOError):
                os.read(reading, 4096)
            while heard:
                message = heard.popleft()
                if message is None:
                    return
                self._obey(child, message)
            for line in child.hear():
                self._take(everything="done" in line)
                self._channel.send(("line", json.dumps(line)))
            self._take(everything=False)
            if (now := time.monotonic_ns()) > self._told_ns + TICK_NS:
                self._told_ns = now
                self._channel.send(("tick",))

    def _obey(self, child: Child, message: tuple[Any, ...]) -> None:
        if message[0] == "clock":
            times = {"clock": [time.monotonic_ns(), realtime_offset_ns()]}
            self._channel.send(("line", json.dumps(times)))
        elif message[0] == "line":
            child.send(json.loads(message[1]))

    def _take(self, *, everything: bool) -> None:
        """Send home the rows that are complete; a sent row waits for its stamp a while."""
        ring, now = self._ring, time.monotonic_ns()
        written = settled = ring.written
        if self._stamped and not everything:
            self._published.append((now, written))
            settled = ring.consumed
            while self._published and self._published[0][0] <= now - _SETTLED_NS:
                settled = max(settled, self._published.popleft()[1])
            waiting = ring.peek(settled, written)
            ready = taken(waiting["tx_kernel_ns"]) | ((waiting["flags"] & SEND_FAILED) != 0)
            settled += len(ready) if ready.all() else int(ready.argmin())
        while ring.consumed < settled:
            rows = ring.take(min(settled, ring.consumed + _MOST_ROWS))
            self._channel.send(("rows", rows.tobytes()))
