"""The radio link of each CPE as a pure function of seed, CPE and time.

Nothing here holds a state that moves: the endpoints and the user plane are separate processes and
must see the same radio at the same instant without talking, so every random process is evaluated
from tables and phases drawn once from the seed. A look-up costs the same at any time and takes
arrays of times.

Levels of the default world: 37 dBm over the 3276 subcarriers of 100 MHz at 30 kHz (273 resource
blocks, TS 38.101-1 table 5.3.2-1) are 1.8 dBm per resource element, with 8 dBi of antenna 10 dBm;
95 dB of path loss leave an RSRP of -85 dBm, 37 dB above the noise of one resource element.
"""

from __future__ import annotations

from functools import cache
from typing import Final, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

Decibels = NDArray[np.float64]

TRANSMIT_EPRE_DBM: Final = 10.0  #: radiated energy per resource element, antenna gain included
SUBCARRIER_HZ: Final = 30e3
NOISE_FIGURE_DB: Final = 7.0
#: kTB of one resource element at 290 K (-174 dBm/Hz) and the receiver's noise figure.
NOISE_DBM: Final = -174.0 + 10 * np.log10(SUBCARRIER_HZ) + NOISE_FIGURE_DB
#: Transmitter error vector magnitude and residual interference: no better SINR than this.
SINR_CEILING_DB: Final = 30.0

#: Shadowing decorrelates over 10 m (TR 38.901 table 7.5-6, InF); surroundings that move at a third
#: of a metre per second make that 30 s.
DECORRELATION_S: Final = 30.0
_SHADOW_STEP_S: Final = 0.1
_SHADOW_LENGTHS: Final = (16381, 16411)  # prime, so that the sum repeats after 311 days only

#: A machine part moving at 1 m/s at 3.7 GHz.
DOPPLER_HZ: Final = 12.3
RICE_K_DB: Final = 7.0  #: TR 38.901 table 7.5-6, InF line of sight
_TAPS: Final = 4  # independent frequency bins that 100 MHz averages over
_PATHS: Final = 8

_BLOCKAGE_WINDOW_S: Final = 10.0
_BLOCKAGE_WINDOWS: Final = 65537
_BLOCKAGE_SHARE: Final = 0.5  # of the windows hold one event: three per minute
_BLOCKAGE_RAMP_S: Final = 0.05


class Environment(Protocol):
    """What the radio needs to know of the world; `hil.testbed.RadioConfig` has it."""

    @property
    def path_loss(self) -> float:
        """Loss between the antennas, in dB."""

    @property
    def shadowing(self) -> float:
        """Standard deviation of the slow variation, in dB."""

    @property
    def blockage(self) -> bool:
        """Whether something passes between the antennas now and then."""


def _seconds(t_ns: ArrayLike) -> Decibels:
    return np.asarray(t_ns, dtype=np.float64) * 1e-9


class _Link:
    """The random numbers of one CPE's link, drawn once."""

    def __init__(self, seed: int, cpe: int) -> None:
        rng = np.random.default_rng([seed, cpe, 0x5241])
        self.shadow = [_gauss_markov(rng, length) for length in _SHADOW_LENGTHS]
        angle = (rng.random((_TAPS, _PATHS)) + np.arange(_PATHS)) * (2 * np.pi / _PATHS)
        self.doppler = 2 * np.pi * DOPPLER_HZ * np.cos(angle)
        self.phase = rng.random((_TAPS, _PATHS)) * 2 * np.pi
        self.direct = rng.random(_TAPS) * 2 * np.pi
        hit = rng.random(_BLOCKAGE_WINDOWS) < _BLOCKAGE_SHARE
        self.depth = np.where(hit, 12 + 8 * rng.random(_BLOCKAGE_WINDOWS), 0.0)
        self.length = 0.2 + 0.8 * rng.random(_BLOCKAGE_WINDOWS)
        room = _BLOCKAGE_WINDOW_S - self.length - 2 * _BLOCKAGE_RAMP_S
        self.start = _BLOCKAGE_RAMP_S + room * rng.random(_BLOCKAGE_WINDOWS)


def _gauss_markov(rng: np.random.Generator, length: int) -> Decibels:
    """One turn of a circular first-order Gauss-Markov sequence of unit variance.

    x[k] = a x[k-1] + sqrt(1-a^2) w[k] with x[-1] = x[length-1], solved as a circular filter; its
    autocorrelation is exp(-lag / DECORRELATION_S) up to terms of exp(-length step / T).
    """
    a = np.exp(-_SHADOW_STEP_S / DECORRELATION_S)
    turn = np.exp(-2j * np.pi * np.fft.rfftfreq(length))
    white = np.fft.rfft(rng.standard_normal(length))
    return np.fft.irfft(white * np.sqrt(1 - a * a) / (1 - a * turn), length)


@cache
def _link(seed: int, cpe: int) -> _Link:
    return _Link(seed, cpe)


class Radio:
    """The downlink radio of every CPE of one world.

    Args:
        environment: path loss, standard deviation of the shadowing and whether blockage happens.
        seed: the world's seed.

    All methods take the CPE's number (its row in the coupling), a time or an array of times in
    nanoseconds since the world's epoch and, where it matters, the attenuation in dB that lies in
    the path at those times; they return float64 arrays of the broadcast shape (0-d for scalars).
    """

    def __init__(self, environment: Environment, seed: int) -> None:
        self._environment = environment
        self._seed = seed

    def shadowing_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Slow log-normal variation: Gauss-Markov in dB, decorrelation time DECORRELATION_S."""
        step = _seconds(t_ns) / _SHADOW_STEP_S
        base = np.floor(step)
        part = step - base
        total = np.zeros_like(step)
        for table in _link(self._seed, cpe).shadow:
            low = base.astype(np.int64) % table.size
            total = total + (1 - part) * table[low] + part * table[(low + 1) % table.size]
        return np.asarray(self._environment.shadowing * total / np.sqrt(2), dtype=np.float64)

    def blockage_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Loss by something that passes between: 12 to 20 dB for 0.2 to 1 s, 50 ms ramps.

        Zero where the world has no blockage.
        """
        seconds = _seconds(t_ns)
        if not self._environment.blockage:
            return np.zeros_like(seconds)
        link = _link(self._seed, cpe)
        window = np.floor(seconds / _BLOCKAGE_WINDOW_S).astype(np.int64)
        inside = seconds - window * _BLOCKAGE_WINDOW_S
        index = window % _BLOCKAGE_WINDOWS
        start, length = link.start[index], link.length[index]
        edge = np.minimum(inside - start, start + length - inside) / _BLOCKAGE_RAMP_S
        return np.asarray(link.depth[index] * np.clip(edge + 1, 0, 1), dtype=np.float64)

    def fading_db(self, cpe: int, t_ns: ArrayLike) -> Decibels:
        """Small-scale fading with Doppler, averaged over the band; mean power 0 dB.

        Rice with factor RICE_K_DB per tap; each diffuse part is a sum of sinusoids with the
        frequencies of Clarke's model, so that its autocorrelation is close to J0(2 pi f_D tau).
        """
        link = _link(self._seed, cpe)
        seconds = _seconds(t_ns)
        argument = seconds[..., None, None] * link.doppler + link.phase
        diffuse = np.exp(1j * argument).sum(axis=-1) / np.sqrt(_PATHS)
        k = 10 ** (RICE_K_DB / 10)
        gain = np.sqrt(k / (k + 1)) * np.exp(1j * link.direct) + diffuse / np.sqrt(k + 1)
        return np.asarray(10 * np.log10((np.abs(gain) ** 2).mean(axis=-1)), dtype=np.float64)

    def rsrp_dbm(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-RSRP (TS 38.215 clause 5.1.1) without the small-scale fading that it averages out."""
        loss = self._environment.path_loss + np.asarray(attenuation_db, dtype=np.float64)
        level = TRANSMIT_EPRE_DBM - loss + self.shadowing_db(cpe, t_ns)
        return np.asarray(level - self.blockage_db(cpe, t_ns), dtype=np.float64)

    def mean_sinr_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-SINR (TS 38.215 clause 5.1.5) without fading: what a modem reports after filtering."""
        return _limited(self.rsrp_dbm(cpe, t_ns, attenuation_db) - NOISE_DBM)

    def sinr_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SINR at an instant, fading included: what one slot's transport block meets."""
        level = self.rsrp_dbm(cpe, t_ns, attenuation_db) + self.fading_db(cpe, t_ns)
        return _limited(level - NOISE_DBM)

    def rsrq_db(self, cpe: int, t_ns: ArrayLike, attenuation_db: ArrayLike = 0.0) -> Decibels:
        """SS-RSRQ (TS 38.215 clause 5.1.3): N x RSRP / RSSI over the N blocks of the SSB.

        The RSSI holds twelve full subcarriers of each block and the noise, so the ratio is
        -10.8 dB at best.
        """
        sinr = 10 ** (self.mean_sinr_db(cpe, t_ns, attenuation_db) / 10)
        return np.asarray(-10 * np.log10(12 * (1 + 1 / sinr)), dtype=np.float64)


def _limited(snr_db: Decibels) -> Decibels:
    """SINR where the noise and the ceiling add as powers."""
    noise = 10 ** (-snr_db / 10) + 10 ** (-SINR_CEILING_DB / 10)
    return np.asarray(-10 * np.log10(noise), dtype=np.float64)
