"""Targets on a share: at least so many of all planned items within a limit.

Counts come from the raw samples. They are divided by a design effect of bursts before the exact
limits of Clopper and Pearson are taken, for PASS and for FAIL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.judge.evidence import NEVER, Evidence, Times
from hil.judge.finding import Finding
from hil.judge.judgement import Reason
from hil.judge.offered import Flags
from hil.judge.uncertainty import Uncertainty
from hil.judge.wording import at_least, per_hour, plural
from hil.samples import metrics, outages
from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.stats import dependence, proportion, quantile, rate
from hil.targets.plan import for_zero_failures
from hil.targets.target import WithinTarget
from hil.units import format_share

_HOUR_NS: Final = 3_600_000_000_000
_SHOWN: Final = (0.9999, 0.999, 0.99, 0.9, 0.5)


@dataclass(frozen=True, slots=True)
class Items:
    """The items that a share is of, one entry each: packets, frames or loops.

    `value_ns` is `NEVER` where the item never came and `NOT_TAKEN` where it is not known.
    """

    value_ns: Times
    bracketed: Flags
    stratum: NDArray[np.integer[Any]]
    names: str

    @property
    def n(self) -> int:
        """How many."""
        return len(self.value_ns)

    def within(self, limit_ns: int) -> Flags:
        """Items known to be within a limit."""
        return np.asarray(taken(self.value_ns) & (self.value_ns <= limit_ns))


def items_of(metric: str, seen: Evidence, measurement: Measurement) -> Items:
    """The items of a metric: packets by delay or PDV, frames, loops."""
    if metric == "frame_delay":
        return _frames(seen, measurement)
    values = seen.delay_ns
    if metric == "pdv":
        usable = taken(values) & (values != NEVER) & ~seen.bracketed
        smallest = values[usable].min() if usable.any() else 0
        finite = taken(values) & (values != NEVER)
        values = np.where(finite, values - np.where(finite, smallest, 0), values)
    names = "loops" if metric == "loop_time" else "packets"
    return Items(values, seen.bracketed, seen.rows["stratum"], names)


def _frames(seen: Evidence, measurement: Measurement) -> Items:
    """Frames, from the first packet in to the last packet out.

    A frame that misses a packet for which the network answers is lost, whatever befell the others.
    Else it is bracketed where the time of any packet that it hangs on is.
    """
    frames = metrics.frames(seen.rows, measurement.timing)
    of_row = np.searchsorted(frames.frame, seen.rows["frame"])
    missing = _any(seen.lost & ~seen.bracketed, of_row, len(frames.frame))
    # A packet that came and lacks a stamp leaves the frame's delay unknown; it needs no flag.
    refused = seen.untimed & (seen.rows["arrival"] < 0)
    doubt = seen.spoiled | seen.in_flight | refused
    if seen.offered is not None:
        doubt = doubt | seen.offered.nonconforming
    doubtful = _any(doubt, of_row, len(frames.frame))
    unknown = frames.complete & ~taken(frames.delay_ns)
    values = np.where(missing | ~frames.complete, NEVER, frames.delay_ns)
    first = np.unique(seen.rows["frame"], return_index=True)[1]
    return Items(values, (doubtful | unknown) & ~missing, seen.rows["stratum"][first], "frames")


def _any(flags: Flags, of_row: NDArray[np.intp], count: int) -> Flags:
    return np.asarray(np.bincount(of_row, flags, minlength=count) > 0)


@dataclass(frozen=True, slots=True)
class Tally:
    """Counts of one set of items with their design effect."""

    within: int
    n: int
    effect: float

    @classmethod
    def to_show(cls, within: Flags, burst: int, confidence: float) -> Tally:
        """Counts for PASS: divided by how bursty the items are that were not within."""
        failing = outages.run_lengths(~within)
        effect = dependence.design_effect(failing, burst, confidence)
        return cls(int(within.sum()), len(within), effect)

    @classmethod
    def to_refute(cls, within: Flags, burst: int, confidence: float) -> Tally:
        """Counts for FAIL: divided by how bursty failures are, or what lies between them, if less.

        Else a network that is dead throughout would count as one failure of one item.
        """
        failing, between = outages.run_lengths(~within), outages.run_lengths(within)
        effect = dependence.design_effect(failing, burst, confidence, between=between)
        return cls(int(within.sum()), len(within), effect)

    def shows(self, share: float, confidence: float) -> bool:
        """The lower limit reaches the share."""
        return proportion.shows(*self.effective, share, confidence)

    def refutes(self, share: float, confidence: float) -> bool:
        """The upper limit stays below the share."""
        return proportion.refutes(*self.effective, share, confidence)

    def lower(self, confidence: float) -> float:
        """Lower limit of the share within."""
        return proportion.lower(*self.effective, confidence)

    def upper(self, confidence: float) -> float:
        """Upper limit of the share within."""
        return proportion.upper(*self.effective, confidence)

    @property
    def effective(self) -> tuple[float, float]:
        """Items within, and all, divided by the design effect."""
        return self.within / self.effect, self.n / self.effect


def judge_share(
    target: WithinTarget, items: Items, found: Uncertainty, interval_ns: int | None
) -> Finding:
    """Holds a share target against items.

    PASS counts items within L - U_cm and none that is bracketed; FAIL counts items within
    L + U_cm + floor and every one that is bracketed.
    """
    limit, share, confidence = target.limit_ns, target.share, target.confidence
    strict = items.within(limit - found.common_mode_ns) & ~items.bracketed
    generous = items.within(limit + found.total_ns) | items.bracketed
    low = Tally.to_show(strict, target.burst, confidence)
    high = Tally.to_refute(generous, target.burst, confidence)
    phases = _Phases.of(items, generous, target)
    required = for_zero_failures(target, 1)
    missed: Reason | None = None
    if high.refutes(share, confidence):
        missed = Reason.MISSED
    elif phases.missed is not None:
        missed = Reason.PHASE_MISSED
    shown = low.shows(share, confidence)
    undecided = Reason.TOO_FEW if items.n < required else Reason.UNDECIDED
    if shown and phases.suspect is not None:
        undecided = Reason.PHASE_SUSPECT
    observed = items.within(limit)
    counted = ~items.bracketed
    lost = int((counted & (items.value_ns == NEVER)).sum())
    exceeding = int((counted & ~observed).sum())
    figure = _figure(items, share, confidence, low.effect)
    hours = items.n * interval_ns / _HOUR_NS if interval_ns else None
    runs = outages.run_lengths(~strict)
    long_runs = int((runs > target.burst).sum())
    details: dict[str, Any] = {
        "share_low": low.lower(confidence),
        "share_high": high.upper(confidence),
        "share_seen": int(observed.sum()) / items.n,
        "within_strict": low.within,
        "within_generous": high.within,
        "design_effect_fail": high.effect,
        "lost": lost,
        "late": exceeding - lost,
        "runs": {str(k): int(c) for k, c in zip(*np.unique(runs, return_counts=True), strict=True)},
        "outages_beyond_burst": long_runs,
        "outage_rate_high_per_h": (
            rate.upper(long_runs, hours, confidence) if hours is not None else None
        ),
        **figure.details,
        **phases.details,
    }
    seen_share = 1 - exceeding / items.n
    return Finding(
        met=shown and phases.suspect is None,
        missed=missed,
        promising=seen_share >= share,
        undecided=undecided,
        sentence=_sentence(target, items, low, required, details),
        if_met=_outages_words(target, items.names, details),
        n=items.n,
        exceeding=exceeding,
        bracketed=int(items.bracketed.sum()),
        figure=figure.value,
        figure_low=figure.low,
        figure_high=figure.high,
        demonstrated=low.lower(confidence),
        design_effect=low.effect,
        required=required,
        warnings=_bracket_warning(items, share),
        details=details,
    )


def _bracket_warning(items: Items, share: float) -> tuple[str, ...]:
    part = float(items.bracketed.mean())
    if part <= (1 - share) / 2:
        return ()
    return (
        f"{int(items.bracketed.sum()):,} bracketed {items.names} are more than half of what the "
        f"target lets fail",
    )


def _sentence(
    target: WithinTarget, items: Items, low: Tally, required: int, details: dict[str, Any]
) -> str:
    within = round(details["share_seen"] * items.n)
    words = f"{within:,} of {plural(items.n, items.names)} {target.promise}"
    short = [f"{details[name]:,} {name}" for name in ("lost", "late") if details[name]]
    if short:
        words += f" ({', '.join(short)})"
    burst = f"bursts of up to {plural(target.burst, items.names)}"
    if target.burst == 1:
        burst = "no burst length declared"
    words += (
        f"; at {format_share(target.confidence)} confidence with {burst} this shows at least "
        f"{at_least(low.lower(target.confidence))} (target {format_share(target.share)}, needs "
        f"{plural(required, items.names)})"
    )
    if low.effect > 2 * target.burst - 1:
        words += f", counting the bursts seen by a design effect of {low.effect:.3g}"
    if "worst_phase" in details and details["worst_phase"]["exceeding"]:
        worst = details["worst_phase"]
        words += (
            f"; worst phase {worst['stratum'] + 1} of {worst['of']} with {worst['exceeding']:,} "
            f"of {worst['n']:,} outside"
        )
    return words


def _outages_words(target: WithinTarget, names: str, details: dict[str, Any]) -> str:
    """What the design burst length leaves open: how often a longer outage may come."""
    if (outages_per_h := details["outage_rate_high_per_h"]) is None:
        return ""
    burst = plural(target.burst, names)
    return f"outages of more than {burst} come at most {per_hour(outages_per_h)}"


@dataclass(frozen=True, slots=True)
class _Phases:
    """The phase strata: none may fail by itself; the worst one is shown."""

    missed: int | None  #: refuted though ten looks are counted in
    suspect: int | None  #: refuted by itself
    details: dict[str, Any]

    @classmethod
    def of(cls, items: Items, generous: Flags, target: WithinTarget) -> _Phases:
        """Judges each stratum: at the full confidence against PASS, shared out for FAIL."""
        strata = np.unique(items.stratum)
        if len(strata) < 2:
            return cls(None, None, {})
        tallies = {
            int(stratum): Tally.to_refute(
                generous[items.stratum == stratum], target.burst, target.confidence
            )
            for stratum in strata
        }
        shared_out = 1 - (1 - target.confidence) / len(tallies)  # Bonferroni
        missed, suspect = (
            next((s for s, found in tallies.items() if found.refutes(target.share, at)), None)
            for at in (shared_out, target.confidence)
        )
        worst, found = min(tallies.items(), key=lambda each: each[1].within / each[1].n)
        details = {
            "worst_phase": {
                "stratum": worst,
                "of": len(tallies),
                "exceeding": found.n - found.within,
                "n": found.n,
            },
            "missed_phase": missed,
            "suspect_phase": suspect,
        }
        return cls(missed, suspect, details)


@dataclass(frozen=True, slots=True)
class _Figure:
    """The quantile at the promised share, or the highest one below it that n supports."""

    value: int | None
    low: int | None
    high: int | None
    details: dict[str, Any]


def _figure(items: Items, share: float, confidence: float, effect: float) -> _Figure:
    known = taken(items.value_ns)
    n = int(known.sum())
    shares = (share, *(s for s in _SHOWN if s < share))
    shown = next((s for s in shares if quantile.supported(n, s)), None) if n else None
    if shown is None:
        return _Figure(None, None, None, {})
    finite = items.value_ns[known & (items.value_ns != NEVER)]
    limits = quantile.ranks(n, shown, confidence, effect)
    ranks = [r for r in (quantile.rank(n, shown), *limits) if r is not None and r <= finite.size]
    at = dict(zip(ranks, quantile.order_statistics(finite, ranks).tolist(), strict=True))
    value, low, high = (
        None if r is None else at.get(r) for r in (quantile.rank(n, shown), *limits)
    )
    name = f"p{shown * 100:.6g}"
    return _Figure(value, low, high, {"figure": name, "figure_infinite": value is None})
