"""Every planned probe is counted once and in the right place."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples import accounting
from hil.samples.accounting import Expected, PortCounts
from hil.samples.measurement import Counts, Timing, Window
from hil.samples.table import (
    ARRIVED,
    DAMAGED,
    HELD_UP,
    NOT_TAKEN,
    PLANNED,
    SEND_FAILED,
    SENT,
    SPOILED,
    TRAILER_BAD,
    UNREADABLE,
    Table,
    blank,
)
from hil.samples.trailer_clock import TrailerMap

FLOW = 7
START = 1_700_000_000_000_000_000
MS = 1_000_000


def plan(count: int, first: int = 0) -> Table:
    rows = blank(PLANNED, count)
    rows["seq"] = np.uint64(first) + np.arange(count, dtype=np.uint64)
    rows["frame"] = np.arange(count)
    rows["size"] = 255
    rows["offset_ns"] = np.arange(count) * MS
    return rows


def sent_as(planned: Table) -> Table:
    rows = blank(SENT, planned.size)
    rows["flow"] = FLOW
    rows["seq"] = planned["seq"]
    rows["intended_ns"] = START + planned["offset_ns"]
    rows["tx_user_ns"] = rows["intended_ns"] + 2_000
    rows["tx_kernel_ns"] = rows["intended_ns"] + 3_000
    return rows


def arrivals(sequences: Sequence[int], flags: Sequence[int] | int = 0) -> Table:
    rows = blank(ARRIVED, len(sequences))
    rows["flow"] = FLOW
    rows["seq"] = np.array(sequences, np.uint64)
    rows["flags"] = flags
    rows["rx_kernel_ns"] = START + 10 * MS + np.arange(len(sequences)) * MS
    return rows


def counted(count: int, sequences: Sequence[int], flags: Sequence[int] | int = 0) -> Counts:
    planned = plan(count)
    return accounting.join(planned, sent_as(planned), arrivals(sequences, flags), flow=FLOW)[1]


def figures(counts: Counts) -> dict[str, int]:
    names = ("received", "lost", "duplicated", "reordered", "corrupted", "foreign")
    return {name: value for name in names if (value := getattr(counts, name))}


@pytest.mark.parametrize(
    ("count", "sequences", "expected"),
    [
        (4, [0, 1, 2, 3], {"received": 4}),
        (4, [1, 2, 3], {"received": 3, "lost": 1}),  # first lost
        (4, [0, 1, 2], {"received": 3, "lost": 1}),  # last lost
        (4, [], {"lost": 4}),  # all lost
        (3, [0, 0, 1, 1, 2, 2], {"received": 3, "duplicated": 3}),
        (3, [0, 1, 2, 0, 1, 2], {"received": 3, "duplicated": 3}),  # a restart resends
        (6, [3, 4, 5], {"received": 3, "lost": 3}),  # the receiver came late
        (3, [0, 0, 2], {"received": 2, "lost": 1, "duplicated": 1}),  # heals no loss
        (4, [3, 2, 1, 0], {"received": 4, "reordered": 3}),  # reverse
        (4, [0, 2, 1, 3], {"received": 4, "reordered": 1}),  # two swapped neighbours
        (5, [0, 3, 1, 2, 4], {"received": 5, "reordered": 2}),  # one overtook two
        (4, [0, 1, 1, 0, 2, 3], {"received": 4, "duplicated": 2}),  # a late copy is no reordering
        (0, [], {}),
        (2, [0, 1, 5], {"received": 2, "foreign": 1}),  # nobody planned a fifth
    ],
)
def test_one_stream_of_frames_has_one_accounting(
    count: int, sequences: list[int], expected: dict[str, int]
) -> None:
    counts = counted(count, sequences)
    assert figures(counts) == expected
    assert counts.sent == count


@pytest.mark.parametrize(
    ("sequences", "flags", "expected"),
    [
        ([0, 1, 2], [0, DAMAGED, 0], {"received": 2, "corrupted": 1}),
        # An intact copy came too: received, and nothing is counted twice.
        ([0, 1, 1, 2], [0, DAMAGED, 0, 0], {"received": 3}),
        ([0, 1, 1, 2], [0, DAMAGED, DAMAGED, 0], {"received": 2, "corrupted": 1}),
        # Nobody can say whose frame it was, but one probe came damaged instead of not at all.
        ([0, 9, 2], [0, DAMAGED | UNREADABLE, 0], {"received": 2, "corrupted": 1}),
        ([0, 9], [0, DAMAGED | UNREADABLE], {"received": 1, "corrupted": 1, "lost": 1}),
        # More wrecks than missing probes: some were copies.
        ([0, 1, 2, 9], [0, 0, 0, DAMAGED | UNREADABLE], {"received": 3}),
        # The first intact copy is the second frame; the damaged one is no arrival.
        ([1, 0, 2, 1], [DAMAGED, 0, 0, 0], {"received": 3, "reordered": 1}),
        ([0, 1, 2], TRAILER_BAD, {"received": 3}),  # a bad trailer is not a bad packet
    ],
)
def test_damage_is_a_class_of_its_own(
    sequences: list[int], flags: Any, expected: dict[str, int]
) -> None:
    assert figures(counted(3, sequences, flags)) == expected


FRAME = st.tuples(
    st.integers(-2, 14),
    st.sampled_from([0, 0, 0, DAMAGED, DAMAGED | UNREADABLE, TRAILER_BAD]),
    st.sampled_from([FLOW, FLOW, FLOW, FLOW + 1]),
)


@given(
    st.integers(0, 12),
    st.lists(FRAME, max_size=40),
    st.sampled_from([2, 2**32 - 5, 2**63 - 6, 2**64 - 20]),
)
def test_agrees_with_counting_frame_by_frame(
    count: int, frames: list[tuple[int, int, int]], first: int
) -> None:
    arrived = arrivals([first + seq for seq, _, _ in frames], [flags for _, flags, _ in frames])
    arrived["flow"] = [flow for _, _, flow in frames]
    planned = plan(count, first)
    samples, counts = accounting.join(planned, sent_as(planned), arrived, flow=FLOW)

    copies = [0] * count
    damaged = [0] * count
    order: list[int] = []
    first_row: dict[int, int] = {}
    unreadable = foreign = reordered = highest = 0
    for row, (seq, flags, flow) in enumerate(frames):
        if flow != FLOW:
            continue
        if flags & UNREADABLE:
            unreadable += 1
        elif not 0 <= seq < count:
            foreign += 1
        elif flags & DAMAGED:
            damaged[seq] += 1
        else:
            copies[seq] += 1
            if copies[seq] == 1:
                first_row[seq] = row
                reordered += seq < highest
                highest = max(highest, seq + 1)
                order.append(seq)
    received = sum(c > 0 for c in copies)
    only_damaged = sum(d > 0 and c == 0 for c, d in zip(copies, damaged, strict=True))
    corrupted = only_damaged + min(unreadable, count - received - only_damaged)

    assert (counts.sent, counts.received, counts.corrupted) == (count, received, corrupted)
    assert counts.sent == counts.received + counts.lost + counts.corrupted
    assert counts.lost >= 0
    assert counts.duplicated == sum(copies) - received
    assert counts.reordered == reordered
    assert counts.foreign == foreign
    assert counts.damaged_frames == sum(damaged) + unreadable
    assert samples["copies"].tolist() == copies
    assert samples["damaged"].tolist() == damaged
    assert [samples["arrival"][seq] for seq in order] == list(range(len(order)))
    assert np.count_nonzero(samples["arrival"] == -1) == count - received
    for seq in range(count):
        kept = first_row.get(seq)
        expected = NOT_TAKEN if kept is None else arrived["rx_kernel_ns"][kept]
        assert samples["rx_kernel_ns"][seq] == expected
    assert counts.rx_missing == {"kernel": 0}


def test_every_time_is_kept_where_it_was_taken() -> None:
    planned = plan(2)
    sent, arrived = sent_as(planned), arrivals([0])
    sent["tx_hardware_ns"][0] = 5
    arrived["rx_user_ns"] = START + 11 * MS
    samples, _ = accounting.join(planned, sent, arrived, flow=FLOW)
    assert samples["intended_ns"].tolist() == [START, START + MS]
    assert samples["tx_kernel_ns"].tolist() == [START + 3_000, START + MS + 3_000]
    assert samples["tx_hardware_ns"].tolist() == [5, NOT_TAKEN]
    assert samples["rx_user_ns"].tolist() == [START + 11 * MS, NOT_TAKEN]
    assert samples["rx_trailer_ns"].tolist() == [NOT_TAKEN, NOT_TAKEN]
    assert samples["size"].tolist() == [255, 255]


def test_stamps_are_missing_only_of_sources_that_were_to_take_them() -> None:
    planned = plan(4)
    sent, arrived = sent_as(planned), arrivals([0, 1, 2])
    sent["tx_kernel_ns"][1] = NOT_TAKEN
    sent["tx_kernel_ns"][2] = NOT_TAKEN
    sent["flags"][2] = SEND_FAILED  # never offered, so no stamp was due
    arrived["rx_kernel_ns"][0] = NOT_TAKEN
    expected = Expected(tx=("kernel", "hardware"), rx=("trailer", "kernel"))
    _, counts = accounting.join(planned, sent, arrived, flow=FLOW, expected=expected)
    assert counts.tx_missing == {"kernel": 1, "hardware": 3}
    assert counts.rx_missing == {"trailer": 3, "kernel": 1}
    assert counts.send_failed == 1


def test_a_stamp_that_comes_late_completes_its_probe() -> None:
    planned = plan(2)
    early = sent_as(planned)
    early["tx_kernel_ns"] = NOT_TAKEN
    late = blank(SENT, 1)
    late["flow"], late["seq"], late["tx_kernel_ns"] = FLOW, 1, START + 99
    samples, counts = accounting.join(
        planned, np.concatenate([early, late]), arrivals([0, 1]), flow=FLOW
    )
    assert samples["tx_kernel_ns"].tolist() == [NOT_TAKEN, START + 99]
    assert samples["tx_user_ns"][1] == START + MS + 2_000
    assert counts.tx_missing == {"kernel": 1}


def test_trailer_times_are_taken_only_through_a_map_and_from_sound_trailers() -> None:
    planned = plan(3)
    arrived = arrivals([0, 1, 2], [0, TRAILER_BAD, 0])
    arrived["trailer_ingress_ns"] = [1_000, 2_000, 3_000]
    arrived["trailer_release_ns"] = [1_500, 2_500, NOT_TAKEN]
    arrived["trailer_lateness_ns"] = [7, 8, 9]
    clock = TrailerMap(origin_ns=0, offset_ns=START, drift=0.0, pairs=3)
    sent = sent_as(planned)
    samples, counts = accounting.join(
        planned, sent, arrived, flow=FLOW, trailer_map=clock, expected=Expected(rx=("trailer",))
    )
    assert samples["ingress_ns"].tolist() == [START + 1_000, NOT_TAKEN, START + 3_000]
    assert samples["rx_trailer_ns"].tolist() == [START + 1_500, NOT_TAKEN, NOT_TAKEN]
    assert samples["lateness_ns"].tolist() == [7, NOT_TAKEN, 9]
    assert counts.rx_missing == {"trailer": 2}
    unmapped, _ = accounting.join(planned, sent, arrived, flow=FLOW)
    assert (unmapped["rx_trailer_ns"] == NOT_TAKEN).all()


def test_what_the_ports_counted_is_passed_on() -> None:
    planned = plan(1)
    _, counts = accounting.join(
        planned, sent_as(planned), arrivals([0, 4]), flow=FLOW, ports=PortCounts(50, 3)
    )
    assert (counts.warmup_sent, counts.foreign) == (50, 4)


def test_a_frame_that_came_late_to_the_tap_by_the_hosts_doing_is_spoiled() -> None:
    planned = plan(4)
    arrived = arrivals([0, 1, 2, 2], [0, HELD_UP, 0, HELD_UP])
    samples, counts = accounting.join(planned, sent_as(planned), arrived, flow=FLOW)
    assert (samples["flags"] & SPOILED).tolist() == [0, SPOILED, 0, 0]
    assert counts.received == 3


def test_more_copies_than_a_row_can_say_are_still_counted() -> None:
    counts = counted(1, [0] * 70_000)
    assert counts.duplicated == 69_999


def test_a_run_cut_short_offered_what_the_sender_saw() -> None:
    planned = plan(10)
    sent = sent_as(planned)[:4]
    assert accounting.offered(planned, sent, flow=FLOW).size == 4
    assert accounting.offered(planned, sent, flow=FLOW + 1).size == 0
    assert accounting.offered(planned, sent[[3]], flow=FLOW).size == 4


def test_a_plan_out_of_order_is_refused() -> None:
    with pytest.raises(ValueError, match="increase strictly"):
        accounting.join(plan(3)[::-1], blank(SENT, 0), blank(ARRIVED, 0), flow=FLOW)


def test_samples_that_touch_a_spoiled_window_are_flagged() -> None:
    planned = plan(6)
    arrived = arrivals([0, 1, 2, 3, 5])  # 4 is lost
    arrived["rx_kernel_ns"] = START + np.array([0, 1, 2, 3, 5]) * MS + MS // 2
    samples, _ = accounting.join(planned, sent_as(planned), arrived, flow=FLOW)
    between = Window(START + MS + 600_000, START + MS + 900_000, "nothing under way")
    assert not (accounting.spoil(samples, [between])["flags"] & SPOILED).any()
    hit = Window(START + MS + 400_000, START + 2 * MS + 100_000, "stall")
    lost = Window(START + 4 * MS + 300_000, START + 4 * MS + 300_000, "clock step")
    flagged = accounting.spoil(samples, [hit, lost])
    assert np.flatnonzero(flagged["flags"] & SPOILED).tolist() == [1, 2, 4]
    assert not (samples["flags"] & SPOILED).any()


def test_times_on_different_clocks_are_no_timing() -> None:
    with pytest.raises(ValueError, match="different clocks"):
        Timing("hardware", "kernel")
    assert Timing("hardware", "hardware").rx_column == "rx_hardware_ns"
