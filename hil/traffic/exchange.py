"""Rows handed from one process to another through a mapped file, and lines through a pipe.

One process writes rows, one reads them; the file is a ring whose place in memory does not grow
with the run. A row is published by raising `written` after it is complete; the reader raises
`consumed` and so gives its place back.
"""

from __future__ import annotations

import json
import mmap
import os
import select
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import Table

_HEADER: Final = 4096
_WRITTEN: Final = 0
_CONSUMED: Final = 1


class RowRing:
    """A ring of `capacity` (a power of two) rows of `dtype` in a mapped file."""

    def __init__(self, path: Path, dtype: np.dtype[Any], capacity: int) -> None:
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _HEADER + capacity * dtype.itemsize)
        self.capacity = capacity
        self.mask = capacity - 1
        self.bytes = memoryview(self._map)[_HEADER:]  #: of `rows`
        self.rows: Table = np.frombuffer(self._map, dtype, capacity, _HEADER)
        self._counters = np.frombuffer(self._map, np.int64, _HEADER // 8)

    @classmethod
    def create(cls, path: Path, dtype: np.dtype[Any], capacity: int) -> RowRing:
        """A new ring with its room reserved; OSError (ENOSPC) where there is none."""
        with path.open("xb") as file:
            os.posix_fallocate(file.fileno(), 0, _HEADER + capacity * dtype.itemsize)
        return cls(path, dtype, capacity)

    @property
    def written(self) -> int:
        """Rows ever published."""
        return int(self._counters[_WRITTEN])

    @written.setter
    def written(self, value: int) -> None:
        self._counters[_WRITTEN] = value

    @property
    def consumed(self) -> int:
        """Rows ever taken by the reader."""
        return int(self._counters[_CONSUMED])

    @property
    def room(self) -> int:
        """Rows that can be written before the reader has to take some."""
        return self.capacity - (self.written - self.consumed)

    def append(self, rows: Table) -> int:
        """Publish as many of `rows` as there is room for; returns how many."""
        count = min(len(rows), self.room)
        start = self.written
        places = np.arange(start, start + count) & self.mask
        self.rows[places] = rows[:count]
        self.written = start + count
        return count

    def peek(self, start: int, end: int) -> Table:
        """A copy of the rows from number `start` to (not including) number `end`."""
        rows: Table = self.rows[np.arange(start, end) & self.mask]
        return rows

    def take(self, end: int) -> Table:
        """A copy of the rows up to (not including) number `end`, which are thereby consumed."""
        start = self.consumed
        end = max(start, min(end, self.written))
        rows = self.peek(start, end)
        self._counters[_CONSUMED] = end
        return rows


def capacity_for(rows: int, seconds: float, rate: float) -> int:
    """A power of two that holds `rows`, or `seconds` of them at `rate` if that is less."""
    wanted = max(1024, min(rows, max(65536, int(seconds * rate))))
    return 1 << (wanted - 1).bit_length()


def save_array(path: Path, array: NDArray[Any]) -> None:
    """Write an array for `load_array`."""
    np.save(path, array, allow_pickle=False)


def load_array(path: Path) -> NDArray[Any]:
    """Map an array of `save_array`, read-only."""
    return np.load(path, mmap_mode="r", allow_pickle=False)  # type: ignore[no-any-return]


class Lines:
    """JSON objects, one a line, from and to a pair of descriptors, without blocking on reads."""

    def __init__(self, source: int, sink: int) -> None:
        self._source, self._sink = source, sink
        self._rest = b""
        self._heard: deque[dict[str, Any]] = deque()
        self.closed = False
        os.set_blocking(source, False)

    def send(self, message: Mapping[str, Any]) -> None:
        """Write one line; a closed far end is not an error, it shows on the next `receive`."""
        try:
            os.write(self._sink, json.dumps(message).encode() + b"\n")
        except BrokenPipeError:
            self.closed = True

    def receive(self, timeout_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """The lines that have come, waiting up to `timeout_s` for the first byte.

        Those that the caller does not get to are kept for the next call.
        """
        if not self._heard and not self.closed:
            self._hear(timeout_s)
        while self._heard:
            yield self._heard.popleft()

    def _hear(self, timeout_s: float) -> None:
        if not select.select([self._source], [], [], timeout_s)[0]:
            return
        while True:
            try:
                piece = os.read(self._source, 65536)
            except BlockingIOError:
                break
            if not piece:
                self.closed = True
                break
            self._rest += piece
        *complete, self._rest = self._rest.split(b"\n")
        self._heard.extend(json.loads(line) for line in complete if line.strip())
