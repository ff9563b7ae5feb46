"""One interface of the user plane: a TPACKET_V2 receive ring and a way out.

See Documentation/networking/packet_mmap.rst and timestamping.rst. The stamp in the ring is the one
that the sender's own transmission took, as veth hands a frame over in the sender's context. The
ring may be as large as it needs to be also without privileges; a socket buffer may not.
"""

from __future__ import annotations

import mmap
import socket
import struct
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hil.virtual.userplane_stamps import EgressStamps
from hil.virtual.userplane_store import ROW, Store, Tags

_SOL_PACKET: Final = 263
_RX_RING, _STATISTICS, _VERSION, _RESERVE = 5, 6, 10, 12
_QDISC_BYPASS, _IGNORE_OUTGOING = 20, 23
_TPACKET_V2: Final = 1
_ETH_P_ALL: Final = 3
_SO_TIMESTAMPING: Final = 37
_RX_SOFTWARE_STAMPS: Final = 1 << 3 | 1 << 4
_USER, _VLAN_VALID, _VLAN_TPID_VALID, _SOFTWARE_STAMP = 1, 1 << 4, 1 << 6, 1 << 29
_BLOCK: Final = 1 << 18
_MOST_AT_ONCE: Final = 4096
_TAG: Final = 4  # bytes of a VLAN tag, which the kernel has taken out of the frame


class Received(NamedTuple):
    """Frames of one port in order of arrival: rows of the store and CLOCK_REALTIME stamps.

    With `more`, further frames were there already.
    """

    tags: Tags
    stamp_ns: NDArray[np.int64]
    more: bool


class Port:
    """One interface; `frames` is the room of its ring.

    With `stamped` the kernel stamps each frame that leaves it: `stamps` has them.
    """

    def __init__(self, interface: str, frames: int, *, stamped: bool = False) -> None:
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        for option, value in (
            (_VERSION, _TPACKET_V2),
            (_RESERVE, _TAG),
            (_IGNORE_OUTGOING, 1),
            (_QDISC_BYPASS, 1),
        ):
            self.socket.setsockopt(_SOL_PACKET, option, value)
        request = struct.pack("IIII", _BLOCK, ROW * frames // _BLOCK, ROW, frames)
        self.socket.setsockopt(_SOL_PACKET, _RX_RING, request)
        self.socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, _RX_SOFTWARE_STAMPS)
        self._map = mmap.mmap(self.socket.fileno(), ROW * frames)
        # struct tpacket2_hdr: status, len, snaplen, mac | net << 16, sec, nsec, tci | tpid << 16
        self._header = np.ndarray((frames, 7), "<u4", buffer=self._map, strides=(ROW, 4))
        self._bytes = np.frombuffer(self._map, np.uint8).reshape(frames, ROW)
        self._frames = frames
        self._next = 0
        self.unstamped = 0  #: frames that the kernel stamped on entering the ring only
        self.oversize = 0  #: frames that were longer than a row
        self.overrun = 0  #: frames that found the ring or the store full
        self.stamps = EgressStamps(self.socket) if stamped else None
        self.socket.bind((interface, _ETH_P_ALL))

    def fileno(self) -> int:
        """The descriptor to wait on and to send through."""
        return self.socket.fileno()

    def receive(self, store: Store) -> Received | None:
        """The next frames, copied into the store; None where nothing came."""
        first = self._next
        status = self._header[first : first + _MOST_AT_ONCE, 0]
        if not status[0] & _USER:
            return None
        count = int((status & _USER).argmin()) or len(status)  # 0: every one of them is new
        slots = slice(first, first + count)
        header = self._header[slots].astype(np.int64)
        size = header[:, 1].copy()
        if not np.bitwise_and.reduce(header[:, 0]) & _SOFTWARE_STAMP:
            self.unstamped += int(np.count_nonzero(header[:, 0] & _SOFTWARE_STAMP == 0))
        tags = store.take(count)
        if len(tags) < count:
            self.overrun += count - len(tags)
            header, size = header[: len(tags)], size[: len(tags)]
        self._copy(store, tags, first, header, size)
        self._header[slots, 0] = 0
        self._next = (first + count) % self._frames
        keep = header[:, 2] == header[:, 1]  # snaplen against len: longer than a row
        if not keep.all():
            self.oversize += int(np.count_nonzero(~keep))
            store.give(tags[~keep])
            tags, header = tags[keep], header[keep]
        stamp_ns = header[:, 4] * 1_000_000_000 + header[:, 5]
        return Received(tags, stamp_ns, more=count == len(status))

    def _copy(
        self,
        store: Store,
        tags: Tags,
        first: int,
        header: NDArray[np.int64],
        size: NDArray[np.int64],
    ) -> None:
        if not len(tags):
            return
        start = header[:, 3] & 0xFFFF
        if (start == start[0]).all():
            at, width = int(start[0]), int(size.max())
            source = self._bytes[first : first + len(tags), at : at + width]
            store.rows[tags, : source.shape[1]] = source
        else:
            for number, tag in enumerate(tags.tolist()):
                at, width = int(start[number]), int(size[number])
                source = self._bytes[first + number, at : at + width]
                store.rows[tag, : len(source)] = source
        if np.bitwise_or.reduce(header[:, 0]) & _VLAN_VALID:
            for number in np.flatnonzero(header[:, 0] & _VLAN_VALID).tolist():
                row, length = store.rows[tags[number]], int(size[number])
                row[12 + _TAG : length + _TAG] = row[12:length].copy()
                row[12 : 12 + _TAG] = _vlan_tag(int(header[number, 0]), int(header[number, 6]))
                size[number] += _TAG
        store.set_size(tags, size)

    def count_overrun(self) -> int:
        """Frames lost at this port so far for lack of room."""
        lost: int = struct.unpack("II", self.socket.getsockopt(_SOL_PACKET, _STATISTICS, 8))[1]
        self.overrun += lost
        return self.overrun


def _vlan_tag(status: int, word: int) -> NDArray[np.uint8]:
    """The tag that the kernel moved from the frame into the slot's header."""
    protocol = word >> 16 if status & _VLAN_TPID_VALID else 0x8100
    return np.frombuffer(struct.pack("!HH", protocol, word & 0xFFFF), np.uint8)
