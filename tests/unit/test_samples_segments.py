"""Delay and loss by segment: blame by packet, losses behind the last point, what cannot be said."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hil.samples import accounting, passing
from hil.samples.measurement import Budget, Measurement, Timing
from hil.samples.segments import last_seen, segments
from hil.samples.sightings import NOT_MEASURED, PASSED, Visit, sightings
from hil.samples.store import Files, StreamWriter, recover
from hil.samples.summarise import summarise
from hil.samples.table import (
    ARRIVED,
    NOT_TAKEN,
    OBSERVED,
    PLANNED,
    SEEN_WARM_UP,
    SENT,
    SPOILED,
    Table,
    blank,
)

START = 1_700_000_000_000_000_000
MS = 1_000_000
N3 = Visit(name="n3", point=0, source="trailer", words="the tap's clock")


def measured(
    *parts: tuple[int | None, int | None], visits: tuple[Visit, ...] = (N3,)
) -> Measurement:
    """Packets by what either segment took, in milliseconds; None: it went no further."""
    planned, sent = blank(PLANNED, len(parts)), blank(SENT, len(parts))
    planned["seq"] = planned["frame"] = sent["seq"] = np.arange(len(parts))
    sent["intended_ns"] = sent["tx_user_ns"] = START + np.arange(len(parts)) * 10 * MS
    sent["tx_kernel_ns"] = sent["intended_ns"]
    came = [row for row, (one, two) in enumerate(parts) if one is not None and two is not None]
    arrived = blank(ARRIVED, len(came))
    arrived["seq"] = came
    took = [(parts[row][0] or 0) + (parts[row][1] or 0) for row in came]
    arrived["rx_kernel_ns"] = sent["tx_kernel_ns"][came] + np.array(took, np.int64) * MS
    samples, counts = accounting.join(planned, sent, arrived, flow=0)
    passed = [row for row, (one, _) in enumerate(parts) if one is not None]
    rows = np.zeros(len(passed), PASSED)
    rows["seq"] = passed
    there = np.array([parts[row][0] or 0 for row in passed], np.int64)
    rows["time_ns"] = sent["tx_kernel_ns"][passed] + there * MS
    return Measurement(
        id="m1",
        flow="cyclic",
        path="device-edge",
        direction="uplink",
        tx_port="lan_a",
        rx_port="mec",
        traffic={},
        interval_ns=10 * MS,
        samples=samples,
        counts=counts,
        timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=0, floor_ns=np.zeros(0, np.int64), sources=()),
        sightings=sightings(rows, visits, samples["seq"]),
    )


def test_blame_is_by_packet_also_where_the_quantiles_of_a_segment_say_otherwise() -> None:
    """The core has the longest times, and the late packets all spent theirs on the radio."""
    slow_core = [(1, 7)] * 4  # in time, and the slowest that the core ever is
    slow_radio = [(11, 1)] * 2
    split = segments(measured(*slow_core, *slow_radio, *[(2, 2)] * 14), bound_ns=10 * MS)
    assert split is not None
    radio, core = split["segments"]
    assert (radio["from"], radio["to"], core["to"]) == ("lan_a", "n3", "mec")
    assert (split["violating"], split["on_time"]) == (2, 18)
    assert radio["violating"] == {"mean_ns": 11 * MS, "mean_share": pytest.approx(11 / 12)}
    assert core["violating"]["mean_share"] == pytest.approx(1 / 12)
    assert core["on_time"]["mean_share"] == pytest.approx((4 * 7 / 8 + 14 / 2) / 18)
    assert core["delay_ns"]["p90"] == 7 * MS > radio["delay_ns"]["p50"]


def test_a_loss_lies_behind_the_last_point_that_saw_the_packet() -> None:
    measurement = measured((1, 1), (None, None), (2, None), (1, 1), (2, None))
    split = segments(measurement)
    assert split is not None
    assert split["lost"] == {"n": 3, "last_seen": {"lan_a": 1, "n3": 2}, "uncertain": {}}
    assert last_seen(measurement).tolist() == [0, -1, 0, 0, 0]
    assert [each["seen"] for each in split["points"]] == [5, 4, 2]
    assert (split["violating"], split["segments"][0]["violating"]) == (None, None)


def test_a_point_that_missed_what_came_cannot_say_where_the_rest_was_lost() -> None:
    measurement = measured(*[(1, 1)] * 50, (None, None))
    blind = measurement.sightings[0]
    blind.seen[:10] = False
    lost = (segments(measurement) or {})["lost"]
    assert lost["uncertain"] == {"n3": "it missed 10 of the packets that came"}
    dropped = replace(blind, visit=replace(blind.visit, complete=False))
    lost = (segments(replace(measurement, sightings=(dropped,))) or {})["lost"]
    assert lost["uncertain"] == {"n3": "this host lost frames there"}


def test_a_point_that_saw_nothing_is_left_out_and_named() -> None:
    absent = Visit(name="mirror", point=7)
    split = segments(measured((1, 1), (1, 1), visits=(absent, N3)))
    assert split is not None
    assert split["not_observed"] == ["mirror"]
    assert [part["to"] for part in split["segments"]] == ["n3", "mec"]
    nothing = measured((1, 1), visits=(absent,))
    split = segments(nothing)
    assert split is not None
    assert [(part["from"], part["to"]) for part in split["segments"]] == [("lan_a", "mec")]


def test_times_on_another_clock_are_not_measured_and_losses_are_located_all_the_same() -> None:
    measurement = measured((1, 1), (1, None))
    sighting = measurement.sightings[0]
    unmapped = replace(
        sighting,
        visit=replace(sighting.visit, source=NOT_MEASURED, words="no map"),
        time_ns=np.full(2, NOT_TAKEN, np.int64),
    )
    split = segments(replace(measurement, sightings=(unmapped,)), bound_ns=MS)
    assert split is not None
    assert [part["n"] for part in split["segments"]] == [0, 0]
    assert [part["delay_ns"]["p50"] for part in split["segments"]] == [None, None]
    assert (split["violating"], split["on_time"]) == (0, 0)
    assert split["points"][1]["source"] == NOT_MEASURED
    assert split["lost"]["last_seen"] == {"lan_a": 0, "n3": 1}


def test_the_clock_of_a_card_or_of_another_host_is_never_mixed_with_that_of_the_points() -> None:
    measurement = measured((1, 1), (1, 2))
    by_card = replace(measurement, timing=Timing("hardware", "hardware"))
    split = segments(by_card, bound_ns=10 * MS)
    assert split is not None
    assert [each["source"] for each in split["points"]] == ["kernel", "trailer", "kernel"]
    assert [part["n"] for part in split["segments"]] == [2, 2]
    apart = replace(measurement, timing=Timing("kernel", "elsewhere"))
    split = segments(apart, bound_ns=10 * MS)
    assert split is not None
    assert [each["source"] for each in split["points"]] == [NOT_MEASURED, "trailer", "kernel"]
    assert [part["n"] for part in split["segments"]] == [0, 2]
    assert (split["violating"], split["on_time"]) == (0, 0)


def test_spoiled_packets_are_in_no_mean_and_in_no_distribution() -> None:
    measurement = measured((1, 1), (90, 1), (1, 1))
    samples = measurement.samples.copy()
    samples["flags"][1] |= SPOILED
    split = segments(replace(measurement, samples=samples), bound_ns=10 * MS)
    assert split is not None
    assert (split["violating"], split["on_time"]) == (0, 2)
    assert split["segments"][0]["delay_ns"]["max"] == MS


def test_the_first_copy_counts_and_warm_up_has_sequences_of_its_own() -> None:
    rows = np.zeros(4, PASSED)
    rows["seq"] = [1, 0, 0, 5]
    rows["time_ns"] = [10, 20, 30, 40]
    rows["flags"][0] = SEEN_WARM_UP
    (seen,) = sightings(rows, [N3], np.arange(3, dtype=np.uint64))
    assert seen.seen.tolist() == [True, False, False]
    assert seen.time_ns.tolist() == [20, NOT_TAKEN, NOT_TAKEN]
    assert seen.frames == 2, "a sequence that was never planned is nobody's"


def test_what_passes_a_point_twice_is_two_visits() -> None:
    rows = np.zeros(2, PASSED)
    rows["seq"], rows["time_ns"], rows["pdu_type"] = [0, 0], [10, 20], [1, 0]
    visits = [replace(N3, name="n3 up", pdu_type=1), replace(N3, name="n3 down", pdu_type=0)]
    up, down = sightings(rows, visits, np.arange(1, dtype=np.uint64))
    assert (up.time_ns.tolist(), down.time_ns.tolist()) == ([10], [20])


def test_the_summary_has_the_split_or_says_that_nobody_looked() -> None:
    measurement = measured((1, 1), (2, 20))
    assert summarise(measurement, bound_ns=5 * MS)["segments"]["violating"] == 1
    assert summarise(replace(measurement, sightings=()))["segments"] is None


def _passed(count: int) -> Table:
    rows = np.zeros(count, PASSED)
    rows["seq"] = np.arange(count)
    rows["time_ns"] = START + np.arange(count)
    rows["time_ns"][::3] = NOT_TAKEN
    rows["seen_kernel_ns"] = rows["trailer_release_ns"] = NOT_TAKEN
    rows["qfi"], rows["pdu_type"], rows["teid"] = 3, 1, 0xFFFF_FFFF
    return rows


def test_what_points_saw_comes_back_from_the_disk(tmp_path: Path) -> None:
    rows = _passed(10)
    path = passing.beside(tmp_path / "m1.parquet")
    passing.write(path, rows, {"flow": 0, "visits": [N3.to_json()]})
    back, about = passing.read(path)
    assert back.tobytes() == rows.tobytes()
    assert about["flow"] == 0
    samples = measured(*[(1, 1)] * 10).samples
    (seen,) = passing.read_sightings(tmp_path / "m1.parquet", samples)
    assert seen.visit == N3
    assert seen.time_ns.tolist() == rows["time_ns"].tolist()
    assert passing.read_sightings(tmp_path / "m2.parquet", samples) == ()
    passing.write(path, rows, {"visits": [{"name": "n3", "colour": "red"}]})
    with pytest.raises(ValueError, match="no visits of this version"):
        passing.read_sightings(tmp_path / "m1.parquet", samples)


def test_a_killed_run_leaves_what_its_points_saw(tmp_path: Path) -> None:
    files = Files(tmp_path, "m1")
    rows = blank(OBSERVED, 6)
    rows["flow"], rows["seq"] = 4, np.arange(6)
    rows["seen_kernel_ns"] = START
    writer = StreamWriter(files.observed, OBSERVED, {"flow": 4})
    writer.append(rows)
    writer._file.close()  # as a killed process leaves it, without an end
    planned, sent, arrived = blank(PLANNED, 6), blank(SENT, 6), blank(ARRIVED, 0)
    planned["seq"] = sent["seq"] = np.arange(6)
    sent["flow"] = 4
    for kind, table in (("planned", planned), ("sent", sent), ("arrived", arrived)):
        with StreamWriter(files.stream(kind), table.dtype, {"flow": 4}) as one:
            one.append(table)
    assert [each.files.name for each in recover(tmp_path)] == ["m1"]
    back, about = passing.read(passing.beside(files.parquet))
    assert back["seq"].tolist() == list(range(6))
    assert (back["time_ns"] == NOT_TAKEN).all()
    assert about["recovered"] is True
