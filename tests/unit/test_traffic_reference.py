"""The twin over a cable: slow there is the host's fault, and brackets what lies beside it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.table import NOT_TAKEN, SAMPLE, blank
from hil.traffic.reference import windows

START = 1_795_000_000_000_000_000
MS = 1_000_000


def cable(delays_us: dict[int, int], lost: tuple[int, ...] = (), n: int = 100) -> Measurement:
    """One packet each 20 ms that takes 30 us, but for some."""
    samples = blank(SAMPLE, n)
    samples["seq"] = samples["arrival"] = np.arange(n)
    samples["tx_kernel_ns"] = START + np.arange(n) * 20 * MS
    samples["rx_kernel_ns"] = samples["tx_kernel_ns"] + 30_000
    for row, delay in delays_us.items():
        samples["rx_kernel_ns"][row] = samples["tx_kernel_ns"][row] + delay * 1000
    samples["arrival"][list(lost)], samples["rx_kernel_ns"][list(lost)] = -1, NOT_TAKEN
    counts = Counts(
        sent=n, warmup_sent=0, received=n - len(lost), lost=len(lost), duplicated=0, reordered=0,
        corrupted=0, foreign=0, send_failed=0,
    )  # fmt: skip
    return Measurement(
        id="r", flow="reference uplink", path="reference", direction="uplink", tx_port="a",
        rx_port="b", traffic={}, interval_ns=20 * MS, samples=samples, counts=counts,
        timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=0, floor_ns=np.zeros(1, np.int64), sources=()),
    )  # fmt: skip


def test_a_quiet_cable_spoils_nothing() -> None:
    assert windows(cable({5: 120})) == [], "100 us over the usual 30 us are allowed"


def test_a_packet_that_was_held_up_spoils_its_own_time() -> None:
    (found,) = windows(cable({7: 3000}))
    assert found == {
        "start_ns": START + 140 * MS,
        "end_ns": START + 143 * MS,
        "why": "the reference a -> b took 2970 us too long",
    }


def test_a_lost_packet_spoils_the_time_until_the_next_one_came() -> None:
    (found,) = windows(cable({}, lost=(40,)))
    assert found["start_ns"] == START + 800 * MS
    assert found["end_ns"] == START + 820 * MS + 30_000
    last = windows(cable({}, lost=(99,)))[0]
    assert last["end_ns"] == START + 2000 * MS, "after the last one for one interval"


def test_its_windows_are_on_the_clock_of_the_host_whoever_stamped_its_packets() -> None:
    run = cable({7: 3000}, lost=(40,))
    for way in ("tx", "rx"):
        kernel = run.samples[f"{way}_kernel_ns"]
        ahead = np.where(kernel == NOT_TAKEN, NOT_TAKEN, kernel + 37_000 * MS)
        run.samples[f"{way}_hardware_ns"] = ahead
    assert windows(replace(run, timing=Timing("hardware", "hardware"))) == windows(run)


def test_too_few_packets_know_no_usual_delay() -> None:
    assert windows(cable({3: 9000}, n=10)) == []
