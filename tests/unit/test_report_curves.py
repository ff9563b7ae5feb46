"""The curve of a card shows every packet: what came, what came late, what never came."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.report.curves import ccdf, course
from hil.samples.measurement import Budget, Counts, Measurement, Timing, Window
from hil.samples.table import NOT_TAKEN, SAMPLE, blank
from hil.stats import proportion

DELAYS = st.lists(st.integers(0, 10**9), min_size=1, max_size=300)


@given(values=DELAYS, lost=st.integers(0, 50), x=st.integers(0, 10**9))
def test_at_each_drawn_point_the_curve_is_the_share_that_is_later_or_lost(
    values: list[int], lost: int, x: int
) -> None:
    n = len(values) + lost
    curve = ccdf(np.array(values, np.int64), n, confidence=0.95)
    drawn = np.searchsorted(curve.values_ns, x, side="right") - 1
    shown = 1.0 if drawn < 0 else curve.exceeding[drawn]
    assert shown == pytest.approx((sum(value > x for value in values) + lost) / n)
    assert curve.exceeding[-1] == pytest.approx(lost / n)
    assert curve.missing == lost


@given(values=DELAYS, lost=st.integers(0, 50))
def test_the_band_is_the_exact_limit_of_the_share_at_its_points(
    values: list[int], lost: int
) -> None:
    n = len(values) + lost
    curve = ccdf(np.array(values, np.int64), n, confidence=0.95)
    for at, low, high in zip(curve.band_ns, curve.low, curve.high, strict=True):
        candidates = [
            n - 1 - place for place, value in enumerate(sorted(values)) if float(value) == at
        ]
        assert any(
            low == pytest.approx(proportion.lower(late, n, 0.95))
            and high == pytest.approx(proportion.upper(late, n, 0.95))
            for late in candidates
        )


def test_bursts_widen_the_band() -> None:
    values = np.arange(2000)
    alone = ccdf(values, 2000, confidence=0.95)
    bursts = ccdf(values, 2000, confidence=0.95, design_effect=5)
    assert np.all(bursts.high >= alone.high)
    assert bursts.high[-1] > alone.high[-1]


def test_two_million_packets_are_thinned_and_the_tail_is_kept() -> None:
    values = np.random.default_rng(1).integers(0, 10**7, 2_000_000)
    values[0] = 10**9
    curve = ccdf(values, 2_000_000, confidence=0.95)
    assert curve.values_ns.size <= 800
    assert curve.values_ns[-1] == 10**9
    assert np.array_equal(curve.values_ns[-100:], np.sort(values)[-100:])


def test_nothing_came_is_a_curve_without_points() -> None:
    curve = ccdf(np.empty(0, np.int64), 10, confidence=0.95)
    assert curve.missing == curve.n == 10
    assert curve.values_ns.size == 0


def measured(n: int, lost: int = 0, spoiled: tuple[Window, ...] = ()) -> Measurement:
    samples = blank(SAMPLE, n)
    samples["seq"] = np.arange(n)
    samples["intended_ns"] = 10**18 + np.arange(n) * 10**7
    samples["tx_kernel_ns"] = samples["intended_ns"]
    samples["rx_kernel_ns"] = samples["tx_kernel_ns"] + 5_000_000
    samples["rx_kernel_ns"][n // 2] += 7_000_000
    samples["copies"] = 1
    if lost:
        samples["rx_kernel_ns"][:lost] = NOT_TAKEN
        samples["copies"][:lost] = 0
    counts = Counts(
        sent=n, warmup_sent=0, received=n - lost, lost=lost, duplicated=0, reordered=0,
        corrupted=0, foreign=0, send_failed=0,
    )  # fmt: skip
    return Measurement(
        id="m", flow="f", path="device-edge", direction="uplink", tx_port="a", rx_port="b",
        traffic={}, interval_ns=10**7, samples=samples, counts=counts,
        timing=Timing("kernel", "kernel"), spoiled=spoiled,
        budget=Budget(common_mode_ns=0, floor_ns=np.empty(0, np.int64), sources=()),
    )  # fmt: skip


def test_the_course_shows_the_highest_delay_the_losses_and_the_spoiled_windows() -> None:
    start = 10**18
    spoiled = (
        Window(start - 5, start - 1, "before the run"),
        Window(start + 10**9, start + 2 * 10**9, "in it"),
    )
    shape = course(measured(1000, lost=3, spoiled=spoiled))
    assert shape is not None
    assert shape.max_ns.max() == 12_000_000
    assert shape.lost_s.tolist() == pytest.approx([0.0, 0.01, 0.02])
    assert shape.spoiled_s == ((1.0, 2.0),)
    assert shape.length_s == pytest.approx(9.99)


def test_a_course_of_nothing_is_none() -> None:
    empty = measured(0 + 1)
    empty.samples["intended_ns"] = NOT_TAKEN
    assert course(empty) is None
