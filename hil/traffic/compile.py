"""From a Scapy packet to bytes and offsets, once per size; nothing is built per packet.

The probe's place is zeros: a probe sums to zero (`hil.wire.probe`), so the UDP checksum that Scapy
computes over the zeros is right for every probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import UsageError
from hil.traffic.flow import Flow
from hil.traffic.linux import ETH_P_8021Q
from hil.traffic.neighbour import BROADCAST, neighbour_mac
from hil.traffic.port import Address, next_hop
from hil.traffic.sweeping import swept
from hil.wire import ip, probe

SOURCE_PORT: Final = 49_152  #: first of the dynamic ports (RFC 6335 section 6)
_HOP_LIMIT: Final = 64


@dataclass(frozen=True, slots=True)
class Template:
    """The frame of one packet size, zeros in the probe's place.

    `link` is the length of the link header, `probe_at` where the probe starts; both count from
    the start of `frame`.
    """

    frame: bytes
    link: int
    probe_at: int
    size: int


@dataclass(frozen=True, slots=True)
class Compiled:
    """A flow as bytes: its templates by packet size, and what the receiver must know.

    `version` is that of IP, None for frames of our own EtherType; `vlan` is the VLAN that its
    frames leave in, 0 for none.
    """

    templates: dict[int, Template]
    udp_port: int | None
    routed: bool
    version: ip.Version | None = None
    vlan: int = 0
    swept: tuple[dict[int, Template], ...] = ()  #: of each packet of a sweep, `templates` first
    vlans: tuple[int, ...] = ()  #: the VLAN of each of those, where it is swept

    @property
    def variants(self) -> tuple[dict[int, Template], ...]:
        """The templates of packet k modulo their number; one where nothing is swept."""
        return self.swept or (self.templates,)

    @property
    def sent_to(self) -> int | None:
        """The UDP port that stands in the frames as they leave; a NAT may change it on the way."""
        one = next(iter(self.templates.values()))
        at = one.probe_at - ip.UDP_HEADER + 2
        return int.from_bytes(one.frame[at : at + 2], "big") if self.version else None


def compile_flow(flow: Flow, udp_port: int, canary: bytes = b"") -> Compiled:
    """The templates of a flow; `udp_port` is the destination port where the flow needs one.

    The canary stands behind each probe where the flow is searched for.

    Raises: UsageError where the flow does not fit its ports or its template; RigError where the
    next hop does not answer.
    """
    flow.check()
    packet, routed = _packet(flow, udp_port)
    round_ = swept(flow, packet)
    variants = tuple(
        {size: _template(flow, each, size, canary, start) for size in flow.plan.sizes}
        for each, start in round_
    )
    vlans = tuple(int(each["Dot1Q"].vlan) for each, _ in round_ if each.haslayer("Dot1Q"))
    return Compiled(
        templates=variants[0],
        swept=variants if len(variants) > 1 else (),
        vlans=vlans if flow.sweep is not None and flow.sweep.vlan else (),
        udp_port=_receivers(flow, udp_port, packet),
        routed=routed if flow.routed is None else flow.routed,
        version=_version(packet) if flow.layer == "udp" else None,
        vlan=int(packet["Dot1Q"].vlan) if packet.haslayer("Dot1Q") else 0,
    )


def _receivers(flow: Flow, udp_port: int, packet: Any) -> int | None:
    """The UDP port that the frames arrive at: that of a template, else the one it was given."""
    if flow.template is None:
        return udp_port if flow.layer == "udp" else None
    udp = packet.getlayer("UDP")
    return int(udp.dport) if udp is not None else None


def _version(packet: Any) -> ip.Version | None:
    """The version of the outermost IP header; None without one."""
    for layer in packet.iterpayloads():
        if layer.name in ("IP", "IPv6"):
            return 4 if layer.name == "IP" else 6
    return None


def _packet(flow: Flow, udp_port: int) -> tuple[Any, bool]:
    """The headers of the flow as a Scapy packet, and whether an IP router lies between."""
    if flow.template is not None:
        return _headers_of(flow), False
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Dot1Q, Ether

    if flow.layer == "ethernet":
        station = flow.rx.mac or BROADCAST
        if flow.tx.vlan is None:
            return Ether(src=flow.tx.mac, dst=station, type=probe.ETHERTYPE), False
        tag = Dot1Q(vlan=flow.tx.vlan, type=probe.ETHERTYPE)
        return Ether(src=flow.tx.mac, dst=station, type=ETH_P_8021Q) / tag, False
    (source, target), port = flow.ends, udp_port
    if flow.udp is not None and flow.udp.towards is not None:
        target, port = flow.udp.towards
    packet: Any
    if source.version == 4:
        packet = IP(src=str(source), dst=str(target), tos=flow.dscp << 2, id=0, flags="DF")
        packet.ttl = _HOP_LIMIT
    else:
        packet = IPv6(src=str(source), dst=str(target), tc=flow.dscp << 2, fl=0, hlim=_HOP_LIMIT)
    packet = packet / UDP(sport=flow.udp.source if flow.udp else SOURCE_PORT, dport=port)
    hop = next_hop(flow.tx, target)
    translated = flow.tx.nat or flow.rx.nat
    if flow.tx.kind == "ethernet":
        link = Ether(src=flow.tx.mac, dst=_towards(flow, hop, target))
        packet = (link if flow.tx.vlan is None else link / Dot1Q(vlan=flow.tx.vlan)) / packet
    return packet, hop is not None or translated or _bare_and_beyond(flow, target)


def _bare_and_beyond(flow: Flow, target: Address) -> bool:
    """A bare IP port has no next hop to name, yet what is off its subnet is behind a router."""
    own = flow.tx.addresses
    return flow.tx.kind == "raw-ip" and not any(target in each.network for each in own)


def _towards(flow: Flow, hop: Address | None, target: Address) -> bytes:
    """The MAC address that a frame of the flow is sent to."""
    if hop is not None:
        return neighbour_mac(flow.tx, hop)
    if flow.rx.mac and any(target == each.ip for each in flow.rx.addresses):
        return flow.rx.mac
    return neighbour_mac(flow.tx, target)


def _headers_of(flow: Flow) -> Any:
    """The caller's template without its payload, with lengths and checksums left to compute."""
    from scapy.layers.l2 import Dot1Q
    from scapy.packet import Packet, Raw

    if not isinstance(flow.template, Packet):
        raise UsageError(f"flow {flow.name}: the template must be a Scapy packet")
    packet: Any = flow.template.copy()
    if packet.haslayer(Raw):
        packet[Raw].underlayer.remove_payload()
    for name, fields in (
        ("IP", ("len", "chksum")),
        ("IPv6", ("plen",)),
        ("UDP", ("len", "chksum")),
    ):
        layer = packet.getlayer(name)
        for field in fields if layer is not None else ():
            layer.delfieldval(field)
    if flow.tx.vlan is not None and not packet.haslayer("Dot1Q"):
        tag = Dot1Q(vlan=flow.tx.vlan, type=packet.type)
        packet.type = ETH_P_8021Q
        tag.add_payload(packet.payload)
        packet.remove_payload()
        packet.add_payload(tag)
    return packet


def _template(flow: Flow, packet: Any, size: int, canary: bytes, start: int) -> Template:
    """The frame of one size; its filler begins with number `start`."""
    from scapy.packet import Raw

    ethernet = flow.tx.kind == "ethernet"
    tags = 1 if packet.haslayer("Dot1Q") else 0
    link = probe.ETHERNET_HEADER + tags * probe.VLAN_TAG if ethernet else 0
    headers = len(bytes(packet))
    length = size + link
    if flow.layer == "ethernet":  # a port's own tag is between the tester and its switch
        length = size + (probe.VLAN_TAG if flow.tx.vlan is not None else 0)
    room = length - headers
    if room < probe.SIZE:
        raise UsageError(
            f"flow {flow.name}: a packet of {size} B leaves {room} B after the headers of the "
            f"template, and the probe needs {probe.SIZE} B"
        )
    if room < probe.SIZE + len(canary):
        raise UsageError(
            f"flow {flow.name}: a packet of {size} B has no room for a canary of {len(canary)} B "
            f"behind the probe; give at least {size - room + probe.SIZE + len(canary)} B"
        )
    behind = filler(room - probe.SIZE, start).tobytes()
    payload = bytes(probe.SIZE) + canary + behind[len(canary) :]
    frame = bytes(packet / Raw(payload))
    if len(frame) != length:
        raise UsageError(
            f"flow {flow.name}: the template gives {len(frame)} B where {length} B were asked for; "
            f"leave lengths and padding to be computed"
        )
    _check_kind(flow, frame, link)
    return Template(frame=frame, link=link, probe_at=headers, size=size)


def _check_kind(flow: Flow, frame: bytes, link: int) -> None:
    """A receiver looks at IP and at the probe's own EtherType; all else would count as lost."""
    wanted, word = (
        (set(ip.ETHERTYPE.values()), "IPv4 and IPv6")
        if flow.layer == "udp"
        else ({probe.ETHERTYPE}, "EtherType 88b5")
    )
    bare = {4: ip.ETHERTYPE[4], 6: ip.ETHERTYPE[6]}.get(frame[0] >> 4, 0)
    if (int.from_bytes(frame[link - 2 : link], "big") if link else bare) not in wanted:
        raise UsageError(
            f"flow {flow.name}: the receiver would not see this template: over layer {flow.layer} "
            f"it looks at {word} alone"
        )


def filler(length: int, start: int = 0) -> NDArray[np.uint8]:
    """What stands behind the probe: no byte equals its neighbour, so that a shift is seen."""
    return (np.arange(start, start + length) * 167 + 29).astype(np.uint8)


def fixed(template: Template, *, routed: bool, version: ip.Version | None = 4) -> NDArray[np.bool_]:
    """Which bytes after the link header must arrive as they were sent, the probe left out.

    `routed` over a `version` of IP leaves out what routers change, too.
    """
    must = np.ones(len(template.frame) - template.link, np.bool_)
    at = template.probe_at - template.link
    must[at : at + probe.SIZE] = False
    if routed and version is not None and at == ip.HEADER[version] + ip.UDP_HEADER:
        must[list(ip.ROUTER_CHANGES[version])] = False
    return must
