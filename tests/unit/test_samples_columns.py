"""Samples that stay in their file are judged, summarised and drawn as those in memory."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.judge import judge, judge_bound
from hil.report.drawing import drawings
from hil.samples import store
from hil.samples.columns import Columns, replaced
from hil.samples.measurement import Budget, Counts, Measurement, Timing, Window
from hil.samples.summarise import summarise
from hil.samples.table import NOT_TAKEN, SAMPLE, SEND_FAILED, SPOILED, Table, blank
from hil.stats import quantile
from hil.targets import Plan, load_profile

START = 1_700_000_000_000_000_000
MS = 1_000_000
COUNT = 4000


def table() -> Table:
    """A run of 10 ms with losses, late packets, missing stamps, refusals, copies and reordering."""
    rows = blank(SAMPLE, COUNT)
    number = np.arange(COUNT)
    rng = np.random.default_rng(5)
    rows["seq"] = rows["frame"] = number
    rows["stratum"], rows["size"] = number * 10 // COUNT, 255
    rows["intended_ns"] = START + number * 10 * MS
    rows["tx_user_ns"] = rows["intended_ns"] + rng.integers(100, 3000, COUNT)
    rows["tx_kernel_ns"] = rows["tx_user_ns"] + 500
    rows["rx_kernel_ns"] = rows["tx_kernel_ns"] + rng.gamma(4, 7e5, COUNT).astype(np.int64)
    rows["tx_kernel_ns"][[7, 8]] = NOT_TAKEN
    rows["rx_kernel_ns"][50] += 30 * MS
    rows["flags"][100], rows["flags"][300] = SEND_FAILED, SPOILED
    rows["copies"] = 1
    rows["copies"][[100, 200, 201]] = 0
    rows["rx_kernel_ns"][[100, 200, 201]] = NOT_TAKEN
    came = np.flatnonzero(rows["copies"])
    order = came[np.argsort(rows["rx_kernel_ns"][came], kind="stable")]
    rows["arrival"][order] = np.arange(order.size)
    return rows


def measurement(samples: Table | Columns) -> Measurement:
    return Measurement(
        id="one",
        flow="f",
        path="device-edge",
        direction="uplink",
        tx_port="a",
        rx_port="b",
        traffic={},
        interval_ns=10 * MS,
        samples=samples,
        counts=Counts(
            sent=COUNT,
            warmup_sent=0,
            received=COUNT - 3,
            lost=3,
            duplicated=0,
            reordered=0,
            corrupted=0,
            foreign=0,
            send_failed=1,
        ),
        timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=100, floor_ns=np.array([5000]), sources=("x",)),
        spoiled=(Window(START + 3000 * MS, START + 3010 * MS, "a step"),),
    )


@pytest.fixture
def both(tmp_path: Path) -> tuple[Measurement, Measurement]:
    path = tmp_path / "one.parquet"
    with store.SamplesWriter(path) as file:
        for first in range(0, COUNT, 900):
            file.append(table()[first : first + 900])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(store, "MOST_IN_MEMORY", 100)
        kept = store.load(path)
    assert isinstance(kept, Columns)
    return measurement(table()), measurement(kept)


def test_every_figure_and_verdict_and_drawing_is_the_same(
    both: tuple[Measurement, Measurement],
) -> None:
    held, kept = both
    assert summarise(kept, bound_ns=10 * MS) == summarise(held, bound_ns=10 * MS)
    assert judge_bound(kept, 10 * MS, 0.99) == judge_bound(held, 10 * MS, 0.99)
    profile = load_profile()
    for name in ("SD-1", "SD-2"):
        requirement = profile[name]
        for complete in (True, False):
            one, other = (replace(each, complete=complete) for each in (held, kept))
            theirs = judge(other, requirement, Plan.SMOKE)
            assert theirs == judge(one, requirement, Plan.SMOKE)
            for judgement in theirs:
                assert drawings(judgement, other, None) == drawings(judgement, one, None)


def test_rows_are_chosen_and_replaced_as_in_a_table(both: tuple[Measurement, Measurement]) -> None:
    kept, whole = both[1].samples, table()
    for key in (slice(5, 900, 3), whole["flags"] > 0, np.array([3, 1, 3999]), slice(None)):
        assert len(kept[key]) == len(whole[key])
        for name in ("seq", "rx_kernel_ns", "copies"):
            assert np.array_equal(kept[key][name], whole[key][name])
    lost = replaced(kept, copies=np.zeros(COUNT, np.uint16))
    assert not lost["copies"].any()
    assert np.array_equal(lost["seq"], whole["seq"])
    assert kept["copies"].any()


def test_what_lies_in_the_file_is_not_written_to(both: tuple[Measurement, Measurement]) -> None:
    kept = both[1].samples
    with pytest.raises(ValueError, match="read-only"):
        kept["flags"][0] = 1
    with pytest.raises(TypeError, match="replaced"):
        kept[0] = kept[1:2]
    with pytest.raises(KeyError):
        kept["delay"]


@given(st.lists(st.integers(-(2**50), 2**50), min_size=1, max_size=300), st.data())
def test_values_at_ranks_are_those_of_the_sorted_values(
    values: list[int], data: st.DataObject
) -> None:
    ranks = data.draw(st.lists(st.integers(1, len(values)), max_size=5))
    ordered = sorted(values)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("_FEW", 2), ("_PART", 7), ("_BIN_BITS", 3)):
            patch.setattr(quantile, name, value)
        found = quantile.order_statistics(np.array(values, np.int64), ranks)
    assert found.tolist() == [ordered[rank - 1] for rank in ranks]
