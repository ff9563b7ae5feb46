"""Metrics against their definitions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples import metrics
from hil.samples.measurement import Timing
from hil.samples.table import NOT_TAKEN, SAMPLE, SEND_FAILED, Table, blank

TIMING = Timing("kernel", "kernel")
START = 1_700_000_000_000_000_000
MS = 1_000_000

DELAYS = st.lists(st.none() | st.integers(0, 30 * MS), max_size=40)


def flow(
    delays: Sequence[int | None], interval_ns: int = 10 * MS, frame: Sequence[int] | None = None
) -> Table:
    """Samples of a periodic flow; a delay of None is a lost packet."""
    samples = blank(SAMPLE, len(delays))
    samples["seq"] = np.arange(len(delays))
    samples["frame"] = samples["seq"] if frame is None else frame
    samples["size"] = 100
    samples["intended_ns"] = START + np.arange(len(delays)) * interval_ns
    samples["tx_kernel_ns"] = samples["intended_ns"]
    for row, delay in enumerate(delays):
        if delay is not None:
            samples["rx_kernel_ns"][row] = samples["tx_kernel_ns"][row] + delay
            samples["copies"][row] = 1
    return samples


def known(column: np.ndarray) -> list[int | None]:
    return [None if value == NOT_TAKEN else value for value in column.tolist()]


@given(DELAYS)
def test_delay_and_its_two_variations(delays: list[int | None]) -> None:
    samples = flow(delays)
    delay = metrics.delay_ns(samples, TIMING)
    assert known(delay) == delays
    finite = [d for d in delays if d is not None]
    assert known(metrics.pdv_ns(delay)) == [None if d is None else d - min(finite) for d in delays]
    pairs = zip(delays, [None, *delays], strict=False)
    expected = [None if d is None or before is None else d - before for d, before in pairs]
    assert known(metrics.ipdv_ns(delay, samples["seq"])) == expected


def test_ipdv_is_signed_and_has_no_value_across_a_gap_in_the_sequence() -> None:
    delay = np.array([9, 4, 7], np.int64)
    seq = np.array([0, 1, 3], np.uint64)
    assert known(metrics.ipdv_ns(delay, seq)) == [None, -5, None]


def test_a_negative_delay_is_shown_not_hidden() -> None:
    assert metrics.delay_ns(flow([-5]), TIMING).tolist() == [-5]
    assert metrics.distribution(np.array([-5], np.int64))["min"] == -5


def test_reception_intervals_follow_the_receipts() -> None:
    samples = flow([0, 3 * MS, None, 5 * MS, 0])
    intervals = metrics.reception_intervals_ns(samples, TIMING)
    assert intervals.tolist() == [13 * MS, 22 * MS, 5 * MS]
    swapped = flow([15 * MS, 0])
    assert metrics.reception_intervals_ns(swapped, TIMING).tolist() == [5 * MS]


def test_send_lateness_is_the_senders_and_stays_on_one_clock() -> None:
    samples = flow([1, 1, 1])
    samples["tx_kernel_ns"] += [7, -2, 0]
    samples["tx_kernel_ns"][2] = NOT_TAKEN
    assert known(metrics.send_lateness_ns(samples, "kernel")) == [7, -2, None]
    with pytest.raises(ValueError, match="clock"):
        metrics.send_lateness_ns(samples, "hardware")


def test_a_missing_send_stamp_is_filled_from_the_schedule() -> None:
    samples = flow([1, 1, 1])
    samples["tx_kernel_ns"] += 500
    samples["tx_kernel_ns"][1] = NOT_TAKEN
    filled = metrics.send_times_ns(samples, TIMING)
    assert (filled - samples["intended_ns"]).tolist() == [500, 500, 500]
    samples["intended_ns"][1] = NOT_TAKEN
    with pytest.raises(ValueError, match="neither"):
        metrics.send_times_ns(samples, TIMING)


def test_a_distribution_says_nothing_that_the_values_cannot_support() -> None:
    thousand = np.arange(1, 1001, dtype=np.int64)
    assert metrics.distribution(np.append(thousand, NOT_TAKEN)) == {
        "min": 1,
        "p50": 500,
        "p90": 900,
        "p99": 990,
        "p99.9": 999,
        "p99.99": None,
        "max": 1000,
    }
    one = metrics.distribution(thousand[:1])
    assert (one["min"], one["max"], one["p50"]) == (1, 1, None)
    assert set(metrics.distribution(thousand[:0]).values()) == {None}


def test_infinite_values_push_the_percentiles_up_and_are_no_figure() -> None:
    values = metrics.distribution(np.arange(1, 91, dtype=np.int64), 100)
    assert (values["p50"], values["p90"], values["p99"], values["max"]) == (50, 90, None, None)


class TestWatchdog:
    def replay(self, delays: list[int | None], tick_ns: int = 2 * MS) -> metrics.WatchdogReplay:
        return metrics.watchdog(flow(delays), TIMING, watchdog_ns=30 * MS, tick_ns=tick_ns)

    def test_a_steady_flow_never_trips(self) -> None:
        replay = self.replay([MS] * 50)
        assert not replay.possible.any()
        assert replay.longest_ns == 10 * MS

    @pytest.mark.parametrize(
        ("late", "possible", "certain"),
        [(29, 0, 0), (30, 1, 0), (31, 1, 0), (32, 1, 0), (33, 1, 1)],
    )
    def test_between_the_time_out_and_its_tick_only_a_trip_is_possible(
        self, late: int, possible: int, certain: int
    ) -> None:
        """Receipts at 0, then at `late` ms, then each 10 ms on."""
        replay = self.replay([0, None, (late - 20) * MS, (late - 20) * MS])
        assert np.count_nonzero(replay.possible) == possible
        assert np.count_nonzero(replay.certain) == certain
        assert replay.start_ns[replay.possible].tolist() == [START] * possible

    def test_late_packets_do_not_trip_where_they_come_one_by_one(self) -> None:
        """The watchdog runs from the last receipt and knows no deadline."""
        assert not self.replay([200 * MS] * 50).possible.any()

    def test_counting_starts_with_the_first_receipt(self) -> None:
        assert not self.replay([None] * 10 + [0] * 10).possible.any()

    def test_packets_lost_at_the_end_are_a_gap(self) -> None:
        replay = self.replay([MS] * 10 + [None] * 5)
        assert np.count_nonzero(replay.certain) == 1
        assert replay.longest_ns == 50 * MS

    def test_a_dead_network_trips(self) -> None:
        assert np.count_nonzero(self.replay([None] * 10).certain) == 1

    def test_nothing_offered_is_nothing_seen(self) -> None:
        assert self.replay([]).longest_ns is None

    @given(DELAYS, st.integers(1, 60 * MS), st.integers(0, 10 * MS))
    def test_agrees_with_a_watchdog_that_runs(
        self, delays: list[int | None], time_out: int, tick: int
    ) -> None:
        samples = flow(delays)
        replay = metrics.watchdog(samples, TIMING, watchdog_ns=time_out, tick_ns=tick)
        came = [(row, d) for row, d in enumerate(delays) if d is not None]
        if not came:
            return
        times = sorted(START + row * 10 * MS + d for row, d in came)
        end = START + (len(delays) - 1) * 10 * MS + min(d for _, d in came)
        trips = 0
        armed = times[0]
        for now in [*times[1:], max(end, times[-1])]:
            trips += now > armed + time_out + tick
            armed = now
        assert np.count_nonzero(replay.certain) == trips
        assert (replay.possible | ~replay.certain).all()


class TestFrames:
    def test_a_frame_lasts_from_its_first_packet_in_to_its_last_out(self) -> None:
        samples = flow([5, 30 * MS, 2, 1, None, 7], frame=[0, 0, 0, 1, 1, 2])
        frames = metrics.frames(samples, TIMING)
        assert frames.frame.tolist() == [0, 1, 2]
        assert frames.complete.tolist() == [True, False, True]
        assert known(frames.delay_ns) == [40 * MS, None, 7]
        assert frames.size.tolist() == [300, 200, 100]
        assert frames.first_ns.tolist() == [START, START + 30 * MS, START + 50 * MS]

    def test_a_stamp_missing_is_not_a_packet_missing(self) -> None:
        samples = flow([5, 5, 5, 5, 5, 5], frame=[0, 0, 1, 1, 2, 2])
        samples["rx_kernel_ns"][1] = NOT_TAKEN
        samples["tx_kernel_ns"][3] = NOT_TAKEN  # not the first of its frame: not needed
        samples["tx_kernel_ns"][4] = NOT_TAKEN
        frames = metrics.frames(samples, TIMING)
        assert frames.complete.tolist() == [True, True, True]
        assert known(frames.delay_ns) == [None, 10 * MS + 5, None]

    def test_nothing_has_no_frames(self) -> None:
        assert metrics.frames(flow([]), TIMING).frame.size == 0

    @given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 99)), max_size=30))
    def test_agrees_with_a_frame_by_frame_count(
        self, packets: list[tuple[int, int | None]]
    ) -> None:
        packets.sort(key=lambda packet: packet[0])
        samples = flow([d for _, d in packets], 7, [index for index, _ in packets])
        frames = metrics.frames(samples, TIMING)
        by_frame: dict[int, list[tuple[int, int | None]]] = {}
        for row, (index, delay) in enumerate(packets):
            by_frame.setdefault(index, []).append((row * 7, delay))
        expected = []
        for members in by_frame.values():
            out = [sent + delay for sent, delay in members if delay is not None]
            whole = len(out) == len(members)
            expected.append(max(out) - members[0][0] if whole else None)
        assert frames.frame.tolist() == list(by_frame)
        assert known(frames.delay_ns) == expected


class TestGoodput:
    def video(self, frames: int, packets: int = 10) -> Table:
        """Frames every 40 ms, each a burst of packets 0.1 ms apart, all through in 5 ms."""
        samples = flow([5 * MS] * (frames * packets))
        samples["frame"] = np.repeat(np.arange(frames), packets)
        offset = np.arange(frames * packets) % packets * (MS // 10)
        samples["intended_ns"] = START + samples["frame"] * np.int64(40 * MS) + offset
        samples["tx_kernel_ns"] = samples["intended_ns"]
        samples["rx_kernel_ns"] = samples["tx_kernel_ns"] + 5 * MS
        return samples

    def test_a_lossless_network_delivers_everything_in_every_window(self) -> None:
        goodput = metrics.goodput(self.video(100), TIMING, window_ns=1_000 * MS)
        assert goodput.share.tolist() == [1.0] * 76
        assert set(goodput.offered.tolist()) == {25_000}
        assert goodput.growth is not None
        assert goodput.growth_high is not None
        assert abs(goodput.growth) < 1e-9
        assert goodput.growth_high < 1e-3

    def test_jitter_is_neither_loss_nor_growth(self) -> None:
        samples = self.video(400)
        rng = np.random.default_rng(2)
        samples["rx_kernel_ns"] += rng.integers(0, 60 * MS, samples.size)
        goodput = metrics.goodput(samples, TIMING, window_ns=1_000 * MS)
        assert goodput.share.min() == 1.0
        assert goodput.growth_low is not None
        assert goodput.growth_low <= 0

    def test_a_lost_packet_shows_in_each_window_that_holds_it(self) -> None:
        samples = self.video(100)
        samples["copies"][505] = 0
        samples["rx_kernel_ns"][505] = NOT_TAKEN
        goodput = metrics.goodput(samples, TIMING, window_ns=400 * MS)
        assert np.count_nonzero(goodput.share < 1) == 10
        assert goodput.share.min() == pytest.approx(0.99)

    def test_a_backlog_that_grows_is_seen_though_nothing_is_lost(self) -> None:
        """Delivered 2 % slower than offered: each packet comes later than the one before."""
        samples = self.video(400)
        samples["rx_kernel_ns"] += (np.arange(samples.size) * 4 * MS * 0.02).astype(np.int64)
        goodput = metrics.goodput(samples, TIMING, window_ns=1_000 * MS)
        assert goodput.share.min() == 1.0
        assert goodput.growth == pytest.approx(0.02, rel=0.15)
        assert goodput.growth_low is not None
        assert goodput.growth_low > 0.01

    def test_a_packet_that_the_kernel_refused_was_not_offered(self) -> None:
        samples = self.video(50)
        samples["flags"][7] = SEND_FAILED
        samples["copies"][7] = 0
        samples["rx_kernel_ns"][7] = NOT_TAKEN
        goodput = metrics.goodput(samples, TIMING, window_ns=400 * MS)
        assert goodput.share.min() == 1.0
        assert goodput.offered.min() == 9_900

    def test_a_flow_shorter_than_the_window_is_one_window(self) -> None:
        goodput = metrics.goodput(self.video(2), TIMING, window_ns=1_000 * MS)
        assert goodput.share.tolist() == [1.0]
        assert goodput.growth is None
        assert metrics.goodput(flow([]), TIMING, window_ns=MS).share.size == 0
