"""The links of a world: veth pairs, addresses, neighbours and what keeps the kernel quiet on them.

Links to the cell have an MTU of 1600, so that a full frame and a trailer fit, and routes of 1500,
so that the kernel's own traffic leaves that room. Offloads are off: with checksum offload a frame
that a user-space forwarder carries arrives with a checksum nobody has filled in. IPv6 makes no
link-local address, so no neighbour discovery and no MLD report disturbs a measurement.
The tester owns addresses of several subnets on several interfaces: each answers ARP for its own
only (arp_ignore and arp_announce, Documentation/networking/ip-sysctl.rst).
"""

from __future__ import annotations

import array
import fcntl
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from ipaddress import IPv4Address, IPv4Interface
from typing import TYPE_CHECKING, Any, Final

from hil._enter import CLONE_NEWNET, call
from hil.virtual.topology import CELL, TESTER, WIRE_INTERFACE, Attachment, Topology

if TYPE_CHECKING:
    from pyroute2 import IPRoute

CELL_MTU: Final = 1600
ROUTE_MTU: Final = 1500

_NUD_PERMANENT: Final = 0x80
_SCOPE_LINK: Final = 253
_ADDR_GEN_MODE_NONE: Final = 1

# linux/rtnetlink.h and linux/if_link.h, for the one request that pyroute2 cannot build.
_RTM_SETLINK: Final = 19
_REQUEST_ACK: Final = 1 | 4
_IFLA_AF_SPEC: Final = 26
_IFLA_INET_CONF: Final = 1
_ARP_ANNOUNCE: Final = 18
_ARP_IGNORE: Final = 19
_RP_FILTER: Final = 8

# linux/ethtool.h: rx and tx checksum, scatter-gather, TSO, GSO, GRO.
_SIOCETHTOOL: Final = 0x8946
_OFFLOADS: Final = (0x15, 0x17, 0x19, 0x1F, 0x24, 0x2C)


def build(topology: Topology, namespaces: Mapping[str, int]) -> None:
    """Make every link of the world and bring it up.

    `namespaces` maps each name to an open descriptor; the calling thread is back in the namespace
    it was in afterwards.

    Raises:
        OSError: the kernel refuses (pyroute2's NetlinkError for links is turned into one).
    """
    from pyroute2.netlink.exceptions import NetlinkError

    wire_gates = {wire.endpoint: wire for wire in topology.wires}
    try:
        with _inside(namespaces[CELL]) as ip:
            for each in topology.attachments:
                _veth(
                    ip,
                    (each.cell_interface, each.cell_mac),
                    (each.interface, each.mac),
                    namespaces[each.namespace],
                )
            if (n3 := topology.n3) is not None:
                far = (n3.interface, n3.mac)
                _veth(ip, (n3.cell_interface, n3.gnb_mac), far, namespaces[TESTER])
            near = [each.cell_interface for each in topology.attachments]
            _settle(ip, near if n3 is None else [*near, n3.cell_interface])
        with _inside(namespaces[TESTER]) as ip:
            for wire in topology.wires:
                _veth(
                    ip,
                    (wire.interface, wire.tester_mac),
                    (WIRE_INTERFACE, wire.mac),
                    namespaces[wire.endpoint],
                )
            here = [each for each in topology.attachments if each.namespace == TESTER]
            _host(ip, here, topology)
            if n3 is not None:
                _settle(ip, [n3.interface])
            for wire in topology.wires:
                _cable(ip, wire.interface, IPv4Interface(wire.source), wire.address.ip, wire.mac)
        for name in topology.endpoints:
            with _inside(namespaces[name]) as ip:
                here = [each for each in topology.attachments if each.namespace == name]
                _host(ip, here, topology)
                if (gate := wire_gates.get(name)) is not None:
                    _cable(ip, WIRE_INTERFACE, gate.address, gate.source, gate.tester_mac)
    except NetlinkError as error:
        raise OSError(error.code, f"cannot make the links of the world: {error}") from error


@contextmanager
def _inside(namespace: int) -> Iterator[IPRoute]:
    from pyroute2 import IPRoute

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        call("setns", namespace, CLONE_NEWNET)
        with IPRoute() as ip:
            yield ip
    finally:
        call("setns", home, CLONE_NEWNET)
        os.close(home)


def _veth(ip: IPRoute, near: tuple[str, str], far: tuple[str, str], namespace: int) -> None:
    peer = {"ifname": far[0], "address": far[1], "mtu": CELL_MTU, "net_ns_fd": namespace}
    ip.link("add", kind="veth", ifname=near[0], address=near[1], mtu=CELL_MTU, peer=peer)


def _settle(ip: IPRoute, interfaces: list[str]) -> dict[str, int]:
    """Quieten interfaces and bring them and the loopback up; their indexes."""
    index = {}
    quiet = ("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})
    ip.link("set", index=1, state="up")
    for name in interfaces:
        index[name] = number = ip.link_lookup(ifname=name)[0]
        ip.link("set", index=number, IFLA_AF_SPEC={"attrs": [quiet]})
        _answer_for_own_addresses_only(number)
        offloads_off(name)
        ip.link("set", index=number, state="up")
    return index


def _host(ip: IPRoute, attachments: list[Attachment], topology: Topology) -> None:
    """Addresses, routes and neighbours of one host that is attached to the cell."""
    index = _settle(ip, [each.interface for each in attachments])
    for each in attachments:
        if each.address is None:
            continue
        number = index[each.interface]
        # Without the kernel's own prefix route, which would carry the MTU of the link.
        ip.addr(
            "add",
            index=number,
            address=str(each.address.ip),
            prefixlen=each.address.network.prefixlen,
            IFA_FLAGS=0x200,
        )
        _route(ip, str(each.address.network), number, each.address.ip)
        for other in topology.attachments:
            if other.address is None or other.namespace == each.namespace:
                continue
            if other.address.ip in each.address.network:
                _neighbour(ip, number, other.address.ip, other.mac)


def _cable(ip: IPRoute, interface: str, own: IPv4Interface, other: IPv4Address, mac: str) -> None:
    """One end of a cable that carries the traffic between two addresses and nothing else."""
    number = _settle(ip, [interface])[interface]
    if own.network.prefixlen < 32:
        ip.addr("add", index=number, address=str(own.ip), prefixlen=32)
    _route(ip, f"{other}/32", number, own.ip)
    _neighbour(ip, number, other, mac)


def _route(ip: IPRoute, destination: str, index: int, source: IPv4Address) -> None:
    ip.route(
        "add",
        dst=destination,
        oif=index,
        scope=_SCOPE_LINK,
        prefsrc=str(source),
        metrics={"mtu": ROUTE_MTU},
    )


def _neighbour(ip: IPRoute, index: int, address: IPv4Address, mac: str) -> None:
    ip.neigh("add", ifindex=index, dst=str(address), lladdr=mac, state=_NUD_PERMANENT)


def _attribute(kind: int, payload: bytes) -> bytes:
    padding = -len(payload) % 4
    return struct.pack("=HH", 4 + len(payload), kind) + payload + bytes(padding)


def _answer_for_own_addresses_only(index: int) -> None:
    """Set ARP and source validation of one interface by netlink.

    The files of /proc/sys say the same, but are read-only in most containers.
    """
    values = ((_ARP_IGNORE, 1), (_ARP_ANNOUNCE, 2), (_RP_FILTER, 0))
    conf = b"".join(_attribute(kind, struct.pack("=I", value)) for kind, value in values)
    family = _attribute(socket.AF_INET, _attribute(_IFLA_INET_CONF, conf))
    body = struct.pack("=BxHiII", socket.AF_UNSPEC, 0, index, 0, 0)
    body += _attribute(_IFLA_AF_SPEC, family)
    request = struct.pack("=IHHII", 16 + len(body), _RTM_SETLINK, _REQUEST_ACK, 1, 0) + body
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as netlink:
        netlink.sendall(request)
        (code,) = struct.unpack_from("=i", netlink.recv(4096), 16)
    if code:
        raise OSError(-code, f"arp_ignore: {os.strerror(-code)}")


def offloads_off(interface: str) -> None:
    """Let no offload of an interface of this namespace change what a frame holds."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as handle:
        for command in _OFFLOADS:
            value = array.array("I", (command, 0))
            request: Any = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
            fcntl.ioctl(handle, _SIOCETHTOOL, request)
