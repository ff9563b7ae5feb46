"""The frames of a stretch of the schedule, made together, sent one by one or many at once.

A row of a block of memory holds each frame: the template's bytes stay there as long as the row
carries the same template, and only the probe changes. Beside the rows stand the `struct iovec` and
`struct mmsghdr` that sendmmsg(2) wants, made once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.wire import probe

MOST: Final = 1024  #: frames of one call, the most that sendmmsg(2) takes (UIO_MAXIOV)

_ALIGNED: Final = 64  # bytes of a cache line
_HEADER: Final = 64  # bytes of a struct mmsghdr of a 64-bit system, of which word 2 is msg_iov
_VECTOR: Final = 16


class Frames:
    """Room for `MOST` frames of a run.

    `places` are, for each template, its start in `everything`, its length and where in it the
    probe begins.
    """

    def __init__(
        self, run: int, everything: NDArray[np.uint8], places: Sequence[tuple[int, int, int]]
    ) -> None:
        self._run = run
        self._templates = [everything[start : start + length] for start, length, _ in places]
        self._lengths = np.array([length for _, length, _ in places], np.uint64)
        self._probe_at = np.array([at for _, _, at in places], np.int64)
        self._stride = -(-int(self._lengths.max()) // _ALIGNED) * _ALIGNED
        self._rows = np.zeros((MOST, self._stride), np.uint8)
        self._carries = np.full(MOST, -1, np.int64)
        self._vectors = np.zeros((MOST, 2), np.uint64)
        index = np.arange(MOST, dtype=np.uint64)
        self._vectors[:, 0] = self._rows.ctypes.data + index * np.uint64(self._stride)
        self._messages = np.zeros((MOST, _HEADER // 8), np.uint64)
        self._messages[:, 2] = self._vectors.ctypes.data + index * np.uint64(_VECTOR)
        self._messages[:, 3] = 1
        self._first_message = self._messages.ctypes.data
        self._bytes = memoryview(self._rows.reshape(-1).data)
        self._ends: list[int] = []

    def make(self, stretch: NDArray[Any], intended_ns: NDArray[np.int64], flags: int = 0) -> None:
        """Fill the first rows with the frames of at most `MOST` packets of the schedule."""
        count = len(stretch)
        templates = stretch["template"].astype(np.int64)
        for template in np.unique(templates[templates != self._carries[:count]]).tolist():
            frame = self._templates[template]
            self._rows[np.flatnonzero(templates == template), : len(frame)] = frame
        self._carries[:count] = templates
        lengths = self._lengths[templates]
        self._vectors[:count, 1] = lengths
        probes = probe.encode(self._run, stretch["flow"], stretch["seq"], intended_ns, flags)
        starts = self._probe_at[templates]
        if (starts == starts[0]).all():
            at = int(starts[0])
            self._rows[:count, at : at + probe.SIZE] = probes
        else:
            places = starts[:, None] + np.arange(probe.SIZE)
            np.put_along_axis(self._rows[:count], places, probes, axis=1)
        ends = np.arange(0, count * self._stride, self._stride) + lengths.astype(np.int64)
        self._ends = ends.tolist()

    def frame(self, row: int) -> memoryview:
        """The frame in a row; it changes with the next `make`."""
        return self._bytes[row * self._stride : self._ends[row]]

    def messages(self, row: int) -> int:
        """The address of the `struct mmsghdr` of a row; those of the rows after it follow."""
        return self._first_message + row * _HEADER
