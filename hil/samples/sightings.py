"""What was seen of a flow on its way: by which point, when, and in which QoS flow.

A point is a port that only looks on. Between two devices packets pass N3 twice, up and down: a
visit is one passing of one point. Visits are put in order of travel.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, OBSERVED, SEEN_WARM_UP, Table

#: A row of `OBSERVED` with its time on the host's realtime clock; `NOT_TAKEN` where none can be
#: had.
PASSED: Final = np.dtype([*OBSERVED.descr, ("time_ns", "<i8")])

NOT_MEASURED: Final = "not measured"


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One passing of one point, and what its times are worth."""

    name: str
    point: int  #: the point's number in the rows
    pdu_type: int | None = None  #: only rows in tunnels of that direction; None: all
    source: str = NOT_MEASURED  #: "trailer" or "kernel", as the point's times were taken
    words: str = ""  #: how its clock relates to the port's; where it does not, why
    complete: bool = True  #: False where this host lost frames there: not seen proves nothing then

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """What one visit saw: arrays with one entry for each sample."""

    visit: Visit
    seen: NDArray[np.bool_]  #: at least one copy passed
    time_ns: NDArray[np.int64]  #: of the first copy, on the realtime clock; or `NOT_TAKEN`
    frames: int  #: copies included


def visits_from(described: Sequence[Mapping[str, Any]]) -> tuple[Visit, ...]:
    """Visits as `Visit.to_json` described them.

    Raises: TypeError, KeyError: something else.
    """
    return tuple(Visit(**each) for each in described)


def sightings(
    rows: Table, visits: Sequence[Visit], sequences: NDArray[Any]
) -> tuple[Sighting, ...]:
    """What each visit saw of the samples, warm-up left out.

    Args:
        rows: `PASSED` rows of one flow, in order of passing.
        visits: in order of travel.
        sequences: those of the samples, strictly increasing.
    """
    rows = rows[(rows["flags"] & SEEN_WARM_UP) == 0]
    return tuple(_sighting(rows[_of(rows, visit)], visit, sequences) for visit in visits)


def _of(rows: Table, visit: Visit) -> NDArray[np.bool_]:
    mine = rows["point"] == visit.point
    if visit.pdu_type is not None:
        mine &= rows["pdu_type"] == visit.pdu_type
    return np.asarray(mine)


def _sighting(rows: Table, visit: Visit, sequences: NDArray[Any]) -> Sighting:
    position = np.searchsorted(sequences, rows["seq"])
    inside = position < len(sequences)
    inside[inside] = sequences[position[inside]] == rows["seq"][inside]
    position, rows = position[inside], rows[inside]
    seen = np.zeros(len(sequences), np.bool_)
    time_ns = np.full(len(sequences), NOT_TAKEN, np.int64)
    seen[position] = True
    time_ns[position[::-1]] = rows["time_ns"][::-1]  # of equal positions the last one stays
    return Sighting(visit=visit, seen=seen, time_ns=time_ns, frames=len(rows))
