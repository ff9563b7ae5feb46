"""A Siemens controller by S7 communication (PUT/GET): tags in data blocks, run state as measured.

PUT/GET must be permitted in the CPU, and a data block read this way must not be optimised.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hil.clock import SYSTEM, Clock
from hil.drivers.controller import Controller, ControllerConfig
from hil.drivers.protocols import Identity, RunState
from hil.drivers.s7_link import S7Link
from hil.drivers.s7_tags import S7Tag
from hil.errors import DeviceError
from hil.testbed import DeviceConfig

_STATES: Final = {8: RunState.RUN, 4: RunState.STOP}


class PlcS7Config(ControllerConfig):
    """A controller by S7 communication in the testbed file."""

    driver: Literal["plc_s7"]

    port: Annotated[int, Field(ge=1, le=65535)] = 102
    """TCP port (RFC 1006)."""

    rack: Annotated[int, Field(ge=0, le=7)] = 0
    """Rack of the CPU."""

    slot: Annotated[int, Field(ge=0, le=31)] = 1
    """Slot of the CPU: 1 for S7-1200 and 1500, 2 for S7-300."""

    tags: Mapping[str, S7Tag]
    """Tags by name."""


class PlcS7(Controller):
    """Implements `hil.drivers.protocols.Plc`."""

    Config: ClassVar[type[DeviceConfig]] = PlcS7Config
    requires: ClassVar[tuple[str, ...]] = ("snap7",)
    extra: ClassVar[str] = "s7"
    _main: S7Link

    def __init__(self, name: str, config: PlcS7Config, *, clock: Clock = SYSTEM) -> None:
        self._config = config
        super().__init__(name, config, clock=clock)

    def _link(self, host: str) -> S7Link:
        return S7Link(
            self.name,
            host,
            port=self._config.port,
            place=(self._config.rack, self._config.slot),
            limit_s=self._config.limit_ns / 1e9,
            transcript=self._transcript,
        )

    def _greet(self) -> None:
        """The proof of life is an answer to the question for its state, be it a refusal."""
        self.run_state()

    def identify(self) -> Identity:
        """See `Device.identify`; reads one list only, because others have crashed old CPUs."""
        try:
            order, firmware = self._main.module()
        except DeviceError:
            order = firmware = None
        return Identity("Siemens", order, firmware, None)

    def run_state(self) -> RunState:
        """See `Plc.run_state`; read from the controller, unknown where it does not tell."""
        try:
            state = self._main.operating_state()
        except DeviceError:
            return RunState.UNKNOWN
        return _STATES.get(state, RunState.UNKNOWN)
