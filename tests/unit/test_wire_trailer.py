"""The timestamp trailer: round trip, saturation, damage seen."""

from __future__ import annotations

import struct
import zlib
from typing import get_args

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.samples.table import NOT_TAKEN
from hil.testbed.models import TapFormat
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
    assert rows["seq"].tolist() == [seq] * 2
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
    assert rows["seq"].tolist() == [5]
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


def test_a_testbed_can_name_exactly_the_formats_that_can_be_read() -> None:
    assert set(get_args(TapFormat)) == set(trailer.FORMATS)


def read(name: str, *marks: bytes) -> trailer.Reading:
    form = trailer.FORMATS[name]
    assert {len(mark) for mark in marks} == {form.size}
    return form.decode(np.frombuffer(b"".join(marks), np.uint8).reshape(len(marks), -1))


@given(seconds=U32, nanoseconds=st.integers(0, 999_999_999), flags=st.sampled_from([0, 1, 4, 0x21]))
def test_metawatch_says_when_a_frame_passed(seconds: int, nanoseconds: int, flags: int) -> None:
    mark = struct.pack(">IIIBHB", 0xDEADBEEF, seconds, nanoseconds, flags, 513, 7)
    reading = read("metawatch", mark)
    assert reading.good.all()
    assert reading.release_ns.tolist() == [seconds * 10**9 + nanoseconds]
    assert reading.ingress_ns.tolist() == reading.lateness_ns.tolist() == [NOT_TAKEN]


@given(seconds=U32, fraction=st.integers(0, 2**40 - 1))
def test_hpt_counts_a_binary_fraction_of_a_second(seconds: int, fraction: int) -> None:
    mark = struct.pack(">IBBI", 0xDEADBEEF, 3, 9, seconds) + fraction.to_bytes(5, "big") + b"\0"
    reading = read("hpt", mark)
    assert reading.good.all()
    exact = seconds * 10**9 + (fraction * 10**9 >> 40)
    assert abs(int(reading.release_ns[0]) - exact) <= 1


def test_what_no_such_tap_writes_is_no_trailer() -> None:
    good = struct.pack(">IIIBHB", 1, 2, 999_999_999, 0, 1, 1)
    too_many = struct.pack(">IIIBHB", 1, 2, 1_000_000_000, 0, 1, 1)
    extended = struct.pack(">IIIBHB", 1, 2, 3, 0x02, 1, 1)
    degraded = struct.pack(">IIIBHB", 1, 2, 3, 0x10, 1, 1)
    reading = read("metawatch", good, too_many, extended, degraded)
    assert reading.good.tolist() == [True, False, False, False]


def test_the_fields_of_a_layout_fill_it_and_do_not_overlap() -> None:
    for layout in trailer.LAYOUTS.values():
        places = [p for f in layout.fields for p in range(f.at, f.at + f.size)]
        assert places == list(range(layout.size))
        assert layout.source
