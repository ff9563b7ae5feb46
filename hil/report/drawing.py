"""Which drawings a judgement deserves: the shape of its metric decides, not its verdict."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from hil.report import curves, figures, plots
from hil.report.markup import Markup
from hil.report.page import figure
from hil.report.quantity import shown
from hil.samples import metrics
from hil.samples.phase import clock_words, declared_period_ns, phase_map
from hil.samples.table import taken
from hil.verdict import Verdict

if TYPE_CHECKING:
    from hil.report.figures import AnyJudgement
    from hil.samples.measurement import Measurement

_GAPS = ("reception_gap", "watchdog")


def drawings(
    judgement: AnyJudgement, measurement: Measurement | None, against: Measurement | None
) -> list[Markup]:
    """The drawings of a judgement, the one that decides first."""
    found: list[Markup] = []
    if judgement.metric in figures.ITEMS and measurement is not None:
        found.append(_distribution(judgement, measurement, against))
    else:
        found += _estimate(judgement)
        if measurement is not None and judgement.metric in _GAPS:
            found += _gaps(judgement, measurement)
        if measurement is not None and judgement.metric == "delay_shift":
            found += _shift(judgement, measurement, against)
    if measurement is not None:
        found += _course(judgement, measurement)
        if judgement.metric == "delay":
            found += _phases(judgement, measurement)
    return found


def _bound(judgement: AnyJudgement, limit_ns: float) -> plots.Bound:
    return plots.Bound(
        limit_ns=limit_ns,
        guard_low_ns=limit_ns - judgement.common_mode_ns,
        guard_high_ns=limit_ns + judgement.common_mode_ns + judgement.floor_ns,
        share=judgement.share,
    )


def _values(metric: str, measurement: Measurement) -> tuple[NDArray[np.int64], int]:
    """The values that the metric's promise is about, and among how many they count."""
    samples, timing = measurement.samples, measurement.timing
    if metric == "frame_delay":
        frames = metrics.frames(samples, timing)
        return frames.delay_ns[taken(frames.delay_ns)], int(frames.frame.size)
    delay = metrics.delay_ns(samples, timing)
    if metric == "pdv":
        delay = metrics.pdv_ns(delay)
    return delay[taken(delay)], int(delay.size)


def _distribution(
    judgement: AnyJudgement, measurement: Measurement, against: Measurement | None
) -> Markup:
    values, n = _values(judgement.metric, measurement)
    curve = curves.ccdf(
        values, n, confidence=judgement.confidence, design_effect=judgement.design_effect
    )
    other = None
    if against is not None:
        theirs, count = _values(judgement.metric, against)
        other = ("over the wire", curves.ccdf(theirs, count, confidence=judgement.confidence))
    svg = plots.ccdf(
        curve,
        _bound(judgement, judgement.limit or 0.0),
        what=figures.metric(judgement),
        item=figures.items(judgement),
        floor=_floor(measurement),
        other=other,
    )
    source = f"{measurement.timing.tx} to {measurement.timing.rx} stamps"
    return figure(
        svg,
        f"How often is it later? {curve.n:,} {figures.items(judgement)}, {curve.missing:,} lost",
        f"{source}; {_reading(judgement)}",
    )


def _reading(judgement: AnyJudgement) -> str:
    if judgement.verdict is Verdict.INVALID:
        return "for diagnosis only, nothing here is vouched for"
    return "the curve must pass below the corner of the red field"


def _floor(measurement: Measurement) -> list[tuple[float, float]]:
    floor = measurement.budget.floor_ns
    if floor.size == 0:
        return []
    ranks = np.unique(np.linspace(1, floor.size, min(floor.size, 60)).astype(int))
    return [(float(rank) / floor.size, float(floor[rank - 1])) for rank in ranks]


def _estimate(judgement: AnyJudgement) -> list[Markup]:
    if judgement.figure is None and judgement.figure_low is None and judgement.figure_high is None:
        return []
    svg = plots.limits(
        plots.Estimate(
            figure=judgement.figure,
            low=judgement.figure_low,
            high=judgement.figure_high,
            limit=judgement.limit,
            guard=judgement.common_mode_ns if judgement.unit == "ns" else 0,
            unit=judgement.unit,
            text=f"figure: {figures.figure(judgement)} ({figures.limits(judgement)})",
            around=figures.expected(judgement),
        )
    )
    return [figure(svg, "Figure and limits", "the red field is what the bound forbids")]


def _gaps(judgement: AnyJudgement, measurement: Measurement) -> list[Markup]:
    intervals = metrics.reception_intervals_ns(measurement.samples, measurement.timing)
    limit = judgement.details.get("limit_ns")
    if intervals.size == 0 or not isinstance(limit, int | float):
        return []
    curve = curves.ccdf(intervals, int(intervals.size), confidence=judgement.confidence)
    svg = plots.ccdf(
        curve,
        plots.Bound(limit, limit, limit, None),
        what="time from one receipt to the next",
        item="intervals",
    )
    return [
        figure(
            svg,
            "Reception intervals",
            f"{curve.n:,} of them; one over {shown(limit, 'ns')} is an event",
        )
    ]


def _shift(
    judgement: AnyJudgement, measurement: Measurement, against: Measurement | None
) -> list[Markup]:
    values, n = _values("delay", measurement)
    other = None
    if against is not None:
        theirs, count = _values("delay", against)
        other = ("without load", curves.ccdf(theirs, count, confidence=judgement.confidence))
    bound = judgement.details.get("bound_ns", judgement.limit)
    if not values.size or not isinstance(bound, int | float):
        return []
    svg = plots.ccdf(
        curves.ccdf(values, n, confidence=judgement.confidence),
        plots.Bound(bound, bound, bound, None),
        what="one-way delay",
        item="packets",
        other=other,
    )
    return [figure(svg, "Under load and without", "one-way delay of the same flow")]


def _course(judgement: AnyJudgement, measurement: Measurement) -> list[Markup]:
    shape = curves.course(measurement)
    if shape is None or not shape.max_ns.size:
        return []
    limit = judgement.limit if judgement.metric in ("delay", "loop_time") else None
    loop = measurement.direction == "loop"
    svg = plots.course(shape, limit, what="loop time" if loop else "delay")
    return [figure(svg, "Over the time of the run", "")]


def _phases(judgement: AnyJudgement, measurement: Measurement) -> list[Markup]:
    """Delay over the period of the network, where the traffic names one and delays follow it."""
    if (period_ns := declared_period_ns(measurement)) is None:
        return []
    limit = int(judgement.limit) if judgement.limit is not None else None
    folded = phase_map(measurement, period_ns, bound_ns=limit)
    if folded is None or not folded.periodic:
        return []
    words = f"period {shown(period_ns, 'ns')}, {clock_words(folded.rate_ppm, folded.within_ppm)}"
    if folded.good_ns is not None:
        start, end = (shown(each, "ns") for each in folded.good_ns)
        words += f"; none was late that was sent from {start} to {end} of it"
    return [figure(plots.saw_tooth(folded, limit), "Over the send phase", words)]
