"""The Session-Sender process: test packets to a reflector on an absolute schedule, and its answers.

Started by `hil.traffic.two_way` with the path of its orders, a JSON file. It says ``ready``, hears
``go`` with the start of the schedule, says ``offered`` at its end, hears ``finish`` when the last
answers have come, and ends with ``done``; ``stop`` ends the schedule early, in order. It also ends
when its parent does.

A session is warm-up packets, the planned ones, and closing packets, all numbered in one row. In the
warm-up one number is left out: to a reflector that counts by itself this is one packet that was
lost on the way, and one that repeats the sender's numbers repeats the gap (`hil.samples.two_way`).
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.errors import RigError, UsageError
from hil.samples.table import NOT_TAKEN, SEND_FAILED, SENT
from hil.samples.two_way import PADDING_DIFFERS, REPLY
from hil.traffic import linux
from hil.traffic.child import serve, told_to_start
from hil.traffic.datagrams import Datagram, StampedDatagrams
from hil.traffic.discipline import discipline
from hil.traffic.exchange import Lines, RowRing
from hil.traffic.schedule import read_plan
from hil.traffic.watch import ClockWatch, StallWatch
from hil.wire import probe, stamp

CLOSING: Final = (
    5  #: packets after the run, by whose answers the reflector tells how far it counted
)
_WARM_UP_NS: Final = 5_000_000
_WARM_UP_GAP_NS: Final = 60_000_000
_SPIN_NS: Final = 100_000
_CHUNK: Final = 256
_GLANCE_NS: Final = 20_000_000
_TIGHT_NS: Final = 60_000  # slack that looking at one more answer needs
_DUE: Final = 16  # packets after which a busy sender stops to look at what came
_LAST_NS: Final = 300_000_000  # for the answers to the closing packets
_RECENT: Final = 1 << 16  # packets whose answer is compared with what was sent
_FLUSH: Final = 64


def lead_ns(warm_up: int) -> int:
    """The start of the warm-up before that of the schedule."""
    return (warm_up + 1) * _WARM_UP_NS + _WARM_UP_GAP_NS


def open_socket(orders: Mapping[str, Any]) -> socket.socket:
    """A UDP socket from the port of `orders` to its reflector.

    Raises: UsageError, one sentence, where the port or the reflector cannot be had.
    """
    name, (host, number) = orders["name"], orders["target"]
    with linux.inside(orders["namespace"]):
        sock = socket.socket(orders["family"], socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        interface = orders["interface"].encode()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, interface)
        if sock.family == socket.AF_INET:
            sock.setsockopt(socket.IPPROTO_IP, linux.IP_MTU_DISCOVER, linux.IP_PMTUDISC_DO)
            sock.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, orders["dscp"] << 2)
        else:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, orders["dscp"] << 2)
        if orders["source"] is not None:
            sock.bind((orders["source"], 0))
        sock.connect((host, number))
    except OSError as error:
        sock.close()
        raise UsageError(f"port {name} cannot reach {host}: {error.strerror}") from None
    return sock


class Payloads:
    """The UDP payload of packets of one size: STAMP's fields, TLVs, and our probe in the padding.

    The probe travels where there is room for it (136 B of IPv4 packet): so anybody on the way who
    knows it knows the packet, and it shows any damage that a checksum let pass.
    """

    def __init__(self, length: int) -> None:
        room = length - stamp.SIZE
        asks = room >= stamp.FOLLOW_UP_SIZE and not 0 < room - stamp.FOLLOW_UP_SIZE < 4
        tlvs = stamp.follow_up() if asks else b""
        left = room - len(tlvs)
        self.filler_at = self.probe_at = stamp.SIZE + len(tlvs) + min(left, stamp.TLV_HEADER)
        value = max(0, left - stamp.TLV_HEADER)
        self.probe = value >= probe.SIZE
        if self.probe:
            self.filler_at += probe.SIZE
        filler = bytes((index * 167 + 29) & 0xFF for index in range(value))
        if left >= stamp.TLV_HEADER:
            tlvs += stamp.tlv(stamp.EXTRA_PADDING, filler)
        else:
            tlvs += bytes(left)  # no TLV fits: packet padding, as of TWAMP Light
        self._packet = bytearray(stamp.SIZE) + tlvs
        self.filler = bytes(self._packet[self.filler_at :])

    def fill(self, asked: stamp.Question, mark: bytes) -> bytearray:
        """The payload of one packet; `mark` is its probe."""
        self._packet[: stamp.SIZE] = stamp.question_bytes(asked)
        if self.probe:
            self._packet[self.probe_at : self.filler_at] = mark
        return self._packet


class SessionSender:
    """The loop of the process."""

    def __init__(self, orders: Mapping[str, Any], lines: Lines) -> None:
        directory = Path(orders["directory"])
        self._lines = lines
        self._run, self._ssid, self._header = orders["run"], orders["ssid"], orders["header"]
        self._plan = read_plan(directory, orders["plan"])
        self._warm_up = orders["warm_up"]
        self._sent = RowRing(directory / "sent", SENT, orders["capacity"])
        self._replied = RowRing(directory / "replied", REPLY, 2 * orders["capacity"])
        self._payloads = {size: Payloads(size - self._header) for size in self._plan.sizes}
        self._datagrams = StampedDatagrams(open_socket(orders), self._stamped)
        self._granted = linux.be_prompt()
        self._clock, self._stalls = ClockWatch(), StallWatch()
        self._rows: list[tuple[int, ...]] = []
        self._stamps = [0] * _RECENT
        self._marks = [b""] * _RECENT
        self._lengths = [0] * _RECENT
        self._numbers: dict[str, list[int]] = {"warm_up": [], "closing": []}
        self._refused: dict[str, int] = {}
        self._stop = self._finish = False
        self._overrun = self._foreign = self._asymmetric = 0
        self._glance_ns = 0
        self._estimate = self._estimated()

    def _estimated(self) -> int:
        clock = discipline()
        return stamp.estimate_of(clock.error_ns, synchronised=clock.synchronised)

    def run(self) -> None:
        """Send the schedule, wait for the word to finish, send the closing packets."""
        go = told_to_start(self._lines, self._granted)
        if go is None:
            return
        start_ns, intended_ns = go
        first = self._begin(start_ns)
        offered = self._send_all(start_ns, intended_ns, first)
        self._look()
        self._sent.written = offered
        self._lines.send({"offered": offered})
        while not self._finish and not self._lines.closed:
            self._rest(time.monotonic_ns() + _GLANCE_NS // 4)
        self._close(first + offered)
        self._lines.send({"done": self._report()})

    def _begin(self, start_ns: int) -> int:
        """Send the warm-up, one number left out; returns the number of the first planned packet."""
        size = int(self._plan.rows(0, 1)["size"][0])
        start = start_ns - lead_ns(self._warm_up)
        skipped = self._warm_up // 2
        for number in range(self._warm_up + 1):
            if number == skipped:
                continue
            self._wait(start + number * _WARM_UP_NS)
            self._extra(size, number, "warm_up")
        return int(self._warm_up) + 1

    def _extra(self, size: int, number: int, kind: str) -> None:
        """Send a packet that is not one of the plan."""
        now = time.time_ns()
        mark = probe.encode(self._run, 0, [number], now, probe.WARM_UP)[0].tobytes()
        if self._send(self._packet(size, number, mark), number, now, -1):
            self._numbers[kind].append(number)

    def _packet(self, size: int, number: int, mark: bytes) -> bytearray:
        """A packet that lacks nothing but its time."""
        place = number % _RECENT
        self._marks[place], self._lengths[place] = mark, size
        asked = stamp.Question(number & 0xFFFFFFFF, 0, self._estimate, self._ssid)
        return self._payloads[size].fill(asked, mark)

    def _send(self, packet: bytearray, number: int, user_ns: int, token: int) -> bool:
        told = self._stamps[number % _RECENT] = stamp.ntp(user_ns)
        stamp.restamp(packet, told)
        try:
            self._datagrams.send(packet, token)
        except OSError as error:
            name = error.strerror or str(error)
            self._refused[name] = self._refused.get(name, 0) + 1
            return False
        return True

    def _send_all(self, start_ns: int, intended_ns: int, first: int) -> int:
        """The plan, to its end or to a stop; returns how many of it were offered."""
        monotonic, realtime = time.monotonic_ns, time.time_ns
        rows, mask, room = self._sent.rows, self._sent.mask, self._sent
        for begin in range(0, len(self._plan), _CHUNK):
            chunk = self._plan.rows(begin, begin + _CHUNK)
            intended = chunk["offset_ns"] + intended_ns
            marks = probe.encode(self._run, 0, chunk["seq"], intended)
            offsets, sizes = chunk["offset_ns"].tolist(), chunk["size"].tolist()
            sequences, planned = chunk["seq"].tolist(), intended.tolist()
            for index, offset in enumerate(offsets):
                row = begin + index
                due = start_ns + offset
                if due - monotonic() > _SPIN_NS // 2 or row % _DUE == 0:
                    self._sent.written = row
                    self._wait(due)
                    if self._stop:
                        return row
                packet = self._packet(sizes[index], first + row, marks[index].tobytes())
                fits = room.room > 0
                while monotonic() < due:
                    pass
                user = realtime()
                done = self._send(packet, first + row, user, row if fits else -1)
                flags = 0 if done else SEND_FAILED
                if not fits:
                    self._overrun += 1
                    continue
                rows[row & mask] = (
                    0, sequences[index], planned[index], user, NOT_TAKEN, NOT_TAKEN, flags
                )  # fmt: skip
                self._sent.written = row + 1
        return len(self._plan)

    def _stamped(self, token: int, kernel_ns: int) -> None:
        """Keep the kernel's stamp of a planned packet whose row has not been overwritten."""
        if token >= 0 and token >= self._sent.consumed:
            self._sent.rows["tx_kernel_ns"][token & self._sent.mask] = kernel_ns

    def _wait(self, due_ns: int) -> None:
        """Use the time until shortly before `due_ns`: stamps, answers, the pipe, sleep."""
        self._datagrams.collect()
        if due_ns - time.monotonic_ns() < _TIGHT_NS:
            self._read(2 * _DUE)
            self._glance()
            return
        while not self._stop and (due_ns - time.monotonic_ns() - _SPIN_NS) > 0:
            self._rest(due_ns)

    def _rest(self, due_ns: int) -> None:
        """Look at what came, then sleep for a moment, at most until shortly before `due_ns`."""
        self._datagrams.collect()
        while due_ns - time.monotonic_ns() > _TIGHT_NS and self._read(_FLUSH):
            pass
        if due_ns - time.monotonic_ns() > 2 * _SPIN_NS:
            self._flush()
        self._glance()
        start = time.monotonic_ns()
        left = min(due_ns - start - _SPIN_NS, _GLANCE_NS // 4)
        if left > 0 and not self._stop:
            time.sleep(left / 1e9)
            self._stalls.woke(time.monotonic_ns() - start - left, time.time_ns())

    def _look(self) -> None:
        self._datagrams.collect()
        while self._read(_FLUSH):
            pass
        self._flush()

    def _read(self, most: int) -> int:
        """Take up to `most` answers; returns how many there were."""
        for count in range(most):
            came = self._datagrams.receive()
            if came is None:
                return count
            self._take(came, time.time_ns())
        if len(self._rows) >= _FLUSH:
            self._flush()
        return most

    def _take(self, came: Datagram, user_ns: int) -> None:
        answered = stamp.answer(came.payload)
        if answered is None:
            self._foreign += 1
            return
        place = answered.sender_number % _RECENT
        if answered.sender_stamp != self._stamps[place] or not answered.sender_stamp:
            self._foreign += 1
            return
        follow, follow_ns = 0, NOT_TAKEN
        for each in stamp.tlvs(came.payload):
            if (told := stamp.followed_up(each)) is not None:
                follow, follow_ns = told[0], stamp.time_ns(told[1], answered.estimate)
        size = self._lengths[place]
        payloads = self._payloads[size]
        self._asymmetric += len(came.payload) + self._header != size
        flags = 0
        at, end = payloads.probe_at, payloads.filler_at
        marked = not payloads.probe or came.payload[at:end] == self._marks[place]
        if not marked or came.payload[end:] != payloads.filler:
            flags = PADDING_DIFFERS
        self._rows.append(
            (
                answered.sender_number,
                answered.number,
                len(came.payload) + self._header,
                answered.sender_ttl,
                user_ns,
                came.kernel_ns or NOT_TAKEN,
                _told(answered.received, answered.estimate),
                _told(answered.stamp, answered.estimate),
                follow,
                follow_ns,
                flags,
            )
        )

    def _flush(self) -> None:
        """Hand the answers on."""
        if self._rows:
            rows = np.array(self._rows, REPLY)
            self._overrun += len(rows) - self._replied.append(rows)
            self._rows.clear()

    def _glance(self) -> None:
        """Look at the pipe and the clock now and then."""
        now = time.monotonic_ns()
        if now < self._glance_ns:
            return
        self._glance_ns = now + _GLANCE_NS
        self._clock.look(now)
        for line in self._lines.receive():
            self._stop |= "stop" in line
            self._finish |= "finish" in line
        self._stop |= self._lines.closed

    def _close(self, first: int) -> None:
        """Send the closing packets and wait for their answers."""
        size = int(self._plan.rows(0, 1)["size"][0])
        self._stop = False
        start = time.monotonic_ns()
        for index in range(CLOSING):
            self._rest(start + index * _WARM_UP_NS)
            self._extra(size, first + index, "closing")
        end = time.monotonic_ns() + _LAST_NS
        while time.monotonic_ns() < end and not self._lines.closed:
            self._rest(time.monotonic_ns() + _GLANCE_NS)
        self._look()

    def _report(self) -> dict[str, Any]:
        return {
            "numbers": self._numbers,
            "refused": self._refused,
            "overrun": self._overrun,
            "foreign": self._foreign,
            "asymmetric": self._asymmetric,
            "unreachable": self._datagrams.unreachable,
            "dropped": self._datagrams.dropped,
            "granted": self._granted,
            "clock": self._clock.report(),
            "stalls": self._stalls.report(),
        }


def _told(found: int, estimate: int) -> int:
    return stamp.time_ns(found, estimate) if found else NOT_TAKEN


def greet(orders: Mapping[str, Any], wait_ns: int, tries: int = 3) -> None:
    """Wait for the answer to one test packet, so that a silent far end is known beforehand.

    Raises: RigError, with the cure, where none comes.
    """
    host, number = orders["target"]
    payloads = Payloads(orders["size"] - orders["header"])
    datagrams = StampedDatagrams(open_socket(orders), lambda token, kernel_ns: None)
    try:
        for turn in range(tries):
            told = stamp.ntp(time.time_ns())
            asked = stamp.Question(turn, told, stamp.estimate_of(0, synchronised=False), 1)
            mark = probe.encode(orders["run"], 0, [turn], 0, probe.WARM_UP)[0].tobytes()
            datagrams.send(payloads.fill(asked, mark), turn)
            end = time.monotonic_ns() + wait_ns
            while time.monotonic_ns() < end:
                came = datagrams.receive()
                answered = stamp.answer(came.payload) if came is not None else None
                if answered is not None and answered.sender_stamp == told:
                    return
                if datagrams.unreachable:
                    raise RigError(
                        f"nobody listens on UDP port {number} of {host}: start `hil reflector` "
                        f"there, or name its port as in --reflector {host}:8620"
                    )
                time.sleep(0.001)
    except OSError as error:
        raise RigError(f"{orders['name']} cannot send to {host}: {error.strerror}") from None
    finally:
        datagrams.close()
    raise RigError(
        f"{host} port {number} answers no test packet: is a reflector running there, and does "
        f"UDP get there and back?"
    )


if __name__ == "__main__":
    sys.exit(serve(lambda orders, lines: SessionSender(orders, lines).run()))
