"""Delay over the phase at which a packet was sent: the saw-tooth of a radio's slots and periods.

A time-division network serves a direction at fixed phases of its period, and a packet that comes
just too late waits for the next one. Folding the send times on the period shows that, and which
send phases would keep a bound. The network's clock is not the host's: over a run the phase slides
by the difference of the two, which is found here from the delays themselves.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy import stats as distributions
from scipy.special import gammaln

from hil.samples.measurement import Measurement
from hil.samples.table import SPOILED, taken
from hil.units import parse_duration

BINS: Final = 20
_FEWEST: Final = 200  # packets, below which nothing is folded
_MOST: Final = 5_000  # packets that the rate is sought with, spread evenly over the span
_MOST_PPM: Final = 50.0  # how far two free-running oscillators may be apart
_FIRST: Final = 2_000  # rates tried on the first span, half of them to either side of zero
_AROUND: Final = 6  # steps to either side when the span is doubled
_FEWEST_PARTS: Final = 2
_TOLD_PPM: Final = 10.0
_CHANCE: Final = 0.001  # that delays without any period would look as uneven

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class PhaseMap:
    """Delays by send phase, one entry for each of equal parts of the period.

    `start_ns` is where a part begins, counted from an arbitrary but constant phase. `n` packets
    were sent in it and have a delay or were lost; `late` of them broke the bound, lost ones
    included (None without a bound). The quantiles are of those that came, None where none did.
    `rate_ppm` is how much faster the network's clock ran than the host's, told to `within_ppm`: the
    rate at which the phase slides by one part over the run. It is 0 where `periodic` is False: then
    delays do not depend on the phase by more than chance, or too few were taken.
    """

    period_ns: int
    start_ns: tuple[int, ...]
    n: tuple[int, ...]
    late: tuple[int, ...] | None
    smallest_ns: tuple[int | None, ...]
    median_ns: tuple[int | None, ...]
    largest_ns: tuple[int | None, ...]
    rate_ppm: float
    within_ppm: float
    periodic: bool

    @property
    def good_ns(self) -> tuple[int, int] | None:
        """The longest stretch of phases, start and end, without a late packet; None without one.

        It may run over the end of the period: then its end is larger than the period.
        """
        if self.late is None or not self.periodic:
            return None
        good = np.array(
            [count > 0 and late == 0 for count, late in zip(self.n, self.late, strict=True)]
        )
        if not good.any() or good.all():
            return None
        best = (0, 0)
        for first in range(len(good)):
            length = 0
            while length < len(good) and good[(first + length) % len(good)]:
                length += 1
            best = max(best, (length, -first))
        width = self.period_ns / len(good)
        return round(-best[1] * width), round((best[0] - best[1]) * width)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "period_ns": self.period_ns,
            "periodic": self.periodic,
            "rate_ppm": self.rate_ppm,
            "within_ppm": self.within_ppm,
            "good_ns": list(self.good_ns) if self.good_ns is not None else None,
            "parts": [
                {
                    "start_ns": start,
                    "n": self.n[i],
                    "late": self.late[i] if self.late is not None else None,
                    "smallest_ns": self.smallest_ns[i],
                    "median_ns": self.median_ns[i],
                    "largest_ns": self.largest_ns[i],
                }
                for i, start in enumerate(self.start_ns)
            ],
        }


def declared_period_ns(measurement: Measurement) -> int | None:
    """The period that the offered traffic names (`phase_period`); None where it names none."""
    named = measurement.traffic.get("phase_period")
    return parse_duration(named) if isinstance(named, str) else named


def phase_map(
    measurement: Measurement, period_ns: int, *, bound_ns: int | None = None, bins: int = BINS
) -> PhaseMap | None:
    """Folds the delays of a measurement on a period; None below 200 packets with a send time.

    Packets in spoiled windows are left out: this shows the network, it judges nothing.
    """
    samples = measurement.samples
    sent, delay = samples[measurement.timing.tx_column], measurement.delay_ns
    clean = taken(sent) & ((samples["flags"] & SPOILED) == 0)
    lost = samples["arrival"] < 0
    sent, delay, lost = sent[clean], delay[clean], lost[clean]
    known = taken(delay) & ~lost
    if int(known.sum()) < _FEWEST:
        return None
    since = sent - sent[0]
    rate_ppm, periodic = _rate(since[known], delay[known], period_ns, bins)
    part = _part(since, rate_ppm, period_ns, bins)
    late = lost | (known & (delay > bound_ns)) if bound_ns is not None else None
    counted = lost | known
    return PhaseMap(
        period_ns=period_ns,
        start_ns=tuple(round(i * period_ns / bins) for i in range(bins)),
        n=tuple(np.bincount(part[counted], minlength=bins).tolist()),
        late=None if late is None else tuple(np.bincount(part[late], minlength=bins).tolist()),
        smallest_ns=_of_each(part[known], delay[known], bins, 0.0),
        median_ns=_of_each(part[known], delay[known], bins, 0.5),
        largest_ns=_of_each(part[known], delay[known], bins, 1.0),
        rate_ppm=rate_ppm,
        within_ppm=period_ns / bins / max(1, int(since[-1])) * 1e6,
        periodic=periodic,
    )


def clock_words(rate_ppm: float, within_ppm: float) -> str:
    """The rate of the network's clock in words; a run too short to tell it says so."""
    if within_ppm > _TOLD_PPM:
        return f"too short to tell the clocks apart (within {within_ppm:.2g} ppm)"
    return f"the network's clock {rate_ppm:+.2g} ppm (within {within_ppm:.2g} ppm)"


def part_of(measurement: Measurement, found: PhaseMap) -> NDArray[np.int64]:
    """The part of a phase map that each sample was sent in; of 0 where it has no send time."""
    samples = measurement.samples
    sent = samples[measurement.timing.tx_column]
    known = taken(sent)
    clean = sent[known & ((samples["flags"] & SPOILED) == 0)]
    since = np.where(known, sent, clean[0]) - clean[0]
    return _part(since, found.rate_ppm, found.period_ns, len(found.start_ns))


def _part(since: Times, rate_ppm: float, period_ns: int, bins: int) -> NDArray[np.int64]:
    """The part of the period that each send time falls into, on the network's clock."""
    phase = (since + since * (rate_ppm * 1e-6)) % period_ns
    return np.minimum((phase * bins / period_ns).astype(np.int64), bins - 1)


def _of_each(
    part: NDArray[np.int64], delay: Times, bins: int, share: float
) -> tuple[int | None, ...]:
    """The quantile of each part's delays, nearest rank; None where it has none."""
    order = np.lexsort((delay, part))
    ends = np.searchsorted(part[order], np.arange(bins + 1))
    ranked = delay[order]
    found: list[int | None] = []
    for start, end in pairwise(ends.tolist()):
        n = end - start
        rank = max(1, int(np.ceil(share * n)))
        found.append(int(ranked[start + rank - 1]) if n else None)
    return tuple(found)


def _rate(since: Times, delay: Times, period_ns: int, bins: int) -> tuple[float, bool]:
    """The rate difference in ppm at which the folded delays differ most from part to part.

    It is sought on a span so short that all rates in question slide by few parts, then around
    what was found on spans twice as long each time. Whether what is found is more than chance is
    told by the test of Kruskal and Wallis (1952) on ranks, the number of tries counted in.
    """
    whole = int(since[-1] - since[0]) or 1
    slide = period_ns / bins / 4  # of the phase, over the span, from one rate to the next
    span = min(whole, slide * _FIRST / (2 * _MOST_PPM * 1e-6))
    step = slide / span * 1e6
    tries = round(min(_MOST_PPM / step, _FIRST / 2))
    rates = step * np.arange(-tries, tries + 1)
    tried = 0
    while True:
        inside = np.flatnonzero(since <= span)
        chosen = inside[:: max(1, len(inside) // _MOST)]
        ranks = distributions.rankdata(delay[chosen])
        chances = [_chance(since[chosen], ranks, rate, period_ns, bins) for rate in rates]
        tried += len(rates)
        # Of rates that explain as much, the smallest: a short run does not tell them apart.
        best = min(range(len(rates)), key=lambda i: (round(chances[i]), abs(rates[i])))
        if span >= whole:
            break
        span = min(whole, 2 * span)
        step = slide / span * 1e6
        rates = rates[best] + step * np.arange(-_AROUND, _AROUND + 1)
    certain = chances[best] + np.log(tried) < np.log(_CHANCE)
    return (float(rates[best]), True) if certain else (0.0, False)


def _chance(
    since: Times, ranks: NDArray[np.float64], rate_ppm: float, period_ns: int, bins: int
) -> float:
    """The logarithm of the chance that equal parts would differ so much in their ranks."""
    part = _part(since, rate_ppm, period_ns, bins)
    counts = np.bincount(part, minlength=bins)
    sums = np.bincount(part, ranks, minlength=bins)
    there = counts > 0
    n, parts = len(ranks), int(there.sum())
    if parts < _FEWEST_PARTS:
        return 0.0
    between = float((sums[there] ** 2 / counts[there]).sum())
    statistic = 12 / (n * (n + 1)) * between - 3 * (n + 1)
    exact = float(distributions.chi2.logsf(statistic, parts - 1))
    if np.isfinite(exact):
        return exact
    half, freedom = statistic / 2, (parts - 1) / 2  # the leading term of the upper tail
    return float(-half + (freedom - 1) * np.log(half) - gammaln(freedom))
