"""From lines of the record back to what they were written from, with the samples read again."""

from __future__ import annotations

from typing import cast, get_args

import numpy as np

from hil.record.schema import MeasurementLine
from hil.samples.measurement import (
    Budget,
    Counts,
    Measurement,
    RxSource,
    Timing,
    TxSource,
    Window,
)
from hil.samples.table import Table


def measurement_of(line: MeasurementLine, samples: Table) -> Measurement:
    """The measurement a line was written from, as far as the record and the samples hold it.

    The floor comes back as the few points that the record keeps, so its quantiles are those
    points; nothing else is lost.

    Raises:
        ValueError: the line names a time source that this version does not know.
    """
    if line.timing.tx not in get_args(TxSource) or line.timing.rx not in get_args(RxSource):
        raise ValueError(f"unknown time source: {line.timing.tx} to {line.timing.rx}")
    return Measurement(
        id=line.id,
        flow=line.flow,
        path=line.path,
        direction=line.direction,
        tx_port=line.tx_port,
        rx_port=line.rx_port,
        traffic=line.traffic,
        interval_ns=line.interval_ns,
        samples=samples,
        counts=Counts(**line.counts.model_dump()),
        timing=Timing(cast("TxSource", line.timing.tx), cast("RxSource", line.timing.rx)),
        budget=Budget(
            common_mode_ns=line.budget.common_mode_ns,
            floor_ns=np.array([error for _, error in line.budget.floor], np.int64),
            sources=line.budget.sources,
        ),
        spoiled=tuple(Window(one.start_ns, one.end_ns, one.why) for one in line.spoiled),
        conditions=line.conditions,
        invalid=line.invalid,
        simulated=line.simulated,
        complete=line.complete,
    )
