"""Any instrument that speaks SCPI: questions at will, commands as far as its entry allows."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from hil.document import Duration, Model
from hil.drivers.protocols import HealthReport, Identity
from hil.drivers.scpi import ScpiSession, units
from hil.drivers.transcript import Transcript
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


class InstrumentConfig(DeviceConfig):
    """A SCPI instrument in the testbed file."""

    driver: Literal["instrument_scpi"]

    resource: str
    """VISA resource name, as in ``TCPIP0::192.0.2.9::hislip0::INSTR``."""

    visa: str = "@py"
    """VISA library as pyvisa names it: ``@py`` is pyvisa-py, ``@ivi`` the installed one."""

    allow: tuple[str, ...] = ()
    """Regular expressions for whole commands that may be sent; queries always may."""

    settings: Mapping[str, Setting] = Field(default_factory=dict)
    """What is brought back at the end, by a name."""

    safe: tuple[str, ...] = ()
    """Commands that bring it to its safe state."""

    limit_ns: Duration = 2_000_000_000
    """How long a connection or an answer may take."""

    @model_validator(mode="after")
    def _expressions(self) -> Self:
        for text in self.allow:
            try:
                re.compile(text)
            except re.error as error:
                raise ValueError(f"allow: {text!r} is no regular expression: {error}") from None
        return self


class InstrumentScpi:
    """Implements `hil.drivers.protocols.Instrument`."""

    Config: ClassVar[type[DeviceConfig]] = InstrumentConfig
    role: ClassVar[str] = "instrument"

    def __init__(self, name: str, config: InstrumentConfig) -> None:
        self.name = name
        self._config = config
        self._transcript = Transcript()
        self._session = ScpiSession(
            name,
            config.resource,
            library=config.visa,
            limit_s=config.limit_ns / 1e9,
            transcript=self._transcript,
        )

    def open(self) -> None:
        """See `Device.open`."""
        self._session.open()

    def close(self) -> None:
        """See `Device.close`."""
        self._session.close()

    def identify(self) -> Identity:
        """See `Device.identify`."""
        return self._session.identify()

    def health(self) -> HealthReport:
        """See `Device.health`; errors that wait in its queue make it degraded."""
        return self._session.health()

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"scpi"})

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

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)

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
