"""The frames in the user plane: one row of bytes each, ready to be sent by sendmmsg(2).

A frame is copied once, out of the receive ring, so that the ring never fills because a frame waits
long, and so that poll(2) on the ring says when something new has come. A trailer is the second
element of the frame's I/O vector and is written in place.
"""

from __future__ import annotations

import ctypes
import os
import struct
import zlib
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.wire import trailer

ROW: Final = 2048  #: bytes of a row; longer frames are not forwarded
HEAD: Final = 128  #: first bytes of a frame that hold all headers and a probe
_SOME: Final = 1024
_FEW: Final = 16  #: frames whose trailers are sealed quicker one by one than together

Tags = NDArray[np.int64]

_libc = ctypes.CDLL(None, use_errno=True)
_libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]
_U32: Final = struct.Struct("<I")
_LATENESS_AT: Final = 12
_CRC_AT: Final = 28
_MSG_DONTWAIT: Final = 0x40


class Store:
    """Room for `capacity` frames; a frame's row number is its tag."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.rows = np.zeros((capacity, ROW), np.uint8)
        self.size = np.zeros(capacity, np.int64)
        self.trailers = np.zeros(capacity, trailer.TRAILER)
        self._marks = memoryview(self.trailers.view(np.uint8).data)
        # struct iovec: address, length; two for each frame.
        self._vectors = np.zeros((capacity, 2, 2), np.uint64)
        index = np.arange(capacity, dtype=np.uint64)
        self._vectors[:, 0, 0] = self.rows.ctypes.data + index * ROW
        self._vectors[:, 1, 0] = self.trailers.ctypes.data + index * trailer.SIZE
        self._vectors[:, 1, 1] = trailer.SIZE
        # struct mmsghdr of a 64-bit system: msg_iov is word 2, msg_iovlen word 3.
        self._messages = np.zeros((capacity, 8), np.uint64)
        self._messages[:, 2] = self._vectors.ctypes.data + index * 32
        self._messages[:, 3] = 1
        self._batch = np.zeros((_SOME, 8), np.uint64)
        self._free = np.arange(capacity - 1, -1, -1, dtype=np.int64)  # a stack: low rows first
        self._top = capacity

    @property
    def held(self) -> int:
        """Frames in the store."""
        return self.capacity - self._top

    def take(self, count: int) -> Tags:
        """Up to `count` free rows."""
        count = min(count, self._top)
        self._top -= count
        return self._free[self._top : self._top + count][::-1].copy()

    def give(self, tags: Tags) -> None:
        """Free rows."""
        self._free[self._top : self._top + len(tags)] = tags
        self._top += len(tags)

    def set_size(self, tags: Tags, size: NDArray[np.int64]) -> None:
        """The lengths of the frames in some rows."""
        self.size[tags] = size
        self._vectors[tags, 0, 1] = size.astype(np.uint64)
        self._messages[tags, 3] = 1

    def set_trailers(self, tags: Tags, rows: NDArray[Any]) -> None:
        """Send trailers behind some frames."""
        self.trailers[tags] = rows
        self._messages[tags, 3] = 2

    def set_lateness(self, tags: Tags, lateness_ns: NDArray[np.int64]) -> None:
        """State how late marked frames leave."""
        if len(tags) > _FEW:
            rows = self.trailers[tags]
            rows["lateness_ns"] = lateness_ns
            trailer.seal(rows)
            self.trailers[tags] = rows
            return
        for tag, late in zip(tags.tolist(), lateness_ns.tolist(), strict=True):
            if self._messages[tag, 3] == 2:
                start = tag * trailer.SIZE
                _U32.pack_into(self._marks, start + _LATENESS_AT, late)
                crc = zlib.crc32(self._marks[start : start + _CRC_AT])
                _U32.pack_into(self._marks, start + _CRC_AT, crc)

    def send(self, descriptor: int, tags: Tags) -> tuple[int, int]:
        """Send frames in order; how many were taken, and the errno that stopped it, 0 for none."""
        done = 0
        while done < len(tags):
            count = min(_SOME, len(tags) - done)
            some = tags[done : done + count]
            self._messages.take(some, axis=0, out=self._batch[:count], mode="clip")
            taken = _libc.sendmmsg(descriptor, self._batch.ctypes.data, count, _MSG_DONTWAIT)
            if taken < 0:
                return done, ctypes.get_errno() or os.EX_OSERR
            done += taken
        return done, 0
