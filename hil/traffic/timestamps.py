"""Transmit stamps from a socket's error queue, matched to rows by the kernel's own counter.

With SOF_TIMESTAMPING_OPT_ID the kernel numbers the frames of a socket from 0 and returns, for each,
the time at which the driver took it (SCM_TIMESTAMPING) and its number (PACKET_TX_TIMESTAMP); see
Documentation/networking/timestamping.rst, 1.3.3 and 2.1. Only SO_TIMESTAMPING is used: the older
options invent a time where the kernel has none.

Whether a send that failed has used up a number depends on where in the kernel it failed. After a
failure, therefore, the next frame goes out on a socket whose counter is known to be 0. Of frames
handed over together (sendmmsg(2)) those before the refused one are sent and numbered, and those
after it were not looked at; the kernel says why only where the refused one is the first.

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

_BATCH: Final = 256
_FEW: Final = 16  # stamps looked at quicker one by one than together
_HELD: Final = 4096
_CONTROL: Final = 128
_SLOTS: Final = 1 << 17  # the error queue never holds more stamps than this
_RETIRED: Final = 32
_ROTATED: Final = 4
_TIMESTAMPING: Final = (linux.SO_TIMESTAMPING << 32) | socket.SOL_SOCKET
_TX_TIMESTAMP: Final = (linux.PACKET_TX_TIMESTAMP << 32) | linux.SOL_PACKET
BUFFER: Final = 32 << 20
_QUEUED: Final = 1280  # bytes of the buffer that a stamp takes, at the most
_IN_FLIGHT: Final = 2  # one part of the buffer is for stamps the driver has not taken yet
NOT_SAID: Final = "refused among others, the kernel does not say why"

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

    def __init__(self, sock: socket.socket, number: int) -> None:
        self.sock = sock
        self.number = number
        self.fileno = sock.fileno()
        self.sent = 0
        self.seen = 0
        self.unseen = 0  # sent since its error queue was last empty
        self.rows = np.full(_SLOTS, -1, np.int64)
        self.due = bytearray(_SLOTS)
        self.all_due = np.frombuffer(self.due, np.uint8)  # the same bytes


def send_run(fileno: int, messages: int, count: int) -> tuple[int, str | None]:
    """Send `count` (at most 1024) frames that are `struct mmsghdr` at the address `messages`.

    Returns how many went through, and why the next one did not; None where all of them went.
    """
    while (done := linux.libc.sendmmsg(fileno, messages, count, 0)) < 0:
        if (code := ctypes.get_errno()) != errno.EINTR:
            return 0, os.strerror(code)
    return int(done), NOT_SAID if done < count else None


class PlainSocket:
    """Sends frames of one port whose stamps nobody needs; the same calls as `StampedSocket`."""

    room: Final = 1 << 30
    outstanding: Final = 0
    held: Final = 0
    full: Final = False
    unreadable: Final = 0
    repeated: Final = 0

    def __init__(self, opened: Callable[[], socket.socket]) -> None:
        self._sock = opened()
        self._fileno = self._sock.fileno()
        self.send = self._sock.send

    def sent(self, row: int) -> None:
        """Nothing to note."""

    def failed(self) -> None:
        """Nothing to mend."""

    def send_run(self, messages: int, rows: NDArray[np.int64]) -> tuple[int, str | None]:
        """As `StampedSocket.send_run`."""
        return send_run(self._fileno, messages, len(rows))

    def collect(self) -> int:
        """There are no stamps."""
        return 0

    def apply(self, limit: int = 0) -> None:
        """Nothing to store."""

    def drain(self) -> None:
        """Nothing to store."""


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
        self._owner = np.zeros(_HELD, np.int64)  # number of the socket, 0: no first stamp
        self._held = 0
        self._headers = np.zeros((_HELD, 8), np.uint64)  # struct mmsghdr of a 64-bit system
        places = np.arange(_HELD, dtype=np.uint64) * np.uint64(_CONTROL)
        self._headers[:, 4] = self._control.ctypes.data + places
        self._opened_before = 0
        self._now = self._fresh()
        self.send = self._now.sock.send
        self.unreadable = 0
        self.repeated = 0  #: stamps of a frame that had one
        self.outstanding = 0  #: stamps due and not collected, retired sockets included

    def _fresh(self) -> _Counted:
        sock = self._opened()
        self._arm(sock)
        granted = linux.deep_receive_buffer(sock, BUFFER)
        stamps = min(_SLOTS, max(_BATCH, granted // _QUEUED)) // _IN_FLIGHT
        self._most = stamps if self._store_card is None else stamps // 2
        self._opened_before += 1
        return _Counted(sock, self._opened_before)

    def _arm(self, sock: socket.socket) -> None:
        arm(sock, card=self._store_card is not None)

    @property
    def room(self) -> int:
        """Frames that can be sent before stamps must be collected, lest the kernel drops some."""
        return self._most - self._now.unseen

    def sent(self, row: int) -> None:
        """The last `send` went through and belongs to `row` (-1: to nobody)."""
        now = self._now
        place = now.sent & (_SLOTS - 1)
        now.rows[place] = row
        now.due[place] = 1
        now.sent += 1
        now.unseen += 1
        self.outstanding += 1

    def send_run(self, messages: int, rows: NDArray[np.int64]) -> tuple[int, str | None]:
        """Send a frame for each of `rows`, as `send_run` does, and note what became of them.

        Where one is refused, the next one sent is number 0 of its socket.
        """
        now = self._now
        done, refusal = send_run(now.fileno, messages, len(rows))
        places = np.arange(now.sent, now.sent + done) & (_SLOTS - 1)
        now.rows[places] = rows[:done]
        now.all_due[places] = 1
        now.sent += done
        now.unseen += done
        self.outstanding += done
        if refusal is not None:
            self.failed()
        return done, refusal

    def failed(self) -> None:
        """The last `send` was refused: make sure that the next one is number 0 of its socket."""
        now = self._now
        if not now.sent:
            self._arm(now.sock)
            return
        self._retired.append(now)
        self.drain()
        self._now = self._spare() or self._fresh()
        self.send = self._now.sock.send
        if len(self._retired) > _RETIRED:
            oldest = self._retired.pop(0)
            self.outstanding -= oldest.sent - oldest.seen
            oldest.sock.close()

    def _spare(self) -> _Counted | None:
        """A retired socket whose counter can start anew, since opening and closing take long.

        All its stamps have come, and no frame of this port ever had two: one that came late would
        be taken for that of another frame.
        """
        if self._store_card is not None or self.repeated or len(self._retired) < _ROTATED:
            return None
        for counted in self._retired:
            if counted.seen == counted.sent:
                self._retired.remove(counted)
                self._arm(counted.sock)
                counted.sent = counted.seen = counted.unseen = 0
                return counted
        return None

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
            counted.unseen = 0
            code = ctypes.get_errno()
            if got == 0 or code in (errno.EAGAIN, errno.EINTR):
                return 0
            raise OSError(code, os.strerror(code))
        everything = int(got)
        if self._store_card is not None:
            got = self._divide(counted, start, everything)
        owners = self._owner[start : start + got]
        owners[:] = counted.number
        ids = self._control[start : start + got].view(_STAMP)["id"][:, 0] & np.uint32(_SLOTS - 1)
        # In ascending order no number comes twice, so all can be crossed off at once.
        if got > _FEW and (ids[1:] > ids[:-1]).all():
            first = counted.all_due[ids] != 0
            counted.all_due[ids] = 0
            owners[~first] = 0
            new = int(first.sum())
        else:
            new = self._cross_off(counted, ids.tolist(), start)
        counted.seen += new
        if everything < room or counted.seen == counted.sent:
            counted.unseen = 0
        self.outstanding -= new
        self.repeated += int(got) - new
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

    def _cross_off(self, counted: _Counted, ids: list[int], start: int) -> int:
        """Which stamps are the first of their frames; returns how many."""
        new = 0
        for place, number in enumerate(ids, start):
            if counted.due[number]:
                counted.due[number] = 0
                new += 1
            else:
                self._owner[place] = 0
        return new

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
        for counted in (*self._retired, self._now):
            mine = stamps[good & (owners == counted.number)]
            if not len(mine):
                continue
            rows = counted.rows[mine["id"] & np.uint32(_SLOTS - 1)]
            kernel = mine["sec"] * 1_000_000_000 + mine["nsec"]
            ours = rows >= 0
            self._store(rows[ours], kernel[ours])

    def drain(self) -> None:
        """Collect and store everything the kernel has now."""
        while self.collect() or self._held:
            self.apply()
