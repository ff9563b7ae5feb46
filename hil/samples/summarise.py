"""One measurement as plain JSON values: what `hil measure --json` prints and the record keeps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import metrics, outages
from hil.samples.measurement import Measurement, TxSource
from hil.samples.segments import segments
from hil.samples.table import CLOCK_OF, SEND_FAILED, taken

#: The share at which the uncertainty of one delay value is stated, that of k = 2 (JCGM 100).
COVERAGE: Final = 0.95


def summarise(measurement: Measurement, *, bound_ns: int | None = None) -> dict[str, Any]:
    """The figures of one measurement, without any verdict.

    Counts follow `hil.samples.measurement.Counts`. Distributions are over packets received intact,
    first copy; a percentile that their number cannot support is None, as is what was not measured.

    - ``late``: received after more than `bound_ns`; None without a bound, and where the times of
      the two ends have no difference.
    - ``delay_ns pdv_ns ipdv_ns send_lateness_ns reception_interval_ns``: distributions.
    - ``negative_delays``: how many packets came before they were sent by these stamps, and by how
      much at the most; never clipped, they show that a clock or a stamp is wrong.
    - ``stamps``: the source of either time, and how many of its stamps are missing, of the probes
      that were sent and that came.
    - ``uncertainty_ns``: expanded uncertainty (k = 2) of one delay value: the common-mode part and
      the floor's quantile together, None without a floor or without delays. ``uncertainty`` has
      the parts.
    - ``loss_runs``: how many runs of packets that did not come, and the longest.
    - ``segments``: as `hil.samples.segments`; None where no point looked on.
    - ``duration_ns``: from the first sending to the last.
    """
    samples, timing, counts = measurement.samples, measurement.timing, measurement.counts
    delay = metrics.delay_ns(samples, timing)
    came = metrics.received(samples)
    offered = (samples["flags"] & SEND_FAILED) == 0
    lost = outages.run_lengths(~came)
    return {
        "id": measurement.id,
        "flow": measurement.flow,
        "path": measurement.path,
        "direction": measurement.direction,
        "tx_port": measurement.tx_port,
        "rx_port": measurement.rx_port,
        "sent": counts.sent,
        "warmup_sent": counts.warmup_sent,
        "received": counts.received,
        "lost": counts.lost,
        "late": _late(delay, bound_ns) if timing.comparable else None,
        "duplicated": counts.duplicated,
        "reordered": counts.reordered,
        "corrupted": counts.corrupted,
        "foreign": counts.foreign,
        "send_failed": counts.send_failed,
        "damaged_frames": counts.damaged_frames,
        "bound_ns": bound_ns,
        "delay_ns": metrics.distribution(delay),
        "negative_delays": _negative(delay),
        "pdv_ns": metrics.distribution(metrics.pdv_ns(delay)),
        "ipdv_ns": metrics.distribution(metrics.ipdv_ns(delay, samples["seq"])),
        "send_lateness_ns": metrics.distribution(
            metrics.send_lateness_ns(samples, _lateness_source(measurement))
        ),
        "reception_interval_ns": metrics.distribution(
            metrics.reception_intervals_ns(samples, timing)
        ),
        "stamps": {
            "tx": _stamps(timing.tx, samples[timing.tx_column], offered, counts.tx_missing),
            "rx": _stamps(timing.rx, samples[timing.rx_column], came, counts.rx_missing),
        },
        "uncertainty_ns": _uncertainty_ns(measurement),
        "uncertainty": {
            "common_mode_ns": int(measurement.budget.common_mode_ns),
            "floor_ns": metrics.distribution(measurement.budget.floor_ns),
            "sources": list(measurement.budget.sources),
        },
        "loss_runs": {"count": int(lost.size), "longest": int(lost.max()) if lost.size else 0},
        "segments": segments(measurement, bound_ns=bound_ns),
        "interval_ns": measurement.interval_ns,
        "duration_ns": _duration_ns(measurement),
        "complete": measurement.complete,
        "simulated": measurement.simulated,
    }


def _late(delay: NDArray[np.int64], bound_ns: int | None) -> int | None:
    return None if bound_ns is None else _count(taken(delay) & (delay > bound_ns))


def _count(mask: NDArray[np.bool_]) -> int:
    return int(np.count_nonzero(mask))


def _negative(delay: NDArray[np.int64]) -> dict[str, int | None]:
    below = delay[taken(delay) & (delay < 0)]
    return {"count": int(below.size), "smallest_ns": int(below.min()) if below.size else None}


def _lateness_source(measurement: Measurement) -> TxSource:
    """The measurement's own send stamp, or the kernel's where that is on another clock."""
    timing = measurement.timing
    on_schedule_clock = CLOCK_OF[timing.tx_column] == CLOCK_OF["intended_ns"]
    return timing.tx if on_schedule_clock else "kernel"


def _stamps(
    source: str, column: NDArray[np.int64], due: NDArray[np.bool_], missing: Mapping[str, int]
) -> dict[str, Any]:
    return {
        "source": source,
        "missing": _count(due & ~taken(column)),
        "missing_by_source": {name: int(count) for name, count in missing.items()},
    }


def _uncertainty_ns(measurement: Measurement) -> int | None:
    budget = measurement.budget
    if budget.floor_ns.size == 0 or not measurement.timing.comparable:
        return None
    return int(budget.common_mode_ns) + budget.floor_quantile_ns(COVERAGE)


def _duration_ns(measurement: Measurement) -> int | None:
    sent = measurement.samples[measurement.timing.tx_column]
    sent = sent[taken(sent)]
    return int(sent.max() - sent.min()) if sent.size else None
