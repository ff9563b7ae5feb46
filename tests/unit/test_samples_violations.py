"""What is kept around packets that broke a bound: what lies within reach, once, and no more."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.samples import store, violations
from hil.samples.measurement import Timing
from hil.samples.table import NOT_TAKEN, SAMPLE, SEND_FAILED, blank
from hil.samples.violations import Around

START = 1_700_000_000_000_000_000


@given(
    st.lists(st.booleans(), max_size=80),
    st.lists(st.integers(0, 80), max_size=6),
    st.integers(1, 9),
    st.integers(0, 60),
)
def test_in_whatever_parts_it_comes_the_same_is_chosen(
    marks: list[bool], cuts: list[int], reach: int, most: int
) -> None:
    around = Around(reach, most)
    chosen: list[int] = []
    first = 0
    for part in np.split(np.array(marks, bool), sorted(min(cut, len(marks)) for cut in cuts)):
        old, new = around.choose(part)
        chosen += [first - len(old) + place for place in np.flatnonzero(old).tolist()]
        chosen += [first + place for place in np.flatnonzero(new).tolist()]
        first += len(part)
    near = [
        place
        for place in range(len(marks))
        if any(marks[max(0, place - reach) : place + reach + 1])
    ]
    assert chosen == sorted(set(chosen)), "nothing twice, and in order"
    assert set(chosen) <= set(near)
    assert len(chosen) == min(most, len(near)) == around.chosen
    assert around.left_out == len(near) - len(chosen)
    assert around.marked == sum(marks)


def test_late_and_lost_packets_are_kept_with_a_hundred_around(tmp_path: Path) -> None:
    rows = blank(SAMPLE, 2000)
    rows["seq"] = np.arange(2000)
    rows["tx_kernel_ns"] = START + np.arange(2000) * 1000
    rows["rx_kernel_ns"] = rows["tx_kernel_ns"] + 300
    rows["arrival"], rows["copies"] = np.arange(2000), 1
    rows["rx_kernel_ns"][500] += 9_000  # late
    rows["rx_kernel_ns"][[1500, 1900]] = NOT_TAKEN
    rows["arrival"][[1500, 1900]] = -1  # lost, and refused by the kernel
    rows["flags"][1900] = SEND_FAILED
    store.write(path := tmp_path / "all.parquet", rows)
    into = tmp_path / "some.parquet"
    found = violations.keep(path, Timing("kernel", "kernel"), 5_000, into)
    assert (found["packets"], found["samples"], found["samples_left_out"]) == (
        2,
        "some.parquet",
        0,
    )
    kept = store.read(into)["seq"].tolist()
    assert kept == [*range(400, 601), *range(1400, 1601)]
    assert store.read_metadata(into)["bound_ns"] == 5_000


def test_a_run_that_kept_its_bound_leaves_no_file(tmp_path: Path) -> None:
    rows = blank(SAMPLE, 3)
    rows["tx_kernel_ns"], rows["rx_kernel_ns"], rows["arrival"] = 1, 2, [0, 1, 2]
    store.write(path := tmp_path / "all.parquet", rows)
    found = violations.keep(path, Timing("kernel", "kernel"), 5, tmp_path / "some.parquet")
    assert (found["packets"], found["samples"]) == (0, None)
    assert not (tmp_path / "some.parquet").exists()
