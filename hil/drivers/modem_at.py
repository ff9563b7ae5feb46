"""A 5G modem or CPE by its AT command port (TS 27.007), with the records of its make."""

from __future__ import annotations

import contextlib
import os
import statistics
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from hil.clock import SYSTEM, Clock, Deadline
from hil.document import Duration
from hil.drivers import at, at_records
from hil.drivers.at_channel import AtChannel
from hil.drivers.at_dialect import DIALECTS
from hil.drivers.protocols import (
    EventKind,
    Health,
    HealthReport,
    Identity,
    ModemEvent,
    PduSession,
    RadioSample,
    Rat,
    Registration,
    SettledRsrp,
)
from hil.drivers.transcript import Transcript
from hil.errors import (
    ConnectFailed,
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    ProtocolViolation,
    Unsupported,
)
from hil.record import redaction
from hil.testbed import DeviceConfig, Secret

_SIM_BUSY: Final = 14
_SIM_PIN_REQUIRED: Final = 11
_SIM_LIMIT_S: Final = 10.0
_PROOF_OF_LIFE_S: Final = 2.0
_PACE_S: Final = 0.1  # between two looks at something that announces nothing
_EVENTS_KEPT: Final = 4096
#: A reading is repeated this often, and has settled when the later half of the last ones is within
#: half a decibel of the earlier half.
_RSRP_PERIOD_S: Final = 0.25
_RSRP_READINGS: Final = 8
_RSRP_DRIFT_DB: Final = 0.5
_RSRP_RESOLUTION_DB: Final = 1.0


class ModemConfig(DeviceConfig):
    """An AT modem in the testbed file."""

    driver: Literal["modem_at"]

    port: str
    """The tty (best a link in /dev/serial/by-id), or ``socket://HOST:PORT`` of a serial server."""

    dialect: Literal["quectel"] = "quectel"
    """Whose records the modem sends."""

    baudrate: int = 115200
    """Of a real serial port; USB ignores it."""

    pin: Secret | None = None
    """PIN of the SIM; given only when the modem asks for one."""

    command_limit_ns: Duration = 3_000_000_000
    """How long a short command may take; network operations have limits of their own."""

    resync_limit_ns: Duration = 5_000_000_000
    """How long it may take after a time-out until question and answer are in step again."""


class ModemAt:
    """Implements `hil.drivers.protocols.Modem`."""

    Config: ClassVar[type[DeviceConfig]] = ModemConfig
    role: ClassVar[str] = "cpe"

    def __init__(self, name: str, config: ModemConfig, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self._config = config
        self._dialect = DIALECTS[config.dialect]
        self._clock = clock
        self._transcript = Transcript()
        self._events: deque[ModemEvent] = deque(maxlen=_EVENTS_KEPT)
        self._lock = threading.RLock()
        self._channel: AtChannel | None = None
        self._opened = False
        self._pin_refused = False

    # ---------------------------------------------------------------- connection

    def open(self) -> None:
        """Open the port, prove that a modem answers, and set it up; see `Device.open`."""
        with self._lock:
            if not (self._channel and self._channel.alive):
                self._connect()
            self._opened = True

    def close(self) -> None:
        """See `Device.close`."""
        with self._lock:
            self._opened = False
            self._drop()

    def _drop(self) -> None:
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def _connect(self) -> None:
        self._drop()
        channel = AtChannel(
            self.name,
            self._config.port,
            baudrate=self._config.baudrate,
            unasked=self._dialect.unasked,
            events=self._events,
            transcript=self._transcript,
            resync_limit_ns=self._config.resync_limit_ns,
        )
        try:
            self._prove(channel)
            for command in self._dialect.setup:
                with contextlib.suppress(DeviceError):
                    channel.command(command)
            self._unlock(channel)
        except BaseException:
            channel.close()
            raise
        self._channel = channel

    def _prove(self, channel: AtChannel) -> None:
        """The proof of life: question and answer come in step."""
        try:
            channel.command("AT", timeout_s=_PROOF_OF_LIFE_S)
        except (DriverTimeout, ConnectionLost) as error:
            detail = f"nothing on {self._config.port} answers AT: {error.detail}"
            raise ConnectFailed(self.name, "open", detail, transcript=error.transcript) from error

    def _unlock(self, channel: AtChannel) -> None:
        """Give the PIN if it is asked for; a SIM that is still busy gets its time."""
        deadline = Deadline.after(int(_SIM_LIMIT_S * 1e9), self._clock)
        while True:
            try:
                answer = channel.command("AT+CPIN?")
            except DeviceError as error:
                if error.code == _SIM_BUSY and not deadline.passed:
                    self._clock.sleep_ns(int(_PACE_S * 1e9))
                    continue
                if error.code != _SIM_PIN_REQUIRED:
                    return  # no SIM, or none that can be asked: registration will tell
                answer = ["+CPIN: SIM PIN"]
            if any("SIM PIN" in line for line in answer) and self._config.pin is not None:
                pin = self._config.pin.reveal()
                redaction.register(pin)
                self._give(pin, channel)
            return

    def _give(self, pin: str, channel: AtChannel) -> None:
        """Give the PIN, but never again once it was refused: three wrong ones lock a SIM."""
        if self._pin_refused:
            raise ConnectFailed(self.name, "open", "the SIM refused the PIN before")
        try:
            channel.command(f'AT+CPIN="{pin}"')
        except DeviceError as error:
            self._pin_refused = True
            detail = f"the SIM refused the PIN: {error.detail}"
            raise ConnectFailed(self.name, "open", detail, transcript=error.transcript) from error

    def _alive(self) -> AtChannel:
        """The channel, connected anew where it was lost since `open`."""
        with self._lock:
            if self._channel is not None and self._channel.alive:
                return self._channel
            if not self._opened:
                raise ConnectFailed(self.name, "command", "the device is not open")
            self._connect()
            assert self._channel is not None
            return self._channel

    # ---------------------------------------------------------------- what every device does

    def command(
        self, text: str, *, timeout_s: float | None = None, prefix: str | None = None
    ) -> Sequence[str]:
        """See `Modem.command`; raises as `AtChannel.command` does."""
        limit_s = timeout_s
        short_s = self._config.command_limit_ns / 1e9
        if limit_s is None and not _is_slow(text):
            limit_s = short_s
        return self._alive().command(text, timeout_s=limit_s, prefix=prefix)

    def identify(self) -> Identity:
        """See `Device.identify`; the serial number is the IMEI."""
        return Identity(
            vendor=self._bare("AT+CGMI"),
            model=self._bare("AT+CGMM"),
            firmware=self._bare("AT+CGMR"),
            serial=self._bare("AT+CGSN"),
        )

    def _bare(self, command: str) -> str | None:
        """One line of text, with or without its prefix and quotes; None where it is refused."""
        lines = self._optional(command)
        text = lines[0].split(":", 1)[-1].strip().strip('"') if lines else ""
        return text or None

    def _optional(self, command: str) -> Sequence[str]:
        try:
            return self.command(command)
        except DeviceError:
            return ()

    def health(self) -> HealthReport:
        """See `Device.health`; registered is ok, an answer without registration is degraded."""
        start = time.monotonic_ns()
        try:
            self.command("AT", timeout_s=_PROOF_OF_LIFE_S)
            took = time.monotonic_ns() - start
            stat = self.registration()
        except DriverError as error:
            return HealthReport(Health.DEAD, str(error), None)
        status = Health.OK if stat.registered else Health.DEGRADED
        return HealthReport(status, stat.stat.name.lower(), took)

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"native-events", "raw-commands", self._dialect.name})

    def snapshot(self) -> Mapping[str, Any]:
        """Radio on or off, and which sessions are active."""
        active = [session.cid for session in self.sessions() if session.active]
        return {"radio_on": self._functionality() == 1, "active": active}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`; waits for the registration that sessions need."""
        if (self._functionality() == 1) != state["radio_on"]:
            self.radio_on(state["radio_on"])
        if not state["radio_on"]:
            return
        if state["active"]:
            self.wait_registered()
        for session in self.sessions():
            wanted = session.cid in state["active"]
            if wanted and not session.active:
                self.activate(session.cid)
            elif session.active and not wanted:
                self.deactivate(session.cid)

    def safe_state(self) -> None:
        """Nothing: a CPE harms nobody in any state, and one that was cut off stays visible."""

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)

    # ---------------------------------------------------------------- registration and radio

    def registration(self) -> Registration:
        """See `Cpe.registration`; LTE and EN-DC are told by +COPS where +C5GREG knows nothing."""
        answer = self.command("AT+C5GREG?")
        plmn, rat = at_records.operator(self._optional("AT+COPS?"))
        found = at_records.registration(answer[0], plmn) if answer else None
        if found is None:
            raise ProtocolViolation(
                self.name, "registration", f"AT+C5GREG? gave {answer}", transcript=self._tail()
            )
        if not found.registered and rat in (Rat.LTE, Rat.ENDC):
            lte = self._optional("AT+CEREG?")
            other = at_records.registration(lte[0], plmn) if lte else None
            if other is not None and other.registered:
                return other
        return found

    def _tail(self) -> Sequence[str]:
        return self._transcript.tail()

    def radio(self) -> RadioSample:
        """See `Cpe.radio`; the make's own record, or +CESQ where it has none."""
        answer = self._optional(self._dialect.serving_cell)
        sample = at_records.serving_cell(answer, self._dialect, self._clock.realtime_ns())
        if sample is None:
            answer = self._optional("AT+CESQ")
            sample = at_records.signal_quality(answer, self._clock.realtime_ns())
        if sample is None:
            raise Unsupported(self.name, "radio", "neither its own record nor +CESQ has NR values")
        return sample

    def settled_rsrp(self, *, timeout_s: float = 20.0) -> SettledRsrp:
        """See `Cpe.settled_rsrp`; eight readings a quarter of a second apart that show no drift."""
        deadline = Deadline.after(int(timeout_s * 1e9), self._clock)
        recent: deque[tuple[int, float]] = deque(maxlen=_RSRP_READINGS)
        while not deadline.passed:
            sample = self.radio()
            if sample.rsrp_dbm is None:
                recent.clear()
            else:
                recent.append((sample.t_ns, sample.rsrp_dbm))
            if len(recent) == _RSRP_READINGS:
                values = [value for _, value in recent]
                half = _RSRP_READINGS // 2
                drift = statistics.fmean(values[half:]) - statistics.fmean(values[:half])
                if abs(drift) <= _RSRP_DRIFT_DB:
                    return _settled(values, recent[-1][0] - recent[0][0])
            self._clock.sleep_ns(int(_RSRP_PERIOD_S * 1e9))
        last = f"last readings {[value for _, value in recent]}" if recent else "RSRP is unknown"
        detail = f"RSRP did not settle in {timeout_s:g} s; {last}"
        raise DriverTimeout(self.name, "settled_rsrp", detail, transcript=self._tail())

    def radio_on(self, on: bool, *, timeout_s: float = 20.0) -> None:
        """See `Cpe.radio_on` (AT+CFUN, TS 27.007 clause 8.2: 1 full, 4 flight mode)."""
        self.command(f"AT+CFUN={1 if on else 4}", timeout_s=timeout_s)

    def _functionality(self) -> int | None:
        answer = self.command("AT+CFUN?")
        return at_records.whole(answer[0].rpartition(":")[2].strip()) if answer else None

    def reboot(self, *, timeout_s: float = 120.0) -> int:
        """See `Cpe.reboot`; AT+CFUN=1,1, then the port hangs up and comes back."""
        start = time.monotonic_ns()
        deadline = Deadline.after(int(timeout_s * 1e9))
        channel = self._alive()
        with contextlib.suppress(ConnectionLost):
            channel.command("AT+CFUN=1,1")
            # A modem behind a serial server keeps the connection; its boot message tells instead.
            channel.wait_event(lambda event: event.kind == "boot", start, deadline.left_s)
        error: DriverError | None = None
        while not deadline.passed:
            if "://" in self._config.port or os.path.exists(self._config.port):
                try:
                    with self._lock:
                        self._connect()
                    return time.monotonic_ns() - start
                except DriverError as refused:
                    error = refused
            self._clock.sleep_ns(int(_PACE_S * 1e9))
        detail = f"does not answer {timeout_s:g} s after a reboot: {error or 'the port is absent'}"
        raise DriverTimeout(self.name, "reboot", detail, transcript=self._tail())

    def wait_registered(self, *, rat: Rat | None = None, timeout_s: float = 120.0) -> Registration:
        """See `Cpe.wait_registered`; woken by +C5GREG events, and looks every 5 s besides."""
        deadline = Deadline.after(int(timeout_s * 1e9))
        while True:
            since_ns = time.monotonic_ns()
            found = self.registration()
            if found.registered and rat in (None, found.rat):
                return found
            if deadline.passed:
                detail = f"{found.stat.name.lower()} on {found.rat} after {timeout_s:g} s"
                raise DriverTimeout(self.name, "wait_registered", detail, transcript=self._tail())
            self._alive().wait_event(
                lambda event: event.kind == "reg", since_ns, min(5.0, deadline.left_s)
            )

    def events(self, *, since_ns: int | None = None) -> Sequence[ModemEvent]:
        """See `Cpe.events`."""
        kept = tuple(self._events)
        return tuple(e for e in kept if since_ns is None or e.monotonic_ns >= since_ns)

    def wait_event(
        self,
        kind: EventKind,
        *,
        timeout_s: float,
        since_ns: int | None = None,
        where: Callable[[ModemEvent], bool] | None = None,
    ) -> ModemEvent:
        """See `Cpe.wait_event`."""
        start = time.monotonic_ns() if since_ns is None else since_ns

        def wanted(event: ModemEvent) -> bool:
            return event.kind == kind and (where is None or where(event))

        event = self._alive().wait_event(wanted, start, timeout_s)
        if event is None:
            detail = f"no {kind!r} event within {timeout_s:g} s"
            raise DriverTimeout(self.name, "wait_event", detail, transcript=self._tail())
        return event

    # ---------------------------------------------------------------- sessions

    def sessions(self) -> Sequence[PduSession]:
        """See `Cpe.sessions`."""
        active = self.command("AT+CGACT?")
        qos = {
            cid: lines[0]
            for cid in at_records.active_contexts(active)
            if (lines := self._optional(f"AT+C5GQOSRDP={cid}"))
        }
        return at_records.sessions(
            self.command("AT+CGDCONT?"), active, self._optional("AT+CGPADDR"), qos
        )

    def activate(self, cid: int, *, timeout_s: float = 30.0) -> PduSession:
        """See `Cpe.activate` (AT+CGACT, TS 27.007 clause 10.1.10)."""
        self.command(f"AT+CGACT=1,{cid}", timeout_s=timeout_s)
        for session in self.sessions():
            if session.cid == cid and session.active:
                return session
        raise DeviceError(
            self.name, "activate", None, f"context {cid} is not active", transcript=self._tail()
        )

    def deactivate(self, cid: int, *, timeout_s: float = 30.0) -> None:
        """See `Cpe.deactivate`."""
        self.command(f"AT+CGACT=0,{cid}", timeout_s=timeout_s)


def _is_slow(command: str) -> bool:
    return at.limit_s(command) > at.SHORT_LIMIT_S


def _settled(values: Sequence[float], span_ns: int) -> SettledRsrp:
    """Mean and its uncertainty: scatter over the readings, and the resolution once.

    Rounding to a whole decibel is uniform with a standard deviation of 1/sqrt(12) of it; readings
    that hardly move share the same rounding, so it does not average out.
    """
    scatter = statistics.variance(values) / len(values)
    rounding = _RSRP_RESOLUTION_DB**2 / 12
    deviation: float = (scatter + rounding) ** 0.5
    return SettledRsrp(statistics.fmean(values), 2 * deviation, len(values), span_ns)
