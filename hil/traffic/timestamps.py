"""Transmit stamps from a socket's error queue, matched to rows by the kernel's own counter.

With SOF_TIMESTAMPING_OPT_ID the kernel numbers the frames of a socket from 0 and returns, for each,
the time at which the driver took it (SCM_TIMESTAMPING) and its number (PACKET_TX_TIMESTAMP); see
Documentation/networking/timestamping.rst, 1.3.3 and 2.1. Only SO_TIMESTAMPING is used: the older
options invent a time where the kernel has none.

Whether a send that failed has used up a number depends on where in the kernel it failed. After a
failure, therefore, the next frame goes out on a socket whose counter is known to be 0.

A frame keeps its wish to be stamped on its way through this host: a bridge, a VLAN or a bond below
the port, or a hop in another namespace, each driver returns a stamp of its own under the same
number. The first is the one of the port; what comes after it is counted and left out.

Where the network card stamps too, its stamp comes as a message of its own under the same number,
in the third of three times (SCM_TIMESTAMPING), usually after the kernel's and sometimes never.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
from collections.abc import Callable
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.traffic import linux

_BATCH: Final = 64
_HELD: Final = 4096
_CONTROL: Final = 128
_SLOTS: Final = 1 << 17  # the error queue never holds more stamps than this
_RETIRED: Final = 32
_TIMESTAMPING: Final = (linux.SO_TIMESTAMPING << 32) | socket.SOL_SOCKET
_TX_TIMESTAMP: Final = (linux.PACKET_TX_TIMESTAMP << 32) | linux.SOL_PACKET
BUFFER: Final = 32 << 20

#: What the kernel writes for one frame: two control messages (linux/net_tstamp.h,
#: linux/errqueue.h); level and type are read as one 64-bit word.
_STAMP: Final = np.dtype(
    {
        "names": ["kind", "sec", "nsec", "card_sec", "card_nsec", "kind2", "id"],
        "formats": ["<u8", "<i8", "<i8", "<i8", "<i8", "<u8", "<u4"],
        "offsets": [8, 16, 24, 48, 56, 72, 92],
        "itemsize": _CONTROL,
    }
)


_Store = Callable[[NDArray[np.int64], NDArray[np.int64]], None]


def arm(sock: socket.socket, *, card: bool = False) -> None:
    """Switch transmit stamps on, those of the card too, and set the frame counter to 0."""
    flags = linux.SOF_TX_SOFTWARE | linux.SOF_SOFTWARE | linux.SOF_OPT_TSONLY
    if card:
        flags |= linux.SOF_TX_HARDWARE | linux.SOF_RAW_HARDWARE | linux.SOF_OPT_TX_SWHW
    sock.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPING, flags)
    sock.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPING, flags | linux.SOF_OPT_ID)


def by_the_card(
    control: NDArray[np.uint8],
) -> tuple[NDArray[np.bool_], NDArray[np.uint32], NDArray[np.int64]]:
    """Which messages, shape (n, 128), hold a stamp of the network card; their numbers and times."""
    stamps = control.view(_STAMP)[:, 0]
    found = (stamps["card_sec"] != 0) & (stamps["kind"] == _TIMESTAMPING)
    found &= stamps["kind2"] == _TX_TIMESTAMP
    mine = stamps[found]
    return found, mine["id"], mine["card_sec"] * 1_000_000_000 + mine["card_nsec"]


class _Counted:
    """One socket whose frames the kernel counts from 0, and the row each of them belongs to."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fileno = sock.fileno()
        self.sent = 0
        self.seen = 0
        self.rows = np.full(_SLOTS, -1, np.int64)
        self.due = bytearray(_SLOTS)


class StampedSocket:
    """Sends frames of one port and collects the kernel's stamps of them.

    `store(rows, kernel_ns)` is handed the stamps, `store_card(rows, card_ns)` those of the network
    card, where it is to stamp. `send(frame)` is the current socket's own method.
    """

    def __init__(
        self,
        opened: Callable[[], socket.socket],
        store: _Store,
        store_card: _Store | None = None,
    ) -> None:
        self._opened, self._store, self._store_card = opened, store, store_card
        self._retired: list[_Counted] = []
        self._control = np.zeros((_HELD, _CONTROL), np.uint8)
        self._owner = np.zeros(_HELD, object)
        self._held = 0
        self._headers = np.zeros((_HELD, 8), np.uint64)  # struct mmsghdr of a 64-bit system
        places = np.arange(_HELD, dtype=np.uint64) * np.uint64(_CONTROL)
        self._headers[:, 4] = self._control.ctypes.data + places
        self._now = self._fresh()
        self.send = self._now.sock.send
        self.unreadable = 0
        self.repeated = 0  #: stamps of a frame that had one
        self.outstanding = 0  #: stamps due and not collected, retired sockets included

    def _fresh(self) -> _Counted:
        sock = self._opened()
        arm(sock, card=self._store_card is not None)
        linux.deep_receive_buffer(sock, BUFFER)
        return _Counted(sock)

    def sent(self, row: int) -> None:
        """The last `send` went through and belongs to `row` (-1: to nobody)."""
        now = self._now
        place = now.sent & (_SLOTS - 1)
        now.rows[place] = row
        now.due[place] = 1
        now.sent += 1
        self.outstanding += 1

    def failed(self) -> None:
        """The last `send` was refused: make sure that the next one is number 0 of its socket."""
        now = self._now
        if now.sent:
            self._retired.append(now)
            if len(self._retired) > _RETIRED:
                oldest = self._retired.pop(0)
                self.outstanding -= oldest.sent - oldest.seen
                oldest.sock.close()
            self._now = self._fresh()
            self.send = self._now.sock.send
        else:
            arm(now.sock, card=self._store_card is not None)

    @property
    def held(self) -> int:
        """Stamps collected and not yet stored."""
        return self._held

    @property
    def full(self) -> bool:
        """True when stamps must be stored before more can be collected."""
        return self._held > _HELD - _BATCH

    def collect(self) -> int:
        """Take a batch of stamps from the kernel without looking at them; returns how many."""
        for counted in (*self._retired, self._now):
            due = counted.sent > counted.seen or self._store_card is not None
            if due and (got := self._read(counted)):
                return got
        return 0

    def _read(self, counted: _Counted) -> int:
        start = self._held
        room = min(_BATCH, _HELD - start)
        if room <= 0:
            return 0
        self._headers[start : start + room, 5] = _CONTROL
        got = linux.libc.recvmmsg(
            counted.fileno,
            self._headers.ctypes.data + 64 * start,
            room,
            socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT,
            None,
        )
        if got <= 0:
            code = ctypes.get_errno()
            if got == 0 or code in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))
        everything = int(got)
        if self._store_card is not None:
            got = self._divide(counted, start, everything)
        self._owner[start : start + got] = counted
        numbers = self._control[start : start + got].view(_STAMP)["id"][:, 0].tolist()
        first = 0
        for place, number in enumerate(numbers, start):
            if counted.due[number & (_SLOTS - 1)]:
                counted.due[number & (_SLOTS - 1)] = 0
                first += 1
            else:
                self._owner[place] = None
        counted.seen += first
        self.outstanding -= first
        self.repeated += int(got) - first
        self._held += got
        return everything

    def _divide(self, counted: _Counted, start: int, got: int) -> int:
        """Store the card's stamps at once; returns how many of the kernel's there are to hold."""
        by_card, numbers, card_ns = by_the_card(self._control[start : start + got])
        if len(numbers) and self._store_card is not None:
            self._store_card(counted.rows[numbers & np.uint32(_SLOTS - 1)], card_ns)
        rest = self._control[start : start + got][~by_card]
        self._control[start : start + len(rest)] = rest
        return len(rest)

    def apply(self, limit: int = _HELD) -> None:
        """Store up to `limit` of the stamps collected, the newest first."""
        start = max(0, self._held - limit)
        if start == self._held:
            return
        stamps = self._control[start : self._held].view(_STAMP)[:, 0]
        owners = self._owner[start : self._held]
        self._held = start
        good = (stamps["kind"] == _TIMESTAMPING) & (stamps["kind2"] == _TX_TIMESTAMP)
        self.unreadable += int(len(good) - good.sum())
        for counted in {id(each): each for each in owners if each is not None}.values():
            mine = stamps[good & (owners == counted)]
            rows = counted.rows[mine["id"] & np.uint32(_SLOTS - 1)]
            kernel = mine["sec"] * 1_000_000_000 + mine["nsec"]
            ours = rows >= 0
            self._store(rows[ours], kernel[ours])

    def drain(self) -> None:
        """Collect and store everything the kernel has now."""
        while self.collect() or self._held:
            self.apply()
