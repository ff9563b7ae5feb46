"""Schedules: absolute offsets, phases that cover the period, frames cut into packets."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hil.samples.table import PLANNED
from hil.targets import Burst, OnOff, Periodic, Poisson, Replay, Video
from hil.targets.traffic import phases_ns

MS = 1_000_000


def periodic(**fields: object) -> Periodic:
    return Periodic(**{"size": "255 B", "interval": "10 ms", **fields})


@given(
    interval=st.integers(1, 50).map(lambda ms: ms * MS // 2),
    period=st.integers(1, 80).map(lambda ms: ms * MS // 4),
    strata=st.integers(1, 40),
    seed=st.integers(0, 2**32),
)
def test_the_strata_cover_the_whole_period_evenly(
    interval: int, period: int, strata: int, seed: int
) -> None:
    """Grid and strata together meet at least so many phases, none further apart than its part."""
    starts = phases_ns(interval, period, strata, seed)
    own = np.arange(period // math.gcd(interval, period)) * interval
    met = np.unique((starts[:, None] + own[None, :]) % period)
    assert len(met) >= min(strata, period)
    gaps = np.diff(np.append(met, met[0] + period))
    assert gaps.max() <= period / strata + 2
    assert (np.diff(starts) > 0).all()


def test_a_stratum_is_a_block_of_constant_phase() -> None:
    planned = periodic(count=1000).schedule(seed=3)
    assert planned.dtype == PLANNED
    phase = planned["offset_ns"] % (10 * MS)
    for stratum in range(10):
        inside = planned["stratum"] == stratum
        assert inside.sum() == 100
        assert len(np.unique(phase[inside])) == 1
    assert (np.diff(planned["offset_ns"]) >= 10 * MS).all(), "no step back, so no packet is early"
    assert np.diff(planned["offset_ns"]).max() == 11 * MS


def test_a_stratum_is_one_phase_though_the_grid_visits_several() -> None:
    """4 ms in a period of 10 ms: five phases by itself, ten with two offsets, each judged."""
    planned = periodic(size="100 B", interval="4 ms", count=1000).schedule(seed=3)
    phase = planned["offset_ns"] % (10 * MS)
    assert list(np.bincount(planned["stratum"])) == [100] * 10
    for stratum in range(10):
        assert len(np.unique(phase[planned["stratum"] == stratum])) == 1


def test_a_long_run_does_not_drift() -> None:
    """The last of three million packets is on the grid of the first, to the nanosecond."""
    planned = periodic(strata=1).schedule(3_000_000)
    assert planned["offset_ns"][-1] - planned["offset_ns"][0] == 2_999_999 * 10 * MS
    video = Video(rate="8 Mbit/s", fps=60, strata=1, packet_size="9000 B").schedule(60 * 600)
    first = video["offset_ns"][np.unique(video["frame"], return_index=True)[1]]
    assert first[-1] - first[0] == round((60 * 600 - 1) * 1e9 / 60)


def test_the_same_seed_gives_the_same_schedule() -> None:
    video = Video(rate="10 Mbit/s", fps=60, count=200)
    assert (video.schedule(seed=4) == video.schedule(seed=4)).all()
    assert not np.array_equal(video.schedule(seed=4)["size"], video.schedule(seed=5)["size"])


@given(frame=st.integers(1, 200_000), packet=st.integers(68, 1500), count=st.integers(1, 5))
def test_a_frame_is_cut_into_packets_that_carry_all_of_it(
    frame: int, packet: int, count: int
) -> None:
    traffic = Burst(frame_size=f"{frame} B", packet_size=f"{packet} B", interval="500 ms")
    planned = traffic.schedule(count)
    carried = planned["size"].astype(int) - 28
    per_frame = np.bincount(planned["frame"], carried)
    assert (per_frame >= frame).all()
    assert (per_frame <= frame + 40).all(), "only the room for the probe is added to the last one"
    assert (np.diff(planned["frame"].astype(int)) >= 0).all()
    assert list(planned["seq"]) == list(range(len(planned)))


def test_pacing_spreads_a_frame_and_back_to_back_does_not() -> None:
    paced = Burst(
        frame_size="13720 B", packet_size="1400 B", interval="10 ms", pacing="400 Mbit/s", strata=1
    )
    offsets = paced.schedule(1)["offset_ns"]
    assert list(np.diff(offsets)) == [28_000] * 9
    together = paced.model_copy(update={"pacing_bps": None}).schedule(1)["offset_ns"]
    assert len(np.unique(together)) == 1


def test_video_frames_vary_as_the_model_of_the_standard() -> None:
    """Standard deviation 10.5 % of the mean, nothing below half or above one and a half of it."""
    video = Video(rate="10 Mbit/s", fps=60, packet_size="1400 B")
    planned = video.schedule(20_000, seed=1)
    sizes = np.bincount(planned["frame"], planned["size"].astype(int) - 28)
    mean = 10e6 / 8 / 60
    assert sizes.mean() == pytest.approx(mean, rel=0.005)
    assert sizes.std() == pytest.approx(0.105 * mean, rel=0.03)
    assert sizes.min() >= 0.5 * mean - 1
    assert sizes.max() <= 1.5 * mean + 40


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"size": "67 B"}, "no room for headers and probe"),
        ({"interval": "0 ms"}, "greater than 0"),
        ({"interval": "-5 ms"}, "greater than 0"),
        ({"interval": 10}, "needs a number and a unit"),
        ({"directions": []}, "at least 1 item"),
        ({"qos": {"mdbv": "255 B"}}, "`mdbv` and `an_pdb` belong together"),
        ({"sise": "255 B"}, "Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_offered_is_refused(fields: dict[str, object], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        periodic(**fields)


def test_a_frame_longer_than_its_interval_is_refused() -> None:
    with pytest.raises(ValidationError, match="longer than `interval` 100 ms"):
        Burst(frame_size="5 MB", interval="100 ms", pacing="100 Mbit/s")
    with pytest.raises(ValidationError, match="or 'back to back'"):
        Burst(frame_size="5 MB", interval="100 ms", pacing="at once")


def test_a_schedule_needs_to_know_how_much() -> None:
    with pytest.raises(ValueError, match="at least one packet or frame"):
        periodic().schedule()


def test_small_packets_fit_an_ethernet_frame_of_their_own() -> None:
    assert periodic(size="60 B", layer="ethernet").schedule(1)["size"][0] == 60


def test_random_arrivals_have_the_stated_mean_and_are_the_same_for_the_same_seed() -> None:
    """A Poisson process: mean and standard deviation of its gaps are equal; no phase favoured."""
    random = Poisson(size="100 B", interval="1 ms")
    planned = random.schedule(20_000, seed=5)
    gaps = np.diff(planned["offset_ns"])
    assert planned["offset_ns"][0] == 0
    assert (gaps >= 0).all()
    assert gaps.mean() == pytest.approx(MS, rel=0.05)
    assert gaps.std() == pytest.approx(MS, rel=0.05)
    assert np.bincount(planned["stratum"]) == pytest.approx(2000, rel=0.15)
    assert (planned == random.schedule(20_000, seed=5)).all()
    assert (planned != random.schedule(20_000, seed=6)).any()


def test_a_machine_that_works_and_rests_keeps_both_spans() -> None:
    fields: dict[str, Any] = {"size": "100 B", "interval": "2 ms", "on": "9 ms", "off": "21 ms"}
    machine = OnOff(**fields, strata=1)
    offsets = machine.schedule(15)["offset_ns"]
    offsets = offsets - offsets[0]
    assert offsets.tolist() == [30 * MS * turn + 2 * MS * k for turn in range(3) for k in range(5)]
    assert machine.rate_bps == pytest.approx(5 * 800 / 0.030)
    drawn = OnOff(**fields, lengths="exponential").schedule(30_000, seed=1)["offset_ns"]
    gaps = np.diff(drawn)
    assert (gaps > 0).all()
    pauses = gaps[gaps != 2 * MS]
    assert len(gaps) / len(pauses) == pytest.approx(1 / (1 - math.exp(-2 / 9)), rel=0.05)


@pytest.fixture
def capture(tmp_path: Path) -> Path:
    """Four frames, 1, 3 and 2 ms apart, of 80, 60, 1514 and 200 B."""
    from scapy.layers.l2 import Ether
    from scapy.utils import PcapWriter

    path = tmp_path / "line.pcap"
    with PcapWriter(str(path), nano=True, linktype=1) as writer:
        for at_ms, size in ((0, 80), (1, 60), (4, 1514), (6, 200)):
            frame = Ether(bytes(12) + b"\x08\x00" + bytes(size - 14))
            frame.time = 1_700_000_000 + at_ms / 1000
            writer.write(frame)
    return path


def test_a_capture_is_replayed_with_its_own_gaps_and_sizes(capture: Path) -> None:
    planned = Replay(file=str(capture)).schedule(9)
    assert np.diff(planned["offset_ns"]) == pytest.approx(
        np.array([1, 3, 2, 2, 1, 3, 2, 2]) * MS, abs=1000
    ), "scapy writes times through a float; the repetition follows after the mean gap"
    assert planned["size"].tolist() == [68, 68, 1500, 186, 68, 68, 1500, 186, 68]
    framed = Replay(file=str(capture), layer="ethernet").schedule(4)
    assert framed["size"].tolist() == [80, 60, 1514, 200]


def test_a_capture_that_cannot_be_replayed_is_named(tmp_path: Path, capture: Path) -> None:
    text = tmp_path / "notes.pcap"
    text.write_text("no capture")
    empty = tmp_path / "empty.pcap"
    empty.write_bytes(capture.read_bytes()[:24])
    for path, says in (
        (tmp_path / "nothing.pcap", "No such file"),
        (text, "cannot be read as a capture"),
        (empty, "holds 0 packets"),
    ):
        with pytest.raises(ValidationError, match=says):
            Replay(file=str(path))
