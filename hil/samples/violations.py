"""What lies around the packets that broke a bound: some rows of each, few altogether."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import metrics, store
from hil.samples.measurement import Timing
from hil.samples.table import SAMPLE, SEND_FAILED, Table, blank, taken

REACH: Final = 100  #: items kept on either side of one that broke the bound
MOST: Final = 20_000  #: items kept of one flow altogether


class Around:
    """Chooses what lies within a reach of marked items, in a sequence that comes in parts.

    `marked` counts the marks, `chosen` what was chosen, `left_out` what there was no room for.
    """

    def __init__(self, reach: int = REACH, most: int = MOST) -> None:
        self._reach, self._most = reach, most
        self._owed = 0  # of the items to come
        self._done = np.zeros(0, np.bool_)  # of the last items, those that need not be chosen again
        self.marked = self.chosen = self.left_out = 0

    def choose(self, marks: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Of a new part: which of the last `reach` items before it are chosen, and which of it."""
        before, new = len(self._done), len(marks)
        places = before + np.flatnonzero(marks)
        edges = np.zeros(before + new + 1, np.int64)
        np.add.at(edges, np.maximum(places - self._reach, 0), 1)
        np.add.at(edges, np.minimum(places + self._reach + 1, before + new), -1)
        wanted = np.cumsum(edges[:-1]) > 0
        wanted[before : before + self._owed] = True
        fresh = np.flatnonzero(wanted & ~np.append(self._done, np.zeros(new, np.bool_)))
        room = max(0, self._most - self.chosen)
        self.left_out += max(0, len(fresh) - room)
        chosen = np.zeros(before + new, np.bool_)
        chosen[fresh[:room]] = True
        self.marked += len(places)
        self.chosen += int(chosen.sum())
        last = int(places[-1]) + self._reach + 1 - before if len(places) else 0
        self._owed = max(0, max(last, self._owed) - new)
        self._done = np.append(self._done, np.zeros(new, np.bool_))
        self._done = (self._done | wanted)[-self._reach :]
        return chosen[:before], chosen[before:]


def broken(samples: Table, timing: Timing, bound_ns: int) -> NDArray[np.bool_]:
    """Which packets took longer than the bound, or were sent and never came."""
    delay = metrics.delay_ns(samples, timing)
    lost = (samples["arrival"] < 0) & ((samples["flags"] & SEND_FAILED) == 0)
    return np.asarray((taken(delay) & (delay > bound_ns)) | lost)


def keep(path: Path, timing: Timing, bound_ns: int, into: Path) -> dict[str, Any]:
    """Write the samples around each violation to a Parquet file; what was found, as JSON values.

    Nothing is written where no packet broke the bound. `path` are the samples.
    """
    around, before = Around(), blank(SAMPLE, 0)
    kept = [before]
    for rows in store.row_groups(path):
        old, new = around.choose(broken(rows, timing, bound_ns))
        kept += [before[old], rows[new]]
        before = np.concatenate((before, rows))[-REACH:]
    found: dict[str, Any] = {
        "bound_ns": bound_ns,
        "packets": around.marked,
        "samples": None,
        "samples_left_out": around.left_out,
    }
    if around.marked:
        store.write(into, np.concatenate(kept), {**found, "around": REACH})
        found["samples"] = into.name
    return found
