"""The parts of an observing port that need no interface: the canary, and any bytes in tunnels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hil.samples.table import NOT_TAKEN
from hil.traffic.observer import Canary, inner_network_header
from hil.traffic.ring import Batch
from hil.wire import gtpu

PATTERN = b"\x01\x02\x01\x03"


def batch(frames: list[bytes], cut: list[int] | None = None, stale: bytes = PATTERN) -> Batch:
    """Frames as a ring hands them on; beyond the end of each lies what was there before."""
    width = max(1, *map(len, frames))
    rows = np.zeros((len(frames), width), np.uint8)
    rows[:] = np.frombuffer((stale * (width // len(stale) + 1))[:width], np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[: len(frame)] = np.frombuffer(frame, np.uint8)
    lengths = np.array([len(frame) for frame in frames])
    captured = lengths if cut is None else np.minimum(lengths, cut)
    return Batch(rows, lengths, captured, np.arange(len(frames)) + 10)


@given(
    frames=st.lists(
        st.lists(st.sampled_from([PATTERN, b"\x01", b"\x02", b"\x00\x07"]), max_size=6).map(
            b"".join
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(deadline=None)
def test_a_canary_is_found_in_the_frames_that_hold_it_and_in_no_other(frames: list[bytes]) -> None:
    canary = Canary(PATTERN)
    canary.search(batch(frames))
    holding = [number for number, frame in enumerate(frames) if PATTERN in frame]
    assert canary.found == len(holding)
    assert canary.first_ns == (holding[0] + 10 if holding else None)
    assert canary.cut == 0


def test_what_was_not_captured_is_not_looked_at_and_counted() -> None:
    canary = Canary(PATTERN)
    canary.search(batch([b"\x00" * 4 + PATTERN, PATTERN + b"\x00" * 4], cut=[6, 6]))
    assert (canary.found, canary.cut) == (1, 2)
    assert canary.first_ns == 11
    untimed = Canary(PATTERN)
    some = batch([PATTERN])
    untimed.search(Batch(some.payload, some.lengths, some.captured, np.array([NOT_TAKEN])))
    assert (untimed.found, untimed.first_ns) == (1, None)


@given(rows=st.lists(st.binary(min_size=0, max_size=90), min_size=1, max_size=5))
@settings(max_examples=200, deadline=None)
def test_no_bytes_raise_on_the_way_to_the_inner_packet(rows: list[bytes]) -> None:
    some = batch(rows, stale=b"\x45")
    tunnels = gtpu.decode(some.payload, some.captured)
    start = inner_network_header(some.payload, tunnels)
    assert ((start >= 0) == (tunnels["inner_at"] >= 0)).all()
