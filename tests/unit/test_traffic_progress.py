"""The figures shown while a run lasts."""

from __future__ import annotations

import numpy as np

from hil.samples.table import ARRIVED, NOT_TAKEN, SENT, UNREADABLE, blank
from hil.traffic.progress import Progress, Seen, Tally


def sent(sequences: range) -> np.ndarray:
    rows = blank(SENT, len(sequences))
    rows["seq"] = sequences
    rows["tx_kernel_ns"] = np.array(sequences) * 1000
    return rows


def arrived(sequences: range, delay_ns: int = 300) -> np.ndarray:
    rows = blank(ARRIVED, len(sequences))
    rows["seq"] = sequences
    rows["rx_kernel_ns"] = np.array(sequences) * 1000 + delay_ns
    return rows


def test_duplicates_and_unreadable_frames_do_not_count_as_received() -> None:
    tally = Tally("f", 100)
    tally.add_sent(sent(range(50)))
    tally.add_arrived(arrived(range(40)))
    tally.add_arrived(arrived(range(30, 45)))
    unreadable = arrived(range(90, 91))
    unreadable["flags"] = UNREADABLE
    tally.add_arrived(unreadable)
    shown = tally.progress()
    assert (shown.planned, shown.sent, shown.received) == (100, 50, 45)


def test_a_few_packets_have_a_maximum_and_many_a_percentile() -> None:
    tally = Tally("f", 1000)
    assert tally.progress().figure_ns is None
    tally.add_sent(sent(range(1000)))
    tally.add_arrived(arrived(range(50)))
    assert (tally.progress().figure, tally.progress().figure_ns) == ("max", 300)
    tally.add_arrived(arrived(range(50, 1000), 500))
    assert (tally.progress().figure, tally.progress().figure_ns) == ("p99", 500)


def test_the_taps_own_word_goes_before_the_stamps() -> None:
    tally = Tally("f", 10)
    tally.add_sent(sent(range(10)))
    rows = arrived(range(10), 9_000_000)
    rows["trailer_release_ns"], rows["trailer_ingress_ns"] = 5_000, 1_000
    rows["trailer_release_ns"][3] = NOT_TAKEN
    rows["rx_kernel_ns"][3] = NOT_TAKEN
    tally.add_arrived(rows)
    assert tally.progress().figure_ns == 4_000


def test_only_what_belongs_to_the_same_packet_is_subtracted() -> None:
    tally = Tally("f", 100_000)
    tally.add_sent(sent(range(5)))
    tally.add_arrived(arrived(range(4096, 4101)))
    assert tally.progress().figure_ns is None


def test_a_run_is_shown_in_one_line() -> None:
    tally = Tally("uplink", 1000)
    tally.add_sent(sent(range(500)))
    tally.add_arrived(arrived(range(490)))
    line = str(Progress((tally.progress(),), 3_000_000_000))
    assert line == "uplink: 490 of 1,000 received, p99 300 ns; 3 s left"
    assert "waiting" in str(Progress((tally.progress(),), 0))


def test_the_whole_run_is_in_the_report_and_its_memory_does_not_grow() -> None:
    tally = Tally("f", 10_000_000)
    for start in range(0, 600_000, 1000):
        tally.add_sent(sent(range(start, start + 1000)))
        tally.add_arrived(arrived(range(start, start + 1000), 300 if start else 9_000))
    report = tally.report()
    assert (report["sent"], report["received"]) == (600_000, 600_000)
    assert report["delay_ns"]["n"] == 600_000
    assert (report["delay_ns"]["min"], report["delay_ns"]["max"]) == (300, 9_000)
    assert report["delay_ns"]["p99"] == 300


def test_stamps_that_come_after_the_packet_are_met_as_well() -> None:
    tally = Tally("f", 1000)
    tally.add_arrived(arrived(range(500)))
    tally.add_sent(sent(range(500)))
    tally.add_arrived(arrived(range(500)))
    assert tally.report()["delay_ns"]["n"] == 500


def test_what_came_is_told_apart_far_beyond_what_is_remembered() -> None:
    seen = Seen()
    span = 1 << 22
    assert seen.new(np.arange(100)).all()
    assert not seen.new(np.arange(50, 100)).any()
    assert seen.new(np.array([span + 5])).all(), "the span has moved on"
    assert not seen.new(np.array([0, 99])).any(), "too far behind to be told from a copy"
    assert seen.new(np.array([span])).all()
    assert seen.new(np.array([40 * span, 40 * span + 1])).all()
    assert not seen.new(np.array([40 * span + 1])).any()
