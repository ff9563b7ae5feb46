"""From a Scapy packet to bytes and offsets, once per size; nothing is built per packet.

The probe's place is zeros: a probe sums to zero (`hil.wire.probe`), so the UDP checksum that Scapy
computes over the zeros is right for every probe.
"""

from __future__ import annotations

from dataclasses import dataclass
from ipaddress import IPv4Address
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import UsageError
from hil.traffic.flow import Flow
from hil.traffic.linux import ETH_P_IP
from hil.traffic.port import BROADCAST, neighbour_mac, next_hop
from hil.wire import probe

SOURCE_PORT: Final = 49_152  #: first of the dynamic ports (RFC 6335 section 6)

# What a router changes in an IPv4 header (RFC 1812 5.2, 5.3; RFC 2474; RFC 3022 for NAT): bytes
# from the start of the header, those of UDP with them.
_ROUTER_CHANGES: Final = (1, 8, 10, 11, *range(12, 20), *range(20, 24), 26, 27)


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
    """A flow as bytes: its templates by packet size, and what the receiver must know."""

    templates: dict[int, Template]
    udp_port: int | None
    routed: bool


def compile_flow(flow: Flow, udp_port: int, canary: bytes = b"") -> Compiled:
    """The templates of a flow; `udp_port` is the destination port where the flow needs one.

    The canary stands behind each probe where the flow is searched for.

    Raises: UsageError where the flow does not fit its ports or its template; RigError where the
    next hop does not answer.
    """
    flow.check()
    packet, routed = _packet(flow, udp_port)
    templates = {size: _template(flow, packet, size, canary) for size in flow.plan.sizes}
    udp = packet.getlayer("UDP")
    return Compiled(
        templates=templates,
        udp_port=int(udp.dport) if udp is not None else None,
        routed=routed if flow.routed is None else flow.routed,
    )


def _packet(flow: Flow, udp_port: int) -> tuple[Any, bool]:
    """The headers of the flow as a Scapy packet, and whether an IP router lies between."""
    if flow.template is not None:
        return _headers_of(flow), False
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Ether

    if flow.layer == "ethernet":
        station = flow.rx.mac or BROADCAST
        return Ether(src=flow.tx.mac, dst=station, type=probe.ETHERTYPE), False
    source, target = flow.tx.address.ip, flow.rx.address.ip
    packet: Any = IP(src=str(source), dst=str(target), tos=flow.dscp << 2, id=0, flags="DF")
    packet = packet / UDP(sport=SOURCE_PORT, dport=udp_port)
    hop = next_hop(flow.tx, target)
    if flow.tx.kind == "ethernet":
        packet = Ether(src=flow.tx.mac, dst=_towards(flow, hop, target)) / packet
    return packet, hop is not None


def _towards(flow: Flow, hop: IPv4Address | None, target: IPv4Address) -> bytes:
    """The MAC address that a frame of the flow is sent to."""
    if hop is not None:
        return neighbour_mac(flow.tx, hop)
    return flow.rx.mac or neighbour_mac(flow.tx, target)


def _headers_of(flow: Flow) -> Any:
    """The caller's template without its payload, with lengths and checksums left to compute."""
    from scapy.packet import Packet, Raw

    if not isinstance(flow.template, Packet):
        raise UsageError(f"flow {flow.name}: the template must be a Scapy packet")
    packet: Any = flow.template.copy()
    if packet.haslayer(Raw):
        packet[Raw].underlayer.remove_payload()
    for name in ("IP", "UDP"):
        layer = packet.getlayer(name)
        for field in ("len", "chksum") if layer is not None else ():
            layer.delfieldval(field)
    return packet


def _template(flow: Flow, packet: Any, size: int, canary: bytes) -> Template:
    from scapy.packet import Raw

    ethernet = flow.tx.kind == "ethernet"
    tags = 1 if packet.haslayer("Dot1Q") else 0
    link = probe.ETHERNET_HEADER + tags * probe.VLAN_TAG if ethernet else 0
    headers = len(bytes(packet))
    length = size if flow.layer == "ethernet" else size + link
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
    payload = bytes(probe.SIZE) + canary + filler(room - probe.SIZE).tobytes()[len(canary) :]
    frame = bytes(packet / Raw(payload))
    if len(frame) != length:
        raise UsageError(
            f"flow {flow.name}: the template gives {len(frame)} B where {length} B were asked for; "
            f"leave lengths and padding to be computed"
        )
    _check_kind(flow, frame, link)
    return Template(frame=frame, link=link, probe_at=headers, size=size)


def _check_kind(flow: Flow, frame: bytes, link: int) -> None:
    """A receiver looks at IPv4 and at the probe's own EtherType; all else would count as lost."""
    wanted, word = (
        (ETH_P_IP, "IPv4") if flow.layer == "udp" else (probe.ETHERTYPE, "EtherType 88b5")
    )
    bare = ETH_P_IP if frame[0] >> 4 == 4 else 0
    if (int.from_bytes(frame[link - 2 : link], "big") if link else bare) != wanted:
        raise UsageError(
            f"flow {flow.name}: the receiver would not see this template: over layer {flow.layer} "
            f"it looks at {word} alone"
        )


def filler(length: int) -> NDArray[np.uint8]:
    """What stands behind the probe: no byte equals its neighbour, so that a shift is seen."""
    return (np.arange(length) * 167 + 29).astype(np.uint8)


def fixed(template: Template, *, routed: bool) -> NDArray[np.bool_]:
    """Which bytes after the link header must arrive as they were sent, the probe left out."""
    must = np.ones(len(template.frame) - template.link, np.bool_)
    at = template.probe_at - template.link
    must[at : at + probe.SIZE] = False
    if routed and at == probe.IPV4_HEADER + probe.UDP_HEADER:
        must[list(_ROUTER_CHANGES)] = False
    return must
