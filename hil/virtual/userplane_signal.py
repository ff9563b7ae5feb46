"""The radio as the cell meets it: the pure radio, and what the endpoints do to it while it runs.

Attenuation and session are step functions of the cell's time: the endpoints' changes are noted with
the time at which the user plane saw them, so that a slot's channel depends on its time alone.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.virtual.coupling import Coupling
from hil.virtual.radio import THERMAL_DBM, Radio
from hil.virtual.userplane_clock import CellClock

_CHUNK: Final = 256  # times that are looked up at once
_CHUNKS_KEPT: Final = 64
_STEPS_KEPT: Final = 1024
_LONG_AGO: Final = -(1 << 62)


class _Steps:
    """A value that changes at known times."""

    def __init__(self, first: float) -> None:
        self._times = [_LONG_AGO]
        self._values = [first]

    @property
    def last(self) -> float:
        return self._values[-1]

    def change(self, at_ns: int, value: float) -> None:
        if value != self.last:
            self._times.append(max(at_ns, self._times[-1]))
            self._values.append(value)
            if len(self._times) > _STEPS_KEPT:
                del self._times[1 : _STEPS_KEPT // 2], self._values[1 : _STEPS_KEPT // 2]

    def at(self, t_ns: int) -> float:
        return self._values[bisect_right(self._times, t_ns) - 1]


def read_steps(path: Path) -> list[list[float]]:
    """What the endpoints did to the radio, as `WorldSignal.play` takes it; empty without a file."""
    with suppress(OSError, ValueError):
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return []


class WorldSignal:
    """What `cell_channel.Signal` asks, of the world's radio and coupling.

    Args:
        step_ns: the grid of times, half a block of the channel.
    """

    def __init__(
        self,
        radio: Radio,
        noise_figure_db: float,
        coupling: Coupling,
        clock: CellClock,
        step_ns: int,
    ) -> None:
        self._radio = radio
        self._noise_dbm = THERMAL_DBM + noise_figure_db
        self._coupling = coupling
        self._clock = clock
        self._step_ns = step_ns
        self._chunks: dict[tuple[int, int], NDArray[np.float64]] = {}
        self._generations = [-1] * len(coupling.names)
        self._looked_ns = _LONG_AGO
        rows = coupling.rows
        self._attenuation = [_Steps(float(row["attenuation_db"])) for row in rows]
        self._session = [_Steps(float(row["session_up"])) for row in rows]
        self.powered = [bool(row["powered"]) for row in rows]
        self._notes: Path | None = None

    def note(self, path: Path) -> None:
        """From now on write down each change, for `read_steps`."""
        self._notes = path

    def follow(self, now_ns: int) -> None:
        """Note what the endpoints changed, at the cell's time `now_ns`.

        They changed it some time after the last look, and count as having done so just then: what
        a tester does after it has seen a change meets the changed world.
        """
        since_ns, self._looked_ns = self._looked_ns, now_ns
        rows = self._coupling.rows
        for cpe, seen in enumerate(self._generations):
            if (generation := int(rows["generation"][cpe])) != seen:
                self._generations[cpe] = generation
                self.powered[cpe] = bool(rows["powered"][cpe])
                up = bool(rows["session_up"][cpe]) and self.powered[cpe]
                step = [since_ns, cpe, float(rows["attenuation_db"][cpe]), float(up)]
                self.play([step])
                self._write(step)

    def play(self, steps: Sequence[Sequence[float]]) -> None:
        """Let changes happen: time on the cell's clock, CPE, attenuation in dB, session (0, 1)."""
        for at_ns, cpe, attenuation_db, up in steps:
            self._attenuation[int(cpe)].change(int(at_ns), attenuation_db)
            self._session[int(cpe)].change(int(at_ns), up)

    def _write(self, step: Sequence[float]) -> None:
        if self._notes is not None:
            with suppress(OSError), self._notes.open("a", encoding="utf-8") as file:
                file.write(json.dumps(step) + "\n")

    def up(self, cpe: int, t_ns: int) -> bool:
        """Whether the CPE has a session that carries user data."""
        return bool(self._session[cpe].at(t_ns))

    def snr_db(self, cpe: int, t_ns: int) -> float:
        """Downlink SNR, fading included, without a receiver's ceiling."""
        step = t_ns // self._step_ns
        key = (cpe, step // _CHUNK)
        if (gains := self._chunks.get(key)) is None:
            if len(self._chunks) > _CHUNKS_KEPT:
                self._chunks = dict(list(self._chunks.items())[_CHUNKS_KEPT // 2 :])
            gains = self._chunks[key] = self._look_up(*key)
        return float(gains[step % _CHUNK]) - self._attenuation[cpe].at(t_ns)

    def _look_up(self, cpe: int, chunk: int) -> NDArray[np.float64]:
        times = (np.arange(_CHUNK, dtype=np.int64) + chunk * _CHUNK) * self._step_ns
        since = self._clock.to_host(times) - self._coupling.epoch_ns
        level = self._radio.rsrp_dbm(cpe, since) + self._radio.fading_db(cpe, since)
        return np.asarray(level - self._noise_dbm)
