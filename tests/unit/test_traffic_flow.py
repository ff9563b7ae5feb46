"""Flows and their templates: what fits, what is refused, and checksums right for every probe."""

from __future__ import annotations

from ipaddress import IPv4Interface, IPv6Interface
from typing import Any

import numpy as np
import pytest

from hil.errors import UsageError
from hil.targets.sweep import Sweep
from hil.targets.traffic import SMALLEST, Burst
from hil.traffic.compile import compile_flow, filler, fixed
from hil.traffic.flow import Flow, periodic
from hil.traffic.port import Port, parse_port
from hil.wire import probe
from hil.wire.ip import checksums_right


def port(name: str = "a", **changes: Any) -> Port:
    fields: dict[str, Any] = {
        "name": name,
        "interface": name,
        "namespace": None,
        "kind": "ethernet",
        "mac": bytes([2, 0, 0, 0, 0, ord(name[0])]),
        "mtu": 1500,
        "addresses": (IPv4Interface(f"10.0.0.{ord(name[0])}/24"),),
    }
    return Port(**(fields | changes))


def flow(**changes: Any) -> Flow:
    fields: dict[str, Any] = {
        "name": "f",
        "tx": port("a"),
        "rx": port("b"),
        "planned": periodic(10, 1000, 128),
    }
    return Flow(**(fields | changes))


@pytest.mark.parametrize("layer", ["ethernet", "udp"])
def test_the_last_packet_of_a_frame_is_never_too_short_to_be_offered(layer: Any) -> None:
    traffic = Burst(layer=layer, packet_size="1400 B", frame_size="1387 B", interval="100 ms")
    planned = traffic.schedule(count=2)
    flow(planned=planned, layer=layer).check()
    assert planned["size"].min() == SMALLEST[layer]


@pytest.mark.parametrize("text", ["", "/", "a/", "/b", "a/b/c"])
def test_a_text_that_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="NETNS/IFACE"):
        parse_port(text)


def test_a_port_is_an_interface_or_a_namespace_and_one() -> None:
    assert parse_port("eth0") == (None, "eth0")
    assert parse_port("ue1/uesimtun0") == ("ue1", "uesimtun0")


def test_the_ethernet_layer_puts_the_probe_right_after_the_header() -> None:
    made = compile_flow(flow(), 0)
    (template,) = made.templates.values()
    assert (template.link, template.probe_at, len(template.frame)) == (14, 14, 128)
    assert template.frame[:14] == port("b").mac + port("a").mac + b"\x88\xb5"
    assert template.frame[54:] == filler(128 - 54).tobytes()
    assert made.udp_port is None


@pytest.mark.parametrize("size", [68, 69, 255, 1500])
def test_the_udp_checksum_of_the_template_is_right_for_every_probe(size: int) -> None:
    made = compile_flow(flow(layer="udp", planned=periodic(1, 1, size), dscp=46), 5005)
    template = made.templates[size]
    assert (template.link, template.probe_at, len(template.frame)) == (14, 42, size + 14)
    rng = np.random.default_rng(size)
    sequences = rng.integers(0, 2**63, 50).astype(np.uint64)
    packets = np.tile(np.frombuffer(template.frame[14:], np.uint8), (50, 1))
    packets[:, 28:68] = probe.encode(int(rng.integers(2**63)), 7, sequences, 10**18)
    assert checksums_right(packets, 4).all()
    assert (packets[:, 26:28] != 0).any(), "a checksum is really there"
    assert (packets[:, 1] >> 2 == 46).all()


def test_each_size_of_a_flow_has_its_own_frame() -> None:
    planned = periodic(4, 1, 1400)
    planned["size"][3] = 333
    made = compile_flow(flow(layer="udp", planned=planned), 5005)
    assert {size: len(each.frame) for size, each in made.templates.items()} == {
        333: 347,
        1400: 1414,
    }


def test_a_template_of_the_callers_own_is_filled_up_and_summed() -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    mine = Ether() / Dot1Q(vlan=9) / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=77) / b"old"
    made = compile_flow(flow(layer="udp", template=mine, planned=periodic(1, 1, 200)), 0)
    template = made.templates[200]
    assert (template.link, template.probe_at, len(template.frame)) == (18, 46, 218)
    assert made.udp_port == 77
    packet = np.frombuffer(template.frame[18:], np.uint8).copy()[None]
    assert checksums_right(packet, 4).all()
    assert mine.payload.payload.payload.load == b"old", "the caller's packet is left alone"


def test_no_byte_of_the_filler_equals_its_neighbour() -> None:
    assert (np.diff(filler(2000).astype(int)) != 0).all()


def test_on_a_direct_path_every_byte_must_stay() -> None:
    made = compile_flow(flow(layer="udp"), 5005)
    (template,) = made.templates.values()
    direct, routed = fixed(template, routed=False), fixed(template, routed=True)
    assert (~direct).sum() == probe.SIZE
    assert not direct[28:68].any()
    assert set(np.flatnonzero(direct & ~routed)) == {1, 8, 10, 11, *range(12, 24), 26, 27}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"planned": periodic(0, 1, 128)}, ["plans no packet"]),
        ({"planned": periodic(5, 1, 59)}, ["59 B", "at least 60 B"]),
        ({"planned": periodic(5, 1, 67), "layer": "udp"}, ["67 B", "at least 68 B"]),
        ({"planned": periodic(5, 1, 1515)}, ["1515 B", "port a", "1514 B"]),
        ({"planned": periodic(5, 1, 1501), "layer": "udp"}, ["1501 B", "1500 B"]),
        (
            {"planned": periodic(5, 1, 1500), "layer": "udp", "rx": port("b", tap="hil")},
            ["port b", "1468 B", "trailer of 32 B"],
        ),
        ({"tx": port("a", kind="raw-ip", mac=b"")}, ["port a", "use layer udp"]),
        (
            {"rx": port("b", addresses=()), "layer": "udp"},
            ["port b", "no IP address", "ip address add"],
        ),
        ({"planned": periodic(5, -1, 128)}, ["backwards"]),
        ({"template": b"no packet"}, ["Scapy"]),
    ],
)
def test_what_cannot_be_offered_is_refused_with_the_cure(
    changes: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(UsageError) as caught:
        compile_flow(flow(**changes), 5005)
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("layer", ["ethernet", "udp"])
def test_a_template_that_no_receiver_looks_at_is_refused(layer: Any) -> None:
    from scapy.layers.l2 import Ether

    other = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02", type=0x88B6)
    planned = periodic(1, 1, 200)
    with pytest.raises(UsageError, match=r"IPv4 and IPv6 alone|88b5 alone"):
        compile_flow(flow(layer=layer, template=other, planned=planned), 0)


def test_a_template_without_room_for_the_probe_is_refused() -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.inet6 import IPv6
    from scapy.layers.l2 import Ether

    deep = Ether() / IPv6() / IP() / UDP()
    with pytest.raises(UsageError, match="leaves 22 B after the headers"):
        compile_flow(flow(layer="udp", template=deep, planned=periodic(1, 1, 90)), 0)


SIX = {
    "tx": port("a", addresses=(IPv6Interface("2001:db8::a/64"),)),
    "rx": port("b", addresses=(IPv6Interface("2001:db8::b/64"),)),
    "layer": "udp",
}


@pytest.mark.parametrize("size", [88, 89, 255, 1500])
def test_over_ipv6_the_checksum_is_there_and_right_for_every_probe(size: int) -> None:
    made = compile_flow(flow(**SIX, planned=periodic(1, 1, size), dscp=46), 5005)
    template = made.templates[size]
    assert (template.link, template.probe_at, len(template.frame)) == (14, 62, size + 14)
    assert (made.version, made.udp_port) == (6, 5005)
    rng = np.random.default_rng(size)
    packets = np.tile(np.frombuffer(template.frame[14:], np.uint8), (50, 1))
    packets[:, 48:88] = probe.encode(1, 7, rng.integers(0, 2**63, 50).astype(np.uint64), 10**18)
    assert checksums_right(packets, 6).all()
    packets[:, 46:48] = 0
    assert not checksums_right(packets, 6).any(), "over IPv6 there is always one"
    assert int.from_bytes(template.frame[14:18], "big") == 6 << 28 | 46 << 22


def test_ports_of_two_versions_speak_ipv4_and_one_of_either_alone_cannot() -> None:
    both = port("a", addresses=(IPv6Interface("2001:db8::a/64"), IPv4Interface("10.0.0.1/24")))
    assert flow(tx=both, layer="udp").version == 4
    assert flow(tx=both, rx=SIX["rx"], layer="udp").version == 6
    with pytest.raises(UsageError, match="an IPv6 address alone and port b an IPv4 address alone"):
        compile_flow(flow(tx=SIX["tx"], layer="udp"), 5005)


def test_a_packet_that_has_no_room_over_ipv6_is_refused() -> None:
    with pytest.raises(UsageError, match=r"87 B has no room .* IPv6; give at least 88 B"):
        flow(**SIX, planned=periodic(1, 1, 87)).check()
    with pytest.raises(ValueError, match="at least 88 B"):
        Burst(packet_size="80 B", frame_size="1 kB", interval="1 ms").schedule(5, ip=6)


@pytest.mark.parametrize(("ip", "header"), [(4, 28), (6, 48)])
def test_a_frame_is_cut_so_that_headers_and_its_data_fill_the_packets(ip: Any, header: int) -> None:
    traffic = Burst(packet_size="1400 B", frame_size="5000 B", interval="100 ms")
    planned = traffic.schedule(1, ip=ip)
    assert int((planned["size"] - header).sum()) == 5000


def test_a_port_in_a_vlan_tags_what_it_sends_beyond_the_size() -> None:
    tagged = port("a", vlan=5)
    made = compile_flow(flow(tx=tagged), 0)
    (template,) = made.templates.values()
    assert template.frame[12:18] == b"\x81\x00\x00\x05\x88\xb5"
    assert (len(template.frame), template.link, template.size, made.vlan) == (132, 18, 128, 5)
    made = compile_flow(flow(tx=tagged, layer="udp"), 5005)
    (template,) = made.templates.values()
    assert template.frame[12:18] == b"\x81\x00\x00\x05\x08\x00"
    assert len(template.frame) == 128 + 18
    assert checksums_right(np.frombuffer(template.frame[18:], np.uint8)[None], 4).all()


def test_a_template_gets_the_tag_of_its_port_unless_it_has_its_own() -> None:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    tail = IP(src="10.0.0.1", dst="10.0.0.2") / UDP(dport=77)
    for head, vlan in ((Ether(), 5), (Ether() / Dot1Q(vlan=9, prio=3), 9)):
        made = compile_flow(flow(tx=port("a", vlan=5), layer="udp", template=head / tail), 0)
        (template,) = made.templates.values()
        assert made.vlan == vlan
        assert (template.link, len(template.frame)) == (18, 128 + 18)


def test_frames_are_told_by_the_vlans_that_a_sweep_puts_them_in_be_it_one() -> None:
    tagged = port("a", vlan=5)
    for vlans in ((7,), (7, 8)):
        made = compile_flow(flow(tx=tagged, sweep=Sweep(vlan=vlans)), 0)
        assert made.vlans == vlans
        sent = [each[128].frame[14:16] for each in made.variants]
        assert sent == [vlan.to_bytes(2, "big") for vlan in vlans]
    assert compile_flow(flow(tx=tagged, sweep=Sweep(payload=3)), 0).vlans == ()


def test_more_swept_frames_than_can_be_held_ready_are_refused() -> None:
    planned = periodic(40, 1000, 128)
    planned["size"] += np.arange(40, dtype=planned["size"].dtype)
    with pytest.raises(UsageError, match="1,000 swept packets in 40 sizes are 40,000 frames"):
        compile_flow(flow(planned=planned, sweep=Sweep(payload=1000)), 0)


def test_bare_ip_has_no_vlan() -> None:
    bare = port("b", kind="raw-ip", mac=b"", vlan=5)
    with pytest.raises(UsageError, match="port b carries bare IP"):
        flow(rx=bare, layer="udp").check()
