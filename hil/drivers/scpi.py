"""A SCPI instrument by VISA: one message, one answer, and errors that say whose they are.

Works around what pyvisa-py does on a plain socket: opening a refused port succeeds, Nagle's
algorithm stays on, a peer that closed looks like a time-out at full load of a core, and an answer
that comes after the time-out is handed to the next query. With another VISA the same code runs
without those remedies.
"""

from __future__ import annotations

import contextlib
import re
import select
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from hil.drivers.protocols import Health, HealthReport, Identity
from hil.drivers.transcript import Transcript
from hil.errors import (
    ConnectFailed,
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    ProtocolViolation,
    UnsafeOperation,
)

if TYPE_CHECKING:
    from pyvisa.resources import MessageBasedResource

_ERROR: Final = re.compile(r'\s*([+-]?\d+)\s*(?:,\s*"?(.*?)"?\s*)?', re.S)
_UNIT: Final = re.compile(r"""(?:[^;"']|"[^"]*"?|'[^']*'?)+""")
_QUEUE_LIMIT: Final = 50  # a queue that never empties is broken
ERROR_QUERY: Final = "SYST:ERR?"


def parse_error(answer: str) -> tuple[int, str] | None:
    """Code and text of an answer to SYSTem:ERRor?; None when it is none (SCPI-1999 21.8)."""
    match = _ERROR.fullmatch(answer)
    return (int(match[1]), match[2] or "") if match else None


def parse_number(answer: str) -> float | None:
    """A decimal number, with or without a unit behind it; None when it is none."""
    match = re.fullmatch(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*[A-Za-z]*\s*", answer)
    return float(match[1]) if match else None


def units(message: str) -> list[str]:
    """The units of a message, parted by ``;`` outside of quotes (IEEE 488.2 clause 7.3)."""
    return [unit.strip() for unit in _UNIT.findall(message) if unit.strip()]


def is_query(unit: str) -> bool:
    """Whether the header, the word before any parameter, ends as that of a query."""
    return unit.split(None, 1)[0].endswith("?")


def asks_only(message: str) -> bool:
    """Whether a message of one line holds queries and nothing else."""
    found = units(message)
    return message.isprintable() and bool(found) and all(is_query(unit) for unit in found)


class ScpiSession:
    """A session with one instrument; opens again by itself after a loss.

    Args:
        device: name of the device, for errors.
        resource: VISA resource name, as in ``TCPIP0::192.0.2.7::5025::SOCKET``.
        library: VISA to use, as pyvisa names it; ``@py`` is pyvisa-py.
        limit_s: how long a connection or an answer may take.
        transcript: where the dialogue is written down.
    """

    def __init__(
        self, device: str, resource: str, *, library: str, limit_s: float, transcript: Transcript
    ) -> None:
        self._device = device
        self._resource = resource
        self._library = library
        self._limit_s = limit_s
        self._transcript = transcript
        self._lock = threading.RLock()
        self._instrument: MessageBasedResource | None = None

    def open(self) -> str:
        """Connect and ask who is there, the only proof of life; what ``*IDN?`` gave.

        Raises:
            ConnectFailed: refused, absent, or no answer in time.
        """
        with self._lock:
            if self._instrument is None:
                self._instrument = self._connect()
            try:
                identity = self._ask("*IDN?")
                # Errors that somebody left behind are not ours, and service requests break
                # pyvisa-py's HiSLIP. The query makes sure that it is done when this returns.
                self._ask(f"*CLS;*SRE 0;:{ERROR_QUERY}")
            except DriverError as error:
                self.close()
                raise self._error(ConnectFailed, "open", error.detail) from error
            return identity

    def close(self) -> None:
        """Let go of the instrument; silent."""
        with self._lock:
            instrument, self._instrument = self._instrument, None
            if instrument is not None:
                with contextlib.suppress(Exception):
                    instrument.close()

    def query(self, message: str) -> str:
        """Send one message, return its one answer.

        Raises:
            DriverTimeout: no answer in time; the session was dropped.
            ConnectionLost: the peer is gone.
            ConnectFailed: it was lost before and cannot be opened again.
        """
        with self._lock:
            if self._instrument is None:
                self.open()
            return self._ask(message)

    def question(self, message: str) -> str:
        """A query as `query` sends it, for those whose settings have a guard of their own.

        Raises:
            UnsafeOperation: the message holds a command; nothing was sent.
        """
        if not asks_only(message):
            raise UnsafeOperation(f"{self._device}: {message!r} holds a command, queries only pass")
        return self.query(message)

    def command(self, message: str) -> None:
        """Send a command and its check as one message.

        Raises:
            DeviceError: the first entry of the error queue; the queue is empty afterwards.
        """
        with self._lock:
            first = self._checked(self.query(f"{message};:{ERROR_QUERY}"), message)
            if first is None:
                return
            self.errors()
            tail = self._transcript.tail()
            raise DeviceError(self._device, message, first[0], first[1], transcript=tail)

    def errors(self) -> tuple[tuple[int, str], ...]:
        """Empty the instrument's error queue."""
        found: list[tuple[int, str]] = []
        while len(found) < _QUEUE_LIMIT:
            entry = self._checked(self.query(ERROR_QUERY), ERROR_QUERY)
            if entry is None:
                return tuple(found)
            found.append(entry)
        raise self._error(ProtocolViolation, ERROR_QUERY, f"still errors after {_QUEUE_LIMIT}")

    def number(self, message: str) -> float:
        """The number that a query gives."""
        answer = self.query(message)
        value = parse_number(answer)
        if value is None:
            raise self._error(ProtocolViolation, message, f"{answer!r} is no number")
        return value

    def identify(self) -> Identity:
        """What ``*IDN?`` says (IEEE 488.2 clause 10.14: four fields, 0 where unknown)."""
        fields = [text.strip() for text in self.query("*IDN?").split(",", 3)]
        known = [text if text not in ("", "0") else None for text in fields] + [None] * 4
        return Identity(vendor=known[0], model=known[1], serial=known[2], firmware=known[3])

    def health(self) -> HealthReport:
        """Whether it answers; errors that wait in its queue make it degraded."""
        start = time.monotonic_ns()
        try:
            self.query("*IDN?")
            took = time.monotonic_ns() - start
            errors = self.errors()
        except DriverError as error:
            return HealthReport(Health.DEAD, str(error), None)
        if errors:
            return HealthReport(Health.DEGRADED, f"error queue held {errors}", took)
        return HealthReport(Health.OK, "answers, no errors", took)

    def _checked(self, answer: str, message: str) -> tuple[int, str] | None:
        """An entry of the queue; None for "no error"."""
        entry = parse_error(answer)
        if entry is None:
            raise self._error(ProtocolViolation, message, f"{answer!r} is no error entry")
        return entry if entry[0] else None

    def _connect(self) -> MessageBasedResource:
        import pyvisa

        try:
            instrument: Any = pyvisa.ResourceManager(self._library).open_resource(
                self._resource,
                open_timeout=round(self._limit_s * 1000),
                read_termination="\n",
                write_termination="\n",
                timeout=round(self._limit_s * 1000),
            )
        except Exception as error:  # pyvisa-py raises plain Exception here
            raise self._error(ConnectFailed, "open", f"{self._resource}: {error}") from error
        if (plain := _plain_socket(instrument)) is not None:
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return instrument  # type: ignore[no-any-return]

    def _ask(self, message: str) -> str:
        self._send(message)
        instrument = self._instrument
        assert instrument is not None
        import pyvisa

        try:
            self._await_answer(instrument)
            answer = instrument.read().strip()
        except (pyvisa.errors.Error, OSError, RuntimeError, EOFError, UnicodeError) as error:
            self.close()  # its answer may still come, and would be taken for the next one
            late = pyvisa.constants.StatusCode.error_timeout
            if isinstance(error, TimeoutError) or getattr(error, "error_code", None) == late:
                detail = f"no answer in {self._limit_s:g} s"
                raise self._error(DriverTimeout, message, detail) from error
            raise self._error(ConnectionLost, message, str(error)) from error
        self._transcript.add("<", answer)
        return answer

    def _send(self, message: str) -> None:
        import pyvisa

        self._transcript.add(">", message)
        assert self._instrument is not None
        try:
            self._instrument.write(message)
        except (pyvisa.errors.Error, OSError, RuntimeError, EOFError) as error:
            self.close()
            raise self._error(ConnectionLost, message, str(error)) from error

    def _await_answer(self, instrument: MessageBasedResource) -> None:
        """On a plain socket wait without load, and see at once when the peer has closed."""
        plain = _plain_socket(instrument)
        if plain is None:
            return
        readable, _, _ = select.select([plain], [], [], self._limit_s)
        if not readable:
            raise TimeoutError
        if plain.recv(1, socket.MSG_PEEK) == b"":
            raise EOFError("the peer closed the connection")

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self._device, operation, detail, transcript=self._transcript.tail())


def _plain_socket(instrument: Any) -> socket.socket | None:
    """The TCP socket of a SOCKET resource of pyvisa-py; None for anything else."""
    sessions = getattr(instrument.visalib, "sessions", None)
    session = sessions.get(instrument.session) if isinstance(sessions, dict) else None
    interface = getattr(session, "interface", None)
    return interface if isinstance(interface, socket.socket) else None
