"""What a modem measures of the radio: samples with a stated error, filtered, rounded. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hil.virtual.radio import Radio

#: Standard deviation of one layer 1 sample; after the filter a third of its variance is left, so
#: that a reported level is within 1 dB of the filtered truth: 0.5 dB of rounding and 3 sigma.
SAMPLE_ERROR_DB: Final = 0.3
#: 1/2**(k/4) with the default filter coefficient k = 4 (TS 38.331 clause 5.5.3.2).
FILTER_SHARE: Final = 0.5


@dataclass(frozen=True, slots=True)
class Level:
    """Filtered levels of the serving cell, not yet rounded."""

    rsrp_dbm: float
    rsrq_db: float
    sinr_db: float


class Receiver:
    """The measuring part of one CPE's modem.

    Args:
        radio: the world's radio.
        row: the CPE's number.
        seed: the world's seed; with the row it draws the measurement error.
        period_ns: time between two samples; six of them leave less than 0.4 dB of a 20 dB step.
    """

    def __init__(self, radio: Radio, row: int, seed: int, period_ns: int) -> None:
        self._radio = radio
        self._row = row
        self._seed = seed
        self.period_ns = period_ns
        self._last: int | None = None
        self.level: Level | None = None

    def reset(self) -> None:
        """Forget the cell, as when the radio was off."""
        self._last = self.level = None

    def sample(self, t_ns: int, attenuation_db: float) -> Level:
        """Take the sample of this period if it is due; the filtered levels.

        `t_ns` is the time since the world's epoch.
        """
        tick = t_ns // self.period_ns
        if self.level is None or tick != self._last:
            truth = self._truth(tick, attenuation_db)
            old = self.level or truth
            share = FILTER_SHARE
            self.level = Level(
                old.rsrp_dbm + share * (truth.rsrp_dbm - old.rsrp_dbm),
                old.rsrq_db + share * (truth.rsrq_db - old.rsrq_db),
                old.sinr_db + share * (truth.sinr_db - old.sinr_db),
            )
            self._last = tick
        return self.level

    def _truth(self, tick: int, attenuation_db: float) -> Level:
        t_ns = tick * self.period_ns
        error = np.random.default_rng([self._seed, self._row, tick, 0x4D45]).normal(
            0, SAMPLE_ERROR_DB, 3
        )
        return Level(
            float(self._radio.rsrp_dbm(self._row, t_ns, attenuation_db) + error[0]),
            float(self._radio.rsrq_db(self._row, t_ns, attenuation_db) + error[1]),
            float(self._radio.mean_sinr_db(self._row, t_ns, attenuation_db) + error[2]),
        )
