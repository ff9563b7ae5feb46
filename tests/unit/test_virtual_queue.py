"""A bearer's queue against the plainest model of one: a list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.virtual.cell_queue import Queue

LIMIT_BYTES, LIMIT_PACKETS = 5_000, 12

actions = st.lists(
    st.one_of(
        st.tuples(st.just("arrive"), st.lists(st.integers(1, 1500), min_size=1, max_size=6)),
        st.tuples(st.just("serve"), st.integers(1, 4000)),
        st.tuples(st.just("lose"), st.integers(1, 4000)),
        st.tuples(st.just("expire"), st.integers(0, 8)),
        st.tuples(st.just("flush"), st.just(0)),
    ),
    max_size=60,
)


class Plain:
    """What a queue means: packets as [tag, arrival, bytes left, bytes, torn]."""

    def __init__(self) -> None:
        self.packets: list[list[int]] = []

    @property
    def backlog(self) -> int:
        return sum(packet[2] for packet in self.packets)

    def admit(self, new: list[tuple[int, int, int]]) -> list[int]:
        dropped: list[int] = []
        for tag, at_ns, size in new:
            full = len(self.packets) >= LIMIT_PACKETS or self.backlog + size > LIMIT_BYTES
            if full or dropped:
                dropped.append(tag)
            else:
                self.packets.append([tag, at_ns, size, size, 0])
        return dropped

    def serve(self, size: int, *, lost: bool) -> tuple[list[int], list[int]]:
        for packet in self.packets:
            part = min(size, packet[2])
            packet[2] -= part
            packet[4] |= int(lost and part > 0)
            size -= part
        done = [packet for packet in self.packets if packet[2] == 0]
        self.packets = [packet for packet in self.packets if packet[2]]
        return [p[0] for p in done if not p[4]], [p[0] for p in done if p[4]]

    def expire(self, before_ns: int) -> list[int]:
        old = [p for p in self.packets if p[1] < before_ns and p[2] == p[3]]
        self.packets = [p for p in self.packets if p not in old]
        return [p[0] for p in old]

    def flush(self) -> list[int]:
        tags = [packet[0] for packet in self.packets]
        self.packets = []
        return tags


@given(actions)
def test_a_queue_does_what_a_list_does(todo: list[tuple[str, object]]) -> None:
    queue, plain = Queue(LIMIT_BYTES, LIMIT_PACKETS), Plain()
    now = tag = 0
    for action, value in todo:
        now += 10
        if action == "arrive":
            assert isinstance(value, list)
            rows = [(tag + k, now + k, size) for k, size in enumerate(value)]
            tag += len(rows)
            tags, times, sizes = (np.array([row[k] for row in rows]) for k in (0, 1, 2))
            queue.arrive(times, sizes, tags)
            assert queue.first_arrival_ns == now
            assert queue.admit(now + 9).tolist() == plain.admit(rows)
        elif action in ("serve", "lose"):
            assert isinstance(value, int)
            size = min(value, queue.backlog)
            if not size:
                continue
            queue.serve(size)
            delivery = queue.deliver(now, lost=action == "lose")
            whole, torn = plain.serve(size, lost=action == "lose")
            assert (delivery.tags.tolist(), delivery.lost.tolist()) == (whole, torn)
            assert delivery.at_ns == now
        elif action == "expire":
            assert isinstance(value, int)
            assert queue.expire(now - 10 * value).tolist() == plain.expire(now - 10 * value)
        else:
            assert queue.flush().tolist() == plain.flush()
        assert queue.backlog == plain.backlog
        assert queue.waiting == bool(plain.packets)


def test_what_has_not_been_admitted_is_still_to_come() -> None:
    queue = Queue(LIMIT_BYTES, LIMIT_PACKETS)
    queue.arrive(np.array([5, 15]), np.array([100, 200]), np.array([0, 1]))
    assert queue.admit(10).tolist() == []
    assert (queue.backlog, queue.first_arrival_ns) == (100, 15)


def test_a_later_packet_never_overtakes_a_late_one() -> None:
    queue = Queue(LIMIT_BYTES, LIMIT_PACKETS)
    queue.arrive(np.array([1, 2]), np.array([100, 100]), np.array([0, 1]))
    queue.admit(2)
    queue.serve(100)
    assert queue.deliver(50).at_ns == 50
    queue.serve(100)
    assert queue.deliver(40).at_ns == 50


@pytest.mark.parametrize("count", [10, 3000])
def test_the_arrays_grow_with_what_they_hold(count: int) -> None:
    queue = Queue(10**9, 10**6)
    for start in range(0, 5 * count, count):
        tags = np.arange(start, start + count)
        queue.arrive(tags, np.full(count, 10), tags)
    assert not len(queue.admit(5 * count))
    queue.serve(50 * count)
    assert queue.deliver(0).tags.tolist() == list(range(5 * count))
