"""Which way a packet was lost, from nothing but the answers: held against a network that knows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.samples import two_way
from hil.samples.table import DAMAGED, NOT_TAKEN, blank
from hil.samples.two_way import PADDING_DIFFERS, REPLY

WARM_UP, CLOSING = 20, 5
FIRST, SKIPPED = WARM_UP + 1, WARM_UP // 2


@dataclass
class Truth:
    """A run through a network that remembers what it did, packet by packet."""

    replies: Any
    sent: Any
    there: int = 0
    back: int = 0
    doubled_there: int = 0
    doubled_back: int = 0


def network(
    count: int, fate: dict[int, str], *, stateful: bool = True, base: int = 0, restart: int = -1
) -> Truth:
    """`fate` by number: ``there`` and ``back`` are losses, ``2there`` and ``2back`` duplicates."""
    end = FIRST + count
    sent = [n for n in range(end + CLOSING) if n != SKIPPED]
    truth = Truth(None, np.array(sent, np.int64))
    rows: list[tuple[int, int]] = []
    answer = base
    for number in sent:
        if number == restart:
            answer = 0
        what = fate.get(number, "")
        if what == "there":
            truth.there += 1
            continue
        for _ in range(2 if what == "2there" else 1):
            told = answer if stateful else number
            answer += 1
            rows += [(number, told % 2**32)] * {"back": 0, "2back": 2}.get(what, 1)
        truth.back += what == "back"
        truth.doubled_there += what == "2there"
        truth.doubled_back += what == "2back"
    truth.replies = blank(REPLY, len(rows))
    truth.replies["number"] = [number for number, _ in rows]
    truth.replies["answer"] = [told for _, told in rows]
    return truth


def seen(truth: Truth, count: int) -> two_way.Ways:
    return two_way.ways(truth.replies, truth.sent, SKIPPED, count, FIRST)


@settings(deadline=None)
@given(
    st.integers(1, 60).flatmap(
        lambda count: st.tuples(
            st.just(count),
            st.dictionaries(
                st.integers(FIRST, FIRST + count - 1),
                st.sampled_from(["there", "back", "2there", "2back"]),
            ),
        )
    ),
    st.sampled_from([0, 17, 2**32 - 9]),
)
def test_both_ways_are_told_apart_exactly(run: tuple[int, dict[int, str]], base: int) -> None:
    count, fate = run
    truth = network(count, fate, base=base)
    ways = seen(truth, count)
    assert ways.stateful is True
    assert (ways.forward_lost, ways.reverse_lost) == (truth.there, truth.back)
    assert ways.forward_duplicated == truth.doubled_there
    assert ways.reverse_duplicated == truth.doubled_back
    assert ways.forward_reordered == ways.reverse_reordered == 0


def test_a_reflector_that_repeats_the_numbers_tells_nothing_apart() -> None:
    ways = seen(network(10, {FIRST + 3: "back"}, stateful=False), 10)
    assert ways.stateful is False
    assert ways.forward_lost is ways.reverse_lost is None
    assert "stateless" in str(ways.why)


def test_all_loss_on_the_way_back_is_not_taken_for_a_stateless_reflector() -> None:
    ways = seen(network(10, {FIRST + n: "back" for n in range(10)}), 10)
    assert (ways.forward_lost, ways.reverse_lost) == (0, 10)


def test_packets_lost_at_the_very_ends_of_the_plan_are_told_apart() -> None:
    ways = seen(network(10, {FIRST: "there", FIRST + 9: "back"}), 10)
    assert (ways.forward_lost, ways.reverse_lost) == (1, 1)


def test_without_an_answer_at_an_end_nothing_is_told_apart() -> None:
    fate = dict.fromkeys(range(FIRST + 10, FIRST + 10 + CLOSING), "there")
    ways = seen(network(10, fate), 10)
    assert ways.forward_lost is None
    assert "end of the run" in str(ways.why)


@pytest.mark.parametrize("at", [2, 9])
def test_a_reflector_started_again_is_noticed(at: int) -> None:
    ways = seen(network(10, {}, restart=FIRST + at), 10)
    assert ways.restarted
    assert ways.forward_lost is None


def test_nothing_answered_is_said() -> None:
    ways = two_way.ways(blank(REPLY, 0), np.arange(5), SKIPPED, 3, 1)
    assert ways.stateful is None
    assert ways.why == "nothing was answered"


def test_reordering_is_counted_on_the_way_it_happened() -> None:
    truth = network(10, {})
    there = truth.replies.copy()
    place = int(np.flatnonzero(there["number"] == FIRST + 4)[0])
    there["number"][[place, place + 1]] = there["number"][[place + 1, place]]
    ways = two_way.ways(there, truth.sent, SKIPPED, 10, FIRST)
    assert (ways.forward_reordered, ways.reverse_reordered) == (1, 0)
    back = truth.replies.copy()
    back[[place, place + 1]] = back[[place + 1, place]]
    ways = two_way.ways(back, truth.sent, SKIPPED, 10, FIRST)
    assert (ways.forward_reordered, ways.reverse_reordered) == (0, 1)


def test_the_time_held_is_the_reflectors_own_stamps_apart() -> None:
    replies = blank(REPLY, 4)
    replies["number"] = [FIRST, FIRST + 1, FIRST + 1, FIRST + 3]
    replies["answer"] = [40, 41, 42, 43]
    replies["received_ns"] = [1000, 2000, 2500, 9000]
    replies["answered_ns"] = [1100, 2100, 2600, 8000]  # the last one cannot be
    replies["follow"] = [0, 40, 41, 42]
    replies["follow_ns"] = [NOT_TAKEN, 1150, 2170, 2680]
    held = two_way.held(replies, 4, FIRST)
    assert held.held_ns.tolist() == [150, 170, NOT_TAKEN, NOT_TAKEN]
    assert held.by_kernel.tolist() == [True, True, False, False]
    assert held.late_ns.tolist() == [50, 70]
    assert held.impossible == 1


def test_padding_that_no_answer_brings_back_is_no_damage() -> None:
    replies = blank(REPLY, 3)
    replies["number"] = FIRST + np.arange(3)
    sequences = np.arange(3, dtype=np.uint64)
    replies["flags"] = PADDING_DIFFERS
    assert not two_way.arrived(replies, sequences, FIRST)["flags"].any()
    replies["flags"] = [0, PADDING_DIFFERS, 0]
    assert two_way.arrived(replies, sequences, FIRST)["flags"].tolist() == [0, DAMAGED, 0]
