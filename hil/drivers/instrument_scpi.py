"""Any instrument that speaks SCPI: questions at will, commands as far as its entry allows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hil.document import Model
from hil.drivers.scpi import units
from hil.drivers.scpi_device import ScpiConfig, ScpiDevice
from hil.errors import DriverError, UnsafeOperation
from hil.testbed import DeviceConfig


class Setting(Model):
    """Something that tests may change and that is brought back."""

    get: str
    """Query that tells it."""

    set: str
    """Command that sets it; ``{value}`` is what the query gave."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if "?" not in self.get or "{value}" not in self.set:
            raise ValueError("get must be a query, set must hold {value}")
        return self


class InstrumentConfig(ScpiConfig):
    """A SCPI instrument in the testbed file."""

    driver: Literal["instrument_scpi"]

    allow: tuple[str, ...] = ()
    """Regular expressions for whole commands that may be sent; queries always may."""

    settings: Mapping[str, Setting] = Field(default_factory=dict)
    """What is brought back at the end, by a name."""

    safe: tuple[str, ...] = ()
    """Commands that bring it to its safe state."""

    @model_validator(mode="after")
    def _expressions(self) -> Self:
        for text in self.allow:
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"allow: {text!r} is no regular expression: {error}") from None
        return self


class InstrumentScpi(ScpiDevice):
    """Implements `hil.drivers.protocols.Instrument`."""

    Config: ClassVar[type[DeviceConfig]] = InstrumentConfig
    role: ClassVar[str] = "instrument"

    def __init__(self, name: str, config: InstrumentConfig) -> None:
        super().__init__(name, config)
        self._config = config

    def snapshot(self) -> Mapping[str, Any]:
        """What each setting's query gives."""
        return {name: self._session.query(each.get) for name, each in self._settings.items()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`; in the order of the file."""
        for name, value in state.items():
            self._session.command(self._settings[name].set.replace("{value}", str(value)))

    def safe_state(self) -> None:
        """Send the safe commands, in their order; one failure does not stop the others."""
        failures: list[DriverError] = []
        for command in self._config.safe:
            try:
                self._session.command(command)
            except DriverError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def write(self, command: str) -> None:
        """See `Instrument.write`; every unit of the message must be allowed."""
        if not command.isprintable():
            raise UnsafeOperation(f"{self.name}: {command!r} holds more than one line of text")
        for unit in units(command):
            if not any(re.fullmatch(text, unit) for text in self._config.allow):
                raise UnsafeOperation(
                    f"{self.name}: {unit!r} matches nothing that its entry allows"
                )
        self._session.command(command)

    def query(self, command: str) -> str:
        """See `Instrument.query`; raises UnsafeOperation for a message that holds a command."""
        return self._session.question(command)

    def errors(self) -> Sequence[tuple[int, str]]:
        """See `Instrument.errors`."""
        return self._session.errors()

    @property
    def _settings(self) -> Mapping[str, Setting]:
        return self._config.settings
