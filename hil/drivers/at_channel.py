"""One AT command port: a reading thread, one command at a time, events timed as they come in.

A late answer would be taken for the answer to the next command, and a modem keeps its answers when
the port is closed and opened again. Therefore a channel is out of step when it is new and after
each command that ran into its limit, and the next command first brings it back in step, or gives
the connection up.
"""

from __future__ import annotations

import contextlib
import itertools
import termios
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from hil.clock import Deadline
from hil.drivers import at, at_records
from hil.drivers.protocols import ModemEvent
from hil.drivers.transcript import Transcript
from hil.errors import ConnectFailed, ConnectionLost, DeviceError, DriverError, DriverTimeout
from hil.record.redaction import redact

if TYPE_CHECKING:
    import serial

_POLL_S: Final = 0.05
_WRITE_LIMIT_S: Final = 2.0
_PROBE_LIMIT_S: Final = 1.0
#: Ends a half-written line, and makes answers readable whatever was set before (V.250 clause 6.2).
_FRESH_LINE: Final = "\rATE0V1"
#: Read commands that every modem knows (TS 27.007 clauses 9.1, 10.1.9, 5.5) and this driver does
#: not use otherwise: their prefix tells their answer from every late one.
_PROBES: Final = ("AT+CMEE?", "AT+CGATT?", "AT+CSCS?")


def _faults() -> tuple[type[BaseException], ...]:
    """What pyserial lets through when a port misbehaves, on ttys and on socket:// alike."""
    import serial

    return (serial.SerialException, OSError, termios.error, TypeError, ValueError)


@dataclass
class _Exchange:
    """The command that is pending, and what came of it so far.

    A probe takes no result before its own answer, which its prefix shows.
    """

    expectation: at.Expectation
    probe: bool = False
    answer: list[str] = field(default_factory=list)
    result: str | None = None

    @property
    def takes_result(self) -> bool:
        """Whether a result that comes now is its own."""
        return self.result is None and (bool(self.answer) or not self.probe)


class AtChannel:
    """An AT port that is open from construction to `close`.

    Args:
        device: name of the device, for errors.
        port: a tty, or what pyserial takes as URL (``socket://host:port``).
        baudrate: of a real serial port; a USB or network one ignores it.
        unasked: prefixes and whole lines that the modem sends unasked.
        events: where events are kept; it may outlive the channel.
        transcript: where the dialogue is written down.
        resync_limit_ns: how long it may take to get back in step after a time-out.

    Raises:
        ConnectFailed: absent, refused, or held by another program.
    """

    def __init__(
        self,
        device: str,
        port: str,
        *,
        baudrate: int,
        unasked: frozenset[str],
        events: deque[ModemEvent],
        transcript: Transcript,
        resync_limit_ns: int,
    ) -> None:
        self._device = device
        self._resync_limit_ns = resync_limit_ns
        self._unasked = unasked
        self._transcript = transcript
        self._lock = threading.RLock()  # one command at a time
        self._changed = threading.Condition()  # guards all below
        self._pending: _Exchange | None = None
        self._in_step = False
        self._gone: str | None = None
        self._events = events
        self._serial = self._open(port, baudrate)
        self._reader = threading.Thread(target=self._read, name=f"{device} reader", daemon=True)
        self._reader.start()

    def _open(self, port: str, baudrate: int) -> serial.Serial:
        import serial

        # A second opener of a tty would steal half of the answers. On a URL the option means
        # nothing, and rfc2217:// knows no write time-out.
        options: dict[str, Any] = {} if "://" in port else {"exclusive": True}
        if not port.startswith("rfc2217://"):
            options["write_timeout"] = _WRITE_LIMIT_S
        try:
            return serial.serial_for_url(port, baudrate=baudrate, timeout=_POLL_S, **options)
        except _faults() as error:
            text = str(error)
            if "lock" in text:
                text = (
                    f"{port} is held by another program; if that is ModemManager, "
                    "`mmcli --inhibit-device=UID` makes it let go"
                )
            raise ConnectFailed(self._device, "open", text) from error

    def close(self) -> None:
        """Let go of the port; silent."""
        self._lose("closed by the driver")
        with contextlib.suppress(Exception):
            self._serial.cancel_read()
        if threading.current_thread() is not self._reader:
            self._reader.join(2 * _POLL_S + 1)
        with contextlib.suppress(Exception):
            self._serial.close()

    @property
    def alive(self) -> bool:
        """Whether the port was there the last time the reader looked."""
        return self._gone is None

    def command(
        self, text: str, *, timeout_s: float | None = None, prefix: str | None = None
    ) -> list[str]:
        """Send one command and return its information lines.

        Raises:
            DriverTimeout: no final result in time; the next command resynchronises first.
            ConnectionLost: the port is gone, or could not be resynchronised.
            DeviceError: the modem refused; code and text as TS 27.007 clause 9.2 names them.
        """
        limit_s = at.limit_s(text) if timeout_s is None else timeout_s
        with self._lock:
            if not self._in_step:
                self._resynchronise()
            exchange = self._exchange(text, limit_s, at.Expectation.of(text, prefix))
            if exchange.result is None:
                self._in_step = False
                got = f", after {exchange.answer}" if exchange.answer else ""
                raise self._error(DriverTimeout, text, f"no result in {limit_s:g} s{got}")
            if refused := at.refusal(exchange.result):
                code, words = refused
                tail = self._transcript.tail()
                raise DeviceError(self._device, redact(text), code, words, transcript=tail)
            return exchange.answer

    def wait_event(
        self, wanted: Callable[[ModemEvent], bool], since_ns: int, timeout_s: float
    ) -> ModemEvent | None:
        """The first wanted event from CLOCK_MONOTONIC `since_ns` on; None when the limit passed.

        Raises:
            ConnectionLost: the port went away while waiting.
        """

        def found() -> ModemEvent | None:
            recent = (e for e in self._events if e.monotonic_ns >= since_ns and wanted(e))
            return next(recent, None)

        with self._changed:
            self._changed.wait_for(lambda: found() or self._gone, timeout_s)
            if (event := found()) is None and self._gone:
                raise self._error(ConnectionLost, "wait for an event", self._gone)
            return event

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        tail = self._transcript.tail()
        return kind(self._device, redact(operation), redact(detail), transcript=tail)

    def _exchange(
        self, text: str, limit_s: float, expectation: at.Expectation, *, probe: bool = False
    ) -> _Exchange:
        """Send a line and wait for its result; ConnectionLost where the port goes away."""
        exchange = _Exchange(expectation, probe)
        with self._changed:
            self._pending = exchange
        try:
            self._write(text)
            with self._changed:
                self._changed.wait_for(lambda: exchange.result or self._gone, limit_s)
        finally:
            with self._changed:
                self._pending = None
        if exchange.result is None and self._gone:
            raise self._error(ConnectionLost, text, self._gone)
        return exchange

    def _write(self, text: str) -> None:
        if self._gone:
            raise self._error(ConnectionLost, text, self._gone)
        self._transcript.add(">", text)
        try:
            self._serial.write(text.encode("ascii", "replace") + b"\r")
        except _faults() as error:
            self._lose(str(error))
            raise self._error(ConnectionLost, text, str(error)) from error

    def _resynchronise(self) -> None:
        """Ask until the answer to the very last question has come.

        A modem answers in order, so by then everything that it owed before has come, too. Each
        question differs from the one before, whose answer may be late as well.
        """
        self._transcript.add("*", "bring question and answer in step")
        deadline = Deadline.after(self._resync_limit_ns)
        self._write(_FRESH_LINE)
        for probe in itertools.cycle(_PROBES):
            limit_s = min(_PROBE_LIMIT_S, deadline.left_s)
            exchange = self._exchange(probe, limit_s, at.Expectation.of(probe), probe=True)
            self._in_step = exchange.result is not None
            if self._in_step:
                return
            if deadline.passed:
                break
        self._lose(f"not back in step within {self._resync_limit_ns / 1e9:g} s")
        raise self._error(ConnectionLost, "resynchronise", str(self._gone))

    def _lose(self, why: str) -> None:
        with self._changed:
            if self._gone is None:
                self._gone = why
                self._transcript.add("*", why)
            self._changed.notify_all()

    def _read(self) -> None:
        lines = at.Lines()
        while self._gone is None:
            try:
                data = self._serial.read(1)
                if data:
                    # The time of the first byte: draining the rest takes a while.
                    t_ns, monotonic_ns = time.time_ns(), time.monotonic_ns()
                    data += self._serial.read(min(self._serial.in_waiting, 4096))
            except _faults() as error:
                self._lose(str(error) or type(error).__name__)
                return
            for line in lines.feed(data):
                self._transcript.add("<", line, t_ns)
                self._take(line, t_ns, monotonic_ns)

    def _take(self, line: str, t_ns: int, monotonic_ns: int) -> None:
        with self._changed:
            exchange = self._pending
            expectation = exchange.expectation if exchange else None
            kind = at.meaning(line, expectation, self._unasked)
            if kind is at.Meaning.EVENT:
                self._events.append(at_records.event(line, t_ns, monotonic_ns))
            elif exchange is not None and kind is at.Meaning.ANSWER:
                exchange.answer.append(line)
            elif exchange is not None and kind is at.Meaning.FINAL and exchange.takes_result:
                exchange.result = line
            self._changed.notify_all()
