"""The attenuator endpoint: SCPI over a plain TCP socket, in the antenna cable of its modems."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

from hil import __version__
from hil.testbed import AttenuatorEndpoint
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.scpi_core import Core, Refusal, number
from hil.virtual.endpoints.scpi_server import ScpiServer


class AntennaCables:
    """What lies in the antenna cable of each CPE: losses of several devices add up."""

    def __init__(self, coupling: Coupling) -> None:
        self._coupling = coupling
        self._losses: dict[tuple[int, str], float] = {}
        self._lock = threading.Lock()

    def insert(self, row: int, device: str, loss_db: float) -> None:
        """From now on this device has this loss in the cable of the CPE."""
        with self._lock:
            self._losses[row, device] = loss_db
            total = sum(loss for (each, _), loss in self._losses.items() if each == row)
            self._coupling.set_attenuation(row, total)


class Attenuator:
    """A one-channel programmable attenuator with its server, from construction to `close`.

    Args:
        name: the endpoint's name.
        config: its entry in the testbed.
        rows: numbers of the CPEs in whose cable it sits.
        cables: where its loss goes, once it has settled.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(
        self, name: str, config: AttenuatorEndpoint, rows: Sequence[int], cables: AntennaCables
    ) -> None:
        self._name = name
        self._config = config
        self._rows = tuple(rows)
        self._cables = cables
        self._value_db = config.min_db
        self._settled_at = 0.0
        self._changed = threading.Condition()
        self._ended = False
        self.core = Core(
            f"hil,attenuator,{name},{__version__}", complete=self._complete, reset=self._reset
        )
        header = "[SOURce:]ATTenuation:CHANnel<n>"
        self.core.on(header, self._set, 1)
        self.core.on(f"{header}?", self._get, 0, 1)
        self._apply()
        self._server = ScpiServer(config.address, self.core)
        self._thread = threading.Thread(target=self._settle, name=f"{name} settling", daemon=True)
        self._thread.start()

    @property
    def address(self) -> tuple[str, int]:
        """Address and port that it listens on."""
        return self._server.address

    def close(self) -> None:
        """Close all connections and end the threads."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        self._server.close()
        self._thread.join()

    def _set(self, suffixes: list[int], arguments: list[str]) -> None:
        _only_channel(suffixes)
        value_db = self._value(arguments[0])
        config = self._config
        if not config.min_db <= value_db <= config.max_db:
            raise Refusal(-222)
        self._change(round(value_db / config.step_db) * config.step_db)

    def _get(self, suffixes: list[int], arguments: list[str]) -> str:
        _only_channel(suffixes)
        return f"{self._value(arguments[0]) if arguments else self._value_db:.2f}"

    def _value(self, text: str) -> float:
        named = {
            "MIN": self._config.min_db,
            "MINIMUM": self._config.min_db,
            "MAX": self._config.max_db,
            "MAXIMUM": self._config.max_db,
        }
        return named[text.upper()] if text.upper() in named else number(text, "DB")

    def _reset(self) -> None:
        self._change(self._config.min_db)

    def _change(self, value_db: float) -> None:
        with self._changed:
            self._value_db = value_db
            self._settled_at = time.monotonic() + self._config.settling_ns / 1e9
            self._changed.notify_all()

    def _complete(self) -> None:
        """Wait until the last value set is the loss in the cable."""
        with self._changed:
            self._changed.wait_for(lambda: not self._settled_at or self._ended)

    def _settle(self) -> None:
        with self._changed:
            while not self._ended:
                left_s = self._settled_at - time.monotonic() if self._settled_at else None
                if left_s is None or left_s > 0:
                    self._changed.wait(left_s)
                    continue
                self._settled_at = 0.0
                self._apply()
                self._changed.notify_all()

    def _apply(self) -> None:
        for row in self._rows:
            self._cables.insert(row, self._name, self._value_db)


def _only_channel(suffixes: list[int]) -> None:
    if suffixes != [1]:
        raise Refusal(-114)
