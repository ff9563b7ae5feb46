"""The probe: the 40 measuring bytes in a frame, big-endian (network order, RFC 1700).

::

    0  magic       u32   "hilp"
    4  version     u8    1
    5  flags       u8    WARM_UP
    6  flow        u16
    8  run         u64   a random number of the run: probes of an earlier run never count
    16 seq         u64   does not wrap in practice
    24 intended_ns i64   when the packet was planned to leave, CLOCK_REALTIME
    32 crc         u32   CRC-32 of bytes 0 to 31
    36 balance     u16   makes the probe's one's complement sum zero
    38 reserved    u16   0

`balance` makes the 16-bit one's complement sum of the whole probe zero (RFC 1071), so that a probe
adds nothing to a UDP checksum: the checksum of a template with zeros in the probe's place is right
for every probe of the flow. Damage anywhere in the probe breaks the CRC or the sum.

The probe follows the Ethernet header directly in frames of EtherType 0x88B5 (IEEE Std 802, clause
9.2.3: Local Experimental EtherType 1), and is the start of the payload in UDP datagrams.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hil.wire.crc import Crc32

ETHERTYPE: Final = 0x88B5
MAGIC: Final = int.from_bytes(b"hilp", "big")
VERSION: Final = 1
WARM_UP: Final = 1  #: bit of `flags`: sent before the first probe of the flow, never judged

_FIELDS: Final = (
    ("magic", "u4"),
    ("version", "u1"),
    ("flags", "u1"),
    ("flow", "u2"),
    ("run", "u8"),
    ("seq", "u8"),
    ("intended_ns", "i8"),
    ("crc", "u4"),
    ("balance", "u2"),
    ("reserved", "u2"),
)
_WIRE: Final = np.dtype([(name, f">{kind}") for name, kind in _FIELDS])
#: A decoded probe: the same fields in the host's byte order.
PROBE: Final = np.dtype([(name, f"={kind}") for name, kind in _FIELDS])
SIZE: Final = _WIRE.itemsize

ETHERNET_HEADER: Final = 14
VLAN_TAG: Final = 4
IPV4_HEADER: Final = 20
IPV6_HEADER: Final = 40
UDP_HEADER: Final = 8

Rows = NDArray[np.uint8]

_crc = Crc32(32)


def encode(
    run: int, flow: ArrayLike, seq: ArrayLike, intended_ns: ArrayLike, flags: ArrayLike = 0
) -> Rows:
    """Probes as bytes, shape (n, 40): one row per sequence number.

    `flow`, `seq`, `intended_ns` and `flags` are arrays of n or single values, as broadcast by
    numpy; at least `seq` must be an array.
    """
    sequence = np.asarray(seq, np.uint64)
    probes = np.zeros(len(sequence), _WIRE)
    probes["magic"] = MAGIC
    probes["version"] = VERSION
    probes["flags"] = flags
    probes["flow"] = flow
    probes["run"] = run
    probes["seq"] = sequence
    probes["intended_ns"] = intended_ns
    rows = probes.view(np.uint8).reshape(-1, SIZE)
    probes["crc"] = _crc.of(rows)
    probes["balance"] = 0xFFFF - _sum(rows)
    return rows


def _sum(rows: Rows) -> NDArray[np.uint32]:
    """The sum of the 16-bit words of each row modulo 65535: 0 stands for one's complement zero."""
    # 2^16 is 1 modulo 65535, so wider words have the same sum; swapping the bytes of every word
    # swaps those of the sum (RFC 1071, 2).
    words = np.ascontiguousarray(rows[:, :SIZE]).view("<u4").T
    total = words[0].astype(np.uint64)
    for each in words[1:]:
        total += each
    swapped = (total % np.uint64(0xFFFF)).astype(np.uint32)
    return np.asarray((swapped >> np.uint32(8)) | ((swapped & np.uint32(0xFF)) << np.uint32(8)))


def decode(rows: Rows) -> NDArray[Any]:
    """The fields of the probe at the start of each row, dtype `PROBE`; nothing is checked."""
    wire = np.ascontiguousarray(rows[:, :SIZE]).view(_WIRE)
    return wire[:, 0].astype(PROBE)


def resembles(rows: Rows) -> NDArray[np.bool_]:
    """Where a row starts with the magic number of a probe; the rest may be damaged."""
    return np.asarray(np.ascontiguousarray(rows[:, :4]).view(">u4")[:, 0] == MAGIC)


def intact(rows: Rows) -> NDArray[np.bool_]:
    """Where a row starts with an undamaged probe: magic, version, CRC and sum are right."""
    probes = decode(rows)
    return np.asarray(
        (probes["magic"] == MAGIC)
        & (probes["version"] == VERSION)
        & (probes["crc"] == _crc.of(rows))
        & (_sum(rows) == 0)
    )


def find(rows: Rows, lengths: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
    """Where the first probe starts in each row, whatever is before it; -1 where there is none.

    For frames in a tunnel that is in the clear: the header before the probe may be any. `lengths`
    are the bytes that each row really has. Only the magic number and the version are looked at.
    """
    head = np.frombuffer(MAGIC.to_bytes(4, "big") + bytes([VERSION]), np.uint8)
    count, width = rows.shape
    places = width - SIZE + 1
    if places <= 0:
        return np.full(count, -1, np.int64)
    here = rows[:, :places] == head[0]
    for index, byte in enumerate(head[1:].tolist(), 1):
        here &= rows[:, index : index + places] == byte
    found = np.where(here.any(axis=1), here.argmax(axis=1), -1).astype(np.int64)
    return np.where(found + SIZE <= lengths, found, -1)


def offset(
    rows: Rows, lengths: NDArray[np.integer[Any]], link: int = ETHERNET_HEADER
) -> NDArray[np.int64]:
    """Where a probe starts in each frame, -1 where there is none.

    `rows` holds the first bytes of each frame, shape (n, w); `lengths` the bytes that each frame
    really has. `link` is the length of the link header: 14 for Ethernet, where one VLAN tag (IEEE
    Std 802.1Q) is seen through, or 0 for raw IP. Recognised are EtherType 0x88B5 and UDP over
    IPv4 (without options) or IPv6 (without extension headers) whose payload starts with the magic.
    """
    count, width = rows.shape
    if link:
        kind, start = _ethertype(rows)
    else:
        start = np.zeros(count, np.int64)
        kind = np.where(rows[:, 0] >> 4 == 6, 0x86DD, 0x0800)
    found = np.full(count, -1, np.int64)
    found = np.where(kind == ETHERTYPE, start, found)
    index = np.arange(count)
    for ethertype, header, protocol_at in ((0x0800, IPV4_HEADER, 9), (0x86DD, IPV6_HEADER, 6)):
        here = kind == ethertype
        if not here.any() or width < link + header + UDP_HEADER:
            continue
        at = np.minimum(start + protocol_at, width - 1)
        plain = rows[index, np.minimum(start, width - 1)] == 0x45
        here &= (rows[index, at] == 17) & (plain | (ethertype != 0x0800))
        found = np.where(here, start + header + UDP_HEADER, found)
    found[(found < 0) | (found + SIZE > np.minimum(lengths, width))] = -1
    candidates = np.flatnonzero(found >= 0)
    if len(candidates):
        magic = rows[candidates[:, None], found[candidates, None] + np.arange(4)]
        found[candidates[~resembles(magic)]] = -1
    return found


def _ethertype(rows: Rows) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """EtherType of each Ethernet frame and where its payload starts, one VLAN tag seen through."""
    kind = rows[:, 12].astype(np.int64) << 8 | rows[:, 13]
    start = np.full(len(rows), ETHERNET_HEADER, np.int64)
    tagged = kind == 0x8100
    if tagged.any() and rows.shape[1] >= ETHERNET_HEADER + VLAN_TAG:
        inner = rows[:, 16].astype(np.int64) << 8 | rows[:, 17]
        kind = np.where(tagged, inner, kind)
        start[tagged] += VLAN_TAG
    return kind, start
