"""STAMP test packets (RFC 8762, RFC 8972), unauthenticated, as UDP payloads in network byte order.

::

    question of a Session-Sender         answer of a Session-Reflector
    0  sequence number      u32          0  sequence number      u32   its own, or the question's
    4  timestamp            u64          4  timestamp            u64   when the answer left
    12 error estimate       u16          12 error estimate       u16
    14 SSID                 u16          14 SSID                 u16
    16 zeros                28 B         16 receive timestamp    u64   when the question came
    44 TLVs                              24 sender's number      u32
                                         28 sender's timestamp   u64
                                         36 sender's estimate    u16
                                         38 zeros                2 B
                                         40 sender's TTL         u8
                                         41 zeros                3 B
                                         44 TLVs

Both are of one length, so an answer never amplifies. TWAMP Light (RFC 5357 appendix I) has the same
fields up to byte 41 and packet padding after them (RFC 8762 section 4.6).

A TLV is flags, type, length of the value and the value (RFC 8972 section 4). Two are known here:
Extra Padding (4.1), whose value comes back as it went, and Follow-Up Telemetry (4.7), in which a
reflector tells the transmit stamp of an earlier answer.

Timestamps are NTP's, 32 bits of seconds since 1900 and 32 of fraction (RFC 5905 section 6), or
truncated PTPv2, 32 bits of seconds since 1970 and 32 of nanoseconds (RFC 8186); the Z bit of the
error estimate beside them says which.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

PORT: Final = 862  #: of test sessions, assigned to TWAMP-Test and STAMP (RFC 8762 section 4.1)
SIZE: Final = 44  #: of a packet without TLVs
LEAST: Final = 41  #: of a question that an answer with every field of TWAMP Light fits into

EXTRA_PADDING: Final = 1
FOLLOW_UP: Final = 7
TLV_HEADER: Final = 4
FOLLOW_UP_SIZE: Final = TLV_HEADER + 16
UNRECOGNIZED: Final = 0x80  #: set by a sender, cleared by a reflector that knows the TLV
MALFORMED: Final = 0x40

SOFTWARE_STAMP: Final = 2  #: "SW Local" of the timestamping methods (RFC 8972 section 4.3)

_QUESTION: Final = struct.Struct("!IQHH28x")
_ANSWER: Final = struct.Struct("!IQHHQIQH2xB3x")
_TLV: Final = struct.Struct("!BBH")
_FOLLOW_UP: Final = struct.Struct("!IQB3x")
_STAMP_AT: Final = 4
_STAMP: Final = struct.Struct("!Q")

_SECOND: Final = 1_000_000_000
_UNIX_IN_NTP: Final = 2_208_988_800  # seconds from 1900 to 1970
_ERA: Final = 1 << 32
_HALF_ERA: Final = 1 << 31
_Z: Final = 0x4000
_S: Final = 0x8000


def ntp(time_ns: int) -> int:
    """A time since the Unix epoch as an NTP timestamp, rounded to the nearest 2^-32 s."""
    seconds, rest = divmod(time_ns, _SECOND)
    whole = (seconds + _UNIX_IN_NTP) * _ERA + ((rest << 32) + _SECOND // 2) // _SECOND
    return whole & (1 << 64) - 1


def ptp(time_ns: int) -> int:
    """A time since the Unix epoch as a truncated PTPv2 timestamp."""
    seconds, rest = divmod(time_ns, _SECOND)
    return (seconds % _ERA) << 32 | rest


def time_ns(stamp: int, estimate: int) -> int:
    """Nanoseconds since the Unix epoch of a timestamp, in the format that `estimate` says.

    NTP seconds in the lower half of their range are those of the era from 2036 on (RFC 4330
    section 3).
    """
    seconds, rest = stamp >> 32, stamp & 0xFFFFFFFF
    if estimate & _Z:
        return seconds * _SECOND + rest
    if seconds < _HALF_ERA:
        seconds += _ERA
    return (seconds - _UNIX_IN_NTP) * _SECOND + ((rest * _SECOND + _HALF_ERA) >> 32)


def stamp_of(time_ns: int, estimate: int) -> int:
    """A timestamp in the format that `estimate` says."""
    return ptp(time_ns) if estimate & _Z else ntp(time_ns)


def estimate_of(error_ns: int, *, synchronised: bool, ptp: bool = False) -> int:
    """An error estimate (RFC 4656 section 4.1.2): multiplier x 2^(scale - 32) s, rounded up.

    `synchronised` says that the clock follows UTC by an outside source. The multiplier is never 0,
    which would make the packet count as corrupt.
    """
    units = max(1, -(-max(0, error_ns) * _ERA // _SECOND))
    scale = max(0, units.bit_length() - 8)
    multiplier = -(-units >> scale)
    if multiplier > 0xFF:
        multiplier, scale = multiplier + 1 >> 1, scale + 1
    scale = min(scale, 0x3F)
    return (_S if synchronised else 0) | (_Z if ptp else 0) | scale << 8 | multiplier


def error_ns(estimate: int) -> int:
    """The error that an estimate states."""
    scale, multiplier = estimate >> 8 & 0x3F, estimate & 0xFF
    return -(-(multiplier << scale) * _SECOND // _ERA)


def synchronised(estimate: int) -> bool:
    """Whether the clock is said to follow UTC."""
    return bool(estimate & _S)


@dataclass(frozen=True, slots=True)
class Question:
    """The fields of a sender's packet; `stamp` in the format that `estimate` says."""

    number: int
    stamp: int
    estimate: int
    ssid: int


@dataclass(frozen=True, slots=True)
class Answer:
    """The fields of a reflector's packet."""

    number: int
    stamp: int
    estimate: int
    ssid: int
    received: int
    sender_number: int
    sender_stamp: int
    sender_estimate: int
    sender_ttl: int


def question(payload: bytes) -> Question | None:
    """The fields of a sender's packet; None where it is not well formed."""
    if len(payload) < LEAST:
        return None
    number, stamp, estimate, ssid = struct.unpack_from("!IQHH", payload)
    if not estimate & 0xFF or not stamp:
        return None
    return Question(number, stamp, estimate, ssid)


def question_bytes(asked: Question, tlvs: bytes = b"") -> bytes:
    """A sender's packet."""
    return _QUESTION.pack(asked.number, asked.stamp, asked.estimate, asked.ssid) + tlvs


def answer(payload: bytes) -> Answer | None:
    """The fields of a reflector's packet; None where it is too short for them."""
    if len(payload) < LEAST:
        return None
    return Answer(*_ANSWER.unpack_from(payload.ljust(SIZE, b"\0")))


def answer_bytes(answered: Answer, length: int, tlvs: bytes = b"") -> bytearray:
    """A reflector's packet of `length` bytes, that of the question."""
    fields = _ANSWER.pack(
        answered.number,
        answered.stamp,
        answered.estimate,
        answered.ssid,
        answered.received,
        answered.sender_number,
        answered.sender_stamp,
        answered.sender_estimate,
        answered.sender_ttl,
    )
    return bytearray((fields + tlvs)[:length].ljust(length, b"\0"))


def restamp(packet: bytearray, stamp: int) -> None:
    """Put another timestamp into a packet of either kind: the last thing before it is sent."""
    _STAMP.pack_into(packet, _STAMP_AT, stamp)


def tlv(kind: int, value: bytes, flags: int = UNRECOGNIZED) -> bytes:
    """A TLV, flagged as a sender does by default."""
    return _TLV.pack(flags, kind, len(value)) + value


def follow_up(number: int = 0, stamp: int = 0, flags: int = UNRECOGNIZED) -> bytes:
    """A Follow-Up Telemetry TLV; all zeros asks for it, or says that nothing is known yet."""
    method = SOFTWARE_STAMP if stamp else 0
    return tlv(FOLLOW_UP, _FOLLOW_UP.pack(number, stamp, method), flags)


@dataclass(frozen=True, slots=True)
class Tlv:
    """One TLV as found; `malformed` where its length goes beyond the packet."""

    at: int
    flags: int
    kind: int
    value: bytes
    malformed: bool = False


def tlvs(payload: bytes) -> Iterator[Tlv]:
    """The TLVs of a packet, up to the first that is malformed; fewer than 4 bytes are no TLV."""
    at = SIZE
    while at + TLV_HEADER <= len(payload):
        flags, kind, length = _TLV.unpack_from(payload, at)
        end = at + TLV_HEADER + length
        if end > len(payload):
            yield Tlv(at, flags, kind, payload[at + TLV_HEADER :], malformed=True)
            return
        yield Tlv(at, flags, kind, payload[at + TLV_HEADER : end])
        at = end


def followed_up(found: Tlv) -> tuple[int, int] | None:
    """Number and timestamp of an earlier answer, where a reflector's TLV tells them."""
    if found.kind != FOLLOW_UP or found.malformed or len(found.value) != _FOLLOW_UP.size:
        return None
    number, stamp, _ = _FOLLOW_UP.unpack(found.value)
    return (number, stamp) if stamp and not found.flags & UNRECOGNIZED else None
