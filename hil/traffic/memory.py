"""How much memory the processes of a run hold while it lasts."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_POINTS: Final = 256
_FIRST_NS: Final = 1_000_000_000


class MemoryCurve:
    """The resident sets of some processes over time; it keeps at most 256 points, evenly spaced.

    A resident set is what proc(5) calls so, in ``/proc/PID/statm``: pages that are shared with
    another process, as those of the rows on their way, count in each of them.
    """

    def __init__(self, processes: Mapping[str, int]) -> None:
        self._processes = dict(processes)
        self._page = os.sysconf("SC_PAGE_SIZE")
        self._points: list[list[int | None]] = []
        self._every_ns, self._next_ns = _FIRST_NS, 0
        self._began_ns: int | None = None

    def look(self, monotonic_ns: int) -> None:
        """Take a point if one is due; call it often."""
        if monotonic_ns < self._next_ns:
            return
        if self._began_ns is None:
            self._began_ns = monotonic_ns
        if len(self._points) == _POINTS:
            self._points = self._points[::2]
            self._every_ns *= 2
        self._next_ns = monotonic_ns + self._every_ns
        at_ms = (monotonic_ns - self._began_ns) // 1_000_000
        self._points.append([at_ms, *(self._resident(p) for p in self._processes.values())])

    def _resident(self, process: int) -> int | None:
        try:
            pages = int(Path(f"/proc/{process}/statm").read_text("ascii").split()[1])
        except (OSError, ValueError, IndexError):
            return None
        return pages * self._page

    def report(self) -> dict[str, Any]:
        """The curve as JSON values: ``at_ms``, one list of bytes a process, and the most of all.

        ``most`` is the largest sum at one time. A process that had ended has None.
        """
        columns = list(zip(*self._points, strict=True)) or [()] * (1 + len(self._processes))
        sums = [sum(size or 0 for size in point[1:]) for point in self._points]
        return {
            "at_ms": list(columns[0]),
            **{
                name: list(column)
                for name, column in zip(self._processes, columns[1:], strict=True)
            },
            "most": max(sums, default=None),
        }
