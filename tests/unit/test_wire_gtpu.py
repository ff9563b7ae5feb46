"""GTP-U in batches: against Scapy's codec, in both directions; no bytes whatever raise."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scapy.contrib.gtp import GTP_U_Header, GTPPDUSessionContainer
from scapy.layers.inet import IP, UDP, IPOption
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.packet import Raw

from hil.wire import gtpu

GNB, UPF = IPv4Address("10.64.0.1"), IPv4Address("10.64.0.2")
INNER = IP(src="10.60.0.2", dst="10.61.0.2") / UDP(sport=7, dport=9) / Raw(b"user data")
USER = bytes(INNER)


def batch(*packets: Any, room: int = 0) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Packets as rows, and their lengths."""
    frames = [bytes(each) for each in packets]
    rows = np.full((len(frames), max(map(len, frames)) + room), 0xEE, np.uint8)
    for row, frame in zip(rows, frames, strict=True):
        row[: len(frame)] = np.frombuffer(frame, np.uint8)
    return rows, np.array([len(each) for each in frames])


def tunnelled(*extensions: Any, user: Any = INNER, outer: Any = None, **fields: Any) -> Any:
    """A G-PDU as Scapy makes it."""
    outer = IP(src=str(GNB), dst=str(UPF)) if outer is None else outer
    packet = outer / UDP(sport=2152, dport=2152) / GTP_U_Header(gtp_type=255, **fields)
    for each in extensions:
        packet = packet / each
    return packet / user


def one(packet: Any) -> Any:
    return gtpu.decode(*batch(packet, room=3))[0]


@given(
    qfi=st.integers(0, 63),
    teid=st.integers(0, 2**32 - 1),
    rqi=st.integers(0, 1),
    ppi=st.none() | st.integers(0, 7),
)
@settings(max_examples=40, deadline=None)
def test_a_downlink_container_of_scapy_is_read(
    qfi: int, teid: int, rqi: int, ppi: int | None
) -> None:
    container = GTPPDUSessionContainer(
        type=0, QFI=qfi, RQI=rqi, PPP=int(ppi is not None), PPI=ppi or 0
    )
    packet = tunnelled(container, teid=teid, E=1, next_ex=0x85)
    frame = bytes(packet)
    found = one(packet)
    assert (found["teid"], found["qfi"], found["rqi"]) == (teid, qfi, rqi)
    assert found["pdu_type"] == gtpu.DOWNLINK
    assert found["ppi"] == (gtpu.ABSENT if ppi is None else ppi)
    assert frame[found["inner_at"] :][: found["inner_length"]] == USER


@given(qfi=st.integers(0, 63), stamps=st.booleans(), numbered=st.booleans(), delayed=st.booleans())
@settings(max_examples=20, deadline=None)
def test_an_uplink_container_of_scapy_is_read_whatever_it_carries_besides(
    qfi: int, stamps: bool, numbered: bool, delayed: bool
) -> None:
    container = GTPPDUSessionContainer(
        type=1, QFI=qfi, QMP=int(stamps), SNP=int(numbered), dlDelayInd=int(delayed)
    )
    packet = tunnelled(container, teid=5, E=1, next_ex=0x85)
    found = one(packet)
    assert (found["pdu_type"], found["qfi"]) == (gtpu.UPLINK, qfi)
    assert (found["rqi"], found["ppi"]) == (gtpu.ABSENT, gtpu.ABSENT)
    assert bytes(packet)[found["inner_at"] :][: found["inner_length"]] == USER


def test_headers_without_a_container_and_with_options_are_read() -> None:
    plain = tunnelled(teid=9)
    numbered = tunnelled(teid=9, S=1, seq=4711)
    options = tunnelled(teid=9, outer=IP(src=str(GNB), dst=str(UPF), options=[IPOption(b"\x01")]))
    six = tunnelled(teid=9, outer=IPv6(src="fd00::1", dst="fd00::2"))
    rows, lengths = batch(plain, numbered, options, six)
    found = gtpu.decode(rows, lengths)
    for row, each in zip(rows, found, strict=True):
        assert row.tobytes()[each["inner_at"] :][: each["inner_length"]] == USER
    assert found["teid"].tolist() == [9] * 4
    assert found["sequence"].tolist() == [-1, 4711, -1, -1]
    assert found["qfi"].tolist() == [gtpu.ABSENT] * 4
    assert gtpu.carries_ip(rows, found).all()


def test_other_extension_headers_are_passed_over() -> None:
    other = bytes((2, 1, 2, 3, 4, 5, 6, 0x85))  # of type 0x32, eight bytes
    container = bytes((1, 0x10, 7, 0))
    packet = tunnelled(Raw(other + container), teid=1, E=1, next_ex=0x32)
    found = one(packet)
    assert (found["qfi"], found["pdu_type"]) == (7, gtpu.UPLINK)
    assert bytes(packet)[found["inner_at"] :][: found["inner_length"]] == USER


def test_an_ethernet_session_is_told_from_an_ip_session() -> None:
    frame = Ether(src="02:00:00:00:00:01", dst="46:00:00:00:00:02") / INNER
    rows, lengths = batch(tunnelled(teid=1, user=Raw(bytes(frame))), tunnelled(teid=2))
    found = gtpu.decode(rows, lengths)
    assert gtpu.carries_ip(rows, found).tolist() == [False, True]
    assert rows[0].tobytes()[found["inner_at"][0] :][: found["inner_length"][0]] == bytes(frame)


@pytest.mark.parametrize(
    ("what", "packet"),
    [
        ("an echo request", IP() / UDP(sport=2152, dport=2152) / GTP_U_Header(gtp_type=1)),
        ("another port", IP() / UDP(sport=2152, dport=2123) / GTP_U_Header() / INNER),
        ("a fragment", IP(flags="MF") / UDP(sport=2152, dport=2152) / GTP_U_Header() / INNER),
        ("no UDP", IP(proto=6) / Raw(bytes(60))),
        ("a length beyond the datagram", tunnelled(length=4000)),
        ("an extension of no length", tunnelled(Raw(bytes(8)), E=1, next_ex=0x85)),
        ("an extension beyond the packet", tunnelled(Raw(b"\xff" * 8), E=1, next_ex=0x85)),
        ("extensions without an end", tunnelled(Raw(b"\1\0\0\x20" * 20), E=1, next_ex=0x20)),
    ],
)
def test_what_is_no_sound_g_pdu_is_no_tunnel(what: str, packet: Any) -> None:
    found = one(packet)
    assert found["inner_at"] == gtpu.NO_TUNNEL, what
    assert (found["teid"], found["qfi"], found["sequence"]) == (0, gtpu.ABSENT, -1)


def test_a_capture_that_is_cut_inside_the_user_packet_keeps_its_length() -> None:
    rows, lengths = batch(tunnelled(teid=3))
    found = gtpu.decode(rows[:, :40], lengths)[0]
    assert found["inner_length"] == len(USER)
    assert gtpu.decode(rows[:, :34], lengths)["inner_at"][0] == gtpu.NO_TUNNEL


@given(
    lengths=st.lists(st.integers(0, 1500), min_size=1, max_size=6),
    qfi=st.integers(0, 63),
    teid=st.integers(0, 2**32 - 1),
    up=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_scapy_reads_what_is_encoded(lengths: list[int], qfi: int, teid: int, up: bool) -> None:
    rows = gtpu.encode(
        lengths, teid=teid, qfi=qfi, pdu_type=int(up), rqi=1, source=GNB, destination=UPF
    )
    for row, length in zip(rows, lengths, strict=True):
        packet = IP(row.tobytes() + bytes(length))
        assert (packet.src, packet.dst) == (str(GNB), str(UPF))
        assert len(packet) == gtpu.OVERHEAD + length == packet.len
        again = packet.copy()
        del again.chksum
        assert IP(bytes(again)).chksum == packet.chksum
        assert packet[UDP].len == gtpu.OVERHEAD - 20 + length
        header, container = packet[GTP_U_Header], packet[GTPPDUSessionContainer]
        assert (header.teid, header.length) == (teid, length + 8)
        assert (container.type, container.QFI) == (int(up), qfi)
        if not up:
            assert container.RQI == 1


@given(qfi=st.lists(st.integers(0, 63), min_size=1, max_size=8), up=st.booleans())
@settings(deadline=None)
def test_what_is_encoded_is_decoded(qfi: list[int], up: bool) -> None:
    kind = gtpu.UPLINK if up else gtpu.DOWNLINK
    sizes = np.arange(len(qfi)) * 10 + 20
    teids = np.arange(len(qfi)) + 0xFFFF_FF00
    heads = gtpu.encode(sizes, teid=teids, qfi=qfi, pdu_type=kind, source=GNB, destination=UPF)
    rows = np.pad(heads, ((0, 0), (0, 100)))
    found = gtpu.decode(rows, sizes + gtpu.OVERHEAD)
    assert found["qfi"].tolist() == qfi
    assert found["teid"].tolist() == teids.tolist()
    assert found["pdu_type"].tolist() == [kind] * len(qfi)
    assert found["inner_at"].tolist() == [gtpu.OVERHEAD] * len(qfi)
    assert found["inner_length"].tolist() == sizes.tolist()


def test_a_user_packet_that_no_ipv4_packet_holds_is_refused() -> None:
    with pytest.raises(ValueError, match="65500 B does not fit"):
        gtpu.encode([65_500], teid=1, qfi=1, pdu_type=0, source=GNB, destination=UPF)


@given(data=st.data())
@settings(max_examples=300, deadline=None)
def test_no_bytes_raise_and_no_inner_packet_lies_outside(data: st.DataObject) -> None:
    """A sound packet with bytes changed at random, cut anywhere, or plain noise."""
    sound = bytearray(
        bytes(tunnelled(GTPPDUSessionContainer(type=0, QFI=1), teid=1, E=1, next_ex=0x85))
    )
    noise = data.draw(st.binary(min_size=0, max_size=60))
    for place, value in data.draw(
        st.lists(st.tuples(st.integers(0, len(sound) - 1), st.integers(0, 255)), max_size=6)
    ):
        sound[place] = value
    cut = data.draw(st.integers(0, len(sound)))
    rows, lengths = batch(bytes(sound[:cut]), noise, bytes(sound))
    found = gtpu.decode(rows, lengths)
    whole = found["inner_at"] >= 0
    assert (found["inner_at"][whole] <= lengths[whole]).all()
    assert (found["inner_length"] >= 0).all()
    assert (found["qfi"][~whole] == gtpu.ABSENT).all()
    gtpu.carries_ip(rows, found)
