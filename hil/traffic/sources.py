"""Which of the times that a sample has its delay is made of, and whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import accounting
from hil.samples.measurement import Counts, RxSource, Timing, TxSource, Window
from hil.samples.table import SPOILED, Table, difference_ns, taken
from hil.samples.trailer_clock import TrailerMap
from hil.traffic.stamping import Stamping
from hil.units import format_duration

#: Two times of one instant of a frame may be this far apart; a frame that was held up on this host
#: in between tells nothing about the network.
SAME_INSTANT_NS: Final = 100_000

_MOST_MISSING: Final = 0.5
_CARD_SHARE: Final = 0.99
_BEHIND_THE_CARDS: Final[tuple[RxSource, ...]] = ("trailer", "kernel")


def choose_timing(samples: Table, counts: Counts) -> Timing:
    """The best source of either time that the samples have.

    A tap that states when a frame reached it goes before the network cards, these before a passive
    tap, that before the kernel, and a process comes last. A source of which more than half of the
    times are missing is none. Of the cards a hundredth may miss: which stamps a card leaves out is
    not by chance but follows the load, and the kernel's are there.
    """
    came = samples["copies"] > 0
    left = taken(samples["tx_user_ns"])
    tx_kernel = int(taken(samples["tx_kernel_ns"])[left].sum()) * 2 > int(left.sum())
    sender: TxSource = "kernel" if tx_kernel or not left.any() else "user"
    if not counts.received:
        return Timing(sender, "kernel")
    stated = _share(samples["ingress_ns"], came) > _MOST_MISSING
    carded = min(_share(samples[f"{way}_hardware_ns"], came) for way in ("tx", "rx"))
    if carded >= _CARD_SHARE and not stated:
        return Timing("hardware", "hardware")
    for source in _BEHIND_THE_CARDS:
        if _share(samples[f"rx_{source}_ns"], came) > _MOST_MISSING:
            return Timing(sender, source)
    return Timing(sender, "user")


def _share(column: NDArray[np.int64], rows: NDArray[np.bool_]) -> float:
    return float(taken(column[rows]).mean())


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


def spoil_across_cards(samples: Table, cards: Stamping) -> tuple[str, ...]:
    """Hold the stamps of the cards against the kernel's of the same frames; what voids the run.

    The kernel's stamp is taken before the card's on the way out and after it on the way in, and
    half of them within `SAME_INSTANT_NS`. A sample that has them the wrong way round by more is
    flagged; where half of all are further apart, no stamp of the run can be trusted.
    """
    said: list[str] = []
    for way, distance in (
        ("sending", difference_ns(cards.tx_host_ns(samples), samples["tx_kernel_ns"])),
        ("arrival", difference_ns(samples["rx_kernel_ns"], cards.rx_host_ns(samples))),
    ):
        known = taken(distance)
        if not known.any():
            continue
        samples["flags"][known & (distance < -SAME_INSTANT_NS)] |= SPOILED
        middle = int(np.median(distance[known]))
        if abs(middle) > SAME_INSTANT_NS:
            said.append(
                f"half of the stamps of {way} by the network card and by the kernel are more than "
                f"{format_duration(abs(middle))} apart, so at least one clock is wrong"
            )
    return tuple(said)


def spoil_missing(samples: Table, windows: Sequence[Window], longest_ns: int | None = None) -> None:
    """Flag the packets that never came and may have been lost by this host in one of `windows`.

    What came in such a span came with its times; only a loss cannot be told from the network's.
    `longest_ns` is how long the slowest sample of the whole run took, where `samples` are a part.
    """
    if not windows:
        return
    touched = (accounting.spoil(samples, windows, longest_ns)["flags"] & SPOILED) != 0
    samples["flags"][touched & (samples["copies"] == 0)] |= SPOILED


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where two times of one instant are further apart than they may be."""
    distance = difference_ns(one, other)
    return np.asarray(taken(distance) & (np.abs(distance) > SAME_INSTANT_NS))
