"""Ports on other hosts: the same questions and the same processes, over execnet.

`connected` gives the connection to a host, one for each as long as this process lives; the host
needs hil in the same version and a way in, ``ssh=USER@HOST`` or ``popen`` (execnet's words).
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hil.errors import RigError, UsageError
from hil.samples.clock_evidence import ONE_HOST, ClockEvidence
from hil.traffic.far_words import SILENT_NS, TICK_NS, boot, identity, packed, unpacked
from hil.traffic.port import Port
from hil.traffic.process import Process

if TYPE_CHECKING:
    from hil.traffic.exchange import RowRing

_ANSWER_S: Final = 15.0

# What the far interpreter is asked first. It must not need hil, which may be missing there.
_WHO: Final = """
import sys
try:
    from hil.traffic.far_words import identity
except ImportError as error:
    channel.send(("missing", sys.executable, str(error)))
else:
    channel.send(("hil", *identity()))
"""
_ANSWER: Final = "from hil.traffic.agent import answer; answer(channel)"
_RUN: Final = "from hil.traffic.agent import run; run(channel)"
_STAY: Final = "from hil.traffic.agent import stay; stay(channel)"
_QUIETLY: Final = "-o BatchMode=yes -o ConnectTimeout=10 -o ServerAliveInterval=5"


def shown(host: str) -> str:
    """A host in a sentence: what `ssh` is given, else the whole text."""
    if not host.startswith("ssh="):
        return f"'{host}'"
    return host.split("//", 1)[0].removeprefix("ssh=")


class Connection:
    """An interpreter on another host.

    Raises:
        UsageError: execnet is missing here, or hil is not the same there.
        RigError: the host does not let us in.
    """

    def __init__(self, host: str) -> None:
        self.host = host
        self._gateway = _gateway(host)
        try:
            kind, *found = self._first(_WHO)
        except (OSError, EOFError) as error:
            raise RigError(f"no Python answers at {shown(host)}: {error}") from None
        if kind == "missing":
            raise UsageError(
                f"{shown(host)} has no hil that works ({found[1]}; {found[0]}): install there the "
                f"same hil as here, or name the Python that has it, as in "
                f"'ssh=USER@HOST//python=/opt/hil/bin/python'"
            )
        version, digest, self.boot = found
        here = identity()
        if (version, digest) != here[:2]:
            raise UsageError(
                f"{shown(host)} has hil {version} ({digest}) and this host {here[0]} ({here[1]}): "
                f"install the same there"
            )
        threading.Thread(
            target=self._keep, args=(self._gateway.remote_exec(_STAY),), daemon=True
        ).start()

    @staticmethod
    def _keep(channel: Any) -> None:
        """Give signs of life for as long as the connection holds."""
        with contextlib.suppress(OSError):
            while True:
                channel.send(None)
                channel.gateway.execmodel.sleep(TICK_NS / 1e9)

    def _first(self, source: str) -> Any:
        channel = self._gateway.remote_exec(source)
        try:
            return channel.receive(timeout=_ANSWER_S)
        except channel.RemoteError as error:
            raise RigError(f"{shown(self.host)}: {str(error).strip().splitlines()[-1]}") from None

    def ask(self, name: str, /, *arguments: Any, **named: Any) -> Any:
        """The value of one of the agent's functions there.

        Raises: UsageError or RigError as the function does, and RigError where nobody answers.
        """
        try:
            channel = self._gateway.remote_exec(_ANSWER)
            channel.send((name, packed(arguments), packed(named)))
            kind, *found = channel.receive(timeout=_ANSWER_S)
        except (OSError, EOFError) as error:
            raise RigError(f"{shown(self.host)} answers no more: {error}") from None
        if kind == "error":
            raise (UsageError if found[1] else RigError)(f"{shown(self.host)}: {found[0]}")
        value = unpacked(found[0])
        return replace(value, host=self.host) if isinstance(value, Port) else value

    def channel(self) -> Any:
        """A channel to an agent that runs a process.

        Raises: RigError where the connection is gone.
        """
        try:
            return self._gateway.remote_exec(_RUN)
        except OSError as error:
            raise RigError(f"{shown(self.host)} answers no more: {error}") from None


def _gateway(host: str) -> Any:
    try:
        import execnet
    except ImportError:
        raise UsageError(
            f"a port at {shown(host)} needs execnet: pip install 'hil[remote]'"
        ) from None
    text = host.replace("ssh=", f"ssh={_QUIETLY} ", 1) if host.startswith("ssh=") else host
    try:
        with _deaf_children():
            return execnet.makegateway(text)
    except execnet.HostNotFound:
        raise RigError(
            f"{shown(host)} does not let us in: try `ssh {shown(host)}` by hand, which must ask "
            f"for nothing"
        ) from None
    except (OSError, EOFError, ValueError) as error:
        raise RigError(f"{shown(host)} cannot be started: {error}") from None


@contextlib.contextmanager
def _deaf_children() -> Iterator[None]:
    """Children made inside do not hear Ctrl-C at the terminal; it is this process's to act on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@functools.cache
def connected(host: str) -> Connection:
    """The connection to a host; raises as `Connection`."""
    return Connection(host)


def evidence(tx: Port, rx: Port) -> ClockEvidence:
    """What is known of the clocks of two ports: one kernel has one, of two nothing is known."""
    boots = {connected(port.host).boot if port.host else boot() for port in (tx, rx)}
    return ONE_HOST if len(boots) == 1 else ClockEvidence(kind="none")


class RemoteChild(Process):
    """A process of a port on another host; its rows go into a ring here, as they come.

    Args:
        connection: to the host.
        module: of the process.
        orders: its file; the arrays beside it go along.
        launcher: words put before its command there.
        ring: where its rows go.
    """

    def __init__(
        self,
        connection: Connection,
        module: str,
        orders: Path,
        launcher: Sequence[str],
        ring: RowRing,
    ) -> None:
        self.name = f"{module.rpartition('.')[2]} at {shown(connection.host)}"
        self._ring = ring
        self._queue: deque[Any] = deque()
        self._reading, self._writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._heard_ns = time.monotonic_ns()
        self._closed = False
        self._lock = threading.Lock()  # no writing to a descriptor that was closed
        self._channel = connection.channel()
        told = {
            "module": module,
            "orders": orders.read_text("utf-8"),
            "files": {path.name: path.read_bytes() for path in orders.parent.glob("*.npy")},
            "launcher": list(launcher),
            "rows": "sent" if module.endswith("sender") else "arrived",
            "capacity": ring.capacity,
        }
        self._say(told)
        self._channel.setcallback(self._came, endmarker=("end",))

    def _came(self, message: Any) -> None:
        """Called by execnet's thread."""
        self._queue.append(message)
        self._wake()

    def _wake(self) -> None:
        with self._lock, contextlib.suppress(BlockingIOError):  # full: it is awake
            if self._writing >= 0:
                os.write(self._writing, b".")

    @property
    def pid(self) -> None:
        """It has none here."""
        return

    @property
    def fileno(self) -> int:
        """The descriptor that becomes readable when something came."""
        return self._reading

    def clock(self) -> tuple[int, int]:
        """As `Process.clock`, of the other host."""
        self._say(("clock",))
        monotonic_ns, offset_ns = self.expect("clock")
        return int(monotonic_ns), int(offset_ns)

    def send(self, message: Mapping[str, Any]) -> None:
        """Say something to the process."""
        self._say(("line", json.dumps(message)))

    def _say(self, message: Any) -> None:
        with contextlib.suppress(OSError):  # a connection that is gone shows in `hear`
            self._channel.send(message)

    def hear(self, timeout_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """As `Process.hear`; RigError also where the connection is gone."""
        if not self._queue:
            select.select([self._reading], [], [], timeout_s)
        with contextlib.suppress(BlockingIOError):
            os.read(self._reading, 4096)
        if self._queue:
            self._heard_ns = time.monotonic_ns()
        while self._queue:
            message = self._queue.popleft()
            if message[0] == "rows" and not self._store(message[1]):
                break
            if (line := self._line(message)) is not None:
                if self._queue:
                    self._wake()
                yield line
        if self._closed or time.monotonic_ns() > self._heard_ns + SILENT_NS:
            raise RigError(
                f"the {self.name} is gone with its connection; the rows that had come are kept"
            )

    def _line(self, message: Any) -> dict[str, Any] | None:
        """The line that a message is; None for another one.

        Raises: UsageError or RigError where the message or its line reports a fault.
        """
        if message[0] == "error":
            raise (UsageError if message[2] else RigError)(f"{self.name}: {message[1]}")
        self._closed |= message[0] == "end"
        if message[0] != "line":
            return None
        line: dict[str, Any] = json.loads(message[1])
        self.refuse(line)
        return line

    def _store(self, content: bytes) -> bool:
        """Put rows into the ring; False where it has no room for all of them now."""
        rows = np.frombuffer(content, self._ring.rows.dtype)
        done = self._ring.append(rows)
        if done < len(rows):
            self._queue.appendleft(("rows", rows[done:].tobytes()))
            self._wake()
        return done == len(rows)

    def close(self) -> None:
        """End the channel, and so the process."""
        with contextlib.suppress(OSError):
            self._channel.close()
        with self._lock:
            os.close(self._writing)
            self._writing = -1
        os.close(self._reading)
