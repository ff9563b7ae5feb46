"""What one slot of the radio carries: from SNR to modulation, capacity and block errors.

Spectral efficiencies are those of TS 38.214 table 5.2.2.1-3 (256QAM, for best effort and video) and
table 5.2.2.1-4 (block error share 1e-5, for the urgent class). The SNR at which an efficiency `e`
errs in 10 % of blocks follows the attenuated Shannon bound of TR 36.942 annex A.1,
e = 0.75 log2(1 + SNR), the factor chosen so that 64QAM and 256QAM lie within 2 dB of published LDPC
curves in white noise. Around that point the error share is a Gaussian tail with a standard
deviation of 0.5 dB: 10 % becomes 1e-5 within 1.5 dB. Copies of a block combine (chase combining):
the n-th transmission sees n times the SNR.

Modulation is chosen from the SNR as it was REPORT_BLOCKS blocks before, less a margin, as a channel
report is old when it is used; errors are drawn at the SNR as it is.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Protocol

from hil.testbed.world import CellConfig
from hil.virtual.radio import SINR_CEILING_DB

#: CQI 1 to 15 of TS 38.214 table 5.2.2.1-3, bit/s/Hz.
EFFICIENCIES: Final = (
    *(0.1523, 0.3770, 0.8770, 1.4766, 1.9141, 2.4063, 2.7305, 3.3223),
    *(3.9023, 4.5234, 5.1152, 5.5547, 6.2266, 6.9141, 7.4063),
)
#: CQI 1 to 15 of TS 38.214 table 5.2.2.1-4, bit/s/Hz.
ROBUST_EFFICIENCIES: Final = (
    *(0.0586, 0.0977, 0.1523, 0.2344, 0.3770, 0.6016, 0.8770, 1.1758),
    *(1.4766, 1.9141, 2.4063, 2.7305, 3.3223, 3.9023, 4.5234),
)
_ROBUST_ERROR_SHARE: Final = 1e-5
_SHANNON_FACTOR: Final = 0.75
_WATERFALL_DB: Final = 0.5
_TENTH: Final = 1.2816  # the normal quantile at 90 %

#: Margins under the reported SNR, for what the channel may do until the block is sent.
_MARGIN_DB: Final = 0.0
_ROBUST_MARGIN_DB: Final = 3.0

#: A device of power class 2 (26 dBm, TS 38.101-1 table 6.2.1-1) against a base station of 40 dBm,
#: whose receiver has a noise figure 4 dB lower.
UPLINK_DEFICIT_DB: Final = 10.0

BLOCK_SLOTS: Final = 10  #: slots over which the channel is taken as constant
REPORT_BLOCKS: Final = 2  #: age of a channel report

_STATES_KEPT: Final = 4096  # far more than any block that may still be asked for

#: Resource blocks by bandwidth in MHz (TS 38.101-1 table 5.3.2-1, TS 38.101-2 table 5.3.2-1).
_RESOURCE_BLOCKS: Final = {
    1_000_000: {5: 25, 10: 52, 15: 79, 20: 106, 25: 133, 30: 160, 40: 216, 50: 270},
    500_000: {5: 11, 10: 24, 15: 38, 20: 51, 25: 65, 30: 78, 40: 106, 50: 133}
    | {60: 162, 70: 189, 80: 217, 90: 245, 100: 273},
    250_000: {10: 11, 15: 18, 20: 24, 25: 31, 30: 38, 40: 51, 50: 65, 60: 79}
    | {70: 93, 80: 107, 90: 121, 100: 135},
    125_000: {50: 32, 100: 66, 200: 132, 400: 264},
}
_SUBCARRIERS: Final = 12
_SYMBOLS: Final = 14
#: Share of resource elements that carry no data (TS 38.306 clause 4.1.2, FR1).
_OVERHEAD: Final = {"downlink": 0.14, "uplink": 0.08}


class Signal(Protocol):
    """The radio as the cell meets it: pure functions of CPE and time on the cell's clock."""

    def snr_db(self, cpe: int, t_ns: int) -> float:
        """Downlink SNR, fading included, without a receiver's ceiling."""

    def up(self, cpe: int, t_ns: int) -> bool:
        """Whether the CPE has a session that carries user data."""


def resource_blocks(config: CellConfig) -> int:
    """Resource blocks of the carrier; the next narrower one where the width is no standard one."""
    widths = _RESOURCE_BLOCKS[config.slot_ns]
    fitting = [width for width in widths if width * 1_000_000 <= config.bandwidth_hz]
    return widths[max(fitting, default=min(widths))]


def threshold_db(efficiency: float, error_share: float = 0.1) -> float:
    """The SNR at which blocks of an efficiency err with a given share."""
    tenth = 10 * math.log10(2 ** (efficiency / _SHANNON_FACTOR) - 1)
    return tenth + _WATERFALL_DB * (_tail_quantile(error_share) - _TENTH)


def error_share(efficiency: float, snr_db: float) -> float:
    """The share of blocks of an efficiency that err at an SNR."""
    distance = (snr_db - threshold_db(efficiency)) / _WATERFALL_DB + _TENTH
    return 0.5 * math.erfc(distance / math.sqrt(2))


@lru_cache
def _tail_quantile(share: float) -> float:
    """The value that a standard normal variable exceeds with a given probability."""
    low, high = -8.0, 8.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if math.erfc(middle / math.sqrt(2)) / 2 > share else (low, middle)
        )
    return low


@dataclass(frozen=True, slots=True)
class Format:
    """Modulation, coding and rank of a transport block.

    `slot_bytes` is what a whole slot carries in it, 0 where the link carries nothing.
    """

    efficiency: float
    layers: int
    slot_bytes: int


@dataclass(frozen=True, slots=True)
class State:
    """The channel of one CPE in one direction during one block of slots."""

    snr_db: float
    ordinary: Format
    robust: Format

    def error(self, used: Format, transmission: int) -> float:
        """Error share of the n-th transmission (from 1) of a block sent in `used`."""
        if not used.slot_bytes:
            return 1.0
        per_layer = self.snr_db + 10 * math.log10(transmission / used.layers)
        return error_share(used.efficiency, per_layer)


class Channel:
    """One direction of the radio, as states per CPE and block of slots."""

    def __init__(self, config: CellConfig, signal: Signal, *, uplink: bool) -> None:
        direction = "uplink" if uplink else "downlink"
        elements = resource_blocks(config) * _SUBCARRIERS * _SYMBOLS * (1 - _OVERHEAD[direction])
        self._bytes = elements / 8
        self._layers = config.uplink_layers if uplink else config.downlink_layers
        self._deficit_db = UPLINK_DEFICIT_DB if uplink else 0.0
        self._signal = signal
        self._slot_ns = config.slot_ns
        self._block_ns = BLOCK_SLOTS * config.slot_ns
        self._states: dict[tuple[int, int], State] = {}
        self._ordinary = _Table(EFFICIENCIES, config.error_share)
        self._robust = _Table(ROBUST_EFFICIENCIES, _ROBUST_ERROR_SHARE)
        self.robust_slot_bytes = int(self._bytes * ROBUST_EFFICIENCIES[-1])

    def state(self, cpe: int, slot: int) -> State:
        """The state in `slot`; decided once per block, by what is known when first asked."""
        key = (cpe, slot // BLOCK_SLOTS)
        if (known := self._states.get(key)) is None:
            if len(self._states) > _STATES_KEPT:
                recent = list(self._states.items())[_STATES_KEPT // 2 :]
                self._states = dict(recent)
            known = self._states[key] = self._decide(*key)
        return known

    def up(self, cpe: int, slot: int) -> bool:
        """Whether the CPE has a session at the start of a slot."""
        return self._signal.up(cpe, slot * self._slot_ns)

    def _decide(self, cpe: int, block: int) -> State:
        start = block * self._block_ns
        reported = self._snr_db(cpe, start - REPORT_BLOCKS * self._block_ns)
        ordinary = max(
            (
                self._format(self._ordinary, reported - _MARGIN_DB, layers)
                for layers in range(1, self._layers + 1)
            ),
            key=lambda each: each.slot_bytes,
        )
        return State(
            snr_db=self._snr_db(cpe, start + self._block_ns // 2),
            ordinary=ordinary,
            robust=self._format(self._robust, reported - _ROBUST_MARGIN_DB, 1),
        )

    def _snr_db(self, cpe: int, t_ns: int) -> float:
        snr = self._signal.snr_db(cpe, t_ns) - self._deficit_db
        return -10 * math.log10(10 ** (-snr / 10) + 10 ** (-SINR_CEILING_DB / 10))

    def _format(self, table: _Table, snr_db: float, layers: int) -> Format:
        per_layer = snr_db - 10 * math.log10(layers)
        efficiency = table.best(per_layer)
        return Format(efficiency, layers, int(self._bytes * layers * efficiency))


class _Table:
    """Efficiencies, and the SNR that each needs for a target error share."""

    def __init__(self, efficiencies: Sequence[float], share: float) -> None:
        self._efficiencies = (0.0, *efficiencies)
        self._needed = [threshold_db(each, share) for each in efficiencies]

    def best(self, snr_db: float) -> float:
        """The highest efficiency that an SNR allows, 0 where it allows none."""
        return self._efficiencies[bisect_right(self._needed, snr_db)]
