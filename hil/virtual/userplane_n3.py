"""The N3 of the cell: a copy of every packet that crosses it, in GTP-U, for whoever captures.

The reference point is the base station's end of N3: packets pass it on the way up when the radio
is done with them, and on the way down before the radio begins. Copies leave for the tester's
interface at that time of the model, with the trailer of a tap that stamps what passes it, or in
real-time mode without. IP packets travel in an IP session and everything else in an Ethernet
session (TS 23.501 5.6.10), both with the PDU session container that names the QoS flow.

Nothing is copied while nobody captures. A capture of what is addressed to others turns the
promiscuous mode of its interface on, and the kernel tells so (rtnetlink(7), IFLA_PROMISCUITY).
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import time
from ipaddress import IPv4Address
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil._enter import CLONE_NEWNET, call
from hil.virtual.cell_link import ORDINARY, URGENT, VIDEO
from hil.virtual.topology import N3Port
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_outbox import Outbox
from hil.virtual.userplane_store import ROW, Store, Tags
from hil.wire import gtpu, trailer

GNB: Final = IPv4Address("10.64.0.1")
UPF: Final = IPv4Address("10.64.0.2")

#: QFI by class, as a core would give them: 5QI 9, 5QI 80, and the delay-critical 5QI 82 to 86.
QFIS: Final = np.zeros(3, np.int64)
QFIS[ORDINARY], QFIS[VIDEO], QFIS[URGENT] = 1, 2, 3

_UP_TEID, _DOWN_TEID, _ETHERNET_SESSION = 0x1000, 0x2000, 0x800
_ETHERNET: Final = 14
_AHEAD: Final = _ETHERNET + gtpu.OVERHEAD
_ROOM: Final = 8192
_SOME: Final = 256
_LOOK_NS: Final = 2_000_000
_QDISC_BYPASS: Final = 20
_SOL_PACKET: Final = 263
_PATIENCE_NS: Final = 20_000_000
_FOR_NOW: Final = (errno.EAGAIN, errno.ENOBUFS, errno.EINTR)

# linux/rtnetlink.h and linux/if_link.h.
_GROUP_LINK: Final = 1
_NEW_LINK: Final = 16
_PROMISCUITY: Final = 30
_MESSAGE: Final = struct.Struct("=IHHII")
_LINK: Final = struct.Struct("=BxHiII")
_ATTRIBUTE: Final = struct.Struct("=HH")


class Listeners:
    """Whether anybody captures on an interface of another network namespace."""

    def __init__(self, namespace: int, interface: str) -> None:
        """`namespace` is an open descriptor; the thread is back where it was afterwards."""
        home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", namespace, CLONE_NEWNET)
            self._socket = socket.socket(
                socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE
            )
            self._index = socket.if_nametoindex(interface)
        finally:
            call("setns", home, CLONE_NEWNET)
            os.close(home)
        self._socket.bind((0, _GROUP_LINK))
        self._socket.setblocking(False)
        self._any = False
        self._looked_ns = 0

    def there(self) -> bool:
        """As of at most 2 ms ago."""
        now_ns = time.monotonic_ns()
        if now_ns - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now_ns
            self._hear()
        return self._any

    def _hear(self) -> None:
        while True:
            try:
                said = self._socket.recv(65536)
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # some words were lost: the next ones will tell
                    continue
                return
            for promiscuity in _promiscuity(said, self._index):
                self._any = promiscuity > 0


def _promiscuity(said: bytes, index: int) -> list[int]:
    """What RTM_NEWLINK messages state of the promiscuity of one interface."""
    found = []
    at = 0
    while at + _MESSAGE.size <= len(said):
        length, kind, *_ = _MESSAGE.unpack_from(said, at)
        end = min(at + max(length, _MESSAGE.size), len(said))
        place = at + _MESSAGE.size
        if kind == _NEW_LINK and place + _LINK.size <= end:
            mine = _LINK.unpack_from(said, place)[2] == index
            place += _LINK.size
            while mine and place + _ATTRIBUTE.size <= end:
                size, name = _ATTRIBUTE.unpack_from(said, place)
                if name == _PROMISCUITY and size == 8:
                    found.append(int.from_bytes(said[place + 4 : place + 8], "little"))
                place += max(size + 3 & ~3, _ATTRIBUTE.size)
        at = end + (-end % 4)
    return found


class N3:
    """What leaves for the tester's N3 port, and when."""

    def __init__(self, port: N3Port, listeners: Listeners, clock: CellClock) -> None:
        self._trailers = port.trailers
        self._listeners = listeners
        self._clock = clock
        self._store = Store(_ROOM)
        self._box = Outbox()
        self._sequence = 0
        self.overrun = 0  #: copies there was no room for
        self.copied = 0
        gnb, upf = (bytes.fromhex(mac.replace(":", "")) for mac in (port.gnb_mac, port.upf_mac))
        up, down = upf + gnb + b"\x08\x00", gnb + upf + b"\x08\x00"
        self._link = {gtpu.UPLINK: up, gtpu.DOWNLINK: down}
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._socket.setsockopt(_SOL_PACKET, _QDISC_BYPASS, 1)
        self._socket.bind((port.cell_interface, 0))

    @property
    def next_ns(self) -> int | None:
        """When the next copy is to leave, on the cell's clock."""
        return int(self._box.at_ns[0]) if len(self._box.at_ns) else None

    def add(
        self,
        store: Store,
        tags: Tags,
        at_ns: NDArray[np.int64],
        *,
        kinds: NDArray[Any],
        cpes: NDArray[np.int64],
        pdu_type: int,
    ) -> None:
        """Packets of the user plane and when they cross; copied now, if anybody captures."""
        if not len(tags) or not self._listeners.there():
            return
        room = store.size[tags] <= ROW - _AHEAD
        copies = self._store.take(int(room.sum()))
        keep = np.flatnonzero(room)[: len(copies)]
        self.overrun += len(tags) - len(keep)
        if not len(keep):
            return
        tags, kinds, cpes = tags[keep], kinds[keep], cpes[keep]
        ethertype = store.rows[tags, 12].astype(np.int64) << 8 | store.rows[tags, 13]
        bare = (ethertype == 0x0800) | (ethertype == 0x86DD)
        for session in (True, False):
            mine = np.flatnonzero(bare == session)
            if len(mine):
                teid = (_UP_TEID if pdu_type == gtpu.UPLINK else _DOWN_TEID) + cpes[mine]
                teid = teid if session else teid + _ETHERNET_SESSION
                skip = _ETHERNET if session else 0
                inner = store.size[tags[mine]] - skip
                here = copies[mine]
                self._store.rows[here, :_ETHERNET] = np.frombuffer(self._link[pdu_type], np.uint8)
                self._store.rows[here, _ETHERNET:_AHEAD] = gtpu.encode(
                    inner,
                    teid=teid,
                    qfi=QFIS[kinds[mine]],
                    pdu_type=pdu_type,
                    source=GNB if pdu_type == gtpu.UPLINK else UPF,
                    destination=UPF if pdu_type == gtpu.UPLINK else GNB,
                )
                width = int(inner.max())
                user = store.rows[tags[mine], skip : skip + width]
                self._store.rows[here, _AHEAD : _AHEAD + width] = user
        self._store.set_size(copies, store.size[tags] + _AHEAD - np.where(bare, _ETHERNET, 0))
        self._box.add(copies, at_ns[keep])

    def send(self) -> bool:
        """Send what is due; True if more is due and the port takes it."""
        while True:
            now_ns = self._clock.of_host(time.time_ns())
            count = min(self._box.due(now_ns), _SOME)
            if not count:
                return False
            tags = self._box.tags[:count]
            if self._trailers:
                self._mark(tags, now_ns)
            sent, error = self._store.send(self._socket.fileno(), tags)
            if sent:
                self._box.full_ns = None
                self._forget(sent)
                self.copied += sent
            if error in _FOR_NOW and self._box.waits(now_ns) < _PATIENCE_NS:
                return False
            if error:
                self.overrun += 1
                self._forget(1)

    def _mark(self, tags: Tags, now_ns: int) -> None:
        """Trailers of a tap that holds nothing: what it releases has just come."""
        at_ns = self._box.at_ns[: len(tags)]
        numbers = np.arange(self._sequence, self._sequence + len(tags))
        marks = trailer.encode(at_ns, 0, now_ns - at_ns, numbers)
        self._sequence += len(tags)
        self._store.set_trailers(tags, marks)

    def _forget(self, count: int) -> None:
        self._store.give(self._box.tags[:count])
        self._box.drop_first(count)
