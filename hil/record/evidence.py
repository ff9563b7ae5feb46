"""A measurement and a judgement as lines of the record, and the measurement back from its line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import numpy as np
from numpy.typing import NDArray

from hil.record.schema import (
    JudgementLine,
    MeasurementLine,
    PacketCounts,
    SamplesFile,
    SpoiledWindow,
    TimeSources,
    UncertaintyBudget,
)
from hil.samples.columns import Samples
from hil.samples.measurement import (
    Budget,
    Counts,
    Measurement,
    RxSource,
    Timing,
    TxSource,
    Window,
)
from hil.samples.sightings import Sighting

if TYPE_CHECKING:
    from hil.judge import Judgement

#: Shares at which the floor is written down: dense in the tail, where targets are.
_FLOOR_SHARES: Final = (
    *(step / 20 for step in range(1, 20)),
    *(1 - part * 10**-power for power in (2, 3, 4, 5, 6) for part in (5, 2, 1)),
    1.0,
)


def measurement_line(
    measurement: Measurement,
    nodeid: str | None,
    *,
    summary: Mapping[str, Any],
    samples: SamplesFile | None,
) -> MeasurementLine:
    """The line of a measurement; `summary` is that of `hil.samples.summarise`."""
    counts = measurement.counts
    return MeasurementLine(
        id=measurement.id,
        nodeid=nodeid,
        flow=measurement.flow,
        path=measurement.path,
        direction=measurement.direction,
        tx_port=measurement.tx_port,
        rx_port=measurement.rx_port,
        traffic=dict(measurement.traffic),
        interval_ns=measurement.interval_ns,
        timing=TimeSources(tx=measurement.timing.tx, rx=measurement.timing.rx),
        counts=PacketCounts.model_validate(
            {
                **{name: getattr(counts, name) for name in PacketCounts.model_fields},
                "tx_missing": dict(counts.tx_missing),
                "rx_missing": dict(counts.rx_missing),
            }
        ),
        summary=dict(summary),
        budget=UncertaintyBudget(
            common_mode_ns=measurement.budget.common_mode_ns,
            floor=_floor_points(measurement.budget.floor_ns),
            sources=measurement.budget.sources,
        ),
        conditions=dict(measurement.conditions),
        spoiled=tuple(
            SpoiledWindow(start_ns=window.start_ns, end_ns=window.end_ns, why=window.why)
            for window in measurement.spoiled
        ),
        invalid=measurement.invalid,
        samples=samples,
        complete=measurement.complete,
        simulated=measurement.simulated,
    )


def judgement_line(judgement: Judgement, nodeid: str | None) -> JudgementLine:
    """The line of a judgement reached in the test `nodeid`."""
    return JudgementLine.model_validate({**judgement.to_json(), "nodeid": nodeid})


def measurement_of(
    line: MeasurementLine,
    samples: Samples,
    floor_ns: NDArray[np.int64] | None = None,
    sightings: tuple[Sighting, ...] = (),
) -> Measurement:
    """The measurement a line was written from, as far as the record and the samples hold it.

    Without `floor_ns`, which lies beside the samples, the floor comes back as the few points that
    the record keeps, so its quantiles are those points; nothing else is lost.

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
            floor_ns=(
                np.array([error for _, error in line.budget.floor], np.int64)
                if floor_ns is None
                else floor_ns
            ),
            sources=line.budget.sources,
        ),
        spoiled=tuple(Window(one.start_ns, one.end_ns, one.why) for one in line.spoiled),
        conditions=line.conditions,
        invalid=line.invalid,
        simulated=line.simulated,
        complete=line.complete,
        sightings=sightings,
    )


def _floor_points(floor_ns: NDArray[np.int64]) -> tuple[tuple[float, int], ...]:
    """The sorted floor thinned to at most some 35 points (share within, error), nearest rank."""
    n = floor_ns.size
    ranks = sorted({max(1, int(np.ceil(share * n))) for share in _FLOOR_SHARES}) if n else []
    return tuple((rank / n, int(floor_ns[rank - 1])) for rank in ranks)
