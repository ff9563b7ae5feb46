"""The radio link of each CPE as a pure function of seed, CPE and time.

Nothing here holds a state that moves: the endpoints and the user plane are separate processes and
must see the same radio at the same instant without talking, so every random process is evaluated
from tables and phases drawn once from the seed. A look-up costs the same at any time and takes
arrays of times.

Levels of the default world: 15 dBm per resource element, antenna gain included, are an ordinary
small base station of 40 dBm over the 3276 subcarriers of 100 MHz at 30 kHz (TS 38.101-1 table
5.3.2-1) with 10 dBi; 95 dB of path loss leave an RSRP of -80 dBm, 40 dB above the noise of one
resource element.
"""

from __future__ import annotations

from functools import cache
from typing import Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.testbed.world import RadioConfig

Decibels = NDArray[np.float64]

SUBCARRIER_HZ: Final = 30e3
#: kTB of one resource element at 290 K (-174 dBm/Hz).
THERMAL_DBM: Final = float(-174.0 + 10 * np.log10(SUBCARRIER_HZ))
#: Transmitter error vector magnitude and residual interference: no better SINR than this.
SINR_CEILING_DB: Final = 30.0
#: Decimals of an SINR: array and scalar mathematics differ in the last bits, and must not here.
_DIGITS: Final = 6
RICE_K_DB: Final = 7.0  #: TR 38.901 table 7.5-6, InF line of sight

_SHADOW_STEPS: Final = 300  # table entries within one decorrelation time
_SHADOW_LENGTHS: Final = (16381, 16411)  # prime: the sum repeats after 900,000 decorrelation times
_TAPS: Final = 4  # independent frequency bins that 100 MHz averages over
_PATHS: Final = 8
_BLOCKAGE_WINDOW_S: Final = 10.0  # holds at most one event
_BLOCKAGE_WINDOWS: Final = 65537
_BLOCKAGE_RAMP_S: Final = 0.05


def _seconds(t_ns: ArrayLike) -> Decibels:
    return np.asarray(t_ns, dtype=np.float64) * 1e-9


class _Link:
    """The random numbers of one CPE's link, drawn once."""

    def __init__(self, seed: int, cpe: int) -> None:
        rng = np.random.default_rng([seed, cpe, 0x5241])
        self.shadow = [_gauss_markov(rng, length) for length in _SHADOW_LENGTHS]
        angle = (rng.random((_TAPS, _PATHS)) + np.arange(_PATHS)) * (2 * np.pi / _PATHS)
        self.doppler = np.cos(angle)
        self.phase = rng.random((_TAPS, _PATHS)) * 2 * np.pi
        self.direct = np.exp(2j * np.pi * rng.random(_TAPS))
        self.chance = rng.random(_BLOCKAGE_WINDOWS)
        self.length = rng.exponential(size=_BLOCKAGE_WINDOWS)
        self.position = rng.random(_BLOCKAGE_WINDOWS)


def _gauss_markov(rng: np.random.Generator, length: int) -> Decibels:
    """One turn of a circular first-order Gauss-Markov sequence of unit variance.

    x[k] = a x[k-1] + sqrt(1-a^2) w[k] with x[-1] = x[length-1], solved as a circular filter; its
    autocorrelation is exp(-lag / _SHADOW_STEPS) up to terms of exp(-length / _SHADOW_STEPS).
    """
    a = np.exp(-1 / _SHADOW_STEPS)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(length))
    white = np.fft.rfft(rng.standard_normal(length))
    return np.fft.irfft(white * np.sqrt(1 - a * a) / (1 - a * turn), length)


@cache
def _link(seed: int, cpe: int) -> _Link:
    return _Link(seed, cpe)


class Radio:
    """The downlink radio of every CPE of one world.

    Args:
        config: the radio field of the world.
        seed: the world's seed.

    All methods take the CPE's number (its row in the coupling), a time or an array of times in
    nanoseconds since the world's epoch and, where it matters, the attenuation in dB that lies in
    the path at those times; they return float64 arrays of the broadcast shape (0-d for scalars).
    """

    def __init__(self, config: RadioConfig, seed: int) -> None:
        self._config = config
        self._seed = seed

    def shadowing_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Slow log-normal variation: Gauss-Markov in dB, correlation exp(-lag / shadowing_time)."""
        step = np.asarray(t_ns, dtype=np.float64) * (_SHADOW_STEPS / self._config.shadowing_time_ns)
        base = np.floor(step)
        part = step - base
        total = np.zeros_like(step)
        for table in _link(self._seed, cpe).shadow:
            low = base.astype(np.int64) % table.size
            total = total + (1 - part) * table[low] + part * table[(low + 1) % table.size]
        return np.asarray(self._config.shadowing_db * total / np.sqrt(2), dtype=np.float64)

    def blockage_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Loss by something that passes between, with ramps of 50 ms; 0 where nothing does.

        Events come at random with the configured rate, at most one in 10 s, with exponential
        lengths cut at half of that.
        """
        config = self._config
        seconds = _seconds(t_ns)
        if not config.blockage:
            return np.zeros_like(seconds)
        link = _link(self._seed, cpe)
        window = np.floor(seconds / _BLOCKAGE_WINDOW_S).astype(np.int64)
        inside = seconds - window * _BLOCKAGE_WINDOW_S
        index = window % _BLOCKAGE_WINDOWS
        share = 1 - np.exp(-config.blockage_rate_per_h * _BLOCKAGE_WINDOW_S / 3600)
        length = link.length[index] * config.blockage_time_ns * 1e-9
        length = np.minimum(length, _BLOCKAGE_WINDOW_S / 2)
        room = _BLOCKAGE_WINDOW_S - length - 2 * _BLOCKAGE_RAMP_S
        since = inside - _BLOCKAGE_RAMP_S - room * link.position[index]
        edge = np.minimum(since, length - since) / _BLOCKAGE_RAMP_S
        loss = config.blockage_loss_db * np.clip(edge + 1, 0, 1)
        return np.asarray(np.where(link.chance[index] < share, loss, 0.0), dtype=np.float64)

    def fading_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Small-scale fading with Doppler, averaged over the band; mean power 0 dB.

        Rice with factor RICE_K_DB per tap; each diffuse part is a sum of sinusoids with the
        frequencies of Clarke's model, so that its autocorrelation is close to J0(2 pi f_D tau).
        """
        link = _link(self._seed, cpe)
        turn = 2 * np.pi * self._config.doppler_hz * _seconds(t_ns)
        argument = turn[..., None, None] * link.doppler + link.phase
        diffuse = np.exp(1j * argument).sum(axis=-1) / np.sqrt(_PATHS)
        k = 10 ** (RICE_K_DB / 10)
        gain = np.sqrt(k / (k + 1)) * link.direct + diffuse / np.sqrt(k + 1)
        return np.asarray(10 * np.log10((np.abs(gain) ** 2).mean(axis=-1)), dtype=np.float64)

    def rsrp_dbm(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-RSRP (TS 38.215 clause 5.1.1) without the small-scale fading that it averages out."""
        loss = self._config.path_loss_db + np.asarray(attenuation_db, dtype=np.float64)
        level = self._config.reference_power_dbm - loss + self.shadowing_db(cpe, t_ns)
        return np.asarray(level - self.blockage_db(cpe, t_ns), dtype=np.float64)

    def mean_sinr_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-SINR (TS 38.215 clause 5.1.5) without fading: what a modem reports after filtering."""
        return self._limited(self.rsrp_dbm(cpe, t_ns, attenuation_db))

    def sinr_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SINR at an instant, fading included: what one slot's transport block meets."""
        level = self.rsrp_dbm(cpe, t_ns, attenuation_db) + self.fading_db(cpe, t_ns)
        return self._limited(level)

    def rsrq_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-RSRQ (TS 38.215 clause 5.1.3): N x RSRP / RSSI over the N blocks of the SSB.

        The RSSI holds twelve full subcarriers of each block and the noise, so the ratio is
        -10.8 dB at best.
        """
        sinr = 10 ** (self.mean_sinr_db(cpe, t_ns, attenuation_db) / 10)
        return np.asarray(-10 * np.log10(12 * (1 + 1 / sinr)), dtype=np.float64)

    def _limited(self, level_dbm: Decibels) -> Decibels:
        """SINR at a level, where the noise and the ceiling add as powers."""
        noise_dbm = THERMAL_DBM + self._config.noise_figure_db
        noise = 10 ** ((noise_dbm - level_dbm) / 10) + 10 ** (-SINR_CEILING_DB / 10)
        return np.asarray(np.round(-10 * np.log10(noise), _DIGITS), dtype=np.float64)
