"""What really happened to the packets of a flow, counted apart from the instrument.

The counts are made in plain loops, frame by frame in the order in which they came out, so that they
share no code and no trick with `hil.samples.accounting`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.samples.measurement import Counts, Measurement
from hil.samples.table import NOT_TAKEN, taken
from hil.virtual import userplane_truth as log
from hil.virtual.userplane_clock import CellClock

#: What is compared, by its name in `Counts`.
NAMES: Final = ("received", "lost", "corrupted", "duplicated", "reordered")


@dataclass(frozen=True, slots=True)
class TrueCounts:
    """The counts of a flow as its packets fared; the words are those of `Counts`."""

    received: int
    lost: int
    corrupted: int
    duplicated: int
    reordered: int

    def to_json(self) -> dict[str, int]:
        """Plain JSON values."""
        return asdict(self)


def counted(planned: int, frames: Iterable[tuple[int, bool]]) -> TrueCounts:
    """Counts the frames that came out, each a sequence and whether it was intact, in order."""
    intact: dict[int, int] = {}
    damaged: set[int] = set()
    reordered, next_expected = 0, 0
    for seq, whole in frames:
        if not whole:
            damaged.add(seq)
            continue
        intact[seq] = intact.get(seq, 0) + 1
        if intact[seq] > 1:
            continue
        if seq < next_expected:  # RFC 4737 3.3
            reordered += 1
        else:
            next_expected = seq + 1
    corrupted = len(damaged - intact.keys())
    return TrueCounts(
        received=len(intact),
        lost=planned - len(intact) - corrupted,
        corrupted=corrupted,
        duplicated=sum(intact.values()) - len(intact),
        reordered=reordered,
    )


def differences(found: Counts | Mapping[str, int], true: TrueCounts) -> list[str]:
    """Where counts are not the true ones, one clause each."""
    read = found if isinstance(found, Mapping) else {n: getattr(found, n) for n in NAMES}
    return [
        f"{name} {read[name]} instead of {wanted}"
        for name, wanted in true.to_json().items()
        if read[name] != wanted
    ]


@dataclass(frozen=True, slots=True)
class FlowTruth:
    """The packets of one flow as the cell had them, in real-time mode, on the host's clock.

    `entered_ns` is when each planned packet reached the cell, by sequence; `left_ns` the kernel's
    stamp as its first intact frame left the cell. `NOT_TAKEN` where there is none.
    """

    counts: TrueCounts
    entered_ns: NDArray[np.int64]
    left_ns: NDArray[np.int64]
    unstamped: int  #: frames that left without a stamp


def of_measurement(path: Path, measurement: Measurement) -> FlowTruth:
    """The truth of a measurement, from the truth log of the world that it was taken in.

    Raises: RigError when the log does not hold the whole flow.
    """
    rows, clock = _rows_of(path, measurement)
    return flow_truth(rows, clock, measurement.counts.sent)


def entered_of(path: Path, measurement: Measurement) -> NDArray[np.int64]:
    """When each planned packet reached the cell; `NOT_TAKEN` where it never did."""
    rows, clock = _rows_of(path, measurement)
    return _entered(_without_warm_up(rows), clock, measurement.counts.sent)


def _rows_of(path: Path, measurement: Measurement) -> tuple[NDArray[Any], CellClock]:
    run, _, flow = measurement.id.partition("-")
    try:
        rows, clock = log.read(path)
    except (OSError, ValueError) as error:
        raise RigError(f"the truth cannot be read: {error}") from None
    return rows[(rows["run"] == int(run, 16)) & (rows["flow"] == int(flow))], clock


def _entered(rows: NDArray[Any], clock: CellClock, planned: int) -> NDArray[np.int64]:
    entered = np.full(planned, NOT_TAKEN, np.int64)
    entered[rows["seq"].astype(np.int64)] = clock.to_host(rows["ingress_ns"])
    return entered


def flow_truth(rows: NDArray[Any], clock: CellClock, planned: int) -> FlowTruth:
    """The truth in the rows of one flow, in the order of the log.

    Raises: RigError when not every planned packet came to the cell.
    """
    rows = _without_warm_up(rows)
    entered = _entered(rows, clock, planned)
    left = np.full(planned, NOT_TAKEN, np.int64)
    missing = int((~taken(entered)).sum())
    if missing:
        raise RigError(f"{missing:,} of {planned:,} packets are not in the truth log")
    out = rows[rows["reason"] == 0]
    intact = (out["effects"] & log.CORRUPTED) == 0
    for row in out[intact][::-1]:  # of several copies the first one stays
        left[int(row["seq"])] = int(row["egress_ns"])
    return FlowTruth(
        counts=counted(planned, zip(out["seq"].tolist(), intact.tolist(), strict=True)),
        entered_ns=entered,
        left_ns=left,
        unstamped=int((~taken(out["egress_ns"])).sum()),
    )


def _without_warm_up(rows: NDArray[Any]) -> NDArray[Any]:
    """Warm-up frames carry the number 0 and were all taken in before the packet of that number."""
    first = rows["order"][rows["seq"] == 0]
    return rows[(rows["seq"] > 0) | (rows["order"] == first.max())] if len(first) else rows
