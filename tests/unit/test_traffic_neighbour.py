"""Neighbours asked and answered, complaints of routers read; Scapy is on the other side."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.traffic.neighbour import Link, answer, question, told
from hil.traffic.port import Address
from hil.traffic.stack import TOO_BIG, complaint
from hil.wire import probe

NEAR, FAR = Link(bytes.fromhex("020000000001"), None), Link(bytes.fromhex("020000000002"), None)
OWN: dict[int, Address] = {4: IPv4Address("10.0.0.1"), 6: IPv6Address("2001:db8::1")}
ASKED: dict[int, Address] = {4: IPv4Address("10.0.0.2"), 6: IPv6Address("2001:db8::12:3456")}


@pytest.mark.parametrize("version", [4, 6])
def test_a_question_is_answered_and_the_answer_understood(version: int) -> None:
    asking = question(NEAR, OWN[version], ASKED[version])
    reply = answer(FAR, asking, [ASKED[version]])
    assert reply is not None
    assert reply[:12] == NEAR.mac + FAR.mac
    assert told(reply, ASKED[version]) == FAR.mac
    assert told(reply, OWN[version]) is None
    assert answer(FAR, asking, [OWN[version]]) is None, "nobody answers for another"
    assert answer(FAR, reply, [ASKED[version]]) is None, "an answer is no question"


def test_scapy_reads_the_same_in_what_is_asked_and_answered() -> None:
    from scapy.layers.inet6 import ICMPv6ND_NA, ICMPv6ND_NS, ICMPv6NDOptSrcLLAddr, IPv6
    from scapy.layers.l2 import ARP, Ether

    asking = Ether(question(NEAR, OWN[4], ASKED[4]))
    assert (asking.dst, asking[ARP].op, asking[ARP].pdst) == ("ff:" * 5 + "ff", 1, "10.0.0.2")
    asking = Ether(question(NEAR, OWN[6], ASKED[6]))
    assert asking.dst == "33:33:ff:12:34:56"
    assert asking[IPv6].dst == "ff02::1:ff12:3456"
    assert (asking[ICMPv6ND_NS].tgt, asking[ICMPv6NDOptSrcLLAddr].lladdr) == (
        str(ASKED[6]),
        NEAR.mac.hex(":"),
    )
    reply = Ether(answer(FAR, bytes(asking), [ASKED[6]]) or b"")
    assert (reply[ICMPv6ND_NA].S, reply[ICMPv6ND_NA].O, reply[IPv6].hlim) == (1, 1, 255)
    for packet in (asking, reply):  # the checksum that Scapy computes is the one that is there
        layer: Any = packet[IPv6].payload
        stated = layer.cksum
        del layer.cksum
        assert Ether(bytes(packet))[IPv6].payload.cksum == stated


def test_in_a_vlan_question_and_answer_are_tagged() -> None:
    tagged = Link(NEAR.mac, 5)
    for version in (4, 6):
        frame = question(tagged, OWN[version], ASKED[version])
        assert frame[12:16] == bytes.fromhex("81000005")
        stripped = frame[:12] + frame[16:]  # as the kernel hands it over
        reply = answer(Link(FAR.mac, 5), stripped, [ASKED[version]])
        assert reply is not None
        assert reply[12:16] == bytes.fromhex("81000005")


def test_a_solicitation_that_has_crossed_a_router_is_not_believed() -> None:
    asking = bytearray(question(NEAR, OWN[6], ASKED[6]))
    asking[14 + 7] = 254
    assert answer(FAR, bytes(asking), [ASKED[6]]) is None


@given(frame=st.binary(max_size=120))
def test_no_frame_upsets_those_who_listen(frame: bytes) -> None:
    for kind in (b"", b"\x08\x06", b"\x86\xdd", b"\x08\x00"):
        made = bytes(12) + kind + frame
        answer(FAR, made, [ASKED[4], ASKED[6]])
        told(made, ASKED[4])
        told(made, ASKED[6])
        complaint(made[14:])


def complained(version: int, **fields: Any) -> bytes:
    from scapy.layers.inet import ICMP, IP, UDP
    from scapy.layers.inet6 import ICMPv6PacketTooBig, IPv6
    from scapy.packet import Raw

    if version == 4:
        quoted = IP(src="10.0.0.1", dst="10.1.0.1") / UDP(sport=1, dport=5005) / Raw(bytes(20))
        return bytes(IP(src="10.0.0.254", dst="10.0.0.1") / ICMP(**fields) / quoted)
    beyond = IPv6(src="2001:db8::1", dst="2001:db8:1::1") / UDP(sport=1, dport=5005)
    return bytes(IPv6(src="fe80::1", dst="2001:db8::1") / ICMPv6PacketTooBig(mtu=1280) / beyond)


def test_what_a_router_says_is_read_with_the_packet_it_quotes() -> None:
    said = complaint(complained(4, type=3, code=4, nexthopmtu=1300))
    assert said is not None
    assert (said.says, said.by, said.udp_port, said.mtu) == (
        TOO_BIG,
        ip_address("10.0.0.254"),
        5005,
        1300,
    )
    said = complaint(complained(4, type=3, code=4))
    assert said is not None
    assert (said.says, said.mtu) == (TOO_BIG, None), "an old router does not state it"
    said = complaint(complained(6))
    assert said is not None
    assert (said.says, said.by, said.udp_port, said.mtu) == (
        TOO_BIG,
        ip_address("fe80::1"),
        5005,
        1280,
    )
    said = complaint(complained(4, type=11, code=0))
    assert said is not None
    assert (said.says, said.mtu) == ("time exceeded", None)
    assert complaint(complained(4, type=8)) is None


@given(
    before=st.binary(max_size=90).filter(lambda text: b"h" not in text),
    behind=st.binary(max_size=40),
    cut=st.integers(0, 45),
)
def test_a_probe_is_found_whatever_is_before_it(before: bytes, behind: bytes, cut: int) -> None:
    mark = probe.encode(1, 2, np.array([3]), 4)[0].tobytes()
    row = np.frombuffer(before + mark + behind, np.uint8)[None]
    length = np.array([row.shape[1] - cut])
    whole = len(before) + probe.SIZE <= length[0]
    assert probe.find(row, length).tolist() == [len(before) if whole else -1]
    assert probe.find(row[:, :3], np.array([3])).tolist() == [-1]
