"""Packets that a reflector far away answers: which way a packet was lost, how long it was held.

A round trip is (t4 - t1) - (t3 - t2): t1 and t4 are on this host's clock, t2 and t3 on the far
one's, so no two clocks are ever compared (RFC 8762 section 4; RFC 5357 section 4.2.1).

A stateful reflector numbers its answers by itself. So of packets that lie between two answered ones
it is known how many it has answered: what it answered and did not come is lost on the way back, the
rest is lost on the way there. The ends of a run are marked by warm-up packets before and closing
packets after it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import ARRIVED, DAMAGED, NOT_TAKEN, Table, blank, taken

#: One answer as it came, in order of arrival. `number` is the sender's own, from 0 for the first
#: packet of the session, warm-up included; `answer` the reflector's. `received_ns` (t2) and
#: `answered_ns` (t3) are on the reflector's clock. `follow_ns` is the reflector's own transmit
#: stamp of its answer `follow`, an earlier one. `ttl` is what was left of the packet's hop limit
#: when it reached the reflector.
REPLY: Final = np.dtype(
    [
        ("number", "<u4"),
        ("answer", "<u4"),
        ("size", "<u4"),
        ("ttl", "u1"),
        ("rx_user_ns", "<i8"),
        ("rx_kernel_ns", "<i8"),
        ("received_ns", "<i8"),
        ("answered_ns", "<i8"),
        ("follow", "<u4"),
        ("follow_ns", "<i8"),
        ("flags", "<u2"),
    ]
)

PADDING_DIFFERS: Final = 1  #: bit of `flags`: the padding is not what was sent

_RESTART: Final = 1024  # an answer's number this much below the one before is no reordering
_MODULUS: Final = 1 << 32


def arrived(replies: Table, seq_of: NDArray[np.uint64], first: int) -> Table:
    """`ARRIVED` rows of the answers to planned packets, as flow 0.

    `seq_of` are the sequence numbers of the plan; packet number `first` is the first of them. A
    packet whose padding differs from what was sent, where that of most did not, is damaged.
    """
    mine = replies[_planned(replies, len(seq_of), first)]
    rows = blank(ARRIVED, len(mine))
    rows["seq"] = seq_of[mine["number"].astype(np.int64) - first]
    for name in ("size", "rx_user_ns", "rx_kernel_ns"):
        rows[name] = mine[name]
    differs = (mine["flags"] & PADDING_DIFFERS) != 0
    if 2 * int(differs.sum()) < len(mine):
        rows["flags"][differs] = DAMAGED
    return rows


def _planned(replies: Table, count: int, first: int) -> NDArray[np.bool_]:
    number = replies["number"].astype(np.int64)
    return np.asarray((number >= first) & (number < first + count))


@dataclass(frozen=True, slots=True)
class Held:
    """How long the reflector held each planned packet, by position in the plan.

    `NOT_TAKEN` where no answer came, or its times are impossible. `by_kernel` says where t3 is the
    stamp that followed up, not the one in the answer itself; `late_ns` are the differences of the
    two, where both are known: how much later than it says a packet left the reflector.
    """

    held_ns: NDArray[np.int64]
    by_kernel: NDArray[np.bool_]
    late_ns: NDArray[np.int64]
    impossible: int  #: answers whose times say that they were held for less than nothing


def held(replies: Table, count: int, first: int) -> Held:
    """What the first copy of each answer says of the time between its arrival and its leaving."""
    followed = replies[taken(replies["follow_ns"])]
    order = np.argsort(followed["follow"], kind="stable")
    numbers, stamps = followed["follow"][order], followed["follow_ns"][order]
    mine = replies[_planned(replies, count, first)]
    position = mine["number"].astype(np.int64) - first
    _, index = np.unique(position, return_index=True)
    mine, position = mine[index], position[index]

    place = np.minimum(np.searchsorted(numbers, mine["answer"]), max(len(numbers) - 1, 0))
    exact = np.zeros(len(mine), np.bool_)
    left = mine["answered_ns"].copy()
    if len(numbers):
        exact = numbers[place] == mine["answer"]
        exact &= stamps[place] >= mine["answered_ns"]  # a stamp of an earlier session is older
        left = np.where(exact, stamps[place], left)
    spent = left - mine["received_ns"]
    sound = taken(mine["received_ns"]) & taken(mine["answered_ns"]) & (spent >= 0)
    held_ns = np.full(count, NOT_TAKEN, np.int64)
    held_ns[position[sound]] = spent[sound]
    by_kernel = np.zeros(count, np.bool_)
    by_kernel[position[sound & exact]] = True
    late = np.sort((left - mine["answered_ns"])[sound & exact])
    return Held(held_ns, by_kernel, late, int((~sound).sum()))


@dataclass(frozen=True, slots=True)
class Ways:
    """What happened to packets on either way; None where it could not be told, and `why`."""

    stateful: bool | None
    forward_lost: int | None = None
    reverse_lost: int | None = None
    forward_duplicated: int | None = None
    reverse_duplicated: int | None = None
    forward_reordered: int | None = None
    reverse_reordered: int | None = None
    restarted: bool = False
    why: str | None = None


def ways(replies: Table, sent: NDArray[np.int64], skipped: int, count: int, first: int) -> Ways:
    """Tell the two ways apart, for the `count` planned packets from number `first` on.

    Args:
        replies: all answers of the session, in order of arrival.
        sent: the numbers that were handed to the network, ascending, warm-up and closing included.
        skipped: the number that was left out on purpose before the first planned packet. A
            reflector that counts by itself does not notice; one that repeats the sender's numbers
            repeats the gap, and so shows that it does not count.
        count: how many packets were planned.
        first: the number of the first of them.
    """
    number = replies["number"].astype(np.int64)
    if not (number > skipped).any():
        return Ways(None, why="nothing was answered")
    answer = _unwrapped(replies["answer"])
    if (replies["answer"][number > skipped] == replies["number"][number > skipped]).all():
        return Ways(False, why="the reflector repeats the sender's numbers (it is stateless)")
    if _restarted(number, answer):
        return Ways(
            True, restarted=True, why="the reflector began to count again in the middle of the run"
        )
    ends = _ends(number, answer, first, first + count)
    if ends is None:
        return Ways(True, why="no answer marks the beginning or the end of the run")
    before, after = ends
    inside = (answer > answer[before]) & (answer < answer[after])
    first_copy = np.zeros(len(answer), np.bool_)
    first_copy[np.unique(answer, return_index=True)[1]] = True
    offered = int(((sent > number[before]) & (sent < number[after])).sum())
    answered = int(answer[after] - answer[before]) - 1
    came = int((inside & first_copy).sum())
    distinct = len(np.unique(number[inside]))
    back = answered - came
    there = offered - answered + (came - distinct)
    planned = int(((sent >= first) & (sent < first + count)).sum())
    mine = (number >= first) & (number < first + count)
    lost = planned - len(np.unique(number[mine]))
    if there < 0 or back < 0 or there + back != lost:
        return Ways(True, why="the reflector's numbers do not add up with what came")
    copies = mine & first_copy
    in_order = np.argsort(answer[copies], kind="stable")
    return Ways(
        stateful=True,
        forward_lost=there,
        reverse_lost=back,
        forward_duplicated=came - distinct,
        reverse_duplicated=int((inside & ~first_copy).sum()),
        forward_reordered=_behind(_first_seen(number[copies][in_order])),
        reverse_reordered=_behind(answer[copies]),
    )


def _unwrapped(answers: NDArray[np.uint32]) -> NDArray[np.int64]:
    """Answer numbers relative to the first, across the wrap at 2^32."""
    relative = (answers.astype(np.int64) - int(answers[0]) + _MODULUS // 2) % _MODULUS
    return np.asarray(relative - _MODULUS // 2, np.int64)


def _restarted(number: NDArray[np.int64], answer: NDArray[np.int64]) -> bool:
    """Whether answers fall far behind while the packets they answer go on.

    A counter that begins again soon after the first packets falls by little, but then below the
    very first answer.
    """
    fell = answer[1:] < np.maximum.accumulate(answer)[:-1] - _RESTART
    again = (np.diff(answer) < 0) & (np.diff(number) > 0) & (answer[1:] <= answer[0])
    return bool(((fell & (np.diff(number) > 0)) | again).any())


def _ends(
    number: NDArray[np.int64], answer: NDArray[np.int64], first: int, end: int
) -> tuple[int, int] | None:
    """The last answer to a warm-up packet and the first to a closing one, as indices."""
    before, after = np.flatnonzero(number < first), np.flatnonzero(number >= end)
    if not before.size or not after.size:
        return None
    return int(before[np.argmax(answer[before])]), int(after[np.argmin(answer[after])])


def _first_seen(values: NDArray[np.int64]) -> NDArray[np.int64]:
    return values[np.sort(np.unique(values, return_index=True)[1])]


def _behind(values: NDArray[np.int64]) -> int:
    """How many of `values` come after a larger one (RFC 4737 section 3.3)."""
    if len(values) < 2:
        return 0
    return int((values[1:] < np.maximum.accumulate(values)[:-1]).sum())
