"""What the referee and the readers of other tools' words make of what they are given."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from hil.errors import RigError
from hil.lab import peers
from hil.lab.benchmark import off_grid_ns
from hil.lab.rates import highest_lossless
from hil.traffic.port import Port

SECOND = 1_000_000_000
START = 1_700_000_000 * SECOND


@pytest.mark.parametrize("first_late_ns", [0, 30_000, 90_000])
def test_the_grid_is_found_wherever_it_lies(first_late_ns: int) -> None:
    times = START + np.arange(1001) * 100_000
    times += np.random.default_rng(5).permutation(np.arange(-1000, 1001, 2))
    times[0] += first_late_ns
    median, empty = off_grid_ns(times, 100_000)
    assert median == pytest.approx(500, abs=5)
    assert empty == 0


def test_empty_slots_are_seen_and_a_late_packet_is_none() -> None:
    times = np.delete(START + np.arange(500) * 100_000, [7, 8, 300])
    times[100] += 20_000
    median, empty = off_grid_ns(times, 100_000)
    assert (median, empty) == (0, 3)


def test_times_of_a_nanosecond_capture_are_read_and_a_torn_end_is_left_out() -> None:
    record = struct.pack("<4I", 1_700_000_000, 123_456_789, 6, 64) + b"abcdef"
    content = struct.pack("<I20x", 0xA1B23C4D) + record * 2 + record[:9]
    assert peers.pcap_times(content).tolist() == [START + 123_456_789] * 2


@pytest.mark.parametrize("content", [b"", struct.pack("<I20x", 0xA1B2C3D4)])
def test_a_capture_without_nanoseconds_is_refused(content: bytes) -> None:
    with pytest.raises(RigError, match="no nanosecond capture"):
        peers.pcap_times(content)


def test_the_median_is_read_from_what_sockperf_prints() -> None:
    said = (
        "sockperf: ---> percentile 75.000 =   54.986\nsockperf: ---> percentile 50.000 =   49.623"
    )
    assert peers.sockperf_median(said) == pytest.approx(49_623)
    with pytest.raises(RigError, match="no median"):
        peers.sockperf_median("sockperf: No messages were received")


def test_a_missing_tool_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda *_, **__: None)
    port = Port(
        name="p",
        interface="p",
        namespace=None,
        kind="ethernet",
        mac=bytes(6),
        mtu=1500,
        addresses=(),
    )
    for measure, word in (
        (
            lambda: peers.trafgen(port, port, 60, 1),
            "trafgen is not installed (package netsniff-ng)",
        ),
        (lambda: peers.irtt_round_trip(port, port, "::1", 1, 1), "irtt is not installed"),
        (lambda: peers.sockperf_round_trip(port, port, "::1", 1, 1), "sockperf is not installed"),
        (lambda: peers.dumpcap_captured(port, lambda: None), "dumpcap is not installed"),
    ):
        with pytest.raises(peers.NotInstalled) as missing:
            measure()
        assert str(missing.value).startswith(f"NOT RUN: {word}")


def test_the_highest_rate_without_loss_is_searched_for_and_the_sender_is_named_as_limit() -> None:
    asked: list[int] = []

    def loses_above(limit: int, most: int) -> tuple[float, bool]:
        def trial(rate: int) -> tuple[float, bool]:
            asked.append(rate)
            reached = min(rate, most)
            return float(reached), reached <= limit

        return highest_lossless(trial)

    best, sender = loses_above(limit=10**6, most=700_000)
    assert (best, sender) == (700_000, True)
    assert len(asked) == 1, "flat out and nothing lost: there is nothing to search"
    best, sender = loses_above(limit=400_000, most=2 * 10**6)
    assert not sender
    assert 300_000 < best <= 400_000
    with pytest.raises(RigError, match="lost at each rate"):
        loses_above(limit=0, most=10**6)
