"""The streaming join says what the join in memory says, whatever came, in whatever order."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.samples import accounting, pages, store
from hil.samples.accounting import Expected, PortCounts
from hil.samples.planned import Held, Planned, Regular
from hil.samples.streaming import StreamedJoin
from hil.samples.table import (
    ARRIVED,
    DAMAGED,
    HELD_UP,
    NOT_TAKEN,
    PLANNED,
    SEND_FAILED,
    SENT,
    TRAILER_BAD,
    UNREADABLE,
    Table,
    blank,
)
from hil.samples.trailer_clock import TrailerMap

FLOW = 3
MAP = TrailerMap(origin_ns=100, offset_ns=7, drift=0.0, pairs=1)
EXPECTED = Expected(rx=("trailer", "kernel"))
PORTS = PortCounts(warmup_sent=2, foreign=1)


def held(sequences: list[int]) -> Held:
    rows = blank(PLANNED, len(sequences))
    rows["seq"] = np.array(sequences, np.uint64)
    rows["offset_ns"] = np.arange(len(sequences)) * 10
    rows["stratum"] = np.arange(len(sequences)) % 3
    return Held(rows)


def sent(rows: list[tuple[int, int, int, int]]) -> Table:
    table = blank(SENT, len(rows))
    for row, (flow, seq, time, flags) in zip(table, rows, strict=True):
        row["flow"], row["seq"], row["flags"] = flow, seq, flags
        row["tx_user_ns"], row["intended_ns"] = time, time - 1
        row["tx_kernel_ns"] = NOT_TAKEN if time % 5 == 0 else time + 1
    return table


def arrived(rows: list[tuple[int, int, int]]) -> Table:
    table = blank(ARRIVED, len(rows))
    for place, (row, (flow, seq, flags)) in enumerate(zip(table, rows, strict=True)):
        row["flow"], row["seq"], row["flags"] = flow, seq, flags
        row["rx_kernel_ns"] = NOT_TAKEN if place % 7 == 3 else 1000 + place
        row["trailer_release_ns"] = NOT_TAKEN if place % 3 == 1 else 900 + place
        row["trailer_ingress_ns"], row["trailer_lateness_ns"] = 800 + place, place
    return table


def write(path: Path, table: Table, cuts: list[int]) -> None:
    with store.StreamWriter(path, table.dtype, {"flow": FLOW}) as stream:
        for part in np.split(table, sorted(cut % (len(table) + 1) for cut in cuts)):
            stream.append(part)


def both(
    plan: Planned, sent_rows: Table, arrived_rows: Table, cuts: list[int], **options: Any
) -> None:
    """Joins the same rows both ways and holds one against the other."""
    with tempfile.TemporaryDirectory() as directory:
        files = store.Files(Path(directory), "flow")
        write(files.sent, sent_rows, cuts)
        write(files.arrived, arrived_rows, cuts)
        join = StreamedJoin(plan, files.sent, files.arrived, flow=FLOW, **options)
        blocks = list(join.blocks(MAP))
        counts = join.counts(MAP, EXPECTED, PORTS)
        again = np.concatenate([blank(blocks[0].dtype, 0), *join.blocks(MAP)]) if blocks else None
    planned = plan.rows(0, len(plan))
    if options.get("cut_short"):
        planned = accounting.offered(planned, sent_rows, flow=FLOW)
    whole, wanted = accounting.join(
        planned,
        sent_rows,
        arrived_rows,
        flow=FLOW,
        trailer_map=MAP,
        expected=EXPECTED,
        ports=PORTS,
    )
    assert counts == wanted
    assert sum(map(len, blocks)) == len(whole) == join.length
    assert not join.truncated
    if again is not None:
        assert np.array_equal(again, whole)


SEQUENCES = st.integers(0, 70) | st.sampled_from([2**40, 2**64 - 1, 2**64 - 2])
FLOWS = st.sampled_from([FLOW] * 9 + [FLOW + 1])
DAMAGE = st.sampled_from([0] * 8 + [DAMAGED, DAMAGED | UNREADABLE, TRAILER_BAD, HELD_UP])
PLANS = st.builds(held, st.lists(SEQUENCES, unique=True, max_size=60).map(sorted)) | st.builds(
    Regular, st.integers(0, 60), st.just(10), st.just(64)
)


@settings(max_examples=250, deadline=None)
@given(
    PLANS,
    st.lists(st.tuples(FLOWS, SEQUENCES, st.integers(0, 50), st.sampled_from([0, 0, SEND_FAILED]))),
    st.lists(st.tuples(FLOWS, SEQUENCES, DAMAGE), max_size=90),
    st.lists(st.integers(0, 90), max_size=6),
    st.integers(1, 20),
    st.booleans(),
)
def test_any_rows_are_counted_and_joined_alike(
    plan: Planned,
    sent_rows: list[tuple[int, int, int, int]],
    arrived_rows: list[tuple[int, int, int]],
    cuts: list[int],
    block: int,
    cut_short: bool,
) -> None:
    with mock.patch.object(pages, "_ROWS", 9), mock.patch.object(pages, "_KEPT", 1):
        both(plan, sent(sent_rows), arrived(arrived_rows), cuts, block=block, cut_short=cut_short)


def whole_run(sequences: list[int], flags: int = 0) -> Table:
    return arrived([(FLOW, seq, flags) for seq in sequences])


EVERY = list(range(40))


@pytest.mark.parametrize(
    "sequences",
    [
        EVERY[1:],
        EVERY[:-1],
        [],
        EVERY[20:] + EVERY[:20],  # far out of order
        EVERY[::-1],
        [*EVERY, 0, 1, 39],  # copies that come very late
        [0, *EVERY[2:], 1],  # a packet that comes last of all
        EVERY[:25] + EVERY,  # a sender that began anew
    ],
    ids=["first lost", "last lost", "all lost", "halves", "back", "copies", "last", "anew"],
)
def test_what_comes_blocks_late_is_counted_where_it_belongs(sequences: list[int]) -> None:
    plan = Regular(40, 10, 64)
    offered = sent([(FLOW, seq, 10 * seq + 1, 0) for seq in EVERY])
    with mock.patch.object(pages, "_ROWS", 3), mock.patch.object(pages, "_KEPT", 1):
        both(plan, offered, whole_run(sequences), list(range(0, 60, 3)), block=4)


def test_sequences_up_to_the_last_number_there_is_are_found() -> None:
    plan = held([2**64 - 4, 2**64 - 3, 2**64 - 1])
    rows = sent([(FLOW, 2**64 - 3, 1, 0)])
    both(plan, rows, whole_run([2**64 - 3, 2**64 - 2, 2**64 - 1]), [1], block=2, cut_short=True)
    both(plan, rows, whole_run([2**64 - 1, 2**64 - 4]), [1], block=2)


def test_a_stream_that_was_cut_off_is_told(tmp_path: Path) -> None:
    files = store.Files(tmp_path, "flow")
    write(files.sent, sent([(FLOW, 0, 1, 0)]), [])
    write(files.arrived, whole_run([0, 1, 2, 3]), [2])
    files.arrived.write_bytes(files.arrived.read_bytes()[:-20])
    join = StreamedJoin(Regular(4, 10, 64), files.sent, files.arrived, flow=FLOW)
    assert join.truncated
    assert join.counts().received == 2
