"""Runs of packets not in time, and down events."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples import outages
from hil.samples.table import NOT_TAKEN

MS = 1_000_000
LIMIT, SURVIVAL, INTERVAL = 8 * MS, 20 * MS, 10 * MS


@given(st.lists(st.booleans(), max_size=60))
def test_runs_are_the_longest_stretches(mask: list[bool]) -> None:
    start, length = outages.runs(np.array(mask, np.bool_))
    expected, position = [], 0
    for value, group in itertools.groupby(mask):
        size = len(list(group))
        if value:
            expected.append((position, size))
        position += size
    assert list(zip(start.tolist(), length.tolist(), strict=True)) == expected
    assert outages.run_lengths(np.array(mask, np.bool_)).tolist() == [n for _, n in expected]


def events(
    in_time: str, *, survival_ns: int = SURVIVAL, delay_ns: int = 3 * MS
) -> outages.DownEvents:
    """Messages every 10 ms; + is received in time, . is not."""
    good = np.array([letter == "+" for letter in in_time], np.bool_)
    sent = np.arange(good.size) * INTERVAL
    received = np.where(good, sent + delay_ns, NOT_TAKEN)
    return outages.down_events(sent, received, good, limit_ns=LIMIT, survival_ns=survival_ns)


@pytest.mark.parametrize(("missed", "count"), [(0, 0), (1, 0), (2, 0), (3, 0), (4, 1), (9, 1)])
def test_a_survival_time_of_30_ms_outlasts_three_messages_missed(missed: int, count: int) -> None:
    """The first missed one is due after 8 ms and survived for 30 more; the next comes after 3."""
    assert events("++" + missed * "." + "+++", survival_ns=30 * MS).count == count


def test_an_event_lasts_from_the_survival_time_after_the_deadline_to_the_next_good_receipt() -> (
    None
):
    found = events("++...+++")
    assert found.start_ns.tolist() == [20 * MS + LIMIT + SURVIVAL]
    assert found.end_ns.tolist() == [50 * MS + 3 * MS]
    assert found.down_ns == 5 * MS
    assert found.observed_ns == 70 * MS
    assert found.availability == pytest.approx(1 - 5 / 70)


def test_a_service_that_never_comes_back_is_down_to_the_end() -> None:
    found = events("+" + "." * 9)
    assert found.start_ns.tolist() == [10 * MS + LIMIT + SURVIVAL]
    assert found.end_ns.tolist() == [NOT_TAKEN]
    assert found.down_ns == 90 * MS + LIMIT - found.start_ns[0]


def test_a_dead_service_is_one_event() -> None:
    assert events("." * 20).count == 1


def test_two_outages_are_two_events() -> None:
    assert events("+....++....+").count == 2


def test_a_late_message_does_not_bring_the_service_back() -> None:
    """Late ones are not in time, whatever was received of them."""
    good = np.array([True, False, False, False, False, True])
    sent = np.arange(6) * INTERVAL
    received = sent + np.where(good, MS, 9 * MS)
    found = outages.down_events(sent, received, good, limit_ns=LIMIT, survival_ns=SURVIVAL)
    assert found.end_ns.tolist() == [51 * MS]


def test_a_message_that_overtakes_brings_it_back() -> None:
    good = np.array([True, False, False, False, False, True, True])
    sent = np.arange(7) * INTERVAL
    received = np.where(good, sent + MS, NOT_TAKEN)
    received[5], received[6] = 64 * MS, 61 * MS
    found = outages.down_events(sent, received, good, limit_ns=20 * MS, survival_ns=0)
    assert found.end_ns.tolist() == [61 * MS]


def test_an_unknown_receipt_counted_as_in_time_came_by_its_deadline() -> None:
    good = np.array([True, False, False, False, False, True])
    sent = np.arange(6) * INTERVAL
    received = np.full(6, NOT_TAKEN)
    found = outages.down_events(sent, received, good, limit_ns=LIMIT, survival_ns=SURVIVAL)
    assert found.end_ns.tolist() == [50 * MS + LIMIT]


@given(st.text("+.", max_size=60), st.integers(0, 60 * MS), st.integers(0, 60 * MS))
def test_a_longer_survival_time_never_makes_it_worse(in_time: str, one: int, other: int) -> None:
    shorter, longer = sorted((one, other))
    impatient, patient = events(in_time, survival_ns=shorter), events(in_time, survival_ns=longer)
    assert patient.count <= impatient.count
    assert patient.down_ns <= impatient.down_ns
    assert 0 <= impatient.down_ns <= impatient.observed_ns


def test_nothing_offered_is_not_observed() -> None:
    assert events("").availability is None
