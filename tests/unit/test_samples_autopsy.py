"""Why packets were late, and how delay depends on the phase: planted causes are found again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.samples.autopsy import HOST, LOAD, PHASE, UNEXPLAINED, autopsy
from hil.samples.clues import Event
from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.phase import phase_map
from hil.samples.table import NOT_TAKEN, SAMPLE, SPOILED, blank

START = 1_795_000_000_000_000_000
MS = 1_000_000
PERIOD = 5 * MS // 2


def measured(offsets: Any, delay: Any, *, lost: Any = (), size: int = 200) -> Measurement:
    n = len(offsets)
    samples = blank(SAMPLE, n)
    samples["seq"] = np.arange(n)
    samples["size"] = size
    samples["tx_kernel_ns"] = START + offsets
    samples["rx_kernel_ns"] = samples["tx_kernel_ns"] + delay
    samples["arrival"] = np.arange(n)
    samples["copies"] = 1
    gone = list(lost)
    samples["rx_kernel_ns"][gone], samples["arrival"][gone] = NOT_TAKEN, -1
    samples["copies"][gone] = 0
    counts = Counts(
        sent=n, warmup_sent=0, received=n - len(gone), lost=len(gone), duplicated=0, reordered=0,
        corrupted=0, foreign=0, send_failed=0,
    )  # fmt: skip
    return Measurement(
        id="m", flow="f", path="p", direction="uplink", tx_port="a", rx_port="b", traffic={},
        interval_ns=None, samples=samples, counts=counts, timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=0, floor_ns=np.zeros(1, np.int64), sources=()),
    )  # fmt: skip


def on_cards(run: Measurement) -> Measurement:
    """The same run with its delays by the stamps of network cards, whose clock is 37 s ahead."""
    for way in ("tx", "rx"):
        kernel = run.samples[f"{way}_kernel_ns"]
        ahead = np.where(kernel == NOT_TAKEN, NOT_TAKEN, kernel + 37_000 * MS)
        run.samples[f"{way}_hardware_ns"] = ahead
    return replace(run, timing=Timing("hardware", "hardware"))


def saw_tooth(offsets: Any, rate_ppm: float, seed: int = 1) -> Any:
    """2 ms, and until the period begins anew on the network's own clock, with some noise."""
    draw = np.random.default_rng(seed)
    phase = (offsets * (1 + rate_ppm * 1e-6)) % PERIOD
    return (2 * MS + PERIOD - phase + draw.uniform(0, 50_000, len(offsets))).astype(np.int64)


@pytest.mark.parametrize("rate_ppm", [0.0, 7.7, -12.3, 31.0])
def test_the_saw_tooth_is_found_though_the_clocks_differ(rate_ppm: float) -> None:
    """Ten minutes, in which the phase slides over several periods."""
    draw = np.random.default_rng(3)
    offsets = np.sort(draw.integers(0, 600_000 * MS, 30_000))
    found = phase_map(measured(offsets, saw_tooth(offsets, rate_ppm)), PERIOD, bound_ns=4 * MS)
    assert found is not None
    assert found.periodic
    assert found.rate_ppm == pytest.approx(rate_ppm, abs=0.1)
    medians = [each for each in found.median_ns if each is not None]
    steps = np.diff([*medians, medians[0]])
    assert (steps < 0).sum() == len(steps) - 1, "falling, but for the one step up"
    assert found.late is not None
    assert found.good_ns is not None
    start, end = found.good_ns
    part = PERIOD // 20
    assert 2 * MS - 3 * part <= end - start <= 2 * MS, "4/5 of it, less the parts at its edges"
    assert found.to_json()["parts"][0]["n"] == found.n[0]


def test_delays_that_know_no_period_show_none() -> None:
    """Of 40 runs without a period at most one may look like one; the test's own error is 0.1 %."""
    offsets = np.arange(3000) * MS
    seen = 0
    for seed in range(40):
        delay = 3 * MS + np.random.default_rng(seed).exponential(MS, 3000).astype(np.int64)
        found = phase_map(measured(offsets, delay), PERIOD, bound_ns=4 * MS)
        assert found is not None
        assert found.good_ns is None or found.periodic
        seen += found.periodic
    assert seen <= 1


def test_too_few_packets_are_not_folded() -> None:
    assert phase_map(measured(np.arange(100) * MS, 3 * MS), PERIOD) is None


def test_nothing_late_needs_no_autopsy() -> None:
    assert autopsy(measured(np.arange(100) * MS, 3 * MS), 10 * MS) is None


def test_each_late_packet_has_one_cause_and_the_causes_add_up() -> None:
    """100 to 109 in a spoiled window, 300 to 309 in a handover (one lost), 500 out of the blue."""
    offsets = np.arange(1000) * 10 * MS
    delay = np.full(1000, 3 * MS)
    delay[100:110] = delay[300:310] = delay[500] = 40 * MS
    run = measured(offsets, delay, lost=[305])
    run.samples["flags"][100:110] |= SPOILED
    events = [
        Event(START + 2_990 * MS, "cpe1: handover"),
        Event(START + 9_000 * MS, "cpe1: rrc idle"),
    ]
    found = autopsy(run, 10 * MS, events=events)
    assert found is not None
    assert autopsy(on_cards(run), 10 * MS, events=events) == found
    assert (found.n, found.late, found.lost) == (1000, 21, 1)
    assert dict(found.causes) == {HOST: 10, "cpe1: handover": 10, UNEXPLAINED: 1}
    assert found.causes[-1] == (UNEXPLAINED, 1), "what is not known stands last, and is shown"
    assert sum(count for _, count in found.causes) == found.late
    assert [each.seq for each in found.packets] == [*range(100, 110), *range(300, 310), 500]
    lost = next(each for each in found.packets if each.seq == 305)
    assert (lost.delay_ns, lost.cause) == (None, "cpe1: handover")
    assert "21 of 1,000 packets late (1 lost)" in found.sentence


def test_the_load_of_others_is_blamed_where_late_packets_come_with_it() -> None:
    """Another flow bursts each 100 ms, and packets just behind a burst are late."""
    offsets = np.arange(3000) * 10 * MS
    behind = offsets % (100 * MS) == 0
    delay = np.where(behind, 15 * MS, 3 * MS)
    bursts = np.repeat(np.arange(300) * 100 * MS, 20) - 2 * MS
    other = measured(np.sort(bursts), 3 * MS, size=1400)
    found = autopsy(measured(offsets, delay), 10 * MS, beside=[other])
    assert found is not None
    assert dict(found.causes) == {LOAD: 300}
    assert found.packets[0].beside_bytes == 20 * 1400
    assert autopsy(on_cards(measured(offsets, delay)), 10 * MS, beside=[other]) == found
    calm = measured(offsets, 3 * MS, size=1400)
    unrelated = autopsy(measured(offsets, delay), 10 * MS, beside=[calm])
    assert unrelated is not None
    assert dict(unrelated.causes) == {UNEXPLAINED: 300}, "who is always there explains nothing"


def test_the_send_phase_is_blamed_where_lateness_hangs_on_it() -> None:
    draw = np.random.default_rng(5)
    offsets = np.sort(draw.integers(0, 60_000 * MS, 6000))
    run = measured(offsets, saw_tooth(offsets, 5.0))
    found = autopsy(run, 4 * MS, folded=phase_map(run, PERIOD))
    assert found is not None
    causes = dict(found.causes)
    assert causes[PHASE] > 0.9 * found.late
    assert len({each.phase_ns for each in found.packets if each.cause == PHASE}) <= 6
