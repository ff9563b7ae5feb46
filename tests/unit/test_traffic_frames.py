"""The frames of a stretch of the schedule: the bytes in each row, and what sendmmsg(2) is told."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hil.traffic.frames import MOST, Frames
from hil.traffic.schedule import SCHEDULE
from hil.wire import probe

RUN = 2**64 - 5
#: Three templates in a row: start, length, where the probe begins.
PLACES = [(0, 100, 20), (100, 60, 20), (160, 90, 42)]
EVERYTHING = (np.arange(250) * 7 + 3).astype(np.uint8)


def stretch(packets: list[tuple[int, int, int]]) -> Any:
    """Rows of the schedule for (sequence, flow, template)."""
    return np.array([(0, seq, flow, template) for seq, flow, template in packets], SCHEDULE)


def wanted(seq: int, flow: int, template: int, intended_ns: int) -> bytes:
    start, length, at = PLACES[template]
    frame = bytearray(EVERYTHING[start : start + length].tobytes())
    encoded = probe.encode(RUN, flow, np.array([seq], np.uint64), intended_ns)[0]
    frame[at : at + probe.SIZE] = encoded.tobytes()
    return bytes(frame)


packets = st.lists(
    st.tuples(st.integers(0, 2**63), st.integers(0, 65535), st.integers(0, 2)),
    min_size=1,
    max_size=40,
)


@given(st.lists(packets, min_size=1, max_size=3))
def test_each_row_holds_its_own_template_and_probe_whatever_it_held_before(
    stretches: list[list[tuple[int, int, int]]],
) -> None:
    frames = Frames(RUN, EVERYTHING, PLACES)
    for chosen in stretches:
        intended = np.arange(len(chosen), dtype=np.int64) - 5
        frames.make(stretch(chosen), intended)
        for row, one in enumerate(chosen):
            assert bytes(frames.frame(row)) == wanted(*one, int(intended[row]))


def test_the_vectors_for_the_kernel_point_at_the_same_bytes() -> None:
    frames = Frames(RUN, EVERYTHING, PLACES)
    chosen = [(row, 1, row % 3) for row in range(MOST)]
    frames.make(stretch(chosen), np.zeros(MOST, np.int64))
    for row in (0, 1, 2, 500, MOST - 1):
        header = np.frombuffer(ctypes.string_at(frames.messages(row), 64), np.uint64)
        assert header[3] == 1, "one vector for each message"
        address, length = np.frombuffer(ctypes.string_at(int(header[2]), 16), np.uint64).tolist()
        assert ctypes.string_at(address, length) == wanted(*chosen[row], 0)


def test_a_warm_up_frame_says_so() -> None:
    frames = Frames(RUN, EVERYTHING, PLACES)
    frames.make(stretch([(0, 3, 0)]), np.array([7]), probe.WARM_UP)
    fields = probe.decode(np.frombuffer(frames.frame(0)[20:], np.uint8)[None])[0]
    assert (fields["flags"], fields["flow"], fields["intended_ns"]) == (probe.WARM_UP, 3, 7)
