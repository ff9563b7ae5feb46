"""Ports: where frames enter or leave, and what has to be known of them before a frame is made."""

from __future__ import annotations

import difflib
import errno
import select
import socket
import struct
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from typing import Any, Final, Literal

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from hil.clock import Deadline
from hil.errors import RigError, UsageError
from hil.traffic.linux import ETH_P_ARP, inside, packet_socket

Kind = Literal["ethernet", "raw-ip"]

# Link types of linux/if_arp.h.
_ARPHRD: Final[dict[int, Kind]] = {
    1: "ethernet",
    772: "ethernet",  # loopback carries an Ethernet header of zeros
    519: "raw-ip",  # wwan
    0xFFFE: "raw-ip",  # TUN
}
_IFF_UP: Final = 1
_IFF_LOWER_UP: Final = 0x10000  # carrier; IFF_RUNNING lags it by up to a second
_ARP_TRIES: Final = 4
_ARP_WAIT_NS: Final = 500_000_000
BROADCAST: Final = b"\xff" * 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A network interface that measures, as found.

    `name` is how the caller named it. `mac` is empty where there is no link layer. `tap` is the
    trailer format that a tap in front of this port appends to arriving probes, None without one;
    `tap_clock` names the clock of that tap where other ports share it.
    `index` is the interface's number and `peer` that of the other end of a veth, 0 where unknown.
    """

    name: str
    interface: str
    namespace: str | None
    kind: Kind
    mac: bytes
    mtu: int
    addresses: tuple[IPv4Interface, ...]
    gateway: IPv4Address | None = None
    tap: str | None = None
    tap_clock: str | None = None
    driver: str | None = None
    index: int = 0
    peer: int = 0

    def touches(self, other: Port) -> bool:
        """True for the two ends of one veth pair: what one sends the other has in the same call."""
        veths = self.driver == other.driver == "veth"
        return veths and (self.index, self.peer) == (other.peer, other.index)

    @property
    def address(self) -> IPv4Interface:
        """The first IPv4 address.

        Raises: UsageError, with the cure, where it has none.
        """
        if not self.addresses:
            prefix = f"ip netns exec {self.namespace} " if self.namespace else ""
            raise UsageError(
                f"port {self.name} has no IPv4 address, which layer udp needs: give it one with "
                f"`{prefix}ip address add ADDRESS/24 dev {self.interface}`, or use layer ethernet"
            )
        return self.addresses[0]


def parse_port(text: str) -> tuple[str | None, str]:
    """Namespace (or None) and interface of a text ``IFACE`` or ``NETNS/IFACE``.

    Raises: UsageError for anything else.
    """
    namespace, slash, interface = text.rpartition("/")
    if not interface or (slash and not namespace) or "/" in namespace:
        raise UsageError(f"{text!r} is no port: write IFACE or NETNS/IFACE, as in 'factory/eth1'")
    return namespace or None, interface


def resolve_port(
    interface: str,
    namespace: str | None = None,
    *,
    name: str | None = None,
    address: IPv4Interface | None = None,
    gateway: IPv4Address | None = None,
    tap: str | None = None,
) -> Port:
    """Look at an interface and say what kind of port it is.

    `address` replaces what the interface carries (a port may own an address that the host's own
    stack must not answer for). `gateway` is the next hop towards everything off its own subnet.

    Raises: UsageError, one sentence with the cure, when it is missing, down or unfit.
    """
    shown = name or (f"{namespace}/{interface}" if namespace else interface)
    with inside(namespace), IPRoute() as netlink:
        link = _link(netlink, interface, shown)
        flags, kind = int(link["flags"]), _ARPHRD.get(int(link["ifi_type"]))
        if kind is None:
            raise UsageError(
                f"port {shown} has link type {link['ifi_type']}, which carries neither Ethernet "
                f"nor bare IP; use an Ethernet, TUN or wwan interface"
            )
        prefix = f"ip netns exec {namespace} " if namespace else ""
        if not flags & _IFF_UP:
            raise UsageError(
                f"port {shown} is down: bring it up with `{prefix}ip link set {interface} up`"
            )
        if not flags & _IFF_LOWER_UP:
            raise UsageError(
                f"port {shown} has no carrier: plug its cable in, or bring its far end up"
            )
        found = [
            IPv4Interface(f"{_attr(each, 'IFA_LOCAL')}/{each['prefixlen']}")
            for each in netlink.get_addr(index=link["index"], family=socket.AF_INET)
        ]
    hardware = _attr(link, "IFLA_ADDRESS") if kind == "ethernet" else None
    information = _attr(link, "IFLA_LINKINFO")
    return Port(
        name=shown,
        interface=interface,
        namespace=namespace,
        kind=kind,
        mac=bytes.fromhex(hardware.replace(":", "")) if hardware else b"",
        mtu=int(_attr(link, "IFLA_MTU")),
        addresses=(address,) if address else tuple(found),
        gateway=gateway,
        tap=tap,
        driver=_attr(information, "IFLA_INFO_KIND") if information else None,
        index=int(link["index"]),
        peer=int(_attr(link, "IFLA_LINK") or 0),
    )


def _attr(message: Any, name: str) -> Any:
    return message.get_attr(name)


def _link(netlink: Any, interface: str, shown: str) -> Any:
    links = {_attr(each, "IFLA_IFNAME"): each for each in netlink.get_links()}
    if interface in links:
        return links[interface]
    near = difflib.get_close_matches(interface, links, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(near)}" if near else f"there is {', '.join(sorted(links))}"
    raise UsageError(f"port {shown}: no interface {interface!r} here; {hint}")


def next_hop(port: Port, destination: IPv4Address) -> IPv4Address | None:
    """The router that `port` sends through to reach `destination`; None when it is on the link.

    A declared gateway serves everything off the port's own subnets; without one the routing table
    of the port's namespace is asked.
    """
    if any(destination in each.network for each in port.addresses):
        return None
    if port.gateway is not None:
        return port.gateway
    with inside(port.namespace), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=port.interface)
        try:
            route = netlink.route("get", dst=str(destination), oif=index[0])[0]
        except (NetlinkError, IndexError):
            return None
        via = _attr(route, "RTA_GATEWAY")
    return IPv4Address(via) if via else None


def neighbour_mac(port: Port, address: IPv4Address) -> bytes:
    """The MAC address of a neighbour: from the kernel's table, else asked by ARP (RFC 826).

    Raises: RigError when nobody answers.
    """
    with inside(port.namespace), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=port.interface)[0]
        for entry in netlink.get_neighbours(ifindex=index, dst=str(address)):
            known = _attr(entry, "NDA_LLADDR")
            if known:
                return bytes.fromhex(known.replace(":", ""))
        sock = packet_socket(port.interface, ETH_P_ARP)
    with sock:
        for _ in range(_ARP_TRIES):
            if answer := _ask(sock, port, address):
                return answer
    raise RigError(
        f"port {port.name}: {address} does not answer ARP; is the far end up and in this network?"
    )


def _ask(sock: socket.socket, port: Port, address: IPv4Address) -> bytes | None:
    head = struct.pack("!6s6sH", BROADCAST, port.mac, ETH_P_ARP)
    body = struct.pack("!HHBBH", 1, 0x0800, 6, 4, 1)
    body += port.mac + port.address.ip.packed + bytes(6) + address.packed
    try:
        sock.send((head + body).ljust(60, b"\0"))
    except OSError as error:
        if error.errno == errno.ENETDOWN:
            raise RigError(f"port {port.name} went down") from None
        raise
    deadline = Deadline.after(_ARP_WAIT_NS)
    while select.select([sock], [], [], deadline.left_s)[0]:
        reply = sock.recv(2048)
        if len(reply) >= 42 and reply[20:22] == b"\0\2" and reply[28:32] == address.packed:
            return reply[22:28]
    return None
