"""A tap's clock, mapped to the host's."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples import trailer_clock
from hil.samples.table import (
    ARRIVED,
    DAMAGED,
    NOT_TAKEN,
    SAMPLE,
    SENT,
    TRAILER_BAD,
    UNREADABLE,
    blank,
)

EPOCH = 1_750_000_000_000_000_000
SECOND = 1_000_000_000


@given(
    st.integers(0, 2**32),
    st.integers(20, 3_000),
    st.floats(-50e-6, 50e-6),
    st.sampled_from([37 * SECOND, -5, -EPOCH]),
)
def test_an_unknown_clock_is_found_through_stalls(
    seed: int, count: int, drift: float, offset: int
) -> None:
    """The host reads a little early or late, and every tenth reading is off by milliseconds."""
    rng = np.random.default_rng(seed)
    elapsed = np.sort(rng.choice(60 * SECOND, count, replace=False))
    host = EPOCH + elapsed
    tap = EPOCH + offset + np.rint(elapsed * (1 - drift)).astype(np.int64)
    read = host - rng.integers(0, 2_000, count)
    stalled = rng.permutation(count)[: count // 10]
    read[stalled] -= rng.integers(1_000_000, 10_000_000, stalled.size)
    mapped = trailer_clock.fit(tap, read).to_host(tap)
    assert np.abs(mapped - host).max() < 6_000


def test_a_map_without_drift_is_exact_to_the_nanosecond() -> None:
    tap = EPOCH + np.arange(100, dtype=np.int64) * 12_345_679
    clock = trailer_clock.fit(tap + 37 * SECOND, tap)
    assert clock.drift == 0
    assert clock.offset_ns == -37 * SECOND
    assert clock.to_host(tap + 37 * SECOND).tolist() == tap.tolist()


def test_a_drift_that_the_readings_do_not_show_is_not_invented() -> None:
    rng = np.random.default_rng(4)
    tap = EPOCH + np.arange(50, dtype=np.int64) * 1_000
    clock = trailer_clock.fit(tap, tap + rng.integers(-500, 500, 50))
    assert clock.drift == 0
    assert trailer_clock.fit(tap[:1], tap[:1] + 9).offset_ns == 9


def test_times_not_taken_stay_so() -> None:
    clock = trailer_clock.TrailerMap(origin_ns=0, offset_ns=5, drift=1e-6, pairs=1)
    mapped = clock.to_host(np.array([NOT_TAKEN, 2_000_000], np.int64))
    assert mapped.tolist() == [NOT_TAKEN, 2_000_007]


def test_readings_are_first_intact_copies_with_a_sound_trailer_and_a_stamp() -> None:
    sent = blank(SENT, 6)
    sent["flow"], sent["seq"] = 1, np.arange(6)
    sent["tx_kernel_ns"] = EPOCH + np.arange(6) * 1_000
    sent["tx_kernel_ns"][5] = NOT_TAKEN
    arrived = blank(ARRIVED, 8)
    arrived["flow"], arrived["seq"] = 1, [0, 0, 1, 2, 3, 4, 5, 0]
    arrived["flow"][7] = 2
    arrived["flags"] = [0, 0, TRAILER_BAD, DAMAGED, DAMAGED | UNREADABLE, 0, 0, 0]
    arrived["trailer_ingress_ns"] = arrived["seq"] * 1_000 + 77
    arrived["trailer_ingress_ns"][1] += 1_000_000  # the copy was made before the tap
    clock = trailer_clock.fit_trailer_map(sent, arrived, flow=1)
    assert clock is not None
    assert clock.pairs == 2  # sequences 0 and 4
    assert clock.offset_ns == EPOCH - 77


def test_without_trailers_there_is_no_map() -> None:
    sent, arrived = blank(SENT, 1), blank(ARRIVED, 1)
    sent["tx_kernel_ns"] = EPOCH
    assert trailer_clock.fit_trailer_map(sent, arrived, flow=0) is None
    with pytest.raises(ValueError, match="readings"):
        trailer_clock.fit(np.zeros(0, np.int64), np.zeros(0, np.int64))


def test_the_observed_floor_is_the_distance_of_the_two_readings() -> None:
    samples = blank(SAMPLE, 4)
    samples["tx_kernel_ns"] = [100, 200, 300, NOT_TAKEN]
    samples["ingress_ns"] = [103, 190, NOT_TAKEN, 400]
    assert trailer_clock.observed_floor_ns(samples).tolist() == [3, 10]
