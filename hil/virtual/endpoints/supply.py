"""The supply endpoint: a DC supply in the words of a Keysight N6700, with a load on each channel.

Protection by the N6700 programmer's reference: over-voltage acts when the output is above its
level, over-current (where enabled) when the current limit is reached; either switches the output
off until it is cleared. Questionable condition register: bit 0 over-voltage, bit 1 over-current.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hil import __version__
from hil.testbed import SupplyEndpoint
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.scpi_core import Core, Refusal, number
from hil.virtual.endpoints.scpi_server import ScpiServer

_OVER_VOLTAGE, _OVER_CURRENT = 1, 2
_HEADROOM: Final = 1.1  #: over-voltage level at first, in parts of the highest voltage
_SWITCH: Final = {"ON": True, "1": True, "OFF": False, "0": False}


@dataclass
class Channel:
    """One output and the resistor on it."""

    set_v: float
    limit_a: float
    over_voltage_v: float
    load_ohm: float
    on: bool = True
    over_current: bool = False
    tripped: int = 0

    @property
    def volts(self) -> float:
        """What the output gives: the set voltage, or what the current limit leaves of it."""
        return min(self.set_v, self.limit_a * self.load_ohm) if self.on else 0.0

    @property
    def amperes(self) -> float:
        """What flows into the resistor."""
        return self.volts / self.load_ohm

    def protect(self) -> None:
        """Let the protections act."""
        if not self.on:
            return
        if self.volts > self.over_voltage_v:
            self.tripped |= _OVER_VOLTAGE
        if self.over_current and self.set_v / self.load_ohm > self.limit_a:
            self.tripped |= _OVER_CURRENT
        self.on = not self.tripped


class Supply:
    """A supply with its server, from construction to `close`.

    Args:
        name: the endpoint's name.
        config: its entry in the testbed.
        mains: where it is said whether a fed modem has power.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, name: str, config: SupplyEndpoint, mains: Mains) -> None:
        self._name, self._config, self._mains = name, config, mains
        self._channels = [self._fresh(on=True) for _ in range(config.channels)]
        self.core = Core(f"hil,supply,{name},{__version__}", complete=_nothing, reset=self._reset)
        level = "[:LEVel][:IMMediate][:AMPLitude]"
        self._setting(f"[SOURce:]VOLTage{level}", "set_v", "V", config.max_voltage_v)
        self._setting(f"[SOURce:]CURRent{level}", "limit_a", "A", config.max_current_a)
        most_v = config.max_voltage_v * _HEADROOM
        self._setting("[SOURce:]VOLTage:PROTection[:LEVel]", "over_voltage_v", "V", most_v)
        self._flag("[SOURce:]CURRent:PROTection:STATe", "over_current")
        self._flag("OUTPut[:STATe]", "on")
        self.core.on("OUTPut:PROTection:CLEar", self._clear, 1)
        self._reading("MEASure[:SCALar]:VOLTage[:DC]?", lambda each: f"{each.volts:+.6E}")
        self._reading("MEASure[:SCALar]:CURRent[:DC]?", lambda each: f"{each.amperes:+.6E}")
        self._reading("STATus:QUEStionable:CONDition?", lambda each: f"{each.tripped:+d}")
        self._server = ScpiServer(config.address, self.core)

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        return self._server.address

    def close(self) -> None:
        """Close all connections and end the thread."""
        self._server.close()

    def _fresh(self, *, on: bool) -> Channel:
        config = self._config
        most_v = config.max_voltage_v * _HEADROOM
        return Channel(config.voltage_v, config.max_current_a, most_v, config.load_ohm, on=on)

    def _reset(self) -> None:
        """``*RST``: every output off, at its first settings."""
        self._channels = [self._fresh(on=False) for _ in self._channels]
        self._feed()

    def _setting(self, header: str, field: str, unit: str, most: float) -> None:
        def change(_: list[int], arguments: list[str]) -> None:
            value = number(arguments[0], unit)
            if not 0 <= value <= most:
                raise Refusal(-222)
            self._set(arguments[1], field, value)

        self.core.on(header, change, 2)
        self._reading(f"{header}?", lambda each: f"{getattr(each, field):+.6E}")

    def _flag(self, header: str, field: str) -> None:
        def change(_: list[int], arguments: list[str]) -> None:
            if (value := _SWITCH.get(arguments[0].upper())) is None:
                raise Refusal(-104)
            self._set(arguments[1], field, value)

        self.core.on(header, change, 2)
        self._reading(f"{header}?", lambda each: str(int(getattr(each, field))))

    def _reading(self, header: str, tell: Callable[[Channel], str]) -> None:
        def read(_: list[int], arguments: list[str]) -> str:
            return ",".join(tell(each) for each in self._listed(arguments[0]))

        self.core.on(header, read, 1)

    def _set(self, listed: str, field: str, value: float) -> None:
        for channel in self._listed(listed):
            setattr(channel, field, value)
        self._feed()

    def _clear(self, _: list[int], arguments: list[str]) -> None:
        for channel in self._listed(arguments[0]):
            channel.tripped = 0

    def _listed(self, text: str) -> list[Channel]:
        """The channels of a list such as ``(@1,3)`` or ``(@1:2)`` (SCPI-1999 8.3.2)."""
        if not re.fullmatch(r"\(@\s*\d+(\s*[:,]\s*\d+)*\s*\)", text):
            raise Refusal(-104)
        numbers: list[int] = []
        for part in text.strip("(@) ").split(","):
            first, _, last = part.partition(":")
            numbers += range(int(first), int(last or first) + 1)
        if not all(1 <= each <= len(self._channels) for each in numbers):
            raise Refusal(-222)
        return [self._channels[each - 1] for each in numbers]

    def _feed(self) -> None:
        """Let the protections act, then tell those that are fed."""
        for channel in self._channels:
            channel.protect()
        for place, modem in enumerate(self._config.feeds):
            enough = self._channels[place].volts >= self._config.drop_out_v
            self._mains.feed(modem, f"{self._name} channel {place + 1}", enough)


def _nothing() -> None:
    """No operation of it takes any time."""
