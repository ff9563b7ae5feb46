"""Rows through a mapped ring, and lines through a pipe."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.samples.table import ARRIVED, NOT_TAKEN, blank
from hil.traffic.exchange import Lines, RowRing, capacity_for


def rows(first: int, count: int) -> np.ndarray:
    table = blank(ARRIVED, count)
    table["seq"] = np.arange(first, first + count)
    return table


@settings(max_examples=30)
@given(steps=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20)), max_size=30))
def test_rows_come_out_as_they_went_in_and_none_is_overwritten(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, int]]
) -> None:
    path = tmp_path_factory.mktemp("rings") / "ring"
    writer = RowRing.create(path, ARRIVED, 16)
    reader = RowRing(path, ARRIVED, 16)
    offered, seen = 0, []
    for wanted, take in steps:
        offered += writer.append(rows(offered, wanted))
        seen += reader.take(reader.consumed + take)["seq"].tolist()
        assert 0 <= reader.written - reader.consumed <= 16
    seen += reader.take(reader.written)["seq"].tolist()
    assert seen == list(range(offered))


def test_a_full_ring_takes_no_more_and_says_how_many_it_took(tmp_path: Path) -> None:
    ring = RowRing.create(tmp_path / "ring", ARRIVED, 8)
    assert ring.append(rows(0, 5)) == 5
    assert ring.append(rows(5, 5)) == 3
    assert ring.room == 0
    assert ring.take(4)["seq"].tolist() == [0, 1, 2, 3]
    assert ring.append(rows(8, 5)) == 4
    assert ring.take(100)["seq"].tolist() == [4, 5, 6, 7, 8, 9, 10, 11]


def test_untaken_times_stay_untaken(tmp_path: Path) -> None:
    ring = RowRing.create(tmp_path / "ring", ARRIVED, 8)
    ring.append(rows(0, 1))
    assert ring.take(1)["rx_kernel_ns"].tolist() == [NOT_TAKEN]


def test_a_ring_holds_a_short_run_whole_and_a_long_one_for_a_while() -> None:
    assert capacity_for(3_000, 20, 1_000) == 4096
    assert capacity_for(10**9, 20, 10_000) == 1 << 18
    assert capacity_for(1, 20, 1) == 1024


def test_lines_arrive_whole_however_they_were_cut() -> None:
    source, sink = os.pipe()
    lines = Lines(source, sink)
    os.write(sink, b'{"a": 1}\n{"b"')
    assert list(lines.receive(1)) == [{"a": 1}]
    os.write(sink, b": 2}\n")
    assert list(lines.receive(1)) == [{"b": 2}]
    assert list(lines.receive()) == []
    open_before = not lines.closed
    os.close(sink)
    assert list(lines.receive(1)) == []
    assert (open_before, lines.closed) == (True, True)
    os.close(source)


def test_an_order_to_stop_right_behind_the_order_to_go_is_not_lost() -> None:
    source, sink = os.pipe()
    lines = Lines(source, sink)
    os.write(sink, b'{"go": 1}\n{"stop": true}\n')
    assert next(lines.receive(1)) == {"go": 1}
    assert list(lines.receive()) == [{"stop": True}]
    os.close(sink)
    os.close(source)


def test_a_far_end_that_is_gone_is_noticed() -> None:
    source, sink = os.pipe()
    os.close(source)
    other, held = os.pipe()
    lines = Lines(other, sink)
    lines.send({"a": 1})
    assert lines.closed
    for descriptor in (sink, other, held):
        os.close(descriptor)
