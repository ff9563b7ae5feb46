"""Schedules: absolute offsets, phases that cover the period, frames cut into packets."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from hil.samples.table import PLANNED
from hil.targets import Burst, Periodic, Video
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
