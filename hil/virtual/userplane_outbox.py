"""Frames that wait for the time of their release at one port."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hil.virtual.userplane_store import Tags


class Outbox:
    """Frames of one port that wait for the time of their release, in its order."""

    def __init__(self) -> None:
        self.tags: Tags = np.zeros(0, np.int64)
        self.at_ns = np.zeros(0, np.int64)
        self.full_ns: int | None = None  #: since when the port has no room

    def waits(self, now_ns: int) -> int:
        """For how long the port, which has no room now, has had none."""
        if self.full_ns is None:
            self.full_ns = now_ns
        return now_ns - self.full_ns

    def add(self, tags: Tags, at_ns: NDArray[np.int64]) -> None:
        """Frames and the times at which they are to leave."""
        tail = int(self.at_ns[-1]) if len(self.at_ns) else 0
        in_order = int(at_ns[0]) >= tail and bool((np.diff(at_ns) >= 0).all())
        self.tags, self.at_ns = np.append(self.tags, tags), np.append(self.at_ns, at_ns)
        if not in_order:
            order = self.at_ns.argsort(kind="stable")
            self.tags, self.at_ns = self.tags[order], self.at_ns[order]

    def due(self, now_ns: int) -> int:
        """How many are to leave by now."""
        return int(self.at_ns.searchsorted(now_ns, "right"))

    def drop_first(self, count: int) -> None:
        """Forget the first ones: they have left."""
        self.tags, self.at_ns = self.tags[count:], self.at_ns[count:]
