"""The cell as arithmetic: delays, order, sharing and repeatability of the slot-level model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hil.testbed import CellConfig, RadioConfig
from hil.virtual.cell import LAN_NS, OUTCOME, Cell, Site
from hil.virtual.cell_link import (
    EXPIRED,
    NO_SESSION,
    ORDINARY,
    QUEUE_FULL,
    RADIO_LOSS,
    URGENT,
    VIDEO,
)
from hil.virtual.radio import THERMAL_DBM, Radio

MS: Final = 1_000_000
CPE0, CPE1, EDGE, CLOUD, BESIDE_CPE0 = range(5)
SITES: Final = (Site(0), Site(1), Site(None), Site(None, cloud=True), Site(0))


class Steady:
    """A radio that does not vary."""

    def __init__(self, snr_db: float = 40.0, *, down_from: int | None = None) -> None:
        self._snr_db = snr_db
        self._down_from = down_from

    def snr_db(self, cpe: int, t_ns: int) -> float:
        return self._snr_db

    def up(self, cpe: int, t_ns: int) -> bool:
        return self._down_from is None or t_ns < self._down_from


class Varying(Steady):
    """The default world's radio, looked up once a millisecond."""

    def __init__(self, attenuation_db: float = 0.0, seed: int = 5) -> None:
        super().__init__()
        self._config = RadioConfig()
        self._radio = Radio(self._config, seed)
        self._attenuation_db = attenuation_db
        self._known: dict[tuple[int, int], NDArray[np.float64]] = {}

    def snr_db(self, cpe: int, t_ns: int) -> float:
        second, step = divmod(t_ns // MS, 1000)
        if (cpe, second) not in self._known:
            times = (second * 1000 + np.arange(1000)) * MS
            level = self._radio.rsrp_dbm(cpe, times) + self._radio.fading_db(cpe, times)
            self._known[cpe, second] = level - THERMAL_DBM - self._config.noise_figure_db
        return float(self._known[cpe, second][step]) - self._attenuation_db


@dataclass(frozen=True)
class Stream:
    """Packets of one kind from one site to another."""

    source: int
    to: int
    kind: int
    size: int
    at_ns: NDArray[np.int64]


def periodic(source: int, to: int, kind: int, size: int, interval_ns: int, count: int) -> Stream:
    return Stream(source, to, kind, size, np.arange(count, dtype=np.int64) * interval_ns)


def run(cell: Cell, streams: Sequence[Stream], steps: Sequence[int]) -> list[NDArray[Any]]:
    """Offer streams up to each step in turn; per stream the outcome of each packet, by number."""
    first = np.cumsum([0, *(len(each.at_ns) for each in streams)])
    rows = np.zeros(first[-1], OUTCOME)
    fates = np.zeros(first[-1], np.int64)
    before = -1
    for step in steps:
        for number, each in enumerate(streams):
            new = np.flatnonzero((each.at_ns > before) & (each.at_ns <= step))
            if len(new):
                late = cell.offer(
                    each.source,
                    np.full(len(new), each.to),
                    at_ns=each.at_ns[new],
                    size=np.full(len(new), each.size),
                    kind=np.full(len(new), each.kind),
                    tags=first[number] + new,
                )
                assert not late.any()
        before = step
        outcome = cell.advance(step)
        rows[outcome["tag"]] = outcome
        np.add.at(fates, outcome["tag"], 1)
    assert (fates == 1).all(), "each packet has exactly one fate"
    assert not cell.busy
    return np.split(rows, first[1:-1])


def steps_to(end_ns: int, step_ns: int = MS) -> range:
    return range(0, end_ns + step_ns, step_ns)


def make(signal: Steady | None = None, config: CellConfig | None = None, seed: int = 1) -> Cell:
    return Cell(config or CellConfig(), signal or Steady(), SITES, seed=seed, capacity=1 << 18)


def delays(stream: Stream, rows: NDArray[Any]) -> NDArray[np.int64]:
    released = rows["reason"] == 0
    return np.asarray(rows["at_ns"][released] - stream.at_ns[released])


def bounds(pattern: str, kinds: str, processing_ns: int, core_ns: int) -> tuple[int, int]:
    """Least and most delay of a packet that goes in the next slot of its direction.

    Processing before the slot and after it, the slot itself, and the longest wait for one.
    """
    gaps = "".join("1" if each in kinds else "0" for each in pattern * 2).split("1")
    wait = max(len(gap) for gap in gaps[1:-1])
    least = processing_ns + core_ns + MS // 2
    return least, least + (wait + 1) * MS // 2


@pytest.mark.parametrize("pattern", ["DSUUU", "DDDSU", "DDSUU", "DU"])
@pytest.mark.parametrize("source", [CPE0, EDGE])
def test_the_delay_without_errors_is_processing_plus_wait_plus_slot(
    pattern: str, source: int
) -> None:
    config = CellConfig(pattern=pattern)
    stream = periodic(source, EDGE if source == CPE0 else CPE0, URGENT, 255, 10_017_003, 400)
    (rows,) = run(make(config=config), [stream], steps_to(5_000 * MS))
    delay = delays(stream, rows)
    processing = config.gnb_processing_ns + config.ue_processing_ns
    least, most = bounds(pattern, "U" if source == CPE0 else "DS", processing, config.core_delay_ns)
    assert len(delay) == 400
    assert least <= delay.min() < least + MS // 20
    assert most - MS // 20 < delay.max() <= most


def test_asking_for_a_grant_costs_several_slots_more_than_a_configured_grant() -> None:
    urgent = periodic(CPE0, EDGE, URGENT, 255, 10_017_003, 400)
    ordinary = periodic(CPE1, EDGE, ORDINARY, 255, 10_017_003, 400)
    first, second = run(make(), [urgent, ordinary], steps_to(5_000 * MS))
    config = CellConfig()
    # Request in a U slot, its handling, the grant in a D or S slot, k2 slots to the data.
    extra = (config.gnb_slots + config.k2) * config.slot_ns
    assert delays(ordinary, second).min() >= delays(urgent, first).min()
    assert np.median(delays(ordinary, second)) >= np.median(delays(urgent, first)) + extra
    assert delays(ordinary, second).max() <= delays(urgent, first).max() + 3 * MS


def test_without_a_configured_grant_urgent_packets_have_to_ask_too() -> None:
    config = CellConfig().model_copy(update={"configured_grant_bytes": 0})
    stream = periodic(CPE0, EDGE, URGENT, 255, 10_017_003, 200)
    (asked,) = run(make(config=config), [stream], steps_to(3_000 * MS))
    (given_,) = run(make(), [stream], steps_to(3_000 * MS))
    assert np.median(delays(stream, asked)) > np.median(delays(stream, given_)) + MS


def test_the_way_to_the_cloud_is_longer_by_the_backhaul_and_between_cpes_twice_the_air() -> None:
    config = CellConfig()
    to_edge = periodic(CPE0, EDGE, URGENT, 255, 10_017_003, 200)
    to_cloud = periodic(CPE0, CLOUD, URGENT, 255, 10_017_003, 200)
    from_cloud = periodic(CLOUD, CPE0, URGENT, 255, 10_017_003, 200)
    across = periodic(CPE0, CPE1, URGENT, 255, 10_017_003, 200)
    beside = periodic(CPE0, BESIDE_CPE0, ORDINARY, 255, 10_017_003, 200)
    beyond = periodic(EDGE, CLOUD, ORDINARY, 255, 10_017_003, 200)
    streams = [to_edge, to_cloud, from_cloud, across, beside, beyond]
    rows = run(make(), streams, steps_to(3_000 * MS))
    edge, cloud, down, other, lan, wire = (
        delays(stream, part) for stream, part in zip(streams, rows, strict=True)
    )
    assert np.median(cloud - edge) == config.backhaul_delay_ns
    assert down.min() >= config.backhaul_delay_ns + config.core_delay_ns
    assert other.min() >= 2 * edge.min()
    assert (lan == LAN_NS).all()
    assert (wire == config.backhaul_delay_ns + LAN_NS).all()
    assert (rows[4]["slot"] == -1).all()


def test_n3_is_crossed_between_the_radio_and_the_core_and_only_by_what_gets_there() -> None:
    config = CellConfig()
    up = periodic(CPE0, EDGE, URGENT, 255, 10_017_003, 50)
    far = periodic(CLOUD, CPE0, URGENT, 255, 10_017_003, 50)
    beside = periodic(CPE0, BESIDE_CPE0, ORDINARY, 255, 10_017_003, 50)
    rows = run(make(), [up, far, beside], steps_to(1_000 * MS))
    assert (rows[0]["at_ns"] - rows[0]["n3_ns"] == config.core_delay_ns).all()
    before = config.backhaul_delay_ns + config.core_delay_ns
    assert (rows[1]["n3_ns"] - far.at_ns == before).all()
    assert (rows[2]["n3_ns"] == 0).all()

    dark = Steady(down_from=0)
    lost_up, lost_down = run(make(dark), [up, far], steps_to(1_000 * MS))
    assert (lost_up["reason"] == NO_SESSION).all()
    assert (lost_up["n3_ns"] == 0).all(), "lost on the radio, before N3"
    assert (lost_down["n3_ns"] - far.at_ns == before).all(), "lost on the radio, behind N3"


def test_between_two_cpes_n3_is_crossed_twice() -> None:
    cell = make()
    across = periodic(CPE0, CPE1, URGENT, 255, 10_017_003, 1)
    cell.offer(
        CPE0,
        np.array([CPE1]),
        at_ns=across.at_ns,
        size=np.array([255]),
        kind=np.array([URGENT]),
        tags=np.array([7]),
    )
    found = np.concatenate([cell.advance(step) for step in range(0, 50 * MS, MS)])
    ((tags, up_ns),) = cell.turned()
    assert (tags.tolist(), cell.turned()) == ([7], [])
    assert found["n3_ns"].tolist() == [up_ns]
    assert found["at_ns"][0] > up_ns + cell.turn_ns == up_ns + 2 * CellConfig().core_delay_ns


arrivals = st.lists(
    st.tuples(
        st.integers(0, 60 * MS),
        st.sampled_from([(CPE0, EDGE), (EDGE, CPE0), (CPE0, CPE1), (CLOUD, CPE1), (CPE1, CLOUD)]),
        st.sampled_from([URGENT, VIDEO, ORDINARY]),
        st.integers(60, 9000),
    ),
    min_size=1,
    max_size=60,
)


@settings(max_examples=60, deadline=None)
@given(
    packets=arrivals,
    cuts=st.lists(st.integers(0, 90 * MS), max_size=40),
    attenuation=st.sampled_from([0.0, 22.0, 34.0]),
)
def test_releases_depend_on_the_arrivals_and_not_on_how_they_were_offered(
    packets: list[tuple[int, tuple[int, int], int, int]], cuts: list[int], attenuation: float
) -> None:
    packets = sorted(packets)
    streams = [
        Stream(way[0], way[1], kind, size, np.array([at_ns], np.int64))
        for at_ns, way, kind, size in packets
    ]
    end = 4_000 * MS
    regular = run(make(Varying(attenuation)), streams, [*range(0, 91 * MS, MS), end])
    odd = run(make(Varying(attenuation)), streams, [*sorted(cuts), 90 * MS, end])
    assert [part.tolist() for part in regular] == [part.tolist() for part in odd]


@settings(max_examples=30, deadline=None)
@given(packets=arrivals, attenuation=st.sampled_from([0.0, 30.0]))
def test_packets_of_one_class_stay_in_order_also_across_retransmissions(
    packets: list[tuple[int, tuple[int, int], int, int]], attenuation: float
) -> None:
    packets = sorted(packets)
    streams = [
        Stream(way[0], way[1], kind, size, np.array([at_ns], np.int64))
        for at_ns, way, kind, size in packets
    ]
    rows = run(make(Varying(attenuation)), streams, [*range(0, 91 * MS, MS), 4_000 * MS])
    last: dict[tuple[int, int, int], int] = {}
    for stream, row in zip(streams, rows, strict=True):
        if row["reason"][0] == 0:
            key = (stream.source, stream.to, stream.kind)
            assert row["at_ns"][0] >= last.get(key, 0)
            assert row["at_ns"][0] > stream.at_ns[0]
            last[key] = int(row["at_ns"][0])


@pytest.mark.parametrize("uplink", [True, False])
def test_overload_in_the_ordinary_class_leaves_the_urgent_one_alone(uplink: bool) -> None:
    def way(cpe: int) -> tuple[int, int]:
        return (cpe, EDGE) if uplink else (EDGE, cpe)

    victim = periodic(*way(CPE0), URGENT, 255, 4_003_001, 250)
    video = periodic(*way(CPE1), VIDEO, 1400, 400_000, 2500)
    flood = [periodic(*way(cpe), ORDINARY, 1400, 14_000, 71_000) for cpe in (CPE0, CPE1)]
    alone, _ = run(make(Varying()), [victim, video], steps_to(3_000 * MS))
    crowd = run(make(Varying()), [victim, video, *flood], steps_to(3_000 * MS))
    assert (crowd[0]["reason"] == 0).all()
    assert delays(victim, crowd[0]).max() <= delays(victim, alone).max() + MS // 2
    assert (crowd[1]["reason"] == 0).all()
    assert np.median(delays(video, crowd[1])) < 4 * MS
    for stream, rows in zip(flood, crowd[2:], strict=True):
        assert set(rows["reason"].tolist()) == {0, QUEUE_FULL}
        assert np.median(delays(stream, rows)) > 50 * MS
    # The two CPEs share what is left: neither gets less than a third of it.
    through = [int(np.count_nonzero(rows["reason"] == 0)) for rows in crowd[2:]]
    assert min(through) > sum(through) / 3


def test_an_image_of_five_megapixels_is_through_well_within_its_limit_ten_times_of_ten() -> None:
    cell = make(Varying())
    images = [
        Stream(CPE0, EDGE, VIDEO, 1400, number * 500 * MS + np.arange(3582) * 28_000)
        for number in range(10)
    ]
    for image, rows in zip(images, run(cell, images, steps_to(5_500 * MS)), strict=True):
        assert (rows["reason"] == 0).all()
        assert rows["at_ns"].max() - image.at_ns[0] < 150 * MS


def test_a_healthy_world_is_twenty_times_better_than_remote_io_asks() -> None:
    up = periodic(CPE0, EDGE, URGENT, 255, 3_000_001, 10_000)
    down = periodic(EDGE, CPE0, URGENT, 255, 3_000_001, 10_000)
    # Late or lost in at most 1 of 200,000; here none of 20,000, by a wide margin.
    for stream, rows in zip(
        (up, down), run(make(Varying()), [up, down], steps_to(30_500 * MS, 5 * MS)), strict=True
    ):
        assert len(delays(stream, rows)) == 10_000
        assert delays(stream, rows).max() < 7 * MS


def test_retransmissions_happen_and_cost_their_round() -> None:
    stream = periodic(CPE0, EDGE, ORDINARY, 100, 4_000_037, 8000)
    (rows,) = run(make(Varying(20)), [stream], steps_to(32_500 * MS, 5 * MS))
    again = rows["transmissions"] > 1
    assert 0.001 < again.mean() < 0.2
    delay = rows["at_ns"] - stream.at_ns
    assert np.median(delay[again]) >= np.median(delay[~again]) + 2 * MS


def test_attenuation_takes_capacity_and_at_last_everything() -> None:
    def goodput(attenuation_db: float) -> float:
        flood = periodic(CPE0, EDGE, ORDINARY, 1400, 20_000, 25_000)
        (rows,) = run(make(Varying(attenuation_db)), [flood], steps_to(6_000 * MS))
        through = rows["reason"] == 0
        if not through.any():
            return 0.0
        span = rows["at_ns"][through].max() - flood.at_ns[0]
        return float(through.sum() * 1400 * 8 * 1e9 / span)

    carried = [goodput(each) for each in (0, 12, 24, 60)]
    assert carried[0] > carried[1] > carried[2] > carried[3] == 0.0
    assert carried[0] > 300e6


def test_out_of_reach_packets_grow_too_old_and_are_dropped() -> None:
    stream = periodic(CPE0, EDGE, URGENT, 255, 10 * MS, 100)
    (rows,) = run(make(Steady(-30.0)), [stream], steps_to(3_000 * MS))
    assert set(rows["reason"].tolist()) == {EXPIRED}


def test_a_block_that_is_given_up_takes_its_packets_with_it() -> None:
    class Falling(Steady):
        """The report says 40 dB, the channel is gone when the block is sent."""

        def snr_db(self, cpe: int, t_ns: int) -> float:
            return 40.0 if t_ns < 100 * MS else -40.0

    stream = periodic(CPE0, EDGE, URGENT, 255, MS, 110)
    (rows,) = run(make(Falling()), [stream], steps_to(3_000 * MS))
    assert (rows["reason"][:95] == 0).all()
    assert RADIO_LOSS in rows["reason"][95:]
    assert not (rows["reason"][105:] == 0).any()


def test_without_a_session_nothing_passes_and_what_was_queued_is_lost() -> None:
    up = periodic(CPE0, EDGE, ORDINARY, 255, MS, 200)
    down = periodic(EDGE, CPE0, ORDINARY, 255, MS, 200)
    for rows in run(make(Steady(down_from=100 * MS)), [up, down], steps_to(1_000 * MS)):
        assert (rows["reason"][:90] == 0).all()
        assert (rows["reason"][110:] == NO_SESSION).all()


def test_frames_of_one_instant_leave_at_line_rate() -> None:
    config = CellConfig()
    burst = Stream(EDGE, CPE0, ORDINARY, 1400, np.zeros(20, np.int64))
    (rows,) = run(make(), [burst], steps_to(100 * MS))
    gaps = np.diff(rows["at_ns"])
    wire_ns = (1400 + 24) * 8_000_000_000 // config.line_rate_bps
    assert set(gaps.tolist()) == {wire_ns}


def test_a_packet_offered_after_its_time_was_decided_is_said_to_be_late() -> None:
    cell = make()
    cell.advance(10 * MS)
    late = cell.offer(
        CPE0,
        np.array([EDGE, EDGE]),
        at_ns=np.array([9 * MS, 11 * MS]),
        size=np.array([100, 100]),
        kind=np.array([URGENT, URGENT]),
        tags=np.array([0, 1]),
    )
    assert late.tolist() == [True, False]
    assert cell.late_in == 1
    rows = cell.advance(50 * MS)
    assert (rows["at_ns"] > 10 * MS).all()
