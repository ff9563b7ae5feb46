"""A UDP socket whose datagrams are stamped by the kernel, both ways.

Receive stamps come with each datagram; transmit stamps come through the error queue, numbered by
the kernel from 0 (SOF_TIMESTAMPING_OPT_ID, Documentation/networking/timestamping.rst 1.3.3 and
2.1). Only SO_TIMESTAMPING is used: the older options invent a time where the kernel has none.
"""

from __future__ import annotations

import errno
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from hil.traffic import linux

MOST: Final = 65_535  #: bytes of a datagram
_CONTROL: Final = 512
_BUFFER: Final = 8 << 20
_TIMES: Final = struct.Struct("=qqqqqq")
_ERROR: Final = struct.Struct("=IBBBBII")  # struct sock_extended_err of linux/errqueue.h
_ORIGIN_TIMESTAMPING: Final = 4
_ORDER: Final = struct.Struct("=i")
_SO_MEMINFO: Final = 55
_DROPS_AT: Final = 32  # the ninth word of SO_MEMINFO
_SLOTS: Final = 1 << 16
_IP_RECVTOS: Final = 13
_IP_PKTINFO: Final = 8
_IP_RECVERR: Final = 11
_IPV6_RECVERR: Final = 25
_IPV6_UNICAST_HOPS: Final = 52
_IPV6_TCLASS: Final = 67
_IPV6_RECVHOPLIMIT: Final = 51
_IPV6_RECVTCLASS: Final = 66
_IPV6_RECVPKTINFO: Final = 49
_IPV6_PKTINFO: Final = 50
_IP_TTL: Final = 2
_IP_TOS: Final = 1
_IP_RECVTTL: Final = 12
_RECEIVED: Final = linux.SOF_RX_SOFTWARE | linux.SOF_SOFTWARE
_SENT: Final = linux.SOF_TX_SOFTWARE | linux.SOF_SOFTWARE | linux.SOF_OPT_TSONLY


@dataclass(frozen=True, slots=True)
class Datagram:
    """A datagram that came. `kernel_ns` is 0 where the kernel took no time."""

    payload: bytes
    sender: Any
    kernel_ns: int
    ttl: int
    tos: int
    to: bytes  #: the local address it was sent to, packed; empty where it was not asked for
    unicast: bool  #: False where it came to a broadcast address


class StampedDatagrams:
    """Datagrams of one socket. `stamped(token, kernel_ns)` is told each transmit stamp.

    Args:
        sock: a UDP socket; `close` closes it.
        stamped: told of the token that was given to `send`, and its stamp on the realtime clock.
        addressed: also find out which local address a datagram was sent to.
    """

    def __init__(
        self,
        sock: socket.socket,
        stamped: Callable[[Any, int], None],
        *,
        addressed: bool = False,
    ) -> None:
        self.sock = sock
        self._stamped = stamped
        self._tokens: list[Any] = [None] * _SLOTS
        self._sent = self._seen = 0
        self.unreachable = 0  #: times that the far end's host said that nobody listens there
        sock.setblocking(False)
        linux.deep_receive_buffer(sock, _BUFFER)
        if sock.family == socket.AF_INET6:
            level, wanted = socket.IPPROTO_IPV6, [_IPV6_RECVHOPLIMIT, _IPV6_RECVTCLASS]
            wanted += [_IPV6_RECVPKTINFO] if addressed else []
        else:
            level, wanted = socket.IPPROTO_IP, [_IP_RECVTTL, _IP_RECVTOS]
            wanted += [_IP_PKTINFO] if addressed else []
        for option in wanted:
            sock.setsockopt(level, option, 1)
        self._arm()

    def _arm(self) -> None:
        """Switch stamps on and set the kernel's counter of datagrams to 0."""
        for flags in (_RECEIVED | _SENT, _RECEIVED | _SENT | linux.SOF_OPT_ID):
            self.sock.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPING, flags)
        self._sent = self._seen = 0

    @property
    def outstanding(self) -> int:
        """Transmit stamps that are due."""
        return self._sent - self._seen

    def send(self, payload: bytes | bytearray, token: Any) -> None:
        """Send to the address that the socket is connected to; OSError where that is refused."""
        self._clear()
        try:
            self.sock.send(payload)
        except OSError:
            self._again()
            raise
        self._note(token)

    def answer(self, payload: bytes | bytearray, to: Datagram, token: Any) -> None:
        """Send back to where a datagram came from, with its DSCP and ECN, from where it went to."""
        control: list[tuple[int, int, bytes]] = []
        v6 = self.sock.family == socket.AF_INET6
        if to.tos:
            level, option = (
                (socket.IPPROTO_IPV6, _IPV6_TCLASS) if v6 else (socket.IPPROTO_IP, _IP_TOS)
            )
            control.append((level, option, _ORDER.pack(to.tos)))
        if to.to and v6:
            control.append((socket.IPPROTO_IPV6, _IPV6_PKTINFO, to.to + bytes(4)))
        elif to.to:
            control.append((socket.IPPROTO_IP, _IP_PKTINFO, bytes(4) + to.to + bytes(4)))
        try:
            self.sock.sendmsg([payload], control, 0, to.sender)
        except OSError:
            self._again()
            raise
        self._note(token)

    def _note(self, token: Any) -> None:
        self._tokens[self._sent % _SLOTS] = token
        self._sent += 1

    def _clear(self) -> None:
        """Take the error that an ICMP message left, so that it is not taken for one of sending."""
        if self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.unreachable += 1

    def _again(self) -> None:
        """Whether a refused datagram used up a number is unknown: start again from 0."""
        self.collect()
        self._arm()

    def collect(self) -> int:
        """Take the transmit stamps that the kernel has; returns how many."""
        found = 0
        while True:
            try:
                _, control, _, _ = self.sock.recvmsg(0, _CONTROL, socket.MSG_ERRQUEUE)
            except OSError as error:
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    return found
                raise
            found += self._stamp(control)

    def _stamp(self, control: list[tuple[int, int, bytes]]) -> int:
        kernel_ns, number = 0, -1
        for level, kind, value in control:
            if level == socket.SOL_SOCKET and kind == linux.SO_TIMESTAMPING:
                seconds, nanoseconds, *_ = _TIMES.unpack_from(value)
                kernel_ns = seconds * 1_000_000_000 + nanoseconds
            elif (level, kind) in (
                (socket.IPPROTO_IP, _IP_RECVERR),
                (socket.IPPROTO_IPV6, _IPV6_RECVERR),
            ):
                _, origin, _, _, _, _, told = _ERROR.unpack_from(value)
                number = told if origin == _ORIGIN_TIMESTAMPING else -1
        if number < 0 or not kernel_ns or number >= self._sent:
            return 0
        place = number % _SLOTS
        token, self._tokens[place] = self._tokens[place], None
        if token is None:  # a driver further down stamped it too: the first stamp is the port's
            return 0
        self._seen += 1
        self._stamped(token, kernel_ns)
        return 1

    def receive(self) -> Datagram | None:
        """The next datagram; None where there is none now."""
        while True:
            try:
                payload, control, _, sender = self.sock.recvmsg(MOST, _CONTROL)
            except OSError as error:
                if error.errno == errno.ECONNREFUSED:
                    self.unreachable += 1
                    continue
                if error.errno in (errno.EAGAIN, errno.EINTR):
                    return None
                raise
            return _read(payload, control, sender)

    @property
    def dropped(self) -> int:
        """Datagrams that came and found no room in the socket's buffer."""
        memory = self.sock.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        return int(struct.unpack_from("=I", memory, _DROPS_AT)[0])

    def close(self) -> None:
        """Close the socket."""
        self.sock.close()


def _read(payload: bytes, control: list[tuple[int, int, bytes]], sender: Any) -> Datagram:
    kernel_ns, ttl, tos, to, unicast = 0, 0, 0, b"", True
    for level, kind, value in control:
        if level == socket.SOL_SOCKET and kind == linux.SO_TIMESTAMPING:
            seconds, nanoseconds, *_ = _TIMES.unpack_from(value)
            kernel_ns = seconds * 1_000_000_000 + nanoseconds
        elif level == socket.IPPROTO_IP and kind == _IP_TTL:
            ttl = _ORDER.unpack(value)[0]
        elif level == socket.IPPROTO_IP and kind == _IP_TOS:
            tos = value[0]
        elif level == socket.IPPROTO_IP and kind == _IP_PKTINFO:
            to, unicast = value[4:8], value[4:8] == value[8:12]
        elif level == socket.IPPROTO_IPV6 and kind == _IPV6_UNICAST_HOPS:
            ttl = _ORDER.unpack(value)[0]
        elif level == socket.IPPROTO_IPV6 and kind == _IPV6_TCLASS:
            tos = _ORDER.unpack(value)[0]
        elif level == socket.IPPROTO_IPV6 and kind == _IPV6_PKTINFO:
            to, unicast = value[:16], value[0] != 0xFF
    return Datagram(payload, sender, kernel_ns, ttl, tos, to, unicast)
