"""The clock of a bench while it measures: PTP where the testbed declares it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from hil.samples.clock_evidence import ClockEvidence
from hil.samples.measurement import Measurement
from hil.testbed import Testbed
from hil.traffic.ptp import PtpWatch


def evidence(testbed: Testbed) -> ClockEvidence:
    """What the testbed declares of this host's clock against that of another host."""
    config = testbed.clock
    if config is None:
        return ClockEvidence(kind="none")
    found = ClockEvidence(kind="ptp", wired=config.wired)
    if config.asymmetry is None:
        return found
    day = datetime.strptime(config.asymmetry.on, "%Y-%m-%d").replace(tzinfo=UTC)
    return replace(
        found,
        bound_ns=config.asymmetry.apart_ns,
        check=config.asymmetry.by,
        at_ns=int(day.timestamp()) * 10**9,
    )


@contextmanager
def watched(testbed: Testbed | None) -> Iterator[Callable[[Measurement], Measurement]]:
    """PTP watched until the end of the context; what is given adds to a measurement what it saw.

    On one host both ends of a delay are timed by one clock, so that a span in which PTP was out of
    order is a condition of the measurement and spoils nothing; a step of that clock is seen by the
    clock watch of the run. Between two hosts a delay rests on PTP, and is void without it.
    """
    config = testbed.clock if testbed is not None else None
    if config is None:
        yield lambda measurement: measurement
        return
    watch = PtpWatch(config.ptp, config.domain, config.normal_ns)

    def told(measurement: Measurement) -> Measurement:
        seen = watch.report()
        conditions = {**measurement.conditions, "ptp": seen}
        rests_on_it = measurement.conditions.get("clocks", {}).get("kind") == "ptp"
        void = _out_of_order(seen) if rests_on_it and measurement.timing.comparable else ()
        return replace(measurement, conditions=conditions, invalid=(*measurement.invalid, *void))

    with watch:
        yield told


def _out_of_order(seen: Mapping[str, Any]) -> tuple[str, ...]:
    """Why a delay between two clocks that PTP keeps is not vouched for, as `PtpWatch` saw it."""
    if not seen["readings"]:
        return (f"the delay rests on PTP, which could not be watched: {seen['refused']}",)
    if seen["spoiled"]:
        first = seen["spoiled"][0]["why"]
        return (
            f"the delay rests on PTP, which was out of order in {len(seen['spoiled'])} spans of "
            f"the run: {first}",
        )
    return ()
