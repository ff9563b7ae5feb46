"""One measurement as plain JSON values."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np

from hil.samples import accounting
from hil.samples.measurement import Budget, Measurement, Timing
from hil.samples.summarise import summarise
from hil.samples.table import ARRIVED, NOT_TAKEN, PLANNED, SENT, blank

START = 1_700_000_000_000_000_000
MS = 1_000_000


def measured(delays: list[int | None], timing: Timing | None = None) -> Measurement:
    """A measurement of packets 10 ms apart; a delay of None is a loss."""
    planned, sent = blank(PLANNED, len(delays)), blank(SENT, len(delays))
    planned["seq"] = planned["frame"] = sent["seq"] = np.arange(len(delays))
    sent["intended_ns"] = START + np.arange(len(delays)) * 10 * MS
    sent["tx_user_ns"] = sent["intended_ns"] + 1_000
    sent["tx_kernel_ns"] = sent["intended_ns"] + 3_000
    came = [row for row, delay in enumerate(delays) if delay is not None]
    arrived = blank(ARRIVED, len(came))
    arrived["seq"] = came
    arrived["rx_kernel_ns"] = sent["tx_kernel_ns"][came] + [delays[row] or 0 for row in came]
    samples, counts = accounting.join(planned, sent, arrived, flow=0)
    return Measurement(
        id="m1",
        flow="cyclic",
        path="device-edge",
        direction="uplink",
        tx_port="lan_a",
        rx_port="mec",
        traffic={"pattern": "periodic"},
        interval_ns=10 * MS,
        samples=samples,
        counts=counts,
        timing=timing or Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=100, floor_ns=np.arange(1, 101), sources=("veth hop",)),
    )


def test_negative_delays_are_counted_and_never_clipped() -> None:
    summary = summarise(measured([5 * MS, -3_000, None, -200, 2 * MS]))
    assert summary["negative_delays"] == {"count": 2, "smallest_ns": -3_000}
    assert summary["delay_ns"]["min"] == -3_000
    none = summarise(measured([5 * MS, None]))["negative_delays"]
    assert none == {"count": 0, "smallest_ns": None}


def test_the_object_holds_what_a_reader_of_hil_measure_needs() -> None:
    summary = summarise(measured([5 * MS, None, None, 9 * MS, 2 * MS]), bound_ns=8 * MS)
    assert {name: summary[name] for name in ("sent", "received", "lost", "late", "corrupted")} == {
        "sent": 5,
        "received": 3,
        "lost": 2,
        "late": 1,
        "corrupted": 0,
    }
    assert summary["delay_ns"]["min"] == 2 * MS
    assert summary["delay_ns"]["p50"] == 5 * MS
    assert summary["delay_ns"]["p99"] is None
    assert summary["delay_ns"]["max"] == 9 * MS
    assert summary["pdv_ns"]["max"] == 7 * MS
    assert summary["ipdv_ns"]["min"] == -7 * MS
    assert summary["send_lateness_ns"]["max"] == 3_000
    assert summary["reception_interval_ns"]["max"] == 34 * MS
    assert summary["loss_runs"] == {"count": 1, "longest": 2}
    assert summary["uncertainty_ns"] == 100 + 95
    assert summary["interval_ns"] == 10 * MS
    assert summary["duration_ns"] == 40 * MS
    assert summary["stamps"]["tx"]["source"] == "kernel"
    assert summary["stamps"]["rx"]["missing"] == 0


def test_every_value_is_plain_json() -> None:
    streams: list[list[int | None]] = [[5 * MS, None, 7 * MS], [None] * 3, []]
    for delays in streams:
        summary = summarise(measured(delays), bound_ns=MS)
        assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_lateness_without_a_bound_is_not_known() -> None:
    assert summarise(measured([MS]))["late"] is None
    assert summarise(measured([MS]), bound_ns=MS)["late"] == 0


def test_what_was_not_measured_is_null() -> None:
    lost = summarise(measured([None] * 3))
    assert lost["lost"] == 3
    for name in ("delay_ns", "pdv_ns", "ipdv_ns", "reception_interval_ns"):
        assert set(lost[name].values()) == {None}
    assert lost["send_lateness_ns"]["max"] == 3_000
    nothing = summarise(measured([]))
    assert nothing["duration_ns"] is None
    assert nothing["loss_runs"] == {"count": 0, "longest": 0}
    no_floor = Budget(common_mode_ns=100, floor_ns=np.zeros(0, np.int64), sources=())
    assert summarise(replace(measured([MS]), budget=no_floor))["uncertainty_ns"] is None


def test_a_stamp_that_is_missing_is_counted_and_its_packet_still_received() -> None:
    measurement = measured([MS, MS, MS])
    measurement.samples["rx_kernel_ns"][1] = NOT_TAKEN
    measurement.samples["tx_kernel_ns"][2] = NOT_TAKEN
    summary = summarise(measurement, bound_ns=MS)
    assert summary["received"] == 3
    assert summary["late"] == 0
    assert summary["stamps"]["rx"]["missing"] == 1
    assert summary["stamps"]["tx"]["missing"] == 1


def test_lateness_is_read_on_the_clock_of_the_schedule() -> None:
    """A network card's own clock cannot say how late a packet was against the schedule."""
    assert summarise(measured([MS], Timing("user", "kernel")))["send_lateness_ns"]["max"] == 1_000
    summary = summarise(measured([MS], Timing("hardware", "hardware")))
    assert summary["send_lateness_ns"]["max"] == 3_000
    assert summary["delay_ns"]["max"] is None
    assert summary["stamps"]["tx"] == {
        "source": "hardware",
        "missing": 1,
        "missing_by_source": {"kernel": 0},
    }


def test_the_floors_quantile_is_the_nearest_rank_of_the_share_as_written() -> None:
    """0.07 of 100 is rank 7, though the product of the two doubles is a little more."""
    budget = Budget(common_mode_ns=0, floor_ns=np.arange(1, 101), sources=())
    assert budget.floor_quantile_ns(0.07) == 7
    assert budget.floor_quantile_ns(1.0) == 100
