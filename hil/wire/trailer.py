"""Timestamp trailers: what a tap appends to a frame, and how a receiver reads it back.

A timestamping tap appends to each frame the time it saw it, on the tap's own clock. The format
`hil` is the one the virtual cell leaves on probe frames at the tester's ports, 32 bytes,
little-endian, after the last byte of the frame::

    0  release_ns  i64   when the model released the frame; TAI, the tap's own clock
    8  delay_ns    u32   release minus ingress: how long the tap held the frame
    12 lateness_ns u32   how long after `release_ns` the frame really left; saturates
    16 seq         u32   of the tap, one more for each frame it marked; wraps
    20 flow        u8    of the tap
    21 flags       u8    LATE_IN
    22 version     u8    1
    23 reserved    u8    0
    24 magic       u32   "hilt"
    28 crc         u32   CRC-32 of bytes 0 to 27

A trailer clock is a foreign clock: nothing here maps it to the host's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.wire.crc import Crc32

MAGIC: Final = int.from_bytes(b"hilt", "big")
VERSION: Final = 1
LATE_IN: Final = 1  #: bit of `flags`: the frame showed up after its slot had been decided

#: One trailer of the format `hil`, as on the wire.
TRAILER: Final = np.dtype(
    [
        ("release_ns", "<i8"),
        ("delay_ns", "<u4"),
        ("lateness_ns", "<u4"),
        ("seq", "<u4"),
        ("flow", "u1"),
        ("flags", "u1"),
        ("version", "u1"),
        ("reserved", "u1"),
        ("magic", "<u4"),
        ("crc", "<u4"),
    ]
)
SIZE: Final = TRAILER.itemsize
_U32: Final = 0xFFFF_FFFF
_crc = Crc32(28)


@dataclass(frozen=True, slots=True)
class Reading:
    """What the trailers of n frames say, arrays of n; only rows with `good` mean anything."""

    good: NDArray[np.bool_]  #: the trailer is there and undamaged
    release_ns: NDArray[np.int64]  #: on the tap's clock
    ingress_ns: NDArray[np.int64]  #: on the tap's clock
    lateness_ns: NDArray[np.int64]  #: real release after the stated one
    seq: NDArray[np.int64]
    flags: NDArray[np.int64]


def encode(
    release_ns: ArrayLike,
    delay_ns: ArrayLike,
    lateness_ns: ArrayLike,
    seq: ArrayLike,
    flow: ArrayLike = 0,
    flags: ArrayLike = 0,
) -> NDArray[Any]:
    """Sealed trailers of the format `hil`, dtype `TRAILER`, shape (n,).

    `delay_ns` and `lateness_ns` saturate at 0 and 2^32 - 1; `seq` wraps at 2^32.
    """
    release = np.atleast_1d(np.asarray(release_ns, np.int64))
    rows = np.zeros(len(release), TRAILER)
    rows["release_ns"] = release
    rows["delay_ns"] = np.clip(delay_ns, 0, _U32)
    rows["lateness_ns"] = np.clip(lateness_ns, 0, _U32)
    rows["seq"] = np.asarray(seq, np.int64) & _U32
    rows["flow"] = flow
    rows["flags"] = flags
    seal(rows)
    return rows


def seal(rows: NDArray[Any]) -> None:
    """Set magic, version and checksum of `rows` (contiguous, dtype `TRAILER`) in place."""
    rows["magic"] = MAGIC
    rows["version"] = VERSION
    rows["crc"] = _crc.of(rows.view(np.uint8).reshape(-1, SIZE))


def decode(tails: NDArray[np.uint8]) -> Reading:
    """What the last 32 bytes of each frame, shape (n, 32), say in the format `hil`."""
    tails = np.ascontiguousarray(tails)
    rows = tails.view(TRAILER)[:, 0]
    good = (rows["magic"] == MAGIC) & (rows["version"] == VERSION) & (rows["crc"] == _crc.of(tails))
    release = rows["release_ns"].astype(np.int64)
    return Reading(
        good=np.asarray(good),
        release_ns=release,
        ingress_ns=release - rows["delay_ns"].astype(np.int64),
        lateness_ns=rows["lateness_ns"].astype(np.int64),
        seq=rows["seq"].astype(np.int64),
        flags=rows["flags"].astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class Format:
    """A tap's trailer: how many bytes it appends and how to read them.

    `decode` takes the last `size` bytes of n frames, shape (n, size).
    """

    name: str
    size: int
    decode: Callable[[NDArray[np.uint8]], Reading]


#: Known trailer formats by the name a testbed gives them (`tap: hil`).
FORMATS: Final[Mapping[str, Format]] = {"hil": Format("hil", SIZE, decode)}
