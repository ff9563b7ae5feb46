"""The merged schedule of a run, and plans that are computed instead of held."""

from __future__ import annotations

import json
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.samples.planned import Held, Planned, Regular, from_description, last_row, stretches
from hil.samples.table import PLANNED
from hil.traffic import schedule
from hil.traffic.flow import periodic
from hil.traffic.schedule import SCHEDULE, Offsets, Schedule, read_plan, write_plan


def held(offsets: list[int], sizes: list[int]) -> Held:
    rows = np.zeros(len(offsets), PLANNED)
    rows["seq"] = np.arange(len(offsets))
    rows["offset_ns"] = np.sort(offsets)
    rows["size"] = np.resize(sizes, len(offsets))
    return Held(rows)


OFFSETS = st.lists(st.integers(0, 12), min_size=1, max_size=30)
PLANS = st.lists(
    st.builds(held, OFFSETS, st.lists(st.sampled_from([64, 128]), min_size=1, max_size=3))
    | st.builds(Regular, st.integers(1, 30), st.integers(0, 3), st.sampled_from([64, 128])),
    min_size=1,
    max_size=4,
)


def merged_at_once(plans: list[Planned]) -> np.ndarray:
    parts = []
    for number, plan in enumerate(plans):
        rows = plan.rows(0, len(plan))
        part = np.zeros(len(rows), SCHEDULE)
        part["offset_ns"], part["seq"], part["flow"] = rows["offset_ns"], rows["seq"], number
        part["template"] = 10 * number + (rows["size"] == 128)
        parts.append(part)
    whole = np.concatenate(parts)
    return whole[np.argsort(whole["offset_ns"], kind="stable")]


@settings(max_examples=200)
@given(PLANS, st.integers(1, 9), st.integers(1, 7))
def test_a_schedule_taken_in_pieces_is_the_one_sorted_as_a_whole(
    plans: list[Planned], piece: int, take: int
) -> None:
    places = [{64: 10 * number, 128: 10 * number + 1} for number in range(len(plans))]
    with mock.patch.object(schedule, "_PIECE", piece):
        made = Schedule(plans, places)
        pieces = []
        while len(rows := made.take(take)):
            pieces.append(rows)
    whole = merged_at_once(plans)
    assert np.array_equal(np.concatenate(pieces), whole)
    assert all(len(rows) == take for rows in pieces[:-1])
    ends = (made.length, made.first_ns, made.last_ns)
    assert ends == (len(whole), whole["offset_ns"][0], whole["offset_ns"][-1])


@given(st.integers(1, 200), st.integers(0, 10), st.integers(0, 300))
def test_a_computed_plan_is_the_held_one(count: int, interval_ns: int, span_ns: int) -> None:
    computed, table = Regular(count, interval_ns, 99), periodic(count, interval_ns, 99)
    kept = Held(table)
    assert np.array_equal(np.concatenate(list(stretches(computed, 7))), table)
    assert np.array_equal(last_row(computed), last_row(kept))
    for name in ("sizes", "bytes", "ascending"):
        assert getattr(computed, name) == getattr(kept, name)
    assert computed.most_within(span_ns) == kept.most_within(span_ns)
    assert from_description(json.loads(json.dumps(computed.described()))) == computed
    offsets = Offsets(computed)
    assert [offsets[seq] for seq in range(len(offsets))] == table["offset_ns"].tolist()


def test_a_plan_reaches_another_process_whole(tmp_path: Path) -> None:
    plans: list[Planned] = [held([1, 5, 9], [64, 70]), Regular(10**9, 1000, 64)]
    for number, plan in enumerate(plans):
        told = json.loads(json.dumps(write_plan(tmp_path, number, plan)))
        found = read_plan(tmp_path, told)
        assert len(found) == len(plan)
        assert np.array_equal(found.rows(1, 3), plan.rows(1, 3))


def test_a_description_of_something_else_is_refused() -> None:
    with pytest.raises(ValueError, match="no plan"):
        from_description({"count": 3})
