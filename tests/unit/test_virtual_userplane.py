"""The parts of the user plane that need no interface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hil.testbed import CellConfig, RadioConfig
from hil.virtual.cell_channel import (
    EFFICIENCIES,
    Channel,
    error_share,
    resource_blocks,
    threshold_db,
)
from hil.virtual.cell_link import ORDINARY, URGENT, VIDEO
from hil.virtual.coupling import Coupling
from hil.virtual.radio import Radio
from hil.virtual.userplane_clock import TAI_MINUS_UTC_NS, CellClock
from hil.virtual.userplane_frames import EVERYWHERE, NOWHERE, ProbeFinder, Switch, kinds
from hil.virtual.userplane_signal import WorldSignal
from hil.virtual.userplane_store import HEAD, Store
from hil.virtual.userplane_truth import ROW, TruthLog, read
from hil.wire import probe, trailer

EPOCH = 1_790_000_000 * 10**9
MAC_A, MAC_B = bytes.fromhex("0248494c0000"), bytes.fromhex("0248494c0001")


@given(
    since_ns=st.integers(-(10**12), 30 * 86_400 * 10**9),
    drift_ppb=st.integers(-100_000, 100_000),
)
def test_the_clock_of_the_cell_drifts_and_can_be_mapped_back(since_ns: int, drift_ppb: int) -> None:
    clock = CellClock(EPOCH, drift_ppb)
    here = EPOCH + since_ns
    there = clock.of_host(here)
    drifted = there - TAI_MINUS_UTC_NS - here
    assert drifted == pytest.approx(since_ns * drift_ppb / 1e9, abs=2)
    assert abs(clock.to_host(there) - here) <= 2


def test_the_clock_takes_arrays_too() -> None:
    clock = CellClock(EPOCH, 3000)
    times = EPOCH + np.arange(5) * 10**9
    assert clock.of_host(times).tolist() == [clock.of_host(int(t)) for t in times]


def frame(ethertype: bytes, rest: bytes, target: bytes = MAC_B, source: bytes = MAC_A) -> bytes:
    return target + source + ethertype + rest


def heads(*frames: bytes) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    rows = np.zeros((len(frames), HEAD), np.uint8)
    for row, each in zip(rows, frames, strict=True):
        row[: len(each)] = np.frombuffer(each, np.uint8)
    return rows, np.array([len(each) for each in frames])


def ipv4(dscp: int, payload: bytes = b"", protocol: int = 17) -> bytes:
    header = bytes([0x45, dscp << 2, 0, 0, 0, 0, 0, 0, 64, protocol]) + bytes(10)
    return frame(b"\x08\x00", header + bytes(8) + payload)


def test_urgency_is_read_from_dscp_and_from_the_vlan_priority() -> None:
    ef6 = frame(b"\x86\xdd", bytes([0x6B, 0x80]) + bytes(40))
    tagged = [frame(b"\x81\x00", bytes([p << 5, 1]) + b"\x88\xb5" + bytes(50)) for p in range(8)]
    rows, _ = heads(ipv4(46), ipv4(34), ipv4(0), ef6, *tagged, frame(b"\x88\xb5", bytes(60)))
    expected = [URGENT, VIDEO, ORDINARY, URGENT, *[ORDINARY] * 4, VIDEO, VIDEO, URGENT, URGENT]
    assert kinds(rows).tolist() == [*expected, ORDINARY]
    assert kinds(rows[:3]).tolist() == [URGENT, VIDEO, ORDINARY]


def test_probes_are_found_wherever_the_codec_finds_them_and_named_right() -> None:
    numbers = probe.encode(run=2**63 + 5, flow=7, seq=np.arange(6), intended_ns=1)
    body = [bytes(row) for row in numbers]
    mixed = [
        ipv4(46, body[0]),
        frame(b"\x88\xb5", body[1]),
        ipv4(46, b"no probe" * 6),
        frame(b"\x81\x00", b"\xe0\x01\x88\xb5" + body[2]),
        ipv4(0, bytes(40), protocol=6),
    ]
    finder = ProbeFinder()
    for block in (mixed, [ipv4(46, each) for each in body], mixed[::-1], mixed[:1], mixed[2:3]):
        rows, size = heads(*block)
        found, named = finder(rows, size)
        assert found.tolist() == (probe.offset(rows, size) >= 0).tolist()
        assert {int(n["run"]) for n in named[found]} <= {2**63 + 5}
        assert {int(n["flow"]) for n in named[found]} <= {7}
        for row, start, number in zip(rows, probe.offset(rows, size), named, strict=True):
            if start >= 0:
                assert probe.decode(row[None, start:])["seq"][0] == number["seq"]


def test_a_frame_cut_short_inside_its_probe_is_no_probe() -> None:
    body = bytes(probe.encode(1, 1, np.arange(1), 0)[0])
    finder = ProbeFinder()
    rows, size = heads(ipv4(46, body))
    assert finder(rows, size)[0].tolist() == [True]
    assert finder(rows, size - 1)[0].tolist() == [False]


def test_the_switch_sends_frames_to_where_their_address_was_seen() -> None:
    switch = Switch({"02:48:49:4c:00:00": 0, "02:48:49:4c:00:01": 1})
    stranger = bytes.fromhex("0a0000000001")
    to_b, to_stranger = (frame(b"\x08\x00", bytes(50), target=t) for t in (MAC_B, stranger))
    group = frame(b"\x08\x00", bytes(50), target=b"\xff" * 6)
    rows, _ = heads(to_b, to_stranger, group)
    assert switch.ways(rows, 0).tolist() == [1, EVERYWHERE, EVERYWHERE]
    assert switch.ways(rows[:1], 1).tolist() == [NOWHERE]
    switch.learn(heads(frame(b"\x08\x00", bytes(50), source=stranger))[0], 3)
    assert switch.ways(rows, 0).tolist() == [1, 3, EVERYWHERE]
    switch.learn(heads(frame(b"\x08\x00", bytes(50), source=stranger))[0], 2)
    assert switch.ways(rows[1:2], 0).tolist() == [2]


def test_a_full_store_hands_out_what_it_has_and_takes_rows_back() -> None:
    store = Store(8)
    first = store.take(6)
    assert store.take(6).tolist() == [6, 7]
    assert store.held == 8
    store.give(first[:3])
    assert sorted(store.take(6).tolist()) == sorted(first[:3].tolist())


@pytest.mark.parametrize("count", [1, 40])
def test_the_stated_lateness_is_sealed_into_the_trailer(count: int) -> None:
    store = Store(64)
    tags = store.take(count)
    store.set_size(tags, np.full(count, 100))
    store.set_trailers(tags, trailer.encode(np.arange(count) + 10**15, 5, 0, np.arange(count)))
    store.set_lateness(tags, np.arange(count) * 1000 + 7)
    read_back = trailer.decode(store.trailers[tags].view(np.uint8).reshape(count, -1))
    assert read_back.good.all()
    assert read_back.lateness_ns.tolist() == [k * 1000 + 7 for k in range(count)]
    assert read_back.ingress_ns.tolist() == [k + 10**15 - 5 for k in range(count)]


@given(st.lists(st.integers(0, 30), max_size=20))
def test_the_truth_log_keeps_the_last_packets_in_order(lengths: list[int]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "truth"
        log = TruthLog.create(path, CellClock(EPOCH, 3000), rows=16)
        written = 0
        for length in lengths:
            rows = np.zeros(length, ROW)
            rows["seq"] = np.arange(written, written + length)
            log.append(rows)
            written += length
        kept, clock = read(path)
        assert log.count == written
        assert kept["seq"].tolist() == list(range(max(0, written - 16), written))
        assert clock == CellClock(EPOCH, 3000)
        since = max(0, written - 5)
        assert read(path, since)[0]["seq"].tolist() == list(range(since, written))


def test_a_foreign_file_is_no_truth_log(tmp_path: Path) -> None:
    (tmp_path / "truth").write_bytes(b"something else")
    with pytest.raises(ValueError, match="no truth log"):
        read(tmp_path / "truth")


def test_the_cell_sees_what_the_endpoints_do_from_the_time_they_do_it(tmp_path: Path) -> None:
    coupling = Coupling.create(tmp_path / "coupling", ["cpe1", "cpe2"])
    clock = CellClock(coupling.epoch_ns, 3000)
    config = RadioConfig()
    signal = WorldSignal(
        Radio(config, 1), config.noise_figure_db, coupling, clock, step_ns=2_500_000
    )
    at = [clock.of_host(coupling.epoch_ns) + k * 10**9 for k in range(4)]
    before = [signal.snr_db(cpe, t) for cpe in (0, 1) for t in at]
    assert not signal.up(0, at[0])
    signal.follow(at[1])
    coupling.set_session(0, True)
    coupling.set_attenuation(0, 20.0)
    signal.follow(at[3])
    coupling.set_powered(0, False)
    signal.follow(at[3] + 1)
    assert [signal.up(0, t) for t in at] == [False, True, True, False]
    assert [signal.up(1, t) for t in at] == [False] * 4
    assert signal.powered == [False, True]
    after = [signal.snr_db(cpe, t) for cpe in (0, 1) for t in at]
    assert np.subtract(before, after).round(6).tolist() == [0, 20, 20, 20, 0, 0, 0, 0]


@given(st.sampled_from(EFFICIENCIES), st.floats(-20, 40), st.floats(0.01, 3))
def test_more_signal_means_fewer_errors(efficiency: float, snr_db: float, more_db: float) -> None:
    assert error_share(efficiency, snr_db + more_db) <= error_share(efficiency, snr_db)
    assert error_share(efficiency, threshold_db(efficiency)) == pytest.approx(0.1, rel=1e-3)
    needed = threshold_db(efficiency, 1e-5)
    assert error_share(efficiency, needed) == pytest.approx(1e-5, rel=1e-2)


class Flat:
    """A radio of one level."""

    def __init__(self, snr_db: float) -> None:
        self._snr_db = snr_db

    def snr_db(self, cpe: int, t_ns: int) -> float:
        return self._snr_db

    def up(self, cpe: int, t_ns: int) -> bool:
        return True


@given(st.floats(-30, 60), st.floats(0, 20), st.booleans())
def test_more_signal_never_takes_capacity(snr_db: float, more_db: float, uplink: bool) -> None:
    low, high = (
        Channel(CellConfig(), Flat(level), uplink=uplink).state(0, 0)
        for level in (snr_db, snr_db + more_db)
    )
    assert high.ordinary.slot_bytes >= low.ordinary.slot_bytes
    assert high.robust.slot_bytes >= low.robust.slot_bytes
    if low.robust.slot_bytes:  # below that it carries nothing, and nothing is compared
        assert low.error(low.robust, 1) <= low.error(low.ordinary, 1) + 1e-12


def test_resource_blocks_are_those_of_the_standard() -> None:
    assert resource_blocks(CellConfig()) == 273
    wide = CellConfig().model_copy(update={"bandwidth_hz": 45_000_000})
    assert resource_blocks(wide) == 106
    slow = CellConfig().model_copy(update={"slot_ns": 1_000_000, "bandwidth_hz": 20_000_000})
    assert resource_blocks(slow) == 106


def test_peak_rates_are_near_those_of_the_standard_formula() -> None:
    state = Channel(CellConfig(), Flat(60.0), uplink=False).state(0, 0)
    # TS 38.306 4.1.2: 4 layers of 256QAM on 100 MHz are 2.34 Gbit/s in a slot; here 30 dB of SINR
    # shared by four layers allow 64QAM.
    per_second = state.ordinary.slot_bytes * 8 * 2000
    assert 1.2e9 < per_second < 2.34e9
