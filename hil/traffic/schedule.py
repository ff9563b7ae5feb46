"""The merged schedule of a run: the packets of all its flows in order of time, a piece at a time.

Sender and parent work it out from the flows' plans, so its place in memory does not grow with the
run. Packets due at the same moment go in the order of the flows, and within a flow in its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.planned import Held, Planned, from_description, last_row
from hil.traffic.exchange import load_array, save_array

#: One packet of the merged schedule: when, and of which flow, frame and number.
SCHEDULE: Final = np.dtype(
    [("offset_ns", "<i8"), ("seq", "<u8"), ("flow", "<u2"), ("template", "<u4")]
)

_PIECE: Final = 1 << 13  # rows of a flow's plan made at once


class Schedule:
    """The packets of several flows; `take` gives them once, from the first to the last.

    `places` says for each flow which template a packet size has; of a flow with several
    `variants` it is the first of so many, which its packets take in turn. `length` counts
    the packets, `first_ns` and `last_ns` are when the first and the last of them are due.
    """

    def __init__(
        self,
        plans: Sequence[Planned],
        places: Sequence[Mapping[int, int]],
        variants: Sequence[int] | None = None,
    ) -> None:
        variants = [1] * len(plans) if variants is None else variants
        self._flows = [
            _Flow(number, plan, place, many)
            for number, (plan, place, many) in enumerate(zip(plans, places, variants, strict=True))
        ]
        ends = [int(row["offset_ns"][0]) for p in plans for row in (p.rows(0, 1), last_row(p))]
        self.length = sum(len(plan) for plan in plans)
        self.first_ns, self.last_ns = min(ends), max(ends)
        self._ready = np.zeros(0, SCHEDULE)

    def take(self, count: int) -> NDArray[Any]:
        """The next `count` rows of `SCHEDULE`, in order of time; fewer at the end."""
        while len(self._ready) < count and any(flow.waiting for flow in self._flows):
            self._ready = np.concatenate((self._ready, self._merged()))
        taken, self._ready = self._ready[:count], self._ready[count:]
        return taken

    def _merged(self) -> NDArray[Any]:
        """The rows that no row still to be made can come before."""
        for flow in self._flows:
            flow.fill()
        if len(self._flows) == 1:
            return self._flows[0].give(None)
        # Of the flows that have more to come, the one whose rows at hand end first sets how far
        # the others may go; at the same moment the flow with the lower number goes first.
        horizon = min(flow.reach for flow in self._flows)
        merged = np.concatenate([flow.give(horizon) for flow in self._flows])
        return merged[np.argsort(merged["offset_ns"], kind="stable")]


class _Flow:
    """The rows of one flow that are made and not yet given."""

    def __init__(self, number: int, plan: Planned, place: Mapping[int, int], variants: int) -> None:
        self._number, self._plan, self._place = number, plan, place
        self._variants = np.uint64(variants)
        self._next = 0
        self._held = np.zeros(0, SCHEDULE)

    @property
    def waiting(self) -> bool:
        return self._next < len(self._plan) or len(self._held) > 0

    @property
    def reach(self) -> tuple[float, int]:
        """Up to where this flow is made: when and which flow; without an end once all is made."""
        if self._next >= len(self._plan):
            return float("inf"), self._number
        return int(self._held["offset_ns"][-1]), self._number

    def fill(self) -> None:
        if len(self._held) or self._next >= len(self._plan):
            return
        rows = self._plan.rows(self._next, self._next + _PIECE)
        self._next += len(rows)
        held = np.zeros(len(rows), SCHEDULE)
        held["offset_ns"], held["seq"] = rows["offset_ns"], rows["seq"]
        held["flow"] = self._number
        for size, place in self._place.items():
            held["template"][rows["size"] == size] = place
        if self._variants > 1:
            held["template"] += (rows["seq"] % self._variants).astype(np.uint32)
        self._held = held

    def give(self, horizon: tuple[float, int] | None) -> NDArray[Any]:
        if horizon is None:
            many = len(self._held)
        else:
            side: Any = "right" if self._number <= horizon[1] else "left"
            many = int(np.searchsorted(self._held["offset_ns"], horizon[0], side=side))
        given, self._held = self._held[:many], self._held[many:]
        return given


def write_plan(directory: Path, number: int, plan: Planned) -> dict[str, Any]:
    """What `read_plan` makes the plan of flow `number` of in another process."""
    described = plan.described()
    if described is not None:
        return {"described": dict(described)}
    name = f"planned-{number}.npy"
    save_array(directory / name, plan.rows(0, len(plan)))
    return {"file": name}


def read_plan(directory: Path, told: Mapping[str, Any]) -> Planned:
    """The plan that `write_plan` wrote; one that is held is mapped."""
    if "described" in told:
        return from_description(told["described"])
    return Held(load_array(directory / told["file"]))


class Offsets:
    """When the packet of each sequence number is due, of a plan numbered from 0 without a gap.

    Stands for an array of offsets indexed by sequence number.
    """

    def __init__(self, plan: Planned) -> None:
        self._plan = plan

    def __len__(self) -> int:
        return len(self._plan)

    def __getitem__(self, seq: int | NDArray[np.int64]) -> NDArray[np.int64]:
        return self._plan.offsets(np.asarray(seq, np.int64))
