"""The figures shown while a run lasts."""

from __future__ import annotations

import numpy as np

from hil.samples.table import ARRIVED, NOT_TAKEN, SENT, UNREADABLE, blank
from hil.traffic.progress import Progress, Tally


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
    tally = Tally("f", np.arange(100, dtype=np.uint64))
    tally.add_sent(sent(range(50)))
    tally.add_arrived(arrived(range(40)))
    tally.add_arrived(arrived(range(30, 45)))
    unreadable = arrived(range(90, 91))
    unreadable["flags"] = UNREADABLE
    tally.add_arrived(unreadable)
    shown = tally.progress()
    assert (shown.planned, shown.sent, shown.received) == (100, 50, 45)


def test_a_few_packets_have_a_maximum_and_many_a_percentile() -> None:
    tally = Tally("f", np.arange(1000, dtype=np.uint64))
    assert tally.progress().figure_ns is None
    tally.add_sent(sent(range(1000)))
    tally.add_arrived(arrived(range(50)))
    assert (tally.progress().figure, tally.progress().figure_ns) == ("max", 300)
    tally.add_arrived(arrived(range(50, 1000), 500))
    assert (tally.progress().figure, tally.progress().figure_ns) == ("p99", 500)


def test_the_taps_own_word_goes_before_the_stamps() -> None:
    tally = Tally("f", np.arange(10, dtype=np.uint64))
    tally.add_sent(sent(range(10)))
    rows = arrived(range(10), 9_000_000)
    rows["trailer_release_ns"], rows["trailer_ingress_ns"] = 5_000, 1_000
    rows["trailer_release_ns"][3] = NOT_TAKEN
    rows["rx_kernel_ns"][3] = NOT_TAKEN
    tally.add_arrived(rows)
    assert tally.progress().figure_ns == 4_000


def test_only_what_belongs_to_the_same_packet_is_subtracted() -> None:
    tally = Tally("f", np.arange(100_000, dtype=np.uint64))
    tally.add_sent(sent(range(5)))
    tally.add_arrived(arrived(range(4096, 4101)))
    assert tally.progress().figure_ns is None


def test_a_run_is_shown_in_one_line() -> None:
    tally = Tally("uplink", np.arange(1000, dtype=np.uint64))
    tally.add_sent(sent(range(500)))
    tally.add_arrived(arrived(range(490)))
    line = str(Progress((tally.progress(),), 3_000_000_000))
    assert line == "uplink: 490 of 1,000 received, p99 300 ns; 3 s left"
    assert "waiting" in str(Progress((tally.progress(),), 0))
