"""A controller by Modbus TCP: tags by name, guarded writes with read-back, the reaction loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from hil.clock import SYSTEM, Clock
from hil.drivers.controller import Controller, ControllerConfig
from hil.drivers.modbus_link import ModbusLink
from hil.drivers.modbus_tags import TagConfig
from hil.drivers.protocols import Identity, RunState
from hil.testbed import DeviceConfig


class PlcConfig(ControllerConfig):
    """A Modbus TCP controller in the testbed file."""

    driver: Literal["plc_modbus"]

    port: Annotated[int, Field(ge=1, le=65535)] = 502
    """TCP port (IANA: 502, mbap)."""

    unit: Annotated[int, Field(ge=0, le=255)] = 1
    """Unit identifier; tells the devices behind a gateway apart."""

    tags: Mapping[str, TagConfig]
    """Tags by name."""

    running: str = "running"
    """Tag that says whether the program is executed."""


class PlcModbus(Controller):
    """Implements `hil.drivers.protocols.Plc`."""

    Config: ClassVar[type[DeviceConfig]] = PlcConfig
    _main: ModbusLink

    def __init__(self, name: str, config: PlcConfig, *, clock: Clock = SYSTEM) -> None:
        self._config = config
        super().__init__(name, config, clock=clock)

    def _link(self, host: str) -> ModbusLink:
        return ModbusLink(
            self.name,
            host,
            port=self._config.port,
            unit=self._config.unit,
            limit_s=self._config.limit_ns / 1e9,
            transcript=self._transcript,
        )

    def _greet(self) -> None:
        """The proof of life is an answer to the identification, be it a refusal."""
        self._main.identification()

    def identify(self) -> Identity:
        """See `Device.identify`; many controllers answer without any of it."""
        texts = self._main.identification()
        extra = {str(number): text for number, text in texts.items() if number > 2}
        return Identity(texts.get(0), texts.get(1), texts.get(2), None, extra)

    def run_state(self) -> RunState:
        """See `Plc.run_state`; unknown where no tag tells."""
        if self._config.running not in self.tags:
            return RunState.UNKNOWN
        running = self._read(self._config.running, self._main).value
        return RunState.RUN if running else RunState.STOP
