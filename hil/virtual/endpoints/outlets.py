"""The outlets of a simulated power switch, and what hangs on them."""

from __future__ import annotations

import threading
from typing import Protocol

from hil.testbed import SwitchEndpoint
from hil.virtual.endpoints.mains import Mains


class Outlets:
    """Which outlets are on; they count from 1 and are all on at first.

    Args:
        name: the endpoint's name.
        config: its entry in the testbed.
        mains: where an outlet's state goes.
        locked: outlets that nobody may switch.
    """

    def __init__(
        self,
        name: str,
        config: SwitchEndpoint,
        mains: Mains,
        *,
        locked: frozenset[int] = frozenset(),
    ) -> None:
        self._name = name
        self._feeds = config.feeds
        self._mains = mains
        self._locked = locked
        self._on = [True] * config.outlets
        self._lock = threading.Lock()

    def get(self, outlet: int) -> bool:
        """Whether an outlet is on.

        Raises:
            KeyError: no such outlet.
        """
        return self._on[self._index(outlet)]

    def set(self, outlet: int, on: bool) -> None:
        """Switch an outlet; what hangs on it follows before this returns.

        Raises:
            KeyError: no such outlet.
            PermissionError: the outlet is locked.
        """
        index = self._index(outlet)
        if outlet in self._locked:
            raise PermissionError(f"outlet {outlet} is locked")
        with self._lock:
            self._on[index] = on
            if index < len(self._feeds):
                self._mains.feed(self._feeds[index], f"{self._name} outlet {outlet}", on)

    def _index(self, outlet: int) -> int:
        if not 1 <= outlet <= len(self._on):
            raise KeyError(outlet)
        return outlet - 1


class Served(Protocol):
    """A server that runs until it is closed."""

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""

    def close(self) -> None:
        """End it."""


def serve_switch(name: str, config: SwitchEndpoint, mains: Mains) -> Served:
    """A power switch that speaks the protocol of its entry.

    Raises:
        OSError: the address cannot be had.
        ValueError: the protocol's library is not installed.
    """
    outlets = Outlets(name, config, mains)
    # Only what a world uses is loaded: its start waits for it.
    if config.protocol == "http":
        from hil.virtual.endpoints.switch_http import HttpSwitch

        return HttpSwitch(config.address, outlets)
    try:
        from hil.virtual.endpoints.switch_snmp import SnmpSwitch
    except ModuleNotFoundError:
        raise ValueError(f"{name} speaks SNMP, which needs pip install 'hil[snmp]'") from None
    return SnmpSwitch(config.address, outlets)
