"""A Session-Reflector (RFC 8762 section 4.3): answers the test packets of others, and nothing else.

Both stamps of an answer are as near to the wire as this host can say: the receive stamp is the
kernel's, the transmit stamp is taken right before the packet is handed over, and where the sender
asks for Follow-Up Telemetry (RFC 8972 section 4.7) the kernel's own stamp of that answer comes with
a later one.

It never amplifies: one answer to one packet, of the same length. It keeps silent to what is not
well formed, to broadcasts, to what comes from a reflector's port (two reflectors would answer each
other for ever), and beyond its rate.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Final

from hil.traffic.datagrams import Datagram, StampedDatagrams
from hil.traffic.discipline import discipline
from hil.wire import stamp

MOST_SESSIONS: Final = 4096
IDLE_NS: Final = 900_000_000_000  #: after which a session is forgotten (RFC 5357 section 4.2)
_FOLLOW_UPS: Final = 1024  # stamps kept for a session that does not ask for more answers
_GLANCE_NS: Final = 1_000_000_000  # between looks at the clock's discipline
_BATCH: Final = 64  # answers between looks at the clock and at a wish to end
_SECOND: Final = 1_000_000_000


@dataclass(slots=True)
class _Session:
    """What a stateful reflector knows of one session."""

    seen_ns: int
    number: int = 0
    stamps: deque[tuple[int, int]] = field(default_factory=lambda: deque(maxlen=_FOLLOW_UPS))


class Reflector:
    """Answers what comes to `sock`, a bound UDP socket.

    Args:
        sock: it is closed by `close`.
        stateful: number the answers of each session by themselves, so that a sender can tell loss
            on the way there from loss on the way back; else with the question's number.
        rate: answers per second at most, over all sessions.
    """

    def __init__(self, sock: socket.socket, *, stateful: bool = True, rate: int = 20_000) -> None:
        self._stateful = stateful
        self._rate = rate
        self._port = sock.getsockname()[1]
        self._sessions: dict[tuple[Any, ...], _Session] = {}
        self._allowance, self._filled_ns = float(rate), time.monotonic_ns()
        self._estimate = {False: 0, True: 0}
        self._glance_ns = 0
        self._datagrams = StampedDatagrams(sock, _keep, addressed=True)
        self.answered = 0
        self.sessions = 0  #: that ever were
        self.silent: Counter[str] = Counter()  #: packets not answered, by reason

    def serve(self, wake: int, until_ns: int) -> None:
        """Answer until `wake` becomes readable or the monotonic clock reads `until_ns`."""
        poll = select.poll()
        poll.register(self._datagrams.sock, select.POLLIN)
        poll.register(wake, select.POLLIN)
        while (left := until_ns - time.monotonic_ns()) > 0:
            ready = poll.poll(min(left // 1_000_000 + 1, 60_000))
            if any(number == wake for number, _ in ready):
                return
            self._datagrams.collect()
            self._look()
            for _ in range(_BATCH):
                came = self._datagrams.receive()
                if came is None:
                    break
                self._take(came, time.time_ns())

    def _look(self) -> None:
        """Now and then: how good the clock is, and which sessions are over."""
        now = time.monotonic_ns()
        gained = (now - self._filled_ns) * self._rate / _SECOND
        self._allowance, self._filled_ns = min(self._rate, self._allowance + gained), now
        if now < self._glance_ns:
            return
        self._glance_ns = now + _GLANCE_NS
        clock = discipline()
        for ptp in self._estimate:
            self._estimate[ptp] = stamp.estimate_of(
                clock.error_ns, synchronised=clock.synchronised, ptp=ptp
            )
        over = [key for key, each in self._sessions.items() if each.seen_ns < now - IDLE_NS]
        for key in over:
            del self._sessions[key]

    def _take(self, came: Datagram, user_ns: int) -> None:
        asked = stamp.question(came.payload)
        if (why := self._reason(came, asked)) is not None:
            self.silent[why] += 1
            return
        assert asked is not None
        key = (came.sender[0], came.sender[1], asked.ssid)
        session = self._session(key) if self._stateful else None
        if self._stateful and session is None:
            self.silent["too many sessions"] += 1
            return
        number = asked.number if session is None else session.number
        ptp = bool(asked.estimate & 0x4000)
        estimate = self._estimate[ptp]
        answered = stamp.Answer(
            number=number & 0xFFFFFFFF,
            stamp=0,
            estimate=estimate,
            ssid=asked.ssid,
            received=stamp.stamp_of(came.kernel_ns or user_ns, estimate),
            sender_number=asked.number,
            sender_stamp=asked.stamp,
            sender_estimate=asked.estimate,
            sender_ttl=came.ttl & 0xFF,
        )
        packet = stamp.answer_bytes(answered, len(came.payload), _reflected(came, session, ptp=ptp))
        stamp.restamp(packet, stamp.stamp_of(time.time_ns(), estimate))
        try:
            self._datagrams.answer(packet, came, (session, number & 0xFFFFFFFF))
        except OSError as error:
            self.silent[f"cannot send: {error.strerror}"] += 1
            return
        self._allowance -= 1
        self.answered += 1
        if session is not None:
            session.number += 1
        self._datagrams.collect()

    def _reason(self, came: Datagram, asked: stamp.Question | None) -> str | None:
        """Why a packet is not answered; None where it is."""
        if asked is None:
            return "not a test packet"
        if not came.unicast:
            return "sent to a broadcast address"
        if came.sender[1] in (stamp.PORT, self._port):
            return "from a reflector's port"
        if self._allowance < 1:
            return "beyond the rate"
        return None

    def _session(self, key: tuple[Any, ...]) -> _Session | None:
        """The session of a packet; None where there are too many."""
        now = time.monotonic_ns()
        found = self._sessions.get(key)
        if found is None:
            if len(self._sessions) >= MOST_SESSIONS:
                return None
            found = self._sessions[key] = _Session(now)
            self.sessions += 1
        found.seen_ns = now
        return found

    def close(self) -> None:
        """Close the socket."""
        self._datagrams.close()


def _keep(token: Any, kernel_ns: int) -> None:
    """Note the kernel's stamp of an answer for one that follows."""
    session, number = token
    if session is not None:
        session.stamps.append((number, kernel_ns))


def _reflected(came: Datagram, session: _Session | None, *, ptp: bool) -> bytes:
    """The TLVs of an answer: those that are known filled in, the others as they came."""
    out = bytearray(came.payload[stamp.SIZE :])
    for each in stamp.tlvs(came.payload):
        place = each.at - stamp.SIZE
        if each.malformed:
            out[place] = each.flags | stamp.MALFORMED
        elif each.kind == stamp.EXTRA_PADDING:
            out[place] = each.flags & ~stamp.UNRECOGNIZED
        elif each.kind == stamp.FOLLOW_UP and session is not None:
            if len(each.value) + stamp.TLV_HEADER != stamp.FOLLOW_UP_SIZE:
                out[place] = each.flags & ~stamp.UNRECOGNIZED | stamp.MALFORMED
                continue
            number, kernel_ns = session.stamps.popleft() if session.stamps else (0, 0)
            told = (stamp.ptp if ptp else stamp.ntp)(kernel_ns) if kernel_ns else 0
            filled = stamp.follow_up(number, told, each.flags & ~stamp.UNRECOGNIZED)
            out[place : place + stamp.FOLLOW_UP_SIZE] = filled
    return bytes(out)
