"""Targets on rates of events that should not happen: gaps, watchdog trips, down events.

"None was seen" is no proof of "none happens". It is judged as a rate: exact Poisson limits of
events per hour against a declared rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np

from hil.judge.evidence import Evidence
from hil.judge.finding import Finding
from hil.judge.judgement import Reason
from hil.judge.offered import Flags
from hil.judge.uncertainty import Uncertainty
from hil.judge.wording import lasting, per_hour, span
from hil.samples import metrics, outages
from hil.samples.columns import Samples, replaced
from hil.samples.measurement import Measurement
from hil.stats import rate
from hil.targets.target import EventTarget, GoodputTarget
from hil.units import format_share

_HOUR_NS: Final = 3_600_000_000_000


@dataclass(frozen=True, slots=True)
class Events:
    """How often it happened: for certain, and at most where doubtful ones are counted too."""

    certain: int
    possible: int
    hours: float
    words: str  #: what else is worth a word, as the longest gap
    details: dict[str, Any]


def events_of(
    target: EventTarget, seen: Evidence, measurement: Measurement, found: Uncertainty
) -> Events:
    """Counts the events of a metric both ways."""
    if target.metric == "down_events":
        return _down(target, seen, measurement, found)
    return _gaps(target, seen, measurement, found)


def observed_hours(seen: Evidence, interval_ns: int) -> float:
    """How long the service was due: one interval for each packet or frame offered."""
    frame = seen.rows["frame"].astype(np.int64)
    return (1 + int(np.count_nonzero(np.diff(frame)))) * interval_ns / _HOUR_NS


def _gaps(
    target: EventTarget, seen: Evidence, measurement: Measurement, found: Uncertainty
) -> Events:
    """Replays a watchdog on the receipts; a gap limit is one without a tick.

    Possible are gaps that reach the limit less its uncertainty when bracketed packets are taken for
    lost; certain are those beyond the limit, its tick and its uncertainty within which no bracketed
    packet was due.
    """
    timing, limit = measurement.timing, target.limit_ns
    hardest = metrics.watchdog(
        _lost_where(seen.rows, seen.bracketed), timing, watchdog_ns=limit - found.total_ns
    )
    mildest = metrics.watchdog(
        seen.rows, timing, watchdog_ns=limit + found.total_ns, tick_ns=target.tick_ns
    )
    certain = np.flatnonzero(mildest.certain)
    doubtful = np.sort(seen.sent_ns[seen.bracketed])
    start, end = mildest.start_ns[certain], mildest.start_ns[certain] + mildest.gap_ns[certain]
    touched = np.searchsorted(doubtful, end, "right") > np.searchsorted(doubtful, start - limit)
    longest = mildest.longest_ns
    return Events(
        certain=int((~touched).sum()),
        possible=int(hardest.possible.sum()),
        hours=observed_hours(seen, measurement.interval_ns or 0),
        words=f"longest gap {span(longest)}",
        details={"longest_gap_ns": longest, "longest_gap_bracketed_ns": hardest.longest_ns},
    )


def _lost_where(rows: Samples, flags: Flags) -> Samples:
    """The samples with some packets taken for lost."""
    if not flags.any():
        return rows
    return replaced(
        rows,
        copies=np.where(flags, 0, rows["copies"]),
        arrival=np.where(flags, -1, rows["arrival"]),
    )


def _down(
    target: EventTarget, seen: Evidence, measurement: Measurement, found: Uncertainty
) -> Events:
    """Down events of TS 22.104, bracketed messages once taken for missed and once for in time."""
    assert target.bound_ns is not None  # the model of a target keeps it so
    hardest, mildest = (
        outages.down_events(
            seen.sent_ns,
            seen.received_ns,
            in_time,
            limit_ns=target.bound_ns + shift,
            survival_ns=target.limit_ns,
        )
        for in_time, shift in (
            (seen.within(target.bound_ns - found.total_ns) & ~seen.bracketed, -found.total_ns),
            (seen.within(target.bound_ns + found.total_ns) | seen.bracketed, found.total_ns),
        )
    )
    return Events(
        certain=mildest.count,
        possible=hardest.count,
        hours=observed_hours(seen, measurement.interval_ns or 0),
        words=f"down for {span(float(mildest.down_ns))} in all" if mildest.count else "",
        details={"availability": mildest.availability, "down_ns": mildest.down_ns},
    )


def judge_events(target: EventTarget | GoodputTarget, events: Events, interval_ns: int) -> Finding:
    """Holds counted events against the declared rate."""
    confidence, declared, hours = target.confidence, target.rate, events.hours
    high = rate.upper(events.possible, hours, confidence)
    low = rate.lower(events.certain, hours, confidence)
    missed: Reason | None = None
    if declared is None:
        missed = Reason.MISSED if events.certain else None
    elif low > declared:
        missed = Reason.MISSED
    needed = None
    if declared is not None:
        needed = rate.required_hours(declared, confidence)
    undecided = Reason.UNDECIDED if events.possible else Reason.NOT_DEMONSTRATED
    return Finding(
        met=declared is not None and high <= declared,
        missed=missed,
        promising=events.certain <= (declared or 0) * hours,
        undecided=undecided if declared is not None else Reason.NOT_DEMONSTRATED,
        sentence=_sentence(target, events, high, needed),
        n=_offered(events, interval_ns),
        exceeding=events.certain,
        figure=events.certain / hours if hours else None,
        figure_low=low if math.isfinite(low) else None,
        figure_high=high if math.isfinite(high) else None,
        demonstrated=high if math.isfinite(high) else None,
        required=None if needed is None else math.ceil(needed * _HOUR_NS / interval_ns),
        details={
            "events_certain": events.certain,
            "events_possible": events.possible,
            "hours": hours,
            **events.details,
        },
    )


def _offered(events: Events, interval_ns: int) -> int:
    return round(events.hours * _HOUR_NS / interval_ns)


def _sentence(
    target: EventTarget | GoodputTarget, events: Events, high: float, needed: float | None
) -> str:
    words = f"{target.events(events.certain)} in {lasting(events.hours)}"
    if events.possible > events.certain:
        words += f", and {events.possible - events.certain:,} that bracketed packets leave open"
    words += f"; at {format_share(target.confidence)} confidence at most {per_hour(high)}"
    if target.rate is None or needed is None:
        words += " (no rate is declared, so none can be demonstrated)"
    else:
        words += f" (target {per_hour(target.rate)}, needs {lasting(needed)} without one)"
    return f"{words}; {events.words}" if events.words else words


def judge_goodput(target: GoodputTarget, seen: Evidence, measurement: Measurement) -> Finding:
    """Windows that fall short, judged as events, and a backlog that must not grow.

    Time does not enter into what was delivered, so only packets that are both lost and bracketed
    are in doubt: lost for PASS, delivered for FAIL.
    """
    interval = measurement.interval_ns or 1
    excused = seen.lost & seen.bracketed
    healed = seen.rows
    if excused.any():
        healed = replaced(seen.rows, copies=np.where(excused, 1, seen.rows["copies"]))
    hard = metrics.goodput(seen.rows, measurement.timing, window_ns=target.window_ns)
    mild = metrics.goodput(healed, measurement.timing, window_ns=target.window_ns)
    worst = float(hard.share.min()) if hard.share.size else 0.0
    events = Events(
        certain=int(outages.run_lengths(mild.share < target.least).size),
        possible=int(outages.run_lengths(hard.share < target.least).size),
        hours=observed_hours(seen, interval),
        words=f"worst window {format_share(worst)}",
        details={
            "worst_window": worst,
            "windows": int(hard.share.size),
            "backlog_growth": hard.growth,
            "backlog_growth_low": hard.growth_low,
            "backlog_growth_high": hard.growth_high,
        },
    )
    finding = judge_events(target, events, interval)
    return _with_backlog(target, finding, hard)


def _with_backlog(target: GoodputTarget, finding: Finding, goodput: metrics.Goodput) -> Finding:
    """Adds the second criterion: what stays behind may not exceed what a window may lack."""
    spare = 1 - target.least
    low, high, slope = goodput.growth_low, goodput.growth_high, goodput.growth
    if low is None or high is None or slope is None:
        return replace(
            finding,
            met=False,
            sentence=f"{finding.sentence}; too few frames to see whether a backlog grows",
        )
    grows = f"the backlog grows by {format_share(max(slope, 0))} of the offered rate"
    return replace(
        finding,
        met=finding.met and high <= spare,
        missed=finding.missed or (Reason.MISSED if low > spare else None),
        promising=finding.promising and slope <= spare,
        undecided=Reason.UNDECIDED if high > spare else finding.undecided,
        sentence=f"{finding.sentence}; {grows}" if slope > spare else finding.sentence,
    )
