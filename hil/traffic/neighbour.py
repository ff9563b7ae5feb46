"""Neighbours on the link: whose MAC address it is (ARP, RFC 826; ND, RFC 4861), asked and told.

The host's own stack knows only the addresses that it holds. A port may use one that it does not
hold, or lie in a VLAN that no interface of the host is in; then the questions are asked, and
answered, here.
"""

from __future__ import annotations

import errno
import select
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address
from typing import Final

from pyroute2 import IPRoute

from hil.clock import Deadline
from hil.errors import RigError
from hil.traffic import linux
from hil.traffic.linux import inside, packet_socket
from hil.traffic.port import Address, Port
from hil.wire import ip

_TRIES: Final = 4
_WAIT_NS: Final = 500_000_000
BROADCAST: Final = b"\xff" * 6
_SHORTEST: Final = 60  # of an Ethernet frame, without its FCS

_ARP_REQUEST: Final = 1
_ARP_REPLY: Final = 2
_ARP: Final = struct.Struct("!HHBBH6s4s6s4s")
_ARP_HEAD: Final = (1, ip.ETHERTYPE[4], 6, 4)  # Ethernet, IPv4, lengths of their addresses

_ETHERNET: Final = 14
_ICMP: Final = 1
_ICMPV6: Final = 58
_HOP_LIMIT: Final = 255  # a smaller one has crossed a router and is not believed (RFC 4861 7.1)
_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOURCE_LINK_ADDRESS: Final = 1
_TARGET_LINK_ADDRESS: Final = 2
_SOLICITED_OVERRIDE: Final = 0x6000_0000
_ND_AT: Final = 40  # after the header of IPv6
_ND_OPTIONS_AT: Final = _ND_AT + 24


@dataclass(frozen=True, slots=True)
class Link:
    """How a port is on its link: its own MAC address, empty on bare IP, and its VLAN."""

    mac: bytes
    vlan: int | None


def neighbour_mac(port: Port, address: Address) -> bytes:
    """The MAC address of a neighbour: from the kernel's table, else asked on the link.

    Raises: RigError when nobody answers.
    """
    if port.host is not None:
        from hil.traffic.remote import connected

        found: bytes = connected(port.host).ask("neighbour_mac", port, address)
        return found
    with inside(port.namespace), IPRoute() as netlink:
        if port.vlan is None:
            index = netlink.link_lookup(ifname=port.interface)[0]
            for entry in netlink.get_neighbours(ifindex=index, dst=str(address)):
                known = entry.get_attr("NDA_LLADDR")
                if known and any(octet != "00" for octet in known.split(":")):
                    return bytes.fromhex(known.replace(":", ""))
        link = Link(port.mac, port.vlan)
        sock = listening(port.interface, link)
    with sock:
        for _ in range(_TRIES):
            if answered := _ask(sock, port, address):
                return answered
    asked = "ARP" if address.version == 4 else "neighbour solicitations"
    where = f" in VLAN {port.vlan}" if port.vlan is not None else ""
    raise RigError(
        f"port {port.name}: {address} does not answer {asked}{where}; is the far end up and in "
        f"this network?"
    )


def _ask(sock: socket.socket, port: Port, address: Address) -> bytes | None:
    try:
        own = port.address_of(address.version)
        assert own is not None, "a flow has checked that the port speaks this version"
        sock.send(question(Link(port.mac, port.vlan), own.ip, address))
    except OSError as error:
        if error.errno == errno.ENETDOWN:
            raise RigError(f"port {port.name} went down") from None
        raise
    deadline = Deadline.after(_WAIT_NS)
    while select.select([sock], [], [], deadline.left_s)[0]:
        if found := told(sock.recv(2048), address):
            return found
    return None


def listening(interface: str, link: Link) -> socket.socket:
    """A socket that hears ARP, ICMP and ICMPv6 in the VLAN of a port, and nothing that leaves it.

    Must be opened in the namespace of the port.
    """
    keep, drop = (linux.BPF_RET, 0, 0, linux.KEEP_ALL), (linux.BPF_RET, 0, 0, 0)
    at = _ETHERNET if link.mac else 0
    sock = packet_socket(interface)
    linux.attach_filter(
        sock,
        (
            *(
                (
                    (linux.BPF_LD_WORD, 0, 0, linux.BPF_VLAN_TAG),
                    (linux.BPF_AND, 0, 0, 0xFFF),
                    (linux.BPF_JEQ, 1, 0, link.vlan or 0),
                    drop,
                    (linux.BPF_LD_HALF, 0, 0, 12),
                    (linux.BPF_JEQ, 0, 1, linux.ETH_P_ARP),
                    keep,
                )
                if link.mac
                else ()
            ),
            (linux.BPF_LD_BYTE, 0, 0, at),
            (linux.BPF_AND, 0, 0, 0xF0),
            (linux.BPF_JEQ, 3, 0, 0x60),
            (linux.BPF_LD_BYTE, 0, 0, at + ip.PROTOCOL_AT[4]),
            (linux.BPF_JEQ, 3, 0, _ICMP),
            drop,
            (linux.BPF_LD_BYTE, 0, 0, at + ip.PROTOCOL_AT[6]),
            (linux.BPF_JEQ, 0, 1, _ICMPV6),
            keep,
            drop,
        ),
    )
    sock.setsockopt(linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, 1)
    sock.bind((interface, linux.ETH_P_ALL))
    return sock


def question(link: Link, own: Address, address: Address) -> bytes:
    """The frame that asks whose `address` is, from `own`."""
    if isinstance(address, IPv4Address):
        body = _ARP.pack(*_ARP_HEAD, _ARP_REQUEST, link.mac, own.packed, bytes(6), address.packed)
        return _frame(link, BROADCAST, linux.ETH_P_ARP, body)
    # RFC 4291 2.7.1: the group of all nodes whose address ends in these three bytes.
    group = b"\xff\x02" + bytes(9) + b"\x01\xff" + address.packed[-3:]
    body = _nd(own.packed, group, _SOLICITATION, 0, address.packed, link.mac)
    return _frame(link, b"\x33\x33" + group[-4:], linux.ETH_P_IPV6, body)


def told(frame: bytes, address: Address) -> bytes | None:
    """The MAC address that a frame says `address` has; None where it says nothing of it."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if isinstance(address, IPv4Address):
        if kind != linux.ETH_P_ARP or len(body) < _ARP.size:
            return None
        _, _, _, _, operation, mac, sender, _, _ = _ARP.unpack_from(body)
        return bytes(mac) if operation == _ARP_REPLY and sender == address.packed else None
    if kind != linux.ETH_P_IPV6 or not _is_nd(body, _ADVERTISEMENT, address):
        return None
    return _option(body, _TARGET_LINK_ADDRESS) or frame[6:12]


def answer(link: Link, frame: bytes, addresses: Sequence[Address]) -> bytes | None:
    """The frame that answers a question for one of `addresses`; None where it is none."""
    kind, body = int.from_bytes(frame[12:14], "big"), frame[14:]
    if kind == linux.ETH_P_ARP and len(body) >= _ARP.size:
        *head, operation, mac, sender, _, wanted = _ARP.unpack_from(body)
        asked: Address = IPv4Address(wanted)
        if tuple(head) != _ARP_HEAD or operation != _ARP_REQUEST or asked not in addresses:
            return None
        reply = _ARP.pack(*_ARP_HEAD, _ARP_REPLY, link.mac, wanted, mac, sender)
        return _frame(link, mac, linux.ETH_P_ARP, reply)
    if kind == linux.ETH_P_IPV6 and len(body) >= _ND_OPTIONS_AT:
        asked = IPv6Address(body[_ND_AT + 8 : _ND_OPTIONS_AT])
        if asked not in addresses or not _is_nd(body, _SOLICITATION, asked):
            return None
        source = body[8:24]
        if source == bytes(16):
            return None  # somebody looks whether the address is free (RFC 4862 5.4)
        reply = _nd(
            asked.packed, source, _ADVERTISEMENT, _SOLICITED_OVERRIDE, asked.packed, link.mac
        )
        return _frame(link, _option(body, _SOURCE_LINK_ADDRESS) or frame[6:12], kind, reply)
    return None


def _frame(link: Link, to: bytes, ethertype: int, body: bytes) -> bytes:
    tag = b"" if link.vlan is None else struct.pack("!HH", linux.ETH_P_8021Q, link.vlan)
    frame = b"".join((to, link.mac, tag, ethertype.to_bytes(2, "big"), body))
    return frame.ljust(_SHORTEST + len(tag), b"\0")


def _nd(source: bytes, to: bytes, kind: int, flags: int, target: bytes, mac: bytes) -> bytes:
    """A neighbour solicitation or advertisement (RFC 4861 4.3, 4.4) with its header."""
    option = _SOURCE_LINK_ADDRESS if kind == _SOLICITATION else _TARGET_LINK_ADDRESS
    message = struct.pack("!BBHI", kind, 0, 0, flags) + target + bytes([option, 1]) + mac
    pseudo = source + to + struct.pack("!II", len(message), _ICMPV6)
    total = sum(struct.unpack(f"!{(len(pseudo) + len(message)) // 2}H", pseudo + message))
    checksum = 0xFFFF - total % 0xFFFF
    message = message[:2] + checksum.to_bytes(2, "big") + message[4:]
    head = struct.pack("!IHBB", 6 << 28, len(message), _ICMPV6, _HOP_LIMIT)
    return b"".join((head, source, to, message))


def _is_nd(body: bytes, kind: int, target: Address) -> bool:
    return (
        len(body) >= _ND_OPTIONS_AT
        and body[6] == _ICMPV6
        and body[7] == _HOP_LIMIT
        and body[_ND_AT] == kind
        and body[_ND_AT + 8 : _ND_OPTIONS_AT] == target.packed
    )


def _option(body: bytes, wanted: int) -> bytes | None:
    """The link-layer address in an option of neighbour discovery; their lengths count 8 bytes."""
    at = _ND_OPTIONS_AT
    while at + 8 <= len(body) and body[at + 1]:
        if body[at] == wanted:
            return body[at + 2 : at + 8]
        at += 8 * body[at + 1]
    return None
