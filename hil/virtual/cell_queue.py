"""The queue of one data radio bearer as flat arrays: one CPE, one class, one direction.

Packets pass three regions of the same arrays: arrived (known, but the scheduler has not seen them),
queued, and delivered. The queue is a cumulative byte count, so that serving a transport block is
one addition and finding the packets it completes one binary search; the cost is per slot, not per
packet. A packet that is dropped stays as a row of size 0 and tag -1 until its turn has passed.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.int64]

_FIRST_ROOM: Final = 1 << 10
_NONE: Final = np.zeros(0, np.int64)


class Delivery(NamedTuple):
    """Packets that a transport block completed: when, which, and those that lost a part."""

    at_ns: int
    tags: Times
    lost: Times


class Queue:
    """First in, first out, bounded in bytes and packets; in-order delivery (TS 38.323 5.2.2.2).

    `tag` is the caller's name for a packet; sizes include the headers of the radio protocols.
    """

    def __init__(self, limit_bytes: int, limit_packets: int) -> None:
        self._limit_bytes = limit_bytes
        self._limit_packets = limit_packets
        self._at, self._size, self._tag, self._cumulative = (
            np.zeros(_FIRST_ROOM, np.int64) for _ in range(4)
        )
        self._head = self._queued = self._end = 0
        self._packets = 0
        self._total = 0  # bytes ever queued
        self._served = 0  # bytes ever served
        self._hole = 0  # end of the last transport block that was lost, in bytes served
        self._last_ns = 0  # delivery of the packet before

    @property
    def backlog(self) -> int:
        """Bytes that wait to be served."""
        return self._total - self._served

    @property
    def waiting(self) -> bool:
        """Whether any packet has arrived and is not delivered."""
        return self._head < self._end

    @property
    def first_arrival_ns(self) -> int | None:
        """When the first packet that the scheduler has not seen yet arrived."""
        return int(self._at[self._queued]) if self._queued < self._end else None

    def arrive(self, at_ns: Times, size: Times, tag: Times) -> None:
        """Packets in order of time; none may be earlier than one before."""
        count = len(at_ns)
        if self._end + count > len(self._at):
            self._make_room(count)
        rows = slice(self._end, self._end + count)
        self._at[rows], self._size[rows], self._tag[rows] = at_ns, size, tag
        self._end += count

    def _make_room(self, count: int) -> None:
        held = slice(self._head, self._end)
        length = self._end - self._head
        room = max(2 * (length + count), _FIRST_ROOM)
        for name in ("_at", "_size", "_tag", "_cumulative"):
            fresh = np.zeros(room, np.int64)
            fresh[:length] = getattr(self, name)[held]
            setattr(self, name, fresh)
        self._queued -= self._head
        self._head, self._end = 0, length

    def admit(self, until_ns: int) -> Times:
        """Queue what arrived up to a time; the tags of the packets that found the queue full."""
        first, end = self._queued, self._end
        if first == end or self._at[first] > until_ns:
            return _NONE
        stop = first + int(self._at[first:end].searchsorted(until_ns, "right"))
        rows = slice(first, stop)
        cumulative = self._size[rows].cumsum() + self._total
        room = min(
            int(cumulative.searchsorted(self._served + self._limit_bytes, "right")),
            self._limit_packets - self._packets,
        )
        dropped = _NONE
        if room < stop - first:
            room = max(room, 0)
            dropped = self._tag[first + room : stop].copy()
            self._tag[first + room : stop] = -1
            self._size[first + room : stop] = 0
            cumulative[room:] = cumulative[room - 1] if room else self._total
        self._cumulative[rows] = cumulative
        self._total = int(cumulative[-1])
        self._packets += room
        self._queued = stop
        self._pass_dropped()
        return dropped

    def expire(self, before_ns: int) -> Times:
        """Drop what arrived before a time and is not under way yet (discardTimer, TS 38.323 5.3).

        Returns the tags of the dropped packets.
        """
        if self._head == self._queued or self._at[self._head] >= before_ns:
            return _NONE
        stop = self._head + int(self._at[self._head : self._queued].searchsorted(before_ns))
        return self._drop(stop)

    def flush(self) -> Times:
        """Drop everything that is queued, a packet under way included."""
        self._served = self._total
        tags = self._tag[self._head : self._queued]
        tags = tags[tags >= 0]
        self._head, self._packets = self._queued, 0
        return tags.copy()

    def _drop(self, stop: int) -> Times:
        rows = slice(self._head, stop)
        whole = self._cumulative[rows] - self._size[rows] >= self._served
        whole &= self._tag[rows] >= 0
        dropped = self._tag[rows][whole].copy()
        self._tag[rows][whole] = -1
        self._size[rows][whole] = 0
        # Bytes of what is left, counted anew behind what is under way.
        held = slice(self._head, self._queued)
        under_way = int(self._cumulative[self._head] - self._served) if not whole[0] else 0
        sizes = self._size[held].copy()
        sizes[0] = under_way
        self._cumulative[held] = sizes.cumsum() + self._served
        self._total = int(self._cumulative[self._queued - 1])
        self._packets -= len(dropped)
        self._pass_dropped()
        return dropped

    def _pass_dropped(self) -> None:
        """With nothing left to serve, the rows of dropped packets are all there is."""
        if self._total == self._served:
            self._head = self._queued

    def serve(self, size: int) -> None:
        """Send the next `size` bytes; at most the backlog."""
        self._served += size

    def deliver(self, at_ns: int, *, lost: bool = False) -> Delivery:
        """What the bytes served so far complete, not before the packets ahead (in order).

        With `lost` the last transport block never arrived: every packet with a part in it is lost,
        also the one that it only began.
        """
        if lost:
            self._hole = self._served
        self._last_ns = max(self._last_ns, at_ns)
        head = self._head
        stop = head + int(self._cumulative[head : self._queued].searchsorted(self._served, "right"))
        rows = slice(head, stop)
        self._head = stop
        tags, sizes = self._tag[rows], self._size[rows]
        real, torn = tags >= 0, self._cumulative[rows] - sizes < self._hole
        self._packets -= int(np.count_nonzero(real))
        if self._hole <= 0 and real.all():
            return Delivery(self._last_ns, tags.copy(), _NONE)
        return Delivery(self._last_ns, tags[real & ~torn], tags[real & torn])
