"""The mapped file through which endpoints and user plane act on each other: one row per CPE.

The user plane creates it. Endpoints write what the world has done to a CPE (attenuation in its
radio path, session up, powered); the user plane reads the rows each turn and writes back when a CPE
last carried traffic. Every field is one aligned 8-byte word that exactly one process writes, so a
store is seen whole or not at all (x86-64 and AArch64) and no lock is needed; fields of a row are
independent of each other, a reader needs no consistent pair. `generation` is raised after each
change, so that a reader can see at a glance that something moved.
"""

from __future__ import annotations

import mmap
import os
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

MAGIC: Final = b"HILCPL01"
_NAME_BYTES: Final = 56

_HEADER: Final = np.dtype(
    [("magic", "S8"), ("rows", "<i8"), ("epoch_ns", "<i8"), ("spare", "<i8", 5)]
)

#: One CPE. `attenuation_db` is the sum of what lies in its radio path; `session_up` and `powered`
#: are 0 or 1; `generation` counts changes by the endpoints; `traffic_ns` is when the user plane
#: last carried a frame of this CPE, in nanoseconds since the epoch, and negative before the first.
ROW: Final = np.dtype(
    [
        ("name", f"S{_NAME_BYTES}"),
        ("attenuation_db", "<f8"),
        ("session_up", "<i8"),
        ("powered", "<i8"),
        ("generation", "<i8"),
        ("traffic_ns", "<i8"),
        ("spare", "<i8", 4),
    ]
)


class Coupling:
    """An open coupling file; `rows` is the live array of `ROW`, to be read at any time.

    `epoch_ns` is the CLOCK_REALTIME time at which the world's own time is 0; the radio is a
    function of the time since then.
    """

    def __init__(self, mapping: mmap.mmap, *, path: Path) -> None:
        self._mapping = mapping
        self._lock = threading.Lock()
        self.path = path
        header = np.frombuffer(mapping, dtype=_HEADER, count=1)[0]
        self.epoch_ns = int(header["epoch_ns"])
        self.rows: NDArray[Any] = np.frombuffer(
            mapping, dtype=ROW, count=int(header["rows"]), offset=_HEADER.itemsize
        )
        self.names = tuple(name.decode() for name in self.rows["name"])

    @classmethod
    def create(cls, path: Path, names: Sequence[str], *, epoch_ns: int | None = None) -> Self:
        """Make the file with one row per CPE, powered, without session and attenuation.

        `names` are the links of the modems in the order of the testbed. The world's time begins
        at `epoch_ns`, or now.

        Raises:
            ValueError: a name is too long, or given twice.
            OSError: the file cannot be made.
        """
        encoded = [name.encode() for name in names]
        if len(set(encoded)) != len(encoded) or any(len(name) > _NAME_BYTES for name in encoded):
            raise ValueError(f"names of CPEs must differ and fit in {_NAME_BYTES} bytes: {names}")
        header = np.zeros(1, dtype=_HEADER)
        header["magic"], header["rows"] = MAGIC, len(names)
        header["epoch_ns"] = time.time_ns() if epoch_ns is None else epoch_ns
        rows = np.zeros(len(names), dtype=ROW)
        rows["name"] = encoded
        rows["powered"] = 1
        rows["traffic_ns"] = -1
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        partial.write_bytes(header.tobytes() + rows.tobytes())
        partial.replace(path)
        return cls.open(path)

    @classmethod
    def open(cls, path: Path) -> Self:
        """Map an existing file, to read and to write.

        Raises:
            ValueError: this is no coupling file, or one of another version.
            OSError: the file cannot be opened.
        """
        with path.open("r+b") as file:
            if file.read(len(MAGIC)) != MAGIC:
                raise ValueError(f"{path} is no coupling file of this version")
            mapping = mmap.mmap(file.fileno(), 0)
        return cls(mapping, path=path)

    def row(self, name: str) -> int:
        """The number of a CPE's row, which is also its number in the radio; ValueError if none."""
        return self.names.index(name)

    def set_attenuation(self, row: int, value_db: float) -> None:
        """The attenuation in the radio path of one CPE from now on."""
        self._store(row, "attenuation_db", value_db)

    def set_session(self, row: int, up: bool) -> None:
        """Whether the CPE has a PDU session that carries user data."""
        self._store(row, "session_up", int(up))

    def set_powered(self, row: int, on: bool) -> None:
        """Whether the CPE has power; without it its device-side ports carry nothing either."""
        self._store(row, "powered", int(on))

    def set_traffic(self, row: int, realtime_ns: int) -> None:
        """The user plane's word: the CPE carried a frame at that CLOCK_REALTIME time."""
        self.rows["traffic_ns"][row] = realtime_ns - self.epoch_ns

    def _store(self, row: int, field: str, value: float) -> None:
        # Several endpoints of one process write; only the generation is shared between them.
        with self._lock:
            self.rows[field][row] = value
            self.rows["generation"][row] += 1
