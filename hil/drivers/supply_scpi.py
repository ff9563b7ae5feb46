"""A laboratory DC supply that speaks SCPI with channel lists, as a Keysight N6700 does."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Final, Literal, Self

from pydantic import Field, model_validator

from hil.document import Current, Model, Voltage
from hil.drivers.protocols import Output
from hil.drivers.scpi import parse_number
from hil.drivers.scpi_device import ScpiConfig, ScpiDevice
from hil.errors import DeviceError, DriverError, ProtocolViolation, UnsafeOperation, UsageError
from hil.testbed import DeviceConfig

#: Bits of the questionable condition register of the N6700.
_PROTECTIONS: Final = {0: "ov", 1: "oc", 2: "pf", 4: "ot"}
_READING: Final = (
    "VOLT? {ch};:CURR? {ch};:OUTP? {ch};:MEAS:VOLT? {ch};:MEAS:CURR? {ch};:STAT:QUES:COND? {ch}"
)


class Window(Model):
    """What one channel may be set to, in the testbed file."""

    min_voltage_v: Voltage = 0.0
    """Least voltage that may be set."""

    max_voltage_v: Voltage
    """Greatest voltage that may be set, and be there when the output is switched on."""

    max_current_a: Annotated[Current, Field(gt=0)]
    """Greatest current limit that may be set."""

    over_voltage_v: Voltage | None = None
    """Level of the over-voltage protection, set with each voltage; absent: left as it is."""

    trip: bool | None = None
    """Whether reaching the current limit switches the output off; absent: left as it is."""

    safe: bool | None = None
    """Whether the output is on in the safe state; absent: left as it is."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not 0 <= self.min_voltage_v <= self.max_voltage_v:
            raise ValueError(
                f"min_voltage {self.min_voltage_v:g} V must lie between 0 V and max_voltage, "
                f"{self.max_voltage_v:g} V"
            )
        if self.over_voltage_v is not None and self.over_voltage_v < self.max_voltage_v:
            raise ValueError(f"over_voltage {self.over_voltage_v:g} V is below max_voltage")
        return self

    def refusal(self, voltage_v: float, limit_a: float) -> str | None:
        """Why these may not be set; None where they may."""
        if not self.min_voltage_v <= voltage_v <= self.max_voltage_v:
            return f"{voltage_v:g} V is outside {self.min_voltage_v:g} to {self.max_voltage_v:g} V"
        if not 0 <= limit_a <= self.max_current_a:
            return f"{limit_a:g} A is outside 0 to {self.max_current_a:g} A"
        return None


class SupplyConfig(ScpiConfig):
    """A SCPI supply in the testbed file."""

    driver: Literal["supply_scpi"]

    channels: Annotated[Mapping[int, Window], Field(min_length=1)]
    """The channels that may be used, by number, each with its window."""

    voltage_step_v: Annotated[Voltage, Field(gt=0)] = 0.01
    """Step of the voltage; a read-back further off than half of it was not applied."""

    current_step_a: Annotated[Current, Field(gt=0)] = 0.01
    """Step of the current limit."""


class SupplyScpi(ScpiDevice):
    """Implements `hil.drivers.protocols.PowerSupply`."""

    Config: ClassVar[type[DeviceConfig]] = SupplyConfig
    role: ClassVar[str] = "supply"

    def __init__(self, name: str, config: SupplyConfig) -> None:
        super().__init__(name, config)
        self.channels = tuple(config.channels)
        self._config = config

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"scpi", "measures"})

    def snapshot(self) -> Mapping[str, Any]:
        """What each channel of the file is set to."""
        found = {channel: self.read(channel) for channel in self.channels}
        return {
            str(channel): {"voltage_v": each.set_v, "limit_a": each.limit_a, "on": each.on}
            for channel, each in found.items()
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`; an output that was off goes off before its voltage changes."""
        for text, wanted in state.items():
            channel = int(text)
            now = self.read(channel)
            if now.on and not wanted["on"]:
                self.output(channel, False)
            if (now.set_v, now.limit_a) != (wanted["voltage_v"], wanted["limit_a"]):
                self.configure(channel, voltage_v=wanted["voltage_v"], limit_a=wanted["limit_a"])
            if wanted["on"] and not now.on:
                self.clear_protection(channel)
                self.output(channel, True)

    def safe_state(self) -> None:
        """Switch each output that has a safe state; one failure does not stop the others."""
        failures: list[DriverError] = []
        for channel, window in self._config.channels.items():
            try:
                if window.safe is not None:
                    self.output(channel, window.safe)
            except DriverError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def query(self, message: str) -> str:
        """Any question to the instrument; raises UnsafeOperation for a command."""
        return self._session.question(message)

    def configure(self, channel: int, *, voltage_v: float, limit_a: float) -> None:
        """See `PowerSupply.configure`; the limit and the protections go before the voltage."""
        window = self._window(channel)
        if why := window.refusal(voltage_v, limit_a):
            raise UnsafeOperation(f"{self.name}: channel {channel}: {why}")
        ch = f"(@{channel})"
        self._session.command(f"CURR {limit_a:g},{ch}")
        if window.over_voltage_v is not None:
            self._session.command(f"VOLT:PROT {window.over_voltage_v:g},{ch}")
        if window.trip is not None:
            self._session.command(f"CURR:PROT:STAT {'ON' if window.trip else 'OFF'},{ch}")
        self._session.command(f"VOLT {voltage_v:g},{ch}")
        found = self.read(channel)
        self._applied(channel, "V", found.set_v, voltage_v, self._config.voltage_step_v)
        self._applied(channel, "A", found.limit_a, limit_a, self._config.current_step_a)

    def output(self, channel: int, on: bool) -> None:
        """See `PowerSupply.output`; not on while the voltage as found is outside its window."""
        window = self._window(channel)
        if on:
            found = self.read(channel)
            if why := window.refusal(found.set_v, min(found.limit_a, window.max_current_a)):
                raise UnsafeOperation(f"{self.name}: channel {channel}: as found, {why}")
        self._session.command(f"OUTP {'ON' if on else 'OFF'},(@{channel})")
        found = self.read(channel)
        if found.on is not on:
            why = f", tripped: {', '.join(found.tripped)}" if found.tripped else ""
            raise self._refused(f"channel {channel} is {'off' if on else 'on'}{why}")

    def read(self, channel: int) -> Output:
        """See `PowerSupply.read`; one message, so that the figures belong together."""
        self._window(channel)
        message = _READING.format(ch=f"(@{channel})")
        answer = self._session.query(message)
        values = [parse_number(part) for part in answer.split(";")]
        known = [value for value in values if value is not None and math.isfinite(value)]
        if len(values) != 6 or len(known) != 6:
            tail = self._transcript.tail()
            raise ProtocolViolation(self.name, message, f"{answer!r}", transcript=tail)
        bits = int(known[5])
        tripped = tuple(word for bit, word in _PROTECTIONS.items() if bits >> bit & 1)
        return Output(bool(known[2]), known[0], known[1], known[3], known[4], tripped)

    def clear_protection(self, channel: int) -> None:
        """See `PowerSupply.clear_protection`; the output is switched off first."""
        self._window(channel)
        self._session.command(f"OUTP OFF,(@{channel})")
        self._session.command(f"OUTP:PROT:CLE (@{channel})")

    def _window(self, channel: int) -> Window:
        try:
            return self._config.channels[channel]
        except KeyError:
            known = ", ".join(map(str, self.channels))
            raise UsageError(f"{self.name} has channels {known}; no {channel}") from None

    def _applied(
        self, channel: int, unit: str, found: float, asked: float, resolution: float
    ) -> None:
        if abs(found - asked) > resolution / 2 + 1e-9:
            raise self._refused(
                f"channel {channel} reads back {found:g} {unit}, asked were {asked:g} {unit}"
            )

    def _refused(self, text: str) -> DeviceError:
        return DeviceError(self.name, "set", None, text, transcript=self._transcript.tail())
