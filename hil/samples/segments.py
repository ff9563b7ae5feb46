"""Where on its way a packet spent its time, and where the ones that never came were seen last.

Points on the way of a flow cut it into segments. Blame goes by packet and not by quantile: the mean
share of each segment among the packets that broke the bound stands beside that among the ones that
kept it, with the number of either. A quantile of a segment says nothing of the packets that were
late, because others are slow there. A loss lies behind the last point that saw the packet.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import metrics
from hil.samples.measurement import Measurement
from hil.samples.sightings import NOT_MEASURED, Sighting
from hil.samples.table import NOT_TAKEN, SPOILED, difference_ns, taken

#: A point that missed more of what came than this cannot say where the rest was lost.
MOST_MISSED: Final = 0.01

Times = NDArray[np.int64]


def segments(measurement: Measurement, *, bound_ns: int | None = None) -> dict[str, Any] | None:
    """Delay and loss by segment, as plain JSON values; None where no point looked on.

    - ``points``: every point in order of travel, the ports at both ends with them: how many packets
      it saw, how many it missed of those that came, by which source its times were taken.
    - ``segments``: from each point to the next. ``delay_ns`` over packets with both times;
      ``violating`` and ``on_time`` are the mean delay and the mean share of the packet's whole
      delay, over packets with every time; None without a bound or without such packets.
    - ``violating`` and ``on_time``: of how many packets those means are. Violating is a packet that
      came after more than `bound_ns`. Packets in spoiled windows are in neither.
    - ``lost``: how many never came intact, and by the last point that saw them how many;
      ``uncertain`` names points of which not seen proves nothing, and why.
    - ``not_observed``: points that saw nothing of the flow, which are left out of all the above.
    """
    if not measurement.sightings:
        return None
    there = [each for each in measurement.sightings if each.seen.any()]
    absent = [each.visit.name for each in measurement.sightings if not each.seen.any()]
    names, times = way(measurement)
    whole = difference_ns(times[-1], times[0])
    clean = (measurement.samples["flags"] & SPOILED) == 0
    complete = clean & taken(whole) & np.logical_and.reduce([taken(each) for each in times])
    late = complete & (whole > bound_ns) if bound_ns is not None else np.zeros_like(complete)
    kept = complete & ~late if bound_ns is not None else np.zeros_like(complete)
    parts = []
    for place, (start, end) in enumerate(pairwise(times)):
        took = difference_ns(end, start)
        parts.append(
            {
                "from": names[place],
                "to": names[place + 1],
                "delay_ns": metrics.distribution(np.where(clean, took, NOT_TAKEN)),
                "n": int(np.count_nonzero(clean & taken(took))),
                "violating": _mean(took, whole, late),
                "on_time": _mean(took, whole, kept),
            }
        )
    return {
        "bound_ns": bound_ns,
        "points": _points(measurement, there),
        "segments": parts,
        "violating": int(np.count_nonzero(late)) if bound_ns is not None else None,
        "on_time": int(np.count_nonzero(kept)) if bound_ns is not None else None,
        "lost": _lost(measurement, there),
        "not_observed": absent,
    }


def way(measurement: Measurement) -> tuple[list[str], list[Times]]:
    """The points that saw the flow, with the ports at its ends, in order of travel.

    With each, when each packet was there, on the receiving host's realtime clock; `NOT_TAKEN` where
    that is not known.
    """
    there = [each for each in measurement.sightings if each.seen.any()]
    names = [measurement.tx_port, *(each.visit.name for each in there), measurement.rx_port]
    samples = measurement.samples
    ends = [
        np.full(len(samples), NOT_TAKEN, np.int64) if column is None else samples[column]
        for _, column in _ends(measurement)
    ]
    return names, [ends[0], *(each.time_ns for each in there), ends[1]]


def _ends(measurement: Measurement) -> list[tuple[str, str | None]]:
    """Source and column of the times at either port on the clock of the points.

    A network card's clock is another one: there the kernel's stamp of the same frame stands in. So
    is the sender's where it is another host.
    """
    timing = measurement.timing
    if timing.rx == "elsewhere":
        return [(NOT_MEASURED, None), ("kernel", "rx_kernel_ns")]
    return [
        (source if column == host_column else "kernel", host_column)
        for source, column, host_column in (
            (timing.tx, timing.tx_column, timing.tx_host_column),
            (timing.rx, timing.rx_column, timing.rx_host_column),
        )
    ]


def _mean(took: Times, whole: Times, some: NDArray[np.bool_]) -> dict[str, float] | None:
    """The mean delay of a segment and its mean share, over some packets with every time."""
    if not some.any():
        return None
    spent, of = took[some], whole[some]
    share = np.divide(spent, of, out=np.zeros(len(of)), where=of != 0)
    return {"mean_ns": float(spent.mean()), "mean_share": float(share.mean())}


def _points(measurement: Measurement, there: list[Sighting]) -> list[dict[str, Any]]:
    samples, sources = measurement.samples, [source for source, _ in _ends(measurement)]
    came = samples["arrival"] >= 0
    found: list[dict[str, Any]] = [
        {"name": measurement.tx_port, "seen": len(samples), "missed": 0, "source": sources[0]}
    ]
    for each in there:
        found.append(
            {
                "name": each.visit.name,
                "seen": int(np.count_nonzero(each.seen)),
                "missed": int(np.count_nonzero(came & ~each.seen)),
                "source": each.visit.source,
                "clock": each.visit.words,
            }
        )
    seen = int(np.count_nonzero(came))
    found.append({"name": measurement.rx_port, "seen": seen, "missed": 0, "source": sources[1]})
    return found


def _lost(measurement: Measurement, there: list[Sighting]) -> dict[str, Any]:
    came = measurement.samples["arrival"] >= 0
    lost = ~came
    last = np.zeros(len(lost), np.int64)
    for place, each in enumerate(there, 1):
        last[each.seen] = place
    names = [measurement.tx_port, *(each.visit.name for each in there)]
    counts = np.bincount(last[lost], minlength=len(names)).tolist()
    return {
        "n": int(np.count_nonzero(lost)),
        "last_seen": dict(zip(names, counts, strict=True)),
        "uncertain": {
            each.visit.name: why for each in there if (why := _uncertain(each, came)) is not None
        },
    }


def _uncertain(sighting: Sighting, came: NDArray[np.bool_]) -> str | None:
    """Why a packet that a point did not see may have passed it all the same."""
    if not sighting.visit.complete:
        return "this host lost frames there"
    missed = int(np.count_nonzero(came & ~sighting.seen))
    if missed > MOST_MISSED * max(1, int(np.count_nonzero(came))):
        return f"it missed {missed:,} of the packets that came"
    return None


def last_seen(measurement: Measurement) -> NDArray[np.int64]:
    """For each sample the number of the last visit that saw it, in order of travel; -1 for none."""
    last = np.full(len(measurement.samples), -1, np.int64)
    for number, each in enumerate(measurement.sightings):
        last[each.seen] = number
    return last
