"""The part of an IP host that a port needs where the host's own stack is not it.

Beside a run stands a thread that answers ARP and ND for the addresses of ports that the kernel does
not answer for, because it does not hold them or because they lie in a VLAN, and that hears what
routers say of the packets of the run (ICMP, RFC 792; ICMPv6, RFC 4443).
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from hil.errors import UsageError
from hil.traffic import linux, neighbour
from hil.wire import ip

_ICMP: Final[Mapping[int, int]] = {4: 1, 6: 58}  # protocol numbers
_ICMP_HEADER: Final = 8
TOO_BIG: Final = "packet too big"
#: Types of ICMP and ICMPv6 that quote a packet, in words.
_SAYS: Final[Mapping[tuple[int, int], str]] = {
    (4, 3): "destination unreachable",
    (4, 11): "time exceeded",
    (6, 1): "destination unreachable",
    (6, 2): TOO_BIG,
    (6, 3): "time exceeded",
}
_NEEDS_FRAGMENTING: Final = (4, 3, 4)  # version, type, code (RFC 1191 section 4)
_PACKET_TOO_BIG: Final = (6, 2, 0)


@dataclass(frozen=True, slots=True)
class Complaint:
    """What a router, or the far host, said of a packet that it quoted.

    `mtu` is what the next link takes, None where that is not what was said or it was not stated.
    """

    says: str
    by: IPv4Address | IPv6Address
    version: ip.Version
    udp_port: int
    mtu: int | None


def complaint(packet: bytes) -> Complaint | None:
    """What an IP packet says of another if it is an ICMP error about a datagram of UDP."""
    version: ip.Version = 6 if packet[:1] and packet[0] >> 4 == 6 else 4
    if len(packet) < ip.HEADER[version] + _ICMP_HEADER:
        return None
    if packet[ip.PROTOCOL_AT[version]] != _ICMP[version]:
        return None
    start = (packet[0] & 15) * 4 if version == 4 else ip.HEADER[6]
    body = packet[start:]
    quoted = body[_ICMP_HEADER:]
    if len(quoted) < ip.HEADER[version] + 4 or quoted[ip.PROTOCOL_AT[version]] != ip.UDP:
        return None
    if (words := _SAYS.get((version, body[0]))) is None:
        return None
    udp = (quoted[0] & 15) * 4 if version == 4 else ip.HEADER[6]
    source = packet[12:16] if version == 4 else packet[8:24]
    mtu = None
    if (version, body[0], body[1]) == _NEEDS_FRAGMENTING:
        mtu, words = int.from_bytes(body[6:8], "big") or None, TOO_BIG
    elif (version, body[0], body[1]) == _PACKET_TOO_BIG:
        mtu = int.from_bytes(body[4:8], "big")
    return Complaint(
        says=words,
        by=ip_address(source),
        version=version,
        udp_port=int.from_bytes(quoted[udp + 2 : udp + 4], "big"),
        mtu=mtu,
    )


@dataclass(frozen=True, slots=True)
class _Station:
    name: str
    link: neighbour.Link
    addresses: tuple[IPv4Address | IPv6Address, ...]
    sock: socket.socket


class Stack:
    """Answers for ports and hears complaints, on a thread of its own until it is closed.

    `heard` is called, on that thread, with each complaint and the name of the port it came to.
    """

    def __init__(
        self,
        orders: Sequence[Mapping[str, Any]],
        heard: Callable[[str, Complaint], None] | None = None,
    ) -> None:
        self._heard = heard
        self.complaints: Counter[str] = Counter()  #: how often what was said by whom
        self.answered = 0
        self._stations = [_station(order) for order in orders]
        self._over, self._end = socket.socketpair()
        self._thread = threading.Thread(target=self._serve, name="stack", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        by_socket = {station.sock: station for station in self._stations}
        while True:
            ready = select.select([self._over, *by_socket], [], [])[0]
            if self._over in ready:
                return
            for sock in ready:
                try:
                    frame = sock.recv(2048)
                except OSError:  # the interface went down; the receiver says so
                    continue
                self._look(by_socket[sock], frame)

    def _look(self, station: _Station, frame: bytes) -> None:
        mac = station.link.mac
        if mac and station.addresses:
            reply = neighbour.answer(station.link, frame, station.addresses)
            if reply is not None:
                with contextlib.suppress(OSError):
                    station.sock.send(reply)
                    self.answered += 1
                return
        said = complaint(frame[14:] if mac else frame)
        if said is not None:
            self.complaints[f"{said.says}, says {said.by} at {station.name}"] += 1
            if self._heard is not None:
                self._heard(station.name, said)

    def close(self) -> None:
        """End the thread and close its sockets."""
        self._end.close()
        self._thread.join()
        self._over.close()
        for station in self._stations:
            station.sock.close()


def _station(order: Mapping[str, Any]) -> _Station:
    link = neighbour.Link(bytes.fromhex(order["mac"]), order["vlan"])
    with linux.inside(order["namespace"]):
        try:
            sock = neighbour.listening(order["interface"], link)
        except OSError as error:
            raise UsageError(f"port {order['name']} cannot listen: {error.strerror}") from None
    return _Station(order["name"], link, tuple(map(ip_address, order["addresses"])), sock)
