"""Which of the times that a sample has its delay is made of, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import accounting
from hil.samples.measurement import Counts, Timing, Window
from hil.samples.table import SPOILED, Table, difference_ns, taken
from hil.samples.trailer_clock import TrailerMap

#: Two times of one instant of a frame may be this far apart; a frame that was held up on this host
#: in between tells nothing about the network.
SAME_INSTANT_NS: Final = 100_000

_MOST_MISSING: Final = 0.5


def choose_timing(samples: Table, counts: Counts) -> Timing:
    """The best source of either time that the samples have: trailer, kernel, then user.

    A source of which more than half of the times are missing is none.
    """
    came = samples["copies"] > 0
    left = taken(samples["tx_user_ns"])
    tx_kernel = int(taken(samples["tx_kernel_ns"])[left].sum()) * 2 > int(left.sum())
    for source in ("trailer", "kernel"):
        found = int(taken(samples[f"rx_{source}_ns"])[came].sum())
        if counts.received and found > _MOST_MISSING * counts.received:
            return Timing("kernel" if tx_kernel else "user", source)
    if not counts.received:
        return Timing("kernel" if tx_kernel or not left.any() else "user", "kernel")
    return Timing("kernel" if tx_kernel else "user", "user")


def spoil_held_up(samples: Table, clock_map: TrailerMap | None) -> None:
    """Flag samples whose tap and kernel do not agree on an instant, or on an order.

    A tap's ingress and the kernel's stamp of sending are one instant. So are the passing of a
    passive tap and the kernel's stamp of arrival. Where the tap states both an ingress and a
    release, the frame cannot have arrived before it really left, which is `lateness_ns` later.
    """
    spoilt = _apart(samples["ingress_ns"], samples["tx_kernel_ns"])
    stated, arrived = samples["rx_trailer_ns"], samples["rx_kernel_ns"]
    if clock_map is not None and clock_map.instant == "arrival":
        spoilt |= _apart(stated, arrived)
    else:
        lateness = samples["lateness_ns"]
        left = np.where(taken(lateness) & taken(stated), stated + lateness, stated)
        early = difference_ns(left, arrived)
        spoilt |= taken(early) & (early > SAME_INSTANT_NS)
    samples["flags"][spoilt] |= SPOILED


def spoil_missing(samples: Table, windows: Sequence[Window]) -> None:
    """Flag the packets that never came and may have been lost by this host in one of `windows`.

    What came in such a span came with its times; only a loss cannot be told from the network's.
    """
    if not windows:
        return
    touched = (accounting.spoil(samples, windows)["flags"] & SPOILED) != 0
    samples["flags"][touched & (samples["copies"] == 0)] |= SPOILED


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where two times of one instant are further apart than they may be."""
    distance = difference_ns(one, other)
    return np.asarray(taken(distance) & (np.abs(distance) > SAME_INSTANT_NS))
