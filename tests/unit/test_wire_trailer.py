"""The timestamp trailer: round trip, saturation, damage seen."""

from __future__ import annotations

import struct
import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.wire import trailer

I64 = st.integers(-(2**62), 2**62)
U32 = st.integers(0, 2**32 - 1)


def tails(rows: object) -> np.ndarray:
    return np.asarray(rows).view(np.uint8).reshape(-1, trailer.SIZE)


@given(release=I64, delay=U32, lateness=U32, seq=U32)
def test_what_is_encoded_is_decoded(release: int, delay: int, lateness: int, seq: int) -> None:
    rows = trailer.encode([release, release + 1], delay, lateness, seq, 3, trailer.LATE_IN)
    reading = trailer.FORMATS["hil"].decode(tails(rows))
    assert reading.good.all()
    assert reading.release_ns.tolist() == [release, release + 1]
    assert (reading.release_ns - reading.ingress_ns).tolist() == [delay, delay]
    assert reading.lateness_ns.tolist() == [lateness] * 2
    assert reading.seq.tolist() == [seq] * 2
    assert reading.flags.tolist() == [trailer.LATE_IN] * 2


def test_the_layout_is_the_documented_one() -> None:
    rows = trailer.encode(10**18, 5, 6, 7, 8, 1)
    head = struct.pack("<qIIIBBBBI", 10**18, 5, 6, 7, 8, 1, 1, 0, trailer.MAGIC)
    assert rows.tobytes() == head + struct.pack("<I", zlib.crc32(head))
    assert trailer.FORMATS["hil"].size == len(rows.tobytes())


def test_long_times_saturate_and_numbers_wrap() -> None:
    rows = trailer.encode(0, 2**40, 2**33, 2**32 + 5)
    reading = trailer.decode(tails(rows))
    assert reading.ingress_ns.tolist() == [-(2**32 - 1)]
    assert reading.lateness_ns.tolist() == [2**32 - 1]
    assert reading.seq.tolist() == [5]
    assert trailer.decode(tails(trailer.encode(0, -3, -4, 0))).ingress_ns.tolist() == [0]


@given(place=st.integers(0, trailer.SIZE - 1), change=st.integers(1, 255))
def test_any_changed_byte_is_seen(place: int, change: int) -> None:
    damaged = tails(trailer.encode([10**18, 10**18], 5, 6, 7)).copy()
    damaged[0, place] ^= change
    assert trailer.decode(damaged).good.tolist() == [False, True]


def test_sealing_makes_fields_set_later_valid() -> None:
    rows = trailer.encode(10**18, 5, 0, 7)
    rows["lateness_ns"] = 900
    assert not trailer.decode(tails(rows)).good.any()
    trailer.seal(rows)
    reading = trailer.decode(tails(rows))
    assert reading.good.all()
    assert reading.lateness_ns.tolist() == [900]
