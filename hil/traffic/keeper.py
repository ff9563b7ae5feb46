"""The frames around late and missing packets, as they arrived, in a capture file.

The receiver cannot know for certain what is late or lost; it keeps what may be: a packet that came
more than the bound after it was due, and a gap in the numbers. The samples say what was.

The file is a pcap with times in nanoseconds (the format of libpcap, magic number a1b23c4d;
draft-ietf-opsawg-pcap), open to any reader of such files while it grows.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import UNREADABLE, Table, taken
from hil.samples.violations import REACH, Around
from hil.traffic.ring import Batch
from hil.traffic.schedule import Offsets

_MAGIC: Final = 0xA1B23C4D
_ETHERNET: Final = 1  # LINKTYPE_ETHERNET
_BARE_IP: Final = 101  # LINKTYPE_RAW
_LONGEST: Final = 1 << 18
_MOST_BYTES: Final = 64 << 20

Due = NDArray[np.int64] | Offsets


class FrameKeeper:
    """Watches the frames of one port and writes those around suspects."""

    def __init__(self, path: Path, due: Mapping[int, tuple[Due, int]], *, bare: bool) -> None:
        """`due` has, by flow, when each sequence number is due, and the bound."""
        self._path, self._due, self._bare = path, dict(due), bare
        self._around = Around()
        self._next = dict.fromkeys(self._due, 0)
        self._before: list[tuple[int, bytes, int]] = []
        self._bytes = 0
        self._file: Any = None

    def look(self, batch: Batch, rows: Table, start_ns: int | None) -> None:
        """The next batch of frames, and the rows that were made of some of them."""
        times = rows["rx_kernel_ns"][self._suspects(rows, start_ns)]
        marks = np.isin(batch.kernel_ns, times[taken(times)])
        self._write(batch, marks)

    def _suspects(self, rows: Table, start_ns: int | None) -> NDArray[np.bool_]:
        suspects = np.zeros(len(rows), np.bool_)
        for flow, (offsets, bound_ns) in self._due.items():
            mine = np.flatnonzero((rows["flow"] == flow) & ((rows["flags"] & UNREADABLE) == 0))
            if not mine.size:
                continue
            numbers = rows["seq"][mine].astype(np.int64)
            highest = np.maximum.accumulate(np.append(self._next[flow] - 1, numbers))
            suspects[mine] = numbers > highest[:-1] + 1
            self._next[flow] = int(highest[-1]) + 1
            if start_ns is not None:
                came = rows["rx_kernel_ns"][mine]
                late = came - start_ns - offsets[numbers]
                suspects[mine] |= taken(came) & (late > bound_ns)
        return suspects

    def _write(self, batch: Batch, marks: NDArray[np.bool_]) -> None:
        old, new = self._around.choose(marks)
        for place in np.flatnonzero(old).tolist():
            self._record(*self._before[place - len(old)])
        for place in np.flatnonzero(new).tolist():
            self._record(*_frame(batch, place))
        if self._file is not None:
            self._file.flush()
        last = range(max(0, len(marks) - REACH), len(marks))
        self._before = [*self._before, *(_frame(batch, place) for place in last)][-REACH:]

    def _record(self, at_ns: int, frame: bytes, length: int) -> None:
        if self._file is None:
            self._file = self._path.open("wb")
            link = _BARE_IP if self._bare else _ETHERNET
            self._file.write(struct.pack("<IHHiIII", _MAGIC, 2, 4, 0, 0, _LONGEST, link))
        if self._bytes < _MOST_BYTES:
            seconds, rest = divmod(at_ns, 1_000_000_000)
            self._file.write(struct.pack("<IIII", seconds, rest, len(frame), length) + frame)
            self._bytes += len(frame)
        else:
            self._around.chosen -= 1
            self._around.left_out += 1

    def close(self) -> dict[str, Any]:
        """End the file with what came before packets that never came; what was kept, as JSON."""
        missing = any(self._next[flow] < len(due) for flow, (due, _) in self._due.items())
        if missing and self._before:
            old, _ = self._around.choose(np.ones(1, np.bool_))
            self._around.chosen -= 1  # the mark itself is no frame
            for place in np.flatnonzero(old).tolist():
                self._record(*self._before[place - len(old)])
        if self._file is not None:
            self._file.close()
        return {
            "frames": None if self._file is None else self._path.name,
            "frames_kept": self._around.chosen,
            "frames_left_out": self._around.left_out,
        }


def _frame(batch: Batch, place: int) -> tuple[int, bytes, int]:
    """When a frame came, its bytes with the link header and its VLAN tag, and its whole length."""
    captured, length = int(batch.captured[place]), int(batch.lengths[place])
    header = b"" if batch.link is None else batch.link[place].tobytes()
    if batch.vlan is not None and batch.vlan[place] and len(header) == 14:
        tag = struct.pack(">HH", 0x8100, int(batch.vlan[place]) & 0xFFF)
        header = header[:12] + tag + header[12:]
    at_ns = int(batch.kernel_ns[place])
    bytes_ = header + batch.payload[place, :captured].tobytes()
    return max(at_ns, 0), bytes_, length + len(header)
