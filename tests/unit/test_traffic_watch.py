"""The watch over the host's clock tells steps from slewing."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.traffic.watch import CLOCK_PERIOD_NS, ClockReading, ClockWatch, StallWatch, read_clocks

EPOCH = 1_700_000_000_000_000_000


def watched(offsets: Sequence[int], width_ns: int = 100) -> ClockWatch:
    watch = ClockWatch()
    for index, offset in enumerate(offsets):
        raw = index * CLOCK_PERIOD_NS
        watch.add(ClockReading(EPOCH + raw + offset, raw, EPOCH + offset, width_ns))
    return watch


@pytest.mark.parametrize("step_ns", [-50_000_000, -5_000, 2_000, 5_000, 1_000_000, 10**9])
def test_a_step_is_found_with_its_size_and_the_span_it_lies_in(step_ns: int) -> None:
    watch = watched([0, 40, 80, 120 + step_ns, 160 + step_ns, 200 + step_ns])
    (window,) = watch.windows
    assert window.start_ns <= window.end_ns
    assert abs(window.end_ns - window.start_ns) <= CLOCK_PERIOD_NS + abs(step_ns) + 100
    assert f"{step_ns / 1000:+.1f} us" in window.why


@pytest.mark.parametrize("step_ns", [-50_000_000, 200_000, 10**9])
@pytest.mark.parametrize("span", [0, 1, 2, 3, 4])
def test_a_step_is_found_in_whichever_span_of_a_short_run(span: int, step_ns: int) -> None:
    watch = watched([40 * index + (step_ns if index > span else 0) for index in range(6)])
    watch.finish()
    (window,) = watch.windows
    low = span * CLOCK_PERIOD_NS + 40 * span
    assert window.start_ns <= EPOCH + low + max(0, step_ns) + CLOCK_PERIOD_NS
    assert window.end_ns >= EPOCH + low + min(0, step_ns)


@given(
    rates=st.lists(st.integers(-500_000, 500_000), min_size=2, max_size=2), change=st.integers(2, 7)
)
def test_a_change_of_rate_is_no_step(rates: list[int], change: int) -> None:
    offset, offsets = 0, []
    for index in range(10):
        offsets.append(offset)
        # The rate may change in the middle of a span; ppm times 0.1 s is a tenth of nanoseconds.
        offset += (rates[0] if index < change else rates[1]) // 10
    watch = watched(offsets)
    watch.finish()
    assert watch.windows == []


def test_a_blurred_reading_is_no_step() -> None:
    assert watched([0, 0, 30_000, 30_000, 30_000], width_ns=40_000).windows == []


def test_the_rate_is_reported() -> None:
    report = watched([0, 1_000, 2_000, 3_000]).report()
    assert report["rate_ppm"] == pytest.approx(10)
    assert report["steps"] == []


def test_the_clocks_of_this_host_can_be_read() -> None:
    first, second = read_clocks(), read_clocks()
    assert second.raw_ns > first.raw_ns
    assert first.width_ns >= 0


def test_stalls_are_counted_and_only_the_worst_kept() -> None:
    watch = StallWatch()
    for late in range(1000):
        watch.woke(late * 10_000, late)
    report = watch.report()
    assert report["count"] == 900
    assert report["max_ns"] == 9_990_000
    assert report["total_ns"] == sum(range(100, 1000)) * 10_000
    assert [each["late_ns"] for each in report["worst"][:2]] == [9_990_000, 9_980_000]
    assert len(report["worst"]) == 50


def test_no_stall_is_none_and_not_zero() -> None:
    watch = StallWatch()
    watch.woke(999_999, 5)
    assert watch.report()["max_ns"] is None
