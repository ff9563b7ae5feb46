"""The truth log: what the cell really did with each packet, in a file of bounded size.

The file holds the last ROWS packets as rows of `ROW`, in the order in which their fate was sealed;
it is mapped, so that a row costs no system call and a reader sees it at once. Times are on the
cell's clock, whose relation to the host the header states: this is the truth, no measurement. Only
`egress_ns` is the host's: the stamp that the kernel took as the frame left the cell.
"""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hil.virtual.userplane_clock import CellClock

ROWS: Final = 1 << 20
_MAGIC: Final = b"HILTRUT2"

PROBE, LATE_IN, WARM_UP = 1, 2, 4  #: bits of `flags`

#: Bits of `effects`: what faults did to a packet. The first two are drops, `COPY` is the second
#: packet of a doubled one.
NO_LINK, LOST, DELAYED, HELD_BACK, DUPLICATED, COPY, CORRUPTED, JITTERED = (
    1 << bit for bit in range(8)
)
FAULT = 7  #: the `reason` of a packet that a fault dropped

#: One packet. `at_ns` is when the model released it, or with a `reason` when it was dropped:
#: 1 queue full, 2 too old, 3 lost by the radio, 4 no session, 5 no power, 6 refused by the port,
#: 7 a fault.
#: `source` and `to` are numbers of attachments, `kind` the class (0 urgent, 1 video, 2 ordinary),
#: `slot` carried the last byte (-1: no radio in the way), `transmissions` counts the sendings of
#: its transport block, `lateness_ns` is how long after `at_ns` the frame really left. `run`,
#: `flow` and `seq` are those of the probe, if it is one. `fault` is the number of the last fault
#: that met the packet, 0 for none, and `effects` what all of them did to it. `order` counts the
#: packets of the world as they were taken in. `n3_ns` is when it crossed N3, at the base station: 0
#: where it did not, and on its way up where it crosses twice. `egress_ns` is the kernel's stamp
#: (CLOCK_REALTIME) of the socket that let the frame out, in real-time mode at ports of the tester,
#: else `NOT_TAKEN`.
ROW: Final = np.dtype(
    [
        ("ingress_ns", "<i8"),
        ("at_ns", "<i8"),
        ("slot", "<i8"),
        ("n3_ns", "<i8"),
        ("run", "<u8"),
        ("seq", "<u8"),
        ("size", "<u4"),
        ("lateness_ns", "<u4"),
        ("flow", "<u2"),
        ("source", "u1"),
        ("to", "u1"),
        ("kind", "u1"),
        ("reason", "u1"),
        ("transmissions", "u1"),
        ("flags", "u1"),
        ("fault", "<u2"),
        ("effects", "<u2"),
        ("order", "<u4"),
        ("egress_ns", "<i8"),
    ]
)

_HEADER: Final = np.dtype(
    [
        ("magic", "S8"),
        ("rows", "<i8"),
        ("count", "<i8"),
        ("epoch_ns", "<i8"),
        ("drift_ppb", "<i8"),
        ("spare", "<i8", 3),
    ]
)


class TruthLog:
    """The open log; `count` packets were ever written."""

    def __init__(self, mapping: mmap.mmap) -> None:
        self._header = np.frombuffer(mapping, _HEADER, 1)
        rows = int(self._header["rows"][0])
        self._rows: NDArray[Any] = np.frombuffer(mapping, ROW, rows, _HEADER.itemsize)

    @classmethod
    def create(cls, path: Path, clock: CellClock, rows: int = ROWS) -> Self:
        """A new, empty log; the file is sparse and grows as rows are written."""
        header = np.zeros(1, _HEADER)
        header["magic"], header["rows"] = _MAGIC, rows
        header["epoch_ns"], header["drift_ppb"] = clock.epoch_ns, clock.drift_ppb
        with path.open("w+b") as file:
            file.write(header.tobytes())
            file.truncate(_HEADER.itemsize + rows * ROW.itemsize)
            return cls(mmap.mmap(file.fileno(), 0))

    @property
    def count(self) -> int:
        """Packets written since the beginning."""
        return int(self._header["count"][0])

    def append(self, rows: NDArray[Any]) -> None:
        """Add packets; the oldest make room."""
        size, count = len(self._rows), self.count + len(rows)
        rows = rows[-size:]
        start = (count - len(rows)) % size
        first = rows[: size - start]
        self._rows[start : start + len(first)] = first
        self._rows[: len(rows) - len(first)] = rows[len(first) :]
        self._header["count"] = count


def read(path: Path, since: int = 0) -> tuple[NDArray[Any], CellClock]:
    """The packets from the `since`-th on that are still there, oldest first, and the cell's clock.

    Raises:
        ValueError: this is no truth log.
        OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        header = np.frombuffer(file.read(_HEADER.itemsize).ljust(_HEADER.itemsize), _HEADER)[0]
        if header["magic"] != _MAGIC:
            raise ValueError(f"{path} is no truth log of this version")
        size, count = int(header["rows"]), int(header["count"])
        first = max(since, count - size, 0)
        parts = []
        while first < count:
            start = first % size
            length = min(count - first, size - start)
            file.seek(_HEADER.itemsize + start * ROW.itemsize)
            parts.append(np.fromfile(file, ROW, length))
            first += length
    rows = np.concatenate(parts) if parts else np.zeros(0, ROW)
    return rows, CellClock(int(header["epoch_ns"]), int(header["drift_ppb"]))
