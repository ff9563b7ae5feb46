"""Ports: where frames enter or leave, and what has to be known of them before a frame is made."""

from __future__ import annotations

import difflib
import socket
from dataclasses import dataclass
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from typing import Any, Final, Literal

from pyroute2 import IPRoute
from pyroute2.netlink.exceptions import NetlinkError

from hil.errors import UsageError
from hil.samples.clock_evidence import ClockEvidence
from hil.traffic.linux import inside
from hil.wire.ip import Version

Address = IPv4Address | IPv6Address
Interface = IPv4Interface | IPv6Interface

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Port:
    """A network interface that measures, as found.

    `name` is how the caller named it. `mac` is empty where there is no link layer. `tap` is the
    trailer format that a tap in front of this port appends to arriving probes, None without one;
    `tap_clock` names the clock of that tap where other ports share it.
    `vlan` is the 802.1Q VLAN that its frames are tagged with, leaving and arriving, None for none.
    `nat` says that a device between this port and the network translates its address. `held` are
    the addresses that the host's own stack answers for here, in no VLAN.
    `index` is the interface's number and `peer` that of the other end of a veth, 0 where unknown.
    `host` is how the host that it is on is reached, None for this one; of another host `clocks` is
    what is declared of its clock and that of this one.
    """

    name: str
    interface: str
    namespace: str | None
    kind: Kind
    mac: bytes
    mtu: int
    addresses: tuple[Interface, ...]
    gateway: Address | None = None
    tap: str | None = None
    vlan: int | None = None
    nat: bool = False
    held: tuple[Address, ...] = ()
    tap_clock: str | None = None
    driver: str | None = None
    index: int = 0
    peer: int = 0
    host: str | None = None
    clocks: ClockEvidence | None = None

    def touches(self, other: Port) -> bool:
        """True for the two ends of one veth pair: what one sends the other has in the same call."""
        veths = self.driver == other.driver == "veth" and self.host == other.host
        return veths and (self.index, self.peer) == (other.peer, other.index)

    def address_of(self, version: Version) -> Interface | None:
        """The first address of that version of IP; None without one."""
        return next((each for each in self.addresses if each.version == version), None)

    def own(self, version: Version) -> Interface:
        """As `address_of`. Raises: UsageError, with the cure, without one."""
        if (found := self.address_of(version)) is None:
            raise UsageError(_no_address(self, f"IPv{version}"))
        return found

    def holds(self, address: Address) -> bool:
        """Whether the host's own stack answers for an address of this port."""
        return self.vlan is None and address in self.held


def _no_address(port: Port, kind: str) -> str:
    prefix = f"ip netns exec {port.namespace} " if port.namespace else ""
    return (
        f"port {port.name} has no {kind} address, which layer udp needs: give it one with "
        f"`{prefix}ip address add ADDRESS/PREFIX dev {port.interface}`, or use layer ethernet"
    )


def common_version(one: Port, other: Port) -> Version:
    """The version of IP that two ports speak with each other: 4 where both can, else 6.

    Raises: UsageError, with the cure, where there is none.
    """
    versions: tuple[Version, ...] = (4, 6)
    for version in versions:
        if one.address_of(version) and other.address_of(version):
            return version
    for port in (one, other):
        if not port.addresses:
            raise UsageError(_no_address(port, "IP"))
    first, second = (min(each.version for each in p.addresses) for p in (one, other))
    raise UsageError(
        f"port {one.name} has an IPv{first} address alone and port {other.name} an IPv{second} "
        f"address alone: give both one of the same version"
    )


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
    address: Interface | None = None,
    gateway: Address | None = None,
    tap: str | None = None,
    host: str | None = None,
) -> Port:
    """Look at an interface and say what kind of port it is.

    `address` replaces what the interface carries (a port may own an address that the host's own
    stack must not answer for). An IPv6 address of the link alone is used only
    where it is given. `gateway` is the next hop towards everything off its own subnet.

    `host` is where to look, as execnet is told it; None is here.

    Raises: UsageError, one sentence with the cure, when it is missing, down or unfit; RigError when
    its host does not let us in.
    """
    if host is not None:
        from hil.traffic.remote import connected

        named = {"name": name, "address": address, "gateway": gateway, "tap": tap}
        there: Port = connected(host).ask("resolve_port", interface, namespace, **named)
        return there
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
        found = _addresses(netlink, link["index"])
    hardware = _attr(link, "IFLA_ADDRESS") if kind == "ethernet" else None
    information = _attr(link, "IFLA_LINKINFO")
    return Port(
        name=shown,
        interface=interface,
        namespace=namespace,
        kind=kind,
        mac=bytes.fromhex(hardware.replace(":", "")) if hardware else b"",
        mtu=int(_attr(link, "IFLA_MTU")),
        addresses=(address,) if address else tuple(e for e in found if not e.is_link_local),
        held=tuple(each.ip for each in found),
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


def _addresses(netlink: Any, index: int) -> list[Interface]:
    """Those of an interface, IPv4 before IPv6; of a tunnel with a peer, its own end."""
    found: list[Interface] = []
    for family in (socket.AF_INET, socket.AF_INET6):
        for each in netlink.get_addr(index=index, family=family):
            own = _attr(each, "IFA_LOCAL") or _attr(each, "IFA_ADDRESS")
            found.append(ip_interface(f"{own}/{each['prefixlen']}"))
    return found


def next_hop(port: Port, destination: Address) -> Address | None:
    """The router that `port` sends through to reach `destination`; None when it is on the link.

    A declared gateway serves everything off the port's own subnets; without one the routing table
    of the port's namespace is asked.
    """
    if any(destination in each.network for each in port.addresses):
        return None
    if port.gateway is not None:
        return port.gateway
    if port.host is not None:
        from hil.traffic.remote import connected

        hop: Address | None = connected(port.host).ask("next_hop", port, destination)
        return hop
    with inside(port.namespace), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=port.interface)
        try:
            route = netlink.route("get", dst=str(destination), oif=index[0])[0]
        except (NetlinkError, IndexError):
            return None
        via = _attr(route, "RTA_GATEWAY")
    return ip_address(via) if via else None
