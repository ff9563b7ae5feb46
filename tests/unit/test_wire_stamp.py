"""STAMP on the wire: times to the nanosecond, and an independent codec that agrees."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.contrib.stamp import (
    STAMPSessionReflectorTestUnauthenticated,
    STAMPSessionSenderTestUnauthenticated,
)

from hil.wire import stamp

TIMES = st.integers(0, 2**32 * 10**9 - 1)
NTP = stamp.estimate_of(1000, synchronised=True)
PTP = stamp.estimate_of(1000, synchronised=True, ptp=True)


@given(st.integers(0, (2**32 + 2**31 - 2_208_988_800) * 10**9 - 1))
def test_a_time_survives_the_ntp_format_to_the_nanosecond(time_ns: int) -> None:
    assert stamp.time_ns(stamp.ntp(time_ns), NTP) == time_ns


@given(TIMES)
def test_a_time_survives_the_ptp_format_to_the_nanosecond(time_ns: int) -> None:
    assert stamp.time_ns(stamp.ptp(time_ns), PTP) == time_ns


def test_the_epochs_are_those_of_the_standards() -> None:
    assert stamp.ntp(0) == 2_208_988_800 << 32
    assert stamp.ntp(500_000_000) & 0xFFFFFFFF == 1 << 31
    assert stamp.time_ns(0, NTP) == (2**32 - 2_208_988_800) * 10**9  # 2036: the era after
    assert stamp.ptp(1_500_000_000) == 1 << 32 | 500_000_000


@given(st.integers(0, 10**15), st.booleans(), st.booleans())
def test_an_error_is_never_understated_nor_by_much_overstated(
    error_ns: int, synchronised: bool, ptp: bool
) -> None:
    estimate = stamp.estimate_of(error_ns, synchronised=synchronised, ptp=ptp)
    assert estimate & 0xFF
    assert stamp.synchronised(estimate) is synchronised
    assert bool(estimate & 0x4000) is ptp
    assert error_ns <= stamp.error_ns(estimate) <= error_ns * 1.02 + 2


def test_a_question_is_what_scapy_reads() -> None:
    asked = stamp.Question(7, stamp.ptp(5_000_000_123), PTP, 0xBEEF)
    sent = stamp.question_bytes(asked, stamp.follow_up() + stamp.tlv(1, b"12345678"))
    seen = STAMPSessionSenderTestUnauthenticated(sent)
    assert (seen.seq, seen.ssid, seen.err_estimate.Z, seen.err_estimate.S) == (7, 0xBEEF, 1, 1)
    assert seen.ts == stamp.ptp(5_000_000_123)
    assert [(each.type, each.len, int(each.flags)) for each in seen.tlv_objects] == [
        (7, 16, 0x80),
        (1, 8, 0x80),
    ]
    assert bytes(seen) == sent
    assert stamp.question(sent) == asked


def test_an_answer_is_what_scapy_reads() -> None:
    answered = stamp.Answer(
        number=3,
        stamp=stamp.ptp(6_000_000_000),
        estimate=PTP,
        ssid=9,
        received=stamp.ptp(5_999_999_000),
        sender_number=7,
        sender_stamp=stamp.ptp(5_000_000_123),
        sender_estimate=PTP,
        sender_ttl=63,
    )
    sent = bytes(stamp.answer_bytes(answered, 60, stamp.tlv(1, bytes(12), flags=0)))
    seen = STAMPSessionReflectorTestUnauthenticated(sent)
    assert (seen.seq, seen.seq_sender, seen.ttl_sender, seen.ssid) == (3, 7, 63, 9)
    assert (seen.ts, seen.ts_rx) == (answered.stamp, answered.received)
    assert seen.ts_sender == answered.sender_stamp
    assert len(sent) == 60
    assert bytes(seen) == sent
    assert stamp.answer(sent) == answered


def test_what_is_no_test_packet_is_no_question() -> None:
    good = stamp.question_bytes(stamp.Question(1, stamp.ntp(10**18), NTP, 0))
    assert stamp.question(good) is not None
    assert stamp.question(good[:41]) is not None  # TWAMP Light
    assert stamp.question(good[:40]) is None  # an answer would be longer
    zero_multiplier = good[:13] + b"\0" + good[14:]
    assert stamp.question(zero_multiplier) is None  # RFC 4656: corrupt
    assert stamp.question(good[:4] + bytes(8) + good[12:]) is None


def test_an_answer_to_a_short_question_is_as_short() -> None:
    answered = stamp.Answer(1, 2, NTP, 0, 3, 4, 5, NTP, 6)
    packet = stamp.answer_bytes(answered, 41)
    assert len(packet) == 41
    assert packet[40] == 6


@given(st.binary(max_size=80))
def test_any_bytes_behind_the_fields_are_read_without_a_fault(rest: bytes) -> None:
    found = list(stamp.tlvs(bytes(stamp.SIZE) + rest))
    assert all(each.malformed for each in found[-1:]) or not any(e.malformed for e in found)
    assert sum(4 + len(each.value) for each in found) <= len(rest)


@pytest.mark.parametrize("flags", [0, stamp.UNRECOGNIZED])
def test_a_follow_up_counts_only_from_a_reflector_that_knows_it(flags: int) -> None:
    packet = bytes(stamp.SIZE) + stamp.follow_up(12, 34, flags)
    (found,) = stamp.tlvs(packet)
    assert stamp.followed_up(found) == (None if flags else (12, 34))
    assert struct.unpack_from("!IQB", found.value) == (12, 34, stamp.SOFTWARE_STAMP)
