"""The probe on the wire: round trip, damage seen, checksums untouched, recognised in a frame."""

from __future__ import annotations

import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.wire import probe
from hil.wire.crc import Crc32

U16 = st.integers(0, 2**16 - 1)
U64 = st.integers(0, 2**64 - 1)
I64 = st.integers(-(2**63), 2**63 - 1)


@given(run=U64, flow=U16, seq=st.lists(U64, min_size=1, max_size=5), at=I64)
def test_what_is_encoded_is_decoded(run: int, flow: int, seq: list[int], at: int) -> None:
    rows = probe.encode(run, flow, np.array(seq, np.uint64), at, probe.WARM_UP)
    fields = probe.decode(rows)
    assert fields["run"].tolist() == [run] * len(seq)
    assert fields["flow"].tolist() == [flow] * len(seq)
    assert fields["seq"].tolist() == seq
    assert fields["intended_ns"].tolist() == [at] * len(seq)
    assert fields["flags"].tolist() == [probe.WARM_UP] * len(seq)
    assert probe.intact(rows).all()


@given(run=U64, flow=U16, seq=U64, at=I64)
def test_the_layout_is_the_documented_one(run: int, flow: int, seq: int, at: int) -> None:
    row = probe.encode(run, flow, np.array([seq], np.uint64), at)[0].tobytes()
    head = struct.pack(">4sBBHQQq", b"hilp", 1, 0, flow, run, seq, at)
    assert row[:32] == head
    assert row[32:36] == struct.pack(">I", zlib.crc32(head))
    assert row[38:] == b"\0\0"


@given(run=U64, flow=U16, seq=U64, at=I64)
def test_a_probe_adds_nothing_to_a_checksum(run: int, flow: int, seq: int, at: int) -> None:
    row = probe.encode(run, flow, np.array([seq], np.uint64), at)[0].tobytes()
    assert sum(struct.unpack(">20H", row)) % 0xFFFF == 0


@given(place=st.integers(0, probe.SIZE - 1), change=st.integers(1, 255), seq=U64)
def test_any_changed_byte_is_seen(place: int, change: int, seq: int) -> None:
    rows = probe.encode(7, 1, np.array([seq], np.uint64), 10**18)
    rows[0, place] ^= change
    assert not probe.intact(rows).any()


@pytest.mark.parametrize("count", [1, 255, 256, 257, 5000])
def test_many_checksums_at_once_are_those_of_zlib(count: int) -> None:
    rows = np.random.default_rng(count).integers(0, 256, (count, 40), dtype=np.uint8)
    expected = [zlib.crc32(row[:32].tobytes()) for row in rows]
    assert Crc32(32).of(rows).tolist() == expected


def frame(*parts: bytes) -> bytes:
    return b"".join(parts).ljust(120, b"\0")


PROBE = probe.encode(5, 2, np.array([9], np.uint64), 0)[0].tobytes()
ADDRESSES = b"\x02" * 12
IPV4 = b"\x45" + bytes(8) + b"\x11" + bytes(10)
IPV6 = b"\x60" + bytes(5) + b"\x11" + bytes(33)
UDP = bytes(8)


@pytest.mark.parametrize(
    ("bytes_", "link", "at"),
    [
        (frame(ADDRESSES, b"\x88\xb5", PROBE), 14, 14),
        (frame(ADDRESSES, b"\x81\x00\x00\x05\x88\xb5", PROBE), 14, 18),
        (frame(ADDRESSES, b"\x08\x00", IPV4, UDP, PROBE), 14, 42),
        (frame(ADDRESSES, b"\x81\x00\x00\x05\x08\x00", IPV4, UDP, PROBE), 14, 46),
        (frame(ADDRESSES, b"\x86\xdd", IPV6, UDP, PROBE), 14, 62),
        (frame(IPV4, UDP, PROBE), 0, 28),
        (frame(IPV6, UDP, PROBE), 0, 48),
        (frame(ADDRESSES, b"\x08\x06", PROBE), 14, -1),
        (frame(ADDRESSES, b"\x08\x00", b"\x46" + IPV4[1:], UDP, PROBE), 14, -1),
        (frame(ADDRESSES, b"\x08\x00", IPV4, UDP, bytes(40)), 14, -1),
    ],
)
def test_a_probe_is_found_where_it_is(bytes_: bytes, link: int, at: int) -> None:
    rows = np.frombuffer(bytes_, np.uint8)[None]
    assert probe.offset(rows, np.array([len(bytes_)]), link).tolist() == [at]


def test_a_frame_too_short_for_a_probe_has_none() -> None:
    whole = frame(ADDRESSES, b"\x88\xb5", PROBE)
    rows = np.frombuffer(whole, np.uint8)[None]
    assert probe.offset(rows, np.array([53])).tolist() == [-1]
    assert probe.offset(rows[:, :50], np.array([120])).tolist() == [-1]
