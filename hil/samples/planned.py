"""What a flow plans to send, a stretch at a time, so that a plan may be longer than memory.

A plan is either held as a table, as patterns draw it, or computed: the regular grid needs no table,
however many packets it has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import PLANNED, Table

_STRETCH: Final = 1 << 16  # rows looked at together


class Planned(Protocol):
    """The planned packets of one flow in order of sending; their sequences increase strictly."""

    def __len__(self) -> int:
        """How many."""
        ...

    def rows(self, first: int, last: int) -> Table:
        """Rows of `PLANNED` from number `first` to (not including) number `last`."""
        ...

    def described(self) -> Mapping[str, Any] | None:
        """What `from_description` makes the same plan of, as JSON; None where it is held."""
        ...

    @property
    def sizes(self) -> tuple[int, ...]:
        """The packet sizes there are, ascending."""
        ...

    @property
    def bytes(self) -> int:
        """The sum of the packet sizes."""
        ...

    @property
    def ascending(self) -> bool:
        """True where no packet is due before the one before it."""
        ...

    def most_within(self, span_ns: int) -> int:
        """The most packets that are due in any closed span of `span_ns`."""
        ...

    def find(self, seq: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The row number of each sequence, and whether it is planned at all."""
        ...

    def offsets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """When the packets of some row numbers are due."""
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A plan that lies in memory, or in a mapped file, as rows of `PLANNED`."""

    table: Table

    def __len__(self) -> int:
        return len(self.table)

    def rows(self, first: int, last: int) -> Table:
        """As `Planned.rows`; a view."""
        return self.table[first:last]

    def described(self) -> None:
        """Nothing but the rows themselves."""
        return

    @property
    def sizes(self) -> tuple[int, ...]:
        """As `Planned.sizes`."""
        return tuple(np.unique(self.table["size"]).tolist())

    @property
    def bytes(self) -> int:
        """As `Planned.bytes`."""
        return int(self.table["size"].sum())

    @property
    def ascending(self) -> bool:
        """As `Planned.ascending`."""
        return not bool((np.diff(self.table["offset_ns"]) < 0).any())

    def most_within(self, span_ns: int) -> int:
        """As `Planned.most_within`."""
        offsets = self.table["offset_ns"]
        ends = np.searchsorted(offsets, offsets + span_ns, side="right")
        return int((ends - np.arange(len(offsets))).max())

    def find(self, seq: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """As `Planned.find`."""
        position = np.searchsorted(self.table["seq"], seq).astype(np.int64)
        inside = position < len(self.table)
        inside[inside] = self.table["seq"][position[inside]] == seq[inside]
        return position, inside

    def offsets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `Planned.offsets`."""
        return np.asarray(self.table["offset_ns"][rows])


@dataclass(frozen=True, slots=True)
class Regular:
    """One packet of `size` bytes each `interval_ns`, numbered from 0, on one phase."""

    count: int
    interval_ns: int
    size: int

    def __len__(self) -> int:
        return self.count

    def rows(self, first: int, last: int) -> Table:
        """As `Planned.rows`; made when asked for."""
        last = min(last, self.count)
        index = np.arange(first, max(first, last), dtype=np.int64)
        rows = np.zeros(len(index), PLANNED)
        rows["seq"] = rows["frame"] = index
        rows["size"] = self.size
        rows["offset_ns"] = index * self.interval_ns
        return rows

    def described(self) -> Mapping[str, Any]:
        """As `Planned.described`."""
        return {"count": self.count, "interval_ns": self.interval_ns, "size": self.size}

    @property
    def sizes(self) -> tuple[int, ...]:
        """As `Planned.sizes`."""
        return (self.size,) if self.count else ()

    @property
    def bytes(self) -> int:
        """As `Planned.bytes`."""
        return self.count * self.size

    @property
    def ascending(self) -> bool:
        """As `Planned.ascending`."""
        return self.interval_ns >= 0

    def most_within(self, span_ns: int) -> int:
        """As `Planned.most_within`."""
        if self.interval_ns <= 0:
            return self.count
        return min(self.count, span_ns // self.interval_ns + 1)

    def find(self, seq: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """As `Planned.find`."""
        inside = np.asarray(seq < np.uint64(self.count))
        return np.where(inside, seq, self.count).astype(np.int64), inside

    def offsets(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """As `Planned.offsets`."""
        return rows * self.interval_ns


def planned(rows: Planned | Table) -> Planned:
    """A plan as it is, and a table as the plan it holds."""
    return Held(rows) if isinstance(rows, np.ndarray) else rows


def from_description(fields: Mapping[str, Any]) -> Planned:
    """The plan that `Planned.described` is of.

    Raises:
        ValueError: fields that describe no plan.
    """
    try:
        return Regular(int(fields["count"]), int(fields["interval_ns"]), int(fields["size"]))
    except (KeyError, TypeError) as error:
        raise ValueError(f"no plan is described by {dict(fields)}") from error


def stretches(plan: Planned, length: int = _STRETCH) -> Iterator[Table]:
    """The rows of a plan, at most `length` together."""
    for first in range(0, len(plan), length):
        yield plan.rows(first, first + length)


def last_row(plan: Planned) -> Table:
    """The last planned row, as a table of one."""
    return plan.rows(len(plan) - 1, len(plan))
