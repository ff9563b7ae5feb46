"""Timestamp trailers: what a tap appends to a frame, and how a receiver reads it back.

A timestamping tap appends to each frame the time it saw it, on the tap's own clock. The formats of
taps on the market are tables of fields (`LAYOUTS`), read by one reader; they say when the frame
passed and nothing else. The format `hil` says more, and proves itself by a checksum. It is the one
the virtual cell leaves on probe frames at the tester's ports, 32 bytes,
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
from functools import partial
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.samples.table import NOT_TAKEN
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
    """What the trailers of n frames say, arrays of n; only rows with `good` mean anything.

    What a format does not state is `NOT_TAKEN`.
    """

    good: NDArray[np.bool_]  #: the trailer is there and, as far as its format can tell, undamaged
    release_ns: NDArray[np.int64]  #: when the tap let the frame go, on the tap's clock
    ingress_ns: NDArray[np.int64]  #: when the frame had reached the tap, on the tap's clock
    lateness_ns: NDArray[np.int64]  #: real release after the stated one
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
        flags=rows["flags"].astype(np.int64),
    )


@dataclass(frozen=True, slots=True)
class Field:
    """One unsigned field of a tap's trailer, in network byte order.

    A field of a time says what one unit of it is worth: ``worth_ns / 2**shift`` nanoseconds. A
    value over `most`, or with a bit of `refused` set, makes the trailer unfit.
    """

    name: str
    at: int
    size: int
    worth_ns: int = 0
    shift: int = 0
    most: int | None = None
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Layout:
    """The trailer of a passive tap: it follows the frame's own FCS, which it keeps as a field."""

    size: int
    fields: tuple[Field, ...]
    source: str  #: where the layout is published


#: Trailers of taps on the market. A trailer with extensions has no fixed length and is refused.
LAYOUTS: Final[Mapping[str, Layout]] = {
    "metawatch": Layout(
        size=16,
        fields=(
            Field("original FCS", 0, 4),
            Field("seconds", 4, 4, worth_ns=1_000_000_000),
            Field("nanoseconds", 8, 4, worth_ns=1, most=999_999_999),
            Field("flags", 12, 1, refused=0x12),  # extensions; time degraded
            Field("device", 13, 2),
            Field("port", 15, 1),
        ),
        source="Arista 7130 MetaWatch, as Wireshark's dissector `metamako` has it",
    ),
    "hpt": Layout(
        size=16,
        fields=(
            Field("original FCS", 0, 4),
            Field("device", 4, 1),
            Field("port", 5, 1),
            Field("seconds", 6, 4, worth_ns=1_000_000_000),
            Field("fraction", 10, 5, worth_ns=1_000_000_000, shift=40),
            Field("reserved", 15, 1),
        ),
        source="Cisco Nexus 3550 HPT (ExaLINK Fusion), as Wireshark's dissector `exablaze` has it",
    ),
}


def read_fields(layout: Layout, tails: NDArray[np.uint8]) -> Reading:
    """What the last `layout.size` bytes of each frame, shape (n, size), say by a table of fields.

    Such a trailer has no checksum of its own: a wrong byte shows only where a field leaves its
    range.
    """
    count = len(tails)
    good, time_ns = np.ones(count, np.bool_), np.zeros(count, np.int64)
    for field in layout.fields:
        value = np.zeros(count, np.int64)
        for place in range(field.at, field.at + field.size):
            value = value << 8 | tails[:, place]
        good &= (value & field.refused) == 0
        if field.most is not None:
            good &= value <= field.most
        time_ns += _worth(value, field)
    absent = np.full(count, NOT_TAKEN, np.int64)
    return Reading(good, time_ns, absent, absent, np.zeros(count, np.int64))


def _worth(value: NDArray[np.int64], field: Field) -> NDArray[np.int64]:
    """The nanoseconds that a field stands for, rounded down; in two parts, to stay in 64 bits."""
    low = max(0, field.shift - 30)
    high, rest = value >> low, value & ((1 << low) - 1)
    return (high * field.worth_ns + (rest * field.worth_ns >> low)) >> (field.shift - low)


@dataclass(frozen=True, slots=True)
class Format:
    """A tap's trailer: how many bytes it appends and how to read them.

    `decode` takes the last `size` bytes of n frames, shape (n, size). A format is `sealed` where a
    trailer proves by magic number and checksum that it is one; else only the length of a frame says
    whether it has a trailer.
    """

    name: str
    size: int
    decode: Callable[[NDArray[np.uint8]], Reading]
    sealed: bool = False


#: Known trailer formats by the name a testbed gives them (`tap: hil`).
FORMATS: Final[Mapping[str, Format]] = {
    "hil": Format("hil", SIZE, decode, sealed=True),
    **{
        name: Format(name, layout.size, partial(read_fields, layout))
        for name, layout in LAYOUTS.items()
    },
}
