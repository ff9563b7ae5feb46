"""Two ends on clocks that are not known to agree: gaps are judged, delays never."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hil.judge import Reason, judge, judge_bound
from hil.samples import metrics
from hil.samples.measurement import Measurement, Timing
from hil.samples.summarise import summarise
from hil.samples.table import taken
from hil.targets import Plan, Profile, Requirement
from hil.verdict import Verdict

MS = 1_000_000
APART_NS = 3_600_000_000_000
ELSEWHERE = Timing("kernel", "elsewhere")


def test_no_delay_is_judged_between_two_clocks(
    measure: Callable[..., Measurement], cyclic: Requirement
) -> None:
    for delay_ns in (3 * MS, APART_NS, -APART_NS):
        run = measure(cyclic.traffic, 1000, delay_ns, timing=ELSEWHERE, floor_ns=50_000)
        for judged in (*judge(run, cyclic, Plan.FULL), judge_bound(run, 10 * MS, 0.9)):
            assert (judged.verdict, judged.reason) == (Verdict.INVALID, Reason.UNFIT)
            assert "clocks that are not known to agree" in judged.sentence


def test_what_the_receiver_alone_saw_is_judged(
    measure: Callable[..., Measurement], profile: Profile
) -> None:
    watched = profile["SD-2"]
    run = measure(watched.traffic, 1000, APART_NS, timing=ELSEWHERE, floor_ns=50_000)
    judged = {one.metric: one.verdict for one in judge(run, watched, Plan.FULL)}
    assert judged.pop("watchdog") is not Verdict.INVALID
    stopped = measure(
        watched.traffic, 1000, APART_NS, timing=ELSEWHERE, floor_ns=50_000, lost=range(300, 400)
    )
    seen = {one.metric: one for one in judge(stopped, watched, Plan.FULL)}
    assert seen["watchdog"].exceeding == 1


def test_the_figures_hold_counts_and_no_delay(
    measure: Callable[..., Measurement], cyclic: Requirement
) -> None:
    run = measure(cyclic.traffic, 100, APART_NS, timing=ELSEWHERE, floor_ns=50_000, lost=[7])
    figures = summarise(run, bound_ns=10 * MS)
    assert (figures["sent"], figures["received"], figures["lost"]) == (100, 99, 1)
    assert figures["late"] is figures["uncertainty_ns"] is figures["delay_ns"]["max"] is None
    assert figures["reception_interval_ns"]["max"] is not None
    assert not np.any(taken(run.delay_ns))
    assert not np.any(taken(metrics.delay_ns(run.samples, run.timing)))
