"""Stamps of network cards, on messages and structures as the kernel writes them.

No card of this kind was at hand: layouts are those of the Linux headers, and what is tested is that
they are read so. The same calls are made to a veth, whose driver offers no such stamps.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples.table import NOT_TAKEN
from hil.traffic import phc
from hil.traffic.card_ring import CardRing, CardStamps
from hil.traffic.hardware import NOTHING, Capability, capability, stamps_everything
from hil.traffic.ring import Batch, ReceiveRing
from hil.traffic.timestamps import by_the_card

EPOCH = 1_700_000_000_000_000_000
SECOND = 10**9


# What a driver says (struct ethtool_ts_info).


def said(flags: int, clock: int, types: int, filters: int) -> bytes:
    return struct.pack("=IIiI3II3I", 0x41, flags, clock, types, 0, 0, 0, filters, 0, 0, 0)


def test_a_card_that_stamps_everything_is_known_by_its_flags_types_and_filters() -> None:
    # ethtool -T of an igb port: 0x5f, PHC 0, off and on, none and all.
    assert Capability.of(said(0x5F, 0, 0b11, 0b11)) == Capability(True, True, 0)


@pytest.mark.parametrize(
    ("flags", "clock", "types", "filters", "expected"),
    [
        (0x1A, -1, 0, 0, NOTHING),  # software only, as a veth
        (0x5F, 2, 0b11, 1 << 12 | 1, Capability(True, False, 2)),  # PTP frames only on receive
        (0x5F, 2, 0b01, 0b11, Capability(False, True, 2)),  # cannot be switched on for sending
        (0x1F, 2, 0b11, 0b11, NOTHING),  # no raw stamps
        (0x5F, -1, 0b11, 0b11, NOTHING),  # no clock to ask
    ],
)
def test_a_card_that_lacks_something_offers_no_more_than_it_has(
    flags: int, clock: int, types: int, filters: int, expected: Capability
) -> None:
    assert Capability.of(said(flags, clock, types, filters)) == expected


def test_loopback_has_no_card_and_says_so() -> None:
    assert capability("lo") == NOTHING
    assert capability("no-such-if0") == NOTHING


def test_a_setting_that_stamps_only_some_frames_is_told_apart() -> None:
    assert stamps_everything(struct.pack("iii", 0, 1, 1))
    assert not stamps_everything(struct.pack("iii", 0, 1, 12))
    assert not stamps_everything(struct.pack("iii", 0, 0, 1))


# What comes back of a frame that was sent: two messages, one for each kind of stamp.


def message(number: int, *, kernel: int = 0, card: int = 0) -> bytes:
    """SCM_TIMESTAMPING and PACKET_TX_TIMESTAMP as they stand in a control buffer of 128 bytes."""
    times = [divmod(kernel, SECOND), (0, 0), divmod(card, SECOND)]
    stamps = struct.pack("=Qii", 64, 1, 37) + b"".join(struct.pack("=qq", *each) for each in times)
    error = struct.pack("=Qii", 32, 263, 16) + struct.pack("=IBBBBII", 42, 4, 0, 0, 0, 0, number)
    return (stamps + error).ljust(128, b"\0")


def control(*messages: bytes) -> np.ndarray:
    return np.frombuffer(b"".join(messages), np.uint8).reshape(len(messages), 128)


@given(st.lists(st.tuples(st.integers(0, 2**32 - 1), st.booleans()), min_size=1, max_size=40))
def test_stamps_of_the_card_are_told_from_those_of_the_kernel(rows: list[tuple[int, bool]]) -> None:
    made = [
        message(number, card=EPOCH + number) if card else message(number, kernel=EPOCH + number)
        for number, card in rows
    ]
    found, numbers, times = by_the_card(control(*made))
    assert found.tolist() == [card for _, card in rows]
    assert numbers.tolist() == [number for number, card in rows if card]
    assert (times - EPOCH).tolist() == numbers.tolist()


# What a slot of a ring says (struct tpacket2_hdr): one stamp, and whose it is.


def heads(*rows: tuple[int, int]) -> np.ndarray:
    return np.array([[status, 0, 0, 0, ns // SECOND, ns % SECOND, 0, 0] for status, ns in rows])


def test_a_slot_has_a_stamp_of_one_source_and_the_other_is_not_taken() -> None:
    software, raw, none = 1 << 29 | 1, 1 << 31 | 1, 1
    rows = heads((software, EPOCH), (raw, EPOCH + 5), (none, EPOCH + 9))
    assert ReceiveRing.stamps(rows, ReceiveRing.stamped_by).tolist() == [
        EPOCH,
        NOT_TAKEN,
        NOT_TAKEN,
    ]
    assert ReceiveRing.stamps(rows, CardRing.stamped_by).tolist() == [
        NOT_TAKEN,
        EPOCH + 5,
        NOT_TAKEN,
    ]


def batch(frames: Sequence[int], stamps: Sequence[int], stale: int = 0) -> Batch:
    """Frames of 60 bytes told apart by a number, with bytes of no meaning behind them."""
    payload = np.full((len(frames), 64), stale, np.uint8)
    payload[:, :60] = 7
    payload[:, 20] = frames
    lengths = np.full(len(frames), 60, np.int64)
    return Batch(payload, lengths, lengths, np.array(stamps, np.int64))


class Brought:
    """The other ring of a port, as a list of what it brings."""

    slots = 16

    def __init__(self, *batches: Batch) -> None:
        self.batches = list(batches)

    def take(self) -> Batch | None:
        return self.batches.pop(0) if self.batches else None


def paired(ring: Brought, *mine: Sequence[int]) -> list[list[int]]:
    stamps = CardStamps(ring)  # type: ignore[arg-type]
    return [stamps.of(batch(frames, [0] * len(frames), 9)).tolist() for frames in mine]


def test_each_frame_gets_the_stamp_the_card_took_of_it() -> None:
    ring = Brought(batch([1, 2], [101, 102]), batch([3], [103]))
    assert paired(ring, [1, 2, 3]) == [[101, 102, 103]]


def test_frames_that_one_of_the_rings_lost_shift_no_other_stamp() -> None:
    assert paired(Brought(batch([1, 3, 4], [101, 103, 104])), [1, 2, 3]) == [[101, NOT_TAKEN, 103]]
    assert paired(Brought(batch([1, 2, 3], [101, 102, 103])), [1], [3]) == [[101], [103]]


def test_duplicates_are_paired_in_order() -> None:
    assert paired(Brought(batch([5, 5, 5], [1, 2, 3])), [5, 5], [5]) == [[1, 2], [3]]


def test_stamps_that_nobody_asks_for_are_given_up() -> None:
    ring = Brought(*(batch(range(100), range(100)) for _ in range(5)))
    stamps = CardStamps(ring)  # type: ignore[arg-type]
    stamps.of(batch([200], [0]))
    assert stamps.held <= 4 * Brought.slots


# Readings of a card's clock, as the kernel fills its structures (linux/ptp_clock.h).


def clock_time(ns: int) -> bytes:
    return struct.pack("=qII", ns // SECOND, ns % SECOND, 0)


def test_of_several_readings_the_narrowest_counts() -> None:
    host, offset = EPOCH, -37 * SECOND
    body = b"".join(
        clock_time(host + k * 9_000)
        + clock_time(host + k * 9_000 + width // 2 + offset)
        + clock_time(host + k * 9_000 + width)
        for k, width in enumerate((4_000, 900, 2_000))
    )
    answer = (struct.pack("=IIII", 3, 0, 0, 0) + body).ljust(phc.EXTENDED_SIZE, b"\0")
    found = phc.of_extended(answer)
    assert found.width_ns == 900
    assert found.host_ns - found.phc_ns == 37 * SECOND


def test_both_other_kinds_of_reading_are_understood() -> None:
    precise = clock_time(5 * SECOND) + clock_time(EPOCH) + clock_time(7) + bytes(16)
    assert phc.of_precise(precise) == phc.PhcReading(5 * SECOND, EPOCH, 0)
    times = (EPOCH, 100, EPOCH + 3_000, 4_100, EPOCH + 4_000)
    body = b"".join(clock_time(each) for each in times)
    plain = (struct.pack("=IIII", 2, 0, 0, 0) + body).ljust(phc.PLAIN_SIZE, b"\0")
    assert phc.of_plain(plain) == phc.PhcReading(4_100, EPOCH + 3_500, 1_000)


@given(
    skew=st.floats(-200e-6, 200e-6),
    offset=st.sampled_from([37 * SECOND, -EPOCH, 0]),
    width=st.integers(0, 2_000),
    seed=st.integers(0, 2**32),
)
def test_a_cards_clock_is_found_within_the_stated_uncertainty(
    skew: float, offset: int, width: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)

    def card(host: np.ndarray) -> np.ndarray:
        return host + offset + np.rint(skew * (host - EPOCH)).astype(np.int64)

    at = EPOCH + np.arange(9) * (SECOND // 4)
    read = card(at) + rng.integers(-(width // 2), width // 2 + 1, 9)
    found = phc.PhcMap(
        [phc.PhcReading(int(c), int(h), width) for c, h in zip(read, at, strict=True)]
    )
    host = EPOCH + rng.integers(0, 2 * SECOND, 200)
    assert np.abs(found.to_host(card(host)) - host).max() <= found.half_ns + 2
    assert np.abs(found.from_host(host) - card(host)).max() <= found.half_ns + 2
    assert found.to_host(np.array([NOT_TAKEN])).tolist() == [NOT_TAKEN]
    assert found.from_host(np.array([NOT_TAKEN])).tolist() == [NOT_TAKEN]


def test_a_clock_that_was_set_in_mid_run_is_uncertain_by_as_much() -> None:
    rows = [phc.PhcReading(k * SECOND, EPOCH + k * SECOND + (k > 2) * 50_000, 0) for k in range(6)]
    assert phc.PhcMap(rows).half_ns >= 25_000


def test_two_readings_are_not_before_during_and_after() -> None:
    with pytest.raises(ValueError, match="before, during and after"):
        phc.PhcMap([phc.PhcReading(0, EPOCH, 0), phc.PhcReading(SECOND, EPOCH + SECOND, 0)])


def test_a_host_without_such_a_clock_is_told_and_not_failed() -> None:
    watch = phc.PhcWatch([4_095])
    watch.look(0, now=True)
    report = watch.report()
    assert "/dev/ptp4095" in report["refused"]["4095"]
    assert phc.maps_of(report) == {}
