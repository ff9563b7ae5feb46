"""The radio as the cell meets it: the pure radio, and what the endpoints do to it while it runs.

Attenuation and session are step functions of the cell's time: the endpoints' changes are noted with
the time at which the user plane saw them, so that a slot's channel depends on its time alone.
"""

from __future__ import annotations

from bisect import bisect_right
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
                self._attenuation[cpe].change(since_ns, float(rows["attenuation_db"][cpe]))
                self.powered[cpe] = bool(rows["powered"][cpe])
                up = bool(rows["session_up"][cpe]) and self.powered[cpe]
                self._session[cpe].change(since_ns, float(up))

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
