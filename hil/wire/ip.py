"""IP and UDP headers of both versions: their lengths, what a router changes, their checksums."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

Version = Literal[4, 6]

ETHERTYPE: Final[Mapping[Version, int]] = {4: 0x0800, 6: 0x86DD}
#: Bytes of the header: IPv4 without options (RFC 791), IPv6 without extension headers (RFC 8200).
HEADER: Final[Mapping[Version, int]] = {4: 20, 6: 40}
UDP_HEADER: Final = 8
UDP: Final = 17  #: protocol, or next header

#: Where the protocol (IPv4) or the next header (IPv6) stands.
PROTOCOL_AT: Final[Mapping[Version, int]] = {4: 9, 6: 6}

#: What a router may change, as bytes from the start of the IP header, those of UDP with them.
#: IPv4: hop limit, DSCP and ECN, header checksum (RFC 1812 5.2, 5.3; RFC 2474); IPv6: the same but
#: for the checksum, and the flow label where it is zero, as it is here (RFC 6437 section 3); and of
#: both the addresses and ports, with the checksum of UDP, by NAT (RFC 3022, RFC 6296).
ROUTER_CHANGES: Final[Mapping[Version, tuple[int, ...]]] = {
    4: (1, 8, 10, 11, *range(12, 20), *range(20, 24), 26, 27),
    6: (*range(4), 7, *range(8, 40), *range(40, 44), 46, 47),
}
_CHECKSUM_AT: Final = 6  # in a UDP header
_TOTAL: Final = 0xFFFF


def checksum_at(version: Version) -> slice:
    """Where the checksum of UDP stands in a packet."""
    start = HEADER[version] + _CHECKSUM_AT
    return slice(start, start + 2)


def headers_right(frames: NDArray[np.uint8], version: Version) -> NDArray[np.bool_]:
    """Where the header of a packet, shape (n, w), is one of this version and not damaged.

    IPv4 has a checksum of its own (RFC 791 3.1). IPv6 has none (RFC 8200 section 3), so that there
    only the version is looked at.
    """
    if version == 6:
        return np.asarray(frames[:, 0] >> 4 == 6)
    words = np.ascontiguousarray(frames[:, : HEADER[4]]).view(">u2")
    return np.asarray(words.sum(axis=1, dtype=np.uint32) % _TOTAL == 0)


def datagrams_right(frames: NDArray[np.uint8], version: Version) -> NDArray[np.bool_]:
    """Where the UDP checksum of a packet, shape (n, w), is right (RFC 768; RFC 8200 8.1).

    `frames` are whole packets of one length, without options or extension headers. A checksum of 0
    says that none was made: that is allowed over IPv4 and not over IPv6.
    """
    if frames.shape[1] % 2:
        frames = np.pad(frames, ((0, 0), (0, 1)))
    words = np.ascontiguousarray(frames).view(">u2").astype(np.int64)
    udp = HEADER[version] // 2
    addresses = words[:, 6:10] if version == 4 else words[:, 4:20]
    length = words[:, udp + 2]
    total = addresses.sum(axis=1) + UDP + length + words[:, udp:].sum(axis=1)
    made = words[:, udp + 3] != 0
    right = total % _TOTAL == 0
    return np.asarray(right & made if version == 6 else right | ~made)


def checksums_right(frames: NDArray[np.uint8], version: Version) -> NDArray[np.bool_]:
    """Where header and datagram are right (`headers_right`, `datagrams_right`)."""
    return headers_right(frames, version) & datagrams_right(frames, version)
