"""A receive ring of the kernel (PACKET_MMAP, TPACKET_V2), read a batch at a time.

A ring needs no receive buffer by force, so it works in a user namespace, and it outlasts stalls
of the reader: the kernel fills slots whether or not anybody looks
(Documentation/networking/packet_mmap.rst).
"""

from __future__ import annotations

import math
import mmap
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN
from hil.traffic import linux

_BLOCK: Final = 1 << 17  # bytes, about, that the kernel allocates at once
_ALIGNED: Final = 64  # bytes of a cache line; a multiple of TPACKET_ALIGNMENT
_LEAST: Final = 512
_HEADROOM: Final = 96  # struct tpacket2_hdr, sockaddr_ll, alignment and a link header
_WORDS: Final = 8  # of struct tpacket2_hdr: status, len, snaplen, mac|net, sec, nsec, vlan, padding
_LIMIT: Final = 64 << 20
MOST: Final = 4096  #: frames a batch holds at the most


@dataclass(frozen=True, slots=True)
class Batch:
    """Frames in order of arrival, from the network header on; the link header is left out.

    `payload` is (n, w), zeros or stale bytes beyond `lengths`; `captured` is how much of each
    frame is really there. `kernel_ns` is `NOT_TAKEN` where the kernel had taken no stamp in time.

    The kernel takes the outermost VLAN tag out of a frame, with or without the 8021q module.
    `vlan` is its VLAN identifier: 0 for none and for a priority tag, which is the same (IEEE Std
    802.1Q 9.6); of any other kind of tag, more than 4095. None: no frame had a tag. `pending` says
    where the sender has left the checksum of UDP to hardware that never got to it, so that it is
    yet to be made (checksum offload of a virtual link). None: nowhere.
    """

    payload: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    captured: NDArray[np.int64]
    kernel_ns: NDArray[np.int64]
    vlan: NDArray[np.int64] | None = None
    pending: NDArray[np.bool_] | None = None
    link: NDArray[np.uint8] | None = None  #: the link headers, where `with_link` asks for them
    card_ns: NDArray[np.int64] | None = None  #: the stamps of the network card, where it gives any


class ReceiveRing:
    """The frames that arrive on an interface, as far as a filter lets them through."""

    stamped_by = linux.TP_STATUS_TS_SOFTWARE  #: the source whose stamps a batch has

    def __init__(
        self, interface: str, program: Sequence[linux.Instruction], widest: int, slots: int
    ) -> None:
        """Open and arm the ring; must run in the interface's namespace.

        `widest` is the longest frame to capture whole, link header included; `slots` the least
        number of frames to hold. Stamps are not reliable for the first 50 ms: the kernel arms
        them by a work queue.
        """
        # Slots no longer than need be: what the kernel writes for each stays in the cache longer.
        aligned = _ALIGNED if widest + _HEADROOM <= mmap.PAGESIZE else mmap.PAGESIZE
        slot = -(-(widest + _HEADROOM) // aligned) * aligned
        count = 1 << (max(slots, _LEAST) - 1).bit_length()
        while count * slot > _LIMIT:
            count //= 2
        # Of a block, whole pages, slots must fill all, so that each lies a slot behind the last.
        block = math.lcm(slot, mmap.PAGESIZE)
        while block < _BLOCK and block * 2 <= count * slot:
            block *= 2
        self.slots = count
        sock = linux.packet_socket(interface)
        try:
            linux.attach_filter(sock, linux.DROP_ALL)
            sock.setsockopt(linux.SOL_PACKET, linux.PACKET_VERSION, linux.TPACKET_V2)
            sock.setsockopt(linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, 1)
            request = struct.pack("IIII", block, slot * count // block, slot, count)
            sock.setsockopt(linux.SOL_PACKET, linux.PACKET_RX_RING, request)
            flags = linux.SOF_RX_SOFTWARE | linux.SOF_SOFTWARE
            sock.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPING, flags)
            self._map = mmap.mmap(sock.fileno(), slot * count)
            sock.bind((interface, linux.ETH_P_ALL))
            linux.attach_filter(sock, program)
        except BaseException:
            sock.close()
            raise
        self.sock = sock
        self._heads: NDArray[np.uint32] = np.ndarray(
            (count, _WORDS), np.dtype("=u4"), buffer=self._map, strides=(slot, 4)
        )
        self._bytes = np.frombuffer(self._map, np.uint8).reshape(count, slot)
        self._next = 0
        self.with_link = False

    def take(self) -> Batch | None:
        """The frames that have arrived since the last call, at most `MOST`; None without any.

        Their slots are given back to the kernel before the return.
        """
        first = self._next
        states = self._heads[first : first + MOST, 0]
        if not states[0] & linux.TP_STATUS_USER:
            return None
        ready = (states & linux.TP_STATUS_USER) != 0
        count = len(ready) if ready.all() else int(ready.argmin())
        heads = self._heads[first : first + count].astype(np.int64)
        batch = self._parse(heads, first, count)
        self._heads[first : first + count, 0] = linux.TP_STATUS_KERNEL
        self._next = (first + count) % self.slots
        return batch

    def _parse(self, heads: NDArray[np.int64], first: int, count: int) -> Batch:
        mac, net = heads[:, 3] & 0xFFFF, heads[:, 3] >> 16
        link = net - mac
        lengths, captured = heads[:, 1] - link, heads[:, 2] - link
        width = int(captured.max())
        rows = self._bytes[first : first + count]
        start = int(net[0])
        if (net == start).all():
            payload = rows[:, start : start + width].copy()
        else:
            places = np.minimum(net[:, None] + np.arange(width), rows.shape[1] - 1)
            payload = np.take_along_axis(rows, places, axis=1)
        pending = (heads[:, 0] & linux.TP_STATUS_CSUMNOTREADY) != 0
        stamps = self.stamps(heads, self.stamped_by)
        return Batch(
            payload,
            lengths,
            captured,
            stamps,
            _vlan(heads),
            pending if pending.any() else None,
            rows[:, int(mac[0]) : start].copy() if self.with_link else None,
        )

    @staticmethod
    def stamps(heads: NDArray[np.int64], taken_by: int) -> NDArray[np.int64]:
        """The stamps of rows of struct tpacket2_hdr that one source took, a bit of their status."""
        stamped = (heads[:, 0] & taken_by) != 0
        return np.where(stamped, heads[:, 4] * 1_000_000_000 + heads[:, 5], NOT_TAKEN)

    def fault(self) -> int:
        """The pending error of the socket, 0 for none: ENETDOWN once the interface went down.

        Until it is taken, poll(2) has something to report and never waits.
        """
        return self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def dropped(self) -> int:
        """Frames there was no room for since the last call."""
        _, drops = struct.unpack(
            "II", self.sock.getsockopt(linux.SOL_PACKET, linux.PACKET_STATISTICS, 8)
        )
        return int(drops)


def _vlan(heads: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The VLAN identifier of each frame, from tp_vlan_tci and tp_vlan_tpid; None without any."""
    tagged = (heads[:, 0] & linux.TP_STATUS_VLAN_VALID) != 0
    if not tagged.any():
        return None
    named = (heads[:, 0] & linux.TP_STATUS_VLAN_TPID_VALID) != 0
    other = named & (heads[:, 6] >> 16 != linux.ETH_P_8021Q)
    identifier = heads[:, 6] & 0xFFF | np.where(other, 0x1000, 0)
    return np.where(tagged, identifier, 0)
