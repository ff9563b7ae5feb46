r"""GTP-U: user packets in a tunnel, as they cross N3 between base station and core.

A G-PDU (3GPP TS 29.281 5.1) is carried by UDP to port 2152, over IPv4 or IPv6::

    0  flags       u8    version 1 in the three high bits, PT, then E, S and PN
    1  type        u8    255: a G-PDU; anything else carries no user packet
    2  length      u16   of all that follows byte 7
    4  teid        u32   the tunnel: one PDU session in one direction
    8  sequence    u16   \
    10 n_pdu       u8     } there if any of E, S and PN is set
    11 next        u8    /  type of the first extension header, 0 for none

Each extension header (5.2.1) counts its length in units of four bytes in its first byte and names
the next one's type in its last. Type 0x85 is the PDU session container (TS 38.415 5.5.2): the QoS
flow that the packet travels in. Downlink it also says whether reflective QoS applies (RQI) and may
name a paging policy (PPI).

All of it is read and written for whole batches. Whatever the bytes are, reading raises nothing: a
row that is no whole G-PDU is `NO_TUNNEL`.
"""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

UDP_PORT: Final = 2152
G_PDU: Final = 255
CONTAINER: Final = 0x85  #: extension header type of the PDU session container

DOWNLINK: Final = 0  #: `pdu_type` of DL PDU SESSION INFORMATION (TS 38.415 5.5.2.1)
UPLINK: Final = 1  #: of UL PDU SESSION INFORMATION (5.5.2.2)
ABSENT: Final = 0xFF  #: of a number that the packet does not carry
NO_TUNNEL: Final = -1  #: `inner_at` of a row that is no G-PDU

#: What one outer packet carries. `inner_at` is where the user packet starts, counted as the row is,
#: and `inner_length` its bytes. `sequence` is -1 where the header has none. `pdu_type`, `qfi`,
#: `rqi` and `ppi` are `ABSENT` where nothing states them.
TUNNEL: Final = np.dtype(
    [
        ("inner_at", "i4"),
        ("inner_length", "i4"),
        ("teid", "u4"),
        ("sequence", "i4"),
        ("pdu_type", "u1"),
        ("qfi", "u1"),
        ("rqi", "u1"),
        ("ppi", "u1"),
    ]
)

#: Bytes before the user packet as `encode` writes them: IPv4, UDP, GTP-U, PDU session container.
OVERHEAD: Final = 20 + 8 + 12 + 4

_MOST_EXTENSIONS: Final = 8
_VERSION_1_GTP: Final = 0b0011_0000
_E, _S, _PN = 4, 2, 1
_MANDATORY: Final = 8
_OPTIONAL: Final = 4
_UDP: Final = 17
_HOP_LIMIT: Final = 64

Rows = NDArray[np.uint8]
_Numbers = NDArray[np.int64]
_Mask = NDArray[np.bool_]


class _Reader:
    """Bytes at a place of its own in each row; nothing beyond what a row really has."""

    def __init__(self, rows: Rows, lengths: NDArray[np.integer[Any]]) -> None:
        self._rows = rows
        self._index = np.arange(len(rows))
        self._last = max(rows.shape[1] - 1, 0)
        self.available = np.minimum(lengths, rows.shape[1]).astype(np.int64)

    def u8(self, at: _Numbers) -> _Numbers:
        return self._rows[self._index, np.clip(at, 0, self._last)].astype(np.int64)

    def u16(self, at: _Numbers) -> _Numbers:
        return self.u8(at) << 8 | self.u8(at + 1)

    def u32(self, at: _Numbers) -> _Numbers:
        return self.u16(at) << 16 | self.u16(at + 2)


def decode(rows: Rows, lengths: NDArray[np.integer[Any]]) -> NDArray[Any]:
    """What each packet carries, dtype `TUNNEL`, shape (n,).

    `rows` holds outer packets from the IP header on, shape (n, w); `lengths` how much of each is
    really there. Read are IPv4 (with options) and IPv6 (without extension headers), unfragmented.
    A user packet that the capture cut short keeps its true `inner_length`. Extension headers of
    other types are passed over. The first PDU session container counts.
    """
    found = np.zeros(len(rows), TUNNEL)
    found["inner_at"], found["sequence"] = NO_TUNNEL, -1
    for name in ("pdu_type", "qfi", "rqi", "ppi"):
        found[name] = ABSENT
    if not len(rows) or not rows.shape[1]:
        return found
    reader = _Reader(rows, lengths)
    ours, start, stated = _datagrams(reader)
    ours &= start + _MANDATORY <= reader.available
    flags = reader.u8(start)
    ours &= (flags & 0b1111_0000) == _VERSION_1_GTP
    ours &= reader.u8(start + 1) == G_PDU
    end = start + _MANDATORY + reader.u16(start + 2)
    ours &= end <= stated
    at = start + _MANDATORY
    more = (flags & (_E | _S | _PN)) != 0
    ours &= ~more | (at + _OPTIONAL <= np.minimum(end, reader.available))
    sequenced = more & ((flags & _S) != 0)
    found["sequence"] = np.where(ours & sequenced, reader.u16(at), -1)
    following = np.where(more & ((flags & _E) != 0), reader.u8(at + 3), 0)
    at = np.where(more, at + _OPTIONAL, at)
    at, ours = _extensions(reader, found, (at, end, following), ours)
    found["teid"] = np.where(ours, reader.u32(start + 4), 0)
    found["inner_at"] = np.where(ours, at, NO_TUNNEL)
    found["inner_length"] = np.where(ours, end - at, 0)
    found["sequence"][~ours] = -1
    for name in ("pdu_type", "qfi", "rqi", "ppi"):
        found[name][~ours] = ABSENT
    return found


def _datagrams(reader: _Reader) -> tuple[_Mask, _Numbers, _Numbers]:
    """Which rows are whole UDP datagrams for GTP-U, where their payload starts and should end."""
    zero = np.zeros(len(reader.available), np.int64)
    first = reader.u8(zero)
    header = (first & 0x0F) * 4
    four = (first >> 4 == 4) & (header >= 20) & (reader.u8(zero + 9) == _UDP)
    four &= (reader.u16(zero + 6) & 0x3FFF) == 0  # neither a fragment nor more to come
    six = (first >> 4 == 6) & (reader.u8(zero + 6) == _UDP)
    udp = np.where(six, 40, header)
    end = np.where(six, 40 + reader.u16(zero + 4), reader.u16(zero + 2))
    ours = (four | six) & (udp + 8 <= reader.available) & (udp + 8 <= end)
    ours &= reader.u16(udp + 2) == UDP_PORT
    datagram = reader.u16(udp + 4)
    ours &= (datagram >= 8) & (udp + datagram <= end)
    return ours, udp + 8, udp + datagram


def _extensions(
    reader: _Reader,
    found: NDArray[Any],
    place: tuple[_Numbers, _Numbers, _Numbers],
    ours: _Mask,
) -> tuple[_Numbers, _Mask]:
    """Walk the extension headers; where the user packet starts, and which rows are still sound."""
    at, end, following = place
    seen = np.zeros(len(at), np.bool_)
    for _ in range(_MOST_EXTENSIONS):
        here = ours & (following != 0)
        if not here.any():
            break
        length = reader.u8(at) * 4
        fits = (length >= 4) & (at + length <= np.minimum(end, reader.available))
        ours &= ~here | fits
        here &= fits
        container = here & (following == CONTAINER) & ~seen
        if container.any():
            _note_container(reader, found, at, length, container)
            seen |= container
        following = np.where(here, reader.u8(at + length - 1), following)
        at = np.where(here, at + length, at)
    return at, ours & (following == 0)


def _note_container(
    reader: _Reader, found: NDArray[Any], at: _Numbers, length: _Numbers, here: _Mask
) -> None:
    kind = reader.u8(at + 1) >> 4
    second = reader.u8(at + 2)
    down = here & (kind == DOWNLINK)
    known = here & (kind <= UPLINK)
    paged = down & ((second & 0x80) != 0) & (length >= 8)
    for name, rows, values in (
        ("pdu_type", here, kind),
        ("qfi", known, second & 0x3F),
        ("rqi", down, second >> 6 & 1),
        ("ppi", paged, reader.u8(at + 3) >> 5),
    ):
        found[name][rows] = values[rows]


def encode(
    inner_lengths: ArrayLike,
    *,
    teid: ArrayLike,
    qfi: ArrayLike,
    pdu_type: ArrayLike,
    rqi: ArrayLike = 0,
    source: IPv4Address,
    destination: IPv4Address,
) -> Rows:
    """The bytes before each user packet, shape (n, `OVERHEAD`): IPv4, UDP, GTP-U and container.

    All but the addresses are arrays of n or single values, as broadcast by numpy; at least
    `inner_lengths` must be an array. The UDP checksum is 0, none (RFC 768), which TS 29.281 4.4.2
    leaves to the sender over IPv4.

    Raises:
        ValueError: a user packet that is longer than an IPv4 packet leaves room for.
    """
    lengths = np.asarray(inner_lengths, np.int64)
    total = lengths + OVERHEAD
    if len(total) and int(total.max()) > 0xFFFF:
        raise ValueError(f"a user packet of {int(lengths.max())} B does not fit an IPv4 packet")
    rows = np.zeros((len(lengths), OVERHEAD), np.uint8)
    ip = bytes((0x45, 0, 0, 0, 0, 0, 0, 0, _HOP_LIMIT, _UDP, 0, 0))
    rows[:, :20] = np.frombuffer(ip + source.packed + destination.packed, np.uint8)
    _put16(rows, 2, total)
    words = rows[:, :20].copy().view(">u2").astype(np.int64).sum(axis=1)
    folded = (words & 0xFFFF) + (words >> 16)
    _put16(rows, 10, ~((folded & 0xFFFF) + (folded >> 16)) & 0xFFFF)
    _put16(rows, 20, UDP_PORT)
    _put16(rows, 22, UDP_PORT)
    _put16(rows, 24, total - 20)
    rows[:, 28], rows[:, 29] = _VERSION_1_GTP | _E, G_PDU
    _put16(rows, 30, total - 28 - _MANDATORY)
    tunnel = np.broadcast_to(np.asarray(teid, np.int64), lengths.shape)
    _put16(rows, 32, tunnel >> 16 & 0xFFFF)
    _put16(rows, 34, tunnel & 0xFFFF)
    rows[:, 39], rows[:, 40] = CONTAINER, 1
    rows[:, 41] = np.asarray(pdu_type, np.uint8) << 4
    down = np.asarray(pdu_type) == DOWNLINK
    reflective = np.where(down, np.asarray(rqi, np.int64) & 1, 0)
    rows[:, 42] = reflective << 6 | np.asarray(qfi, np.int64) & 0x3F
    return rows


def _put16(rows: Rows, at: int, values: _Numbers | int) -> None:
    rows[:, at] = np.asarray(values) >> 8 & 0xFF
    rows[:, at + 1] = np.asarray(values) & 0xFF


def carries_ip(rows: Rows, tunnels: NDArray[Any]) -> NDArray[np.bool_]:
    """Where the user packet is IP; elsewhere it is an Ethernet frame, or there is none.

    The tunnel does not say which: the type of a PDU session is agreed on beforehand (TS 23.501
    5.6.1). So the packet must look like IP and its header must state just the length it has.
    """
    here = tunnels["inner_at"] >= 0
    if not here.any():
        return np.asarray(here)
    reader = _Reader(rows, np.full(len(rows), rows.shape[1]))
    at = tunnels["inner_at"].astype(np.int64)
    length = tunnels["inner_length"].astype(np.int64)
    version = reader.u8(at) >> 4
    four = (version == 4) & (reader.u16(at + 2) == length) & (length >= 20)
    six = (version == 6) & (reader.u16(at + 4) + 40 == length)
    return np.asarray(here & (four | six))
