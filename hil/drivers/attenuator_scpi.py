"""A programmable attenuator that speaks SCPI, over any transport that VISA has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hil.document import Attenuation, Model
from hil.drivers.scpi_device import ScpiConfig, ScpiDevice
from hil.errors import DeviceError, DriverError, UnsafeOperation, UsageError
from hil.testbed import DeviceConfig


class Commands(Model):
    """The instrument's own words; ``{channel}`` and ``{value}`` are filled in."""

    set: str = "ATT:CHAN{channel} {value}"
    """Sets one channel, the value in dB."""

    get: str = "ATT:CHAN{channel}?"
    """Asks for what one channel is set to, in dB."""

    @model_validator(mode="after")
    def _placeholders(self) -> Self:
        for name, text in (("set", self.set), ("get", self.get)):
            try:
                text.format(channel=1, value=0)
            except (KeyError, IndexError, ValueError):
                raise ValueError(
                    f"{name} may hold {{channel}} and {{value}} only: {text!r}"
                ) from None
        if "{value}" not in self.set:
            raise ValueError(f"set must hold {{value}}: {self.set!r}")
        return self


class AttenuatorConfig(ScpiConfig):
    """A SCPI attenuator in the testbed file."""

    driver: Literal["attenuator_scpi"]

    channels: Annotated[int, Field(ge=1)] = 1
    """How many channels it has."""

    min_db: Attenuation = 0.0
    """Least attenuation that may be set."""

    max_db: Attenuation
    """Greatest attenuation that may be set."""

    safe_db: Attenuation | None = None
    """Attenuation of every channel in the safe state; absent: left as it is."""

    resolution_db: Annotated[Attenuation, Field(gt=0)] = 0.25
    """Step of the instrument; a read-back further off than half of it was clipped."""

    commands: Commands = Commands()
    """The instrument's own words."""

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min_db > self.max_db:
            raise ValueError(f"min {self.min_db:g} dB is above max {self.max_db:g} dB")
        if self.safe_db is not None and not self.min_db <= self.safe_db <= self.max_db:
            raise ValueError(f"safe {self.safe_db:g} dB lies outside min and max")
        return self


class AttenuatorScpi(ScpiDevice):
    """Implements `hil.drivers.protocols.Attenuator`."""

    Config: ClassVar[type[DeviceConfig]] = AttenuatorConfig
    role: ClassVar[str] = "attenuator"

    def __init__(self, name: str, config: AttenuatorConfig) -> None:
        super().__init__(name, config)
        self.channels = config.channels
        self.min_db = config.min_db
        self.max_db = config.max_db
        self._config = config

    def snapshot(self) -> Mapping[str, Any]:
        """The attenuation of each channel."""
        return {str(channel): self.get_db(channel) for channel in range(1, self.channels + 1)}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`."""
        for channel, value_db in state.items():
            self.set_db(int(channel), value_db)

    def safe_state(self) -> None:
        """Set the safe attenuation on every channel; one failure does not stop the others."""
        if self._config.safe_db is None:
            return
        failures: list[DriverError] = []
        for channel in range(1, self.channels + 1):
            try:
                self.set_db(channel, self._config.safe_db)
            except DriverError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def query(self, message: str) -> str:
        """Any question to the instrument; raises UnsafeOperation for a command."""
        return self._session.question(message)

    def set_db(self, channel: int, value_db: float) -> float:
        """See `Attenuator.set_db`; command and error check are one message, then the read-back."""
        self._check(channel)
        if not self.min_db <= value_db <= self.max_db:
            raise UnsafeOperation(
                f"{self.name}: {value_db:g} dB is outside {self.min_db:g} to {self.max_db:g} dB"
            )
        self._session.command(
            self._config.commands.set.format(channel=channel, value=f"{value_db:g}")
        )
        found = self.get_db(channel)
        if abs(found - value_db) > self._config.resolution_db / 2 + 1e-9:
            text = f"channel {channel} reads back {found:g} dB, asked were {value_db:g} dB"
            tail = self._transcript.tail()
            raise DeviceError(self.name, "set_db", None, text, transcript=tail)
        return found

    def get_db(self, channel: int) -> float:
        """See `Attenuator.get_db`."""
        self._check(channel)
        return self._session.number(self._config.commands.get.format(channel=channel))

    def _check(self, channel: int) -> None:
        if not 1 <= channel <= self.channels:
            raise UsageError(f"{self.name} has channels 1 to {self.channels}; no {channel}")
