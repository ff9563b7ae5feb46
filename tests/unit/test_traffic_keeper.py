"""The capture file around violations: the frames as they came, readable by Scapy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scapy.layers.l2 import Dot1Q, Ether
from scapy.utils import PcapReader

from hil.samples.table import ARRIVED, blank
from hil.traffic.keeper import FrameKeeper
from hil.traffic.ring import Batch

START = 1_700_000_000_000_000_000
MS = 1_000_000
COUNT = 1000
LINK = bytes.fromhex("020000000002") + bytes.fromhex("020000000001") + b"\x88\xb5"


def arrivals(sequences: list[int], late: dict[int, int] | None = None) -> tuple[Batch, Any]:
    """The frames of some sequence numbers, 46 bytes behind the link header, and their rows."""
    numbers = np.array(sequences)
    delays = np.array([(late or {}).get(number, MS // 10) for number in sequences])
    came = START + numbers * MS + delays
    payload = np.zeros((len(numbers), 46), np.uint8)
    payload[:, :4] = numbers[:, None].astype(">u4").view(np.uint8).reshape(-1, 4)
    lengths = np.full(len(numbers), 46)
    link = np.tile(np.frombuffer(LINK, np.uint8), (len(numbers), 1))
    rows = blank(ARRIVED, len(numbers))
    rows["seq"], rows["rx_kernel_ns"] = numbers, came
    return Batch(payload, lengths, lengths, came, link=link), rows


def kept(path: Path) -> list[tuple[int, int]]:
    """Number and time of each frame in the file."""
    with PcapReader(str(path)) as file:
        found = [(packet, int(packet.time * 10**9)) for packet in file]
    assert all(packet[Ether].type == 0x88B5 for packet, _ in found)
    return [(int.from_bytes(bytes(packet[Ether].payload)[:4], "big"), at) for packet, at in found]


def keeper(path: Path) -> FrameKeeper:
    return FrameKeeper(path, {0: (np.arange(COUNT) * MS, 5 * MS)}, bare=False)


@pytest.mark.parametrize("batch", [1, 7, 64, COUNT])
def test_late_and_missing_packets_are_kept_with_their_neighbours(
    tmp_path: Path, batch: int
) -> None:
    watch = keeper(tmp_path / "x.pcap")
    came = [number for number in range(COUNT) if number not in (600, 601)]
    for first in range(0, len(came), batch):
        watch.look(*arrivals(came[first : first + batch], {250: 5 * MS + 1}), START)
    report = watch.close()
    found = kept(tmp_path / "x.pcap")
    numbers = [number for number, _ in found]
    assert numbers == [*range(150, 351), *range(500, 600), *range(602, 703)]
    assert dict(found)[250] == START + 255 * MS + 1, "to the nanosecond"
    assert report == {"frames": "x.pcap", "frames_kept": len(found), "frames_left_out": 0}


def test_what_came_before_packets_that_never_came_is_kept(tmp_path: Path) -> None:
    watch = keeper(tmp_path / "x.pcap")
    watch.look(*arrivals(list(range(300))), START)
    assert watch.close()["frames_kept"] == 100
    assert [number for number, _ in kept(tmp_path / "x.pcap")] == list(range(200, 300))


def test_a_run_without_a_suspect_leaves_no_file(tmp_path: Path) -> None:
    watch = keeper(tmp_path / "x.pcap")
    watch.look(*arrivals(list(range(COUNT))), START)
    assert watch.close() == {"frames": None, "frames_kept": 0, "frames_left_out": 0}
    assert not (tmp_path / "x.pcap").exists()


def test_a_network_that_is_late_throughout_does_not_fill_the_disk(tmp_path: Path) -> None:
    offsets = np.zeros(50_000, np.int64)
    watch = FrameKeeper(tmp_path / "x.pcap", {0: (offsets, 5 * MS)}, bare=False)
    for first in range(0, 50_000, 5000):
        numbers = list(range(first, first + 5000))
        watch.look(*arrivals(numbers, dict.fromkeys(numbers, 9 * MS)), START)
    report = watch.close()
    assert (report["frames_kept"], report["frames_left_out"]) == (20_000, 30_000)


def test_the_tag_that_the_kernel_took_out_is_put_back(tmp_path: Path) -> None:
    batch, rows = arrivals([1])
    tagged = Batch(
        batch.payload,
        batch.lengths,
        batch.captured,
        batch.kernel_ns,
        vlan=np.array([42]),
        link=batch.link,
    )
    watch = keeper(tmp_path / "x.pcap")
    watch.look(tagged, rows, START)
    watch.close()
    with PcapReader(str(tmp_path / "x.pcap")) as file:
        (packet,) = list(file)
    assert (packet[Dot1Q].vlan, packet[Dot1Q].type) == (42, 0x88B5)
