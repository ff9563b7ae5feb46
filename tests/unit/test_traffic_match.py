"""Which frames are ours: intact, damaged, foreign or nobody's; and what their trailers say."""

from __future__ import annotations

import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.samples.table import DAMAGED, HELD_UP, NOT_TAKEN, TRAILER_BAD, UNREADABLE
from hil.traffic.match import Expected, Matched, Matcher, Shape
from hil.traffic.ring import Batch
from hil.wire import probe, trailer
from hil.wire.ip import checksums_right

RUN = 0x1122334455667788
START = 1_700_000_000_000_000_000
LENGTH = 100
COUNT = 1000
OFFSETS = np.arange(COUNT, dtype=np.int64) * 1_000_000


def template(length: int = LENGTH, at: int = 0) -> Any:
    row = (np.arange(length) * 167 + 29).astype(np.uint8)
    row[at : at + probe.SIZE] = 0
    return row


def expected(flow: int = 1, **changes: Any) -> Expected:
    must = np.ones(LENGTH, np.bool_)
    must[: probe.SIZE] = False
    fields: dict[str, Any] = {
        "flow": flow,
        "probe_at": 0,
        "ethernet": True,
        "udp_port": None,
        "routed": False,
        "offsets_ns": OFFSETS,
        "shapes": {LENGTH: Shape(LENGTH + 14, template(), must)},
    }
    return Expected(**(fields | changes))


def frames(*sequences: int, flow: int = 1, run: int = RUN, flags: int = 0) -> Any:
    seq = np.array(sequences, np.uint64)
    rows = np.tile(template(), (len(seq), 1))
    rows[:, : probe.SIZE] = probe.encode(run, flow, seq, START + OFFSETS[seq % COUNT], flags)
    return rows


def matcher(tap: bool | str = False, **changes: Any) -> Matcher:
    name = "hil" if tap is True else tap
    made = Matcher(RUN, [expected(**changes)], trailer.FORMATS[name] if name else None)
    made.start_ns = START
    return made


def match(rows: Any, lengths: Any = None, by: Matcher | None = None, **seen: Any) -> Matched:
    lengths = np.full(len(rows), rows.shape[1]) if lengths is None else np.asarray(lengths)
    stamps = START + np.arange(len(rows)) * 7
    seen = {name: np.asarray(values) for name, values in seen.items()}
    return (by or matcher()).match(Batch(rows, lengths, lengths, stamps, **seen), 42)


def test_intact_frames_are_ours_with_their_times_and_sizes() -> None:
    found = match(frames(3, 4, 4))
    assert found.rows["seq"].tolist() == [3, 4, 4]
    assert found.rows["flow"].tolist() == [1, 1, 1]
    assert found.rows["size"].tolist() == [LENGTH + 14] * 3
    assert found.rows["rx_kernel_ns"].tolist() == [START, START + 7, START + 14]
    assert found.rows["rx_user_ns"].tolist() == [42] * 3
    assert found.rows["rx_hardware_ns"].tolist() == [NOT_TAKEN] * 3
    assert found.rows["flags"].tolist() == [0] * 3
    assert found.foreign == 0


@given(place=st.integers(0, LENGTH - 1), change=st.integers(1, 255))
def test_a_change_of_any_byte_is_damage_and_never_a_receipt(place: int, change: int) -> None:
    rows = frames(5)
    rows[0, place] ^= change
    found = match(rows)
    assert found.foreign == 0
    assert found.rows["flags"][0] & DAMAGED
    if place >= probe.SIZE:
        assert found.rows["flags"][0] == DAMAGED
    if not found.rows["flags"][0] & UNREADABLE:
        assert found.rows["seq"].tolist() == [5], "a wrong number must not be believed"


def test_a_damaged_sequence_number_is_not_believed() -> None:
    rows = frames(5)
    rows[0, 23] ^= 1  # the number now reads 4, which was also sent
    assert match(rows).rows["flags"].tolist() == [DAMAGED | UNREADABLE]


def test_a_truncated_and_a_longer_frame_are_damaged() -> None:
    rows = np.pad(frames(1, 2), ((0, 0), (0, 8)))
    assert match(rows, [LENGTH - 10, LENGTH + 8]).rows["flags"].tolist() == [DAMAGED, DAMAGED]


def test_another_run_or_flow_is_foreign() -> None:
    rows = np.concatenate([frames(1, run=RUN ^ 1), frames(2, flow=9), frames(3)])
    found = match(rows)
    assert found.rows["seq"].tolist() == [3]
    assert found.foreign == 2


def test_a_number_that_was_never_planned_is_foreign() -> None:
    found = match(frames(COUNT))
    assert len(found.rows) == 0
    assert found.foreign == 1


def test_a_damaged_probe_of_another_run_is_foreign() -> None:
    rows = frames(1, run=~RUN & (2**64 - 1))
    rows[0, 30] ^= 0xFF
    found = match(rows)
    assert (len(found.rows), found.foreign) == (0, 1)


def test_frames_of_our_ethertype_that_are_no_probe_are_foreign() -> None:
    found = match(np.zeros((2, LENGTH), np.uint8))
    assert (len(found.rows), found.foreign) == (0, 2)


def test_warm_up_is_counted_and_not_kept() -> None:
    found = match(np.concatenate([frames(0, 1, flags=probe.WARM_UP), frames(0)]))
    assert found.rows["seq"].tolist() == [0]
    assert found.warm_up == 2


@pytest.mark.parametrize("place", [8, 20, 30, 33])
def test_a_damaged_warm_up_frame_explains_no_loss(place: int) -> None:
    warm = frames(0, flags=probe.WARM_UP)
    warm[:, : probe.SIZE] = probe.encode(RUN, 1, np.array([0]), START - 80_123_457, probe.WARM_UP)
    warm[:, place] ^= 0x5A
    found = match(warm)
    assert (len(found.rows), found.foreign, found.warm_up) == (0, 0, 1)


def tapped(rows: Any, first_release: int = START) -> Any:
    count = len(rows)
    marks = trailer.encode(first_release + np.arange(count) * 1000, 250, 30, np.arange(count))
    return np.concatenate([rows, marks.view(np.uint8).reshape(count, -1)], axis=1)


def test_trailers_are_read_and_are_no_part_of_the_frame() -> None:
    found = match(tapped(frames(1, 2)), by=matcher(tap=True))
    assert found.rows["flags"].tolist() == [0, 0]
    assert found.rows["size"].tolist() == [LENGTH + 14] * 2
    assert found.rows["trailer_release_ns"].tolist() == [START, START + 1000]
    assert found.rows["trailer_ingress_ns"].tolist() == [START - 250, START + 750]
    assert found.rows["trailer_lateness_ns"].tolist() == [30, 30]


def test_a_missing_a_damaged_and_a_stale_trailer_are_bad_and_the_frame_is_not() -> None:
    rows = tapped(frames(1, 2, 3, 4))
    rows[1, -1] ^= 1  # damaged
    rows[3, LENGTH:] = rows[2, LENGTH:]  # the trailer of the frame before
    found = match(rows, [LENGTH, LENGTH + 32, LENGTH + 32, LENGTH + 32], by=matcher(tap=True))
    assert found.rows["flags"].tolist() == [TRAILER_BAD, TRAILER_BAD, 0, TRAILER_BAD]
    assert found.rows["trailer_release_ns"].tolist()[0] == NOT_TAKEN


def test_a_frame_that_the_tap_got_too_late_is_marked() -> None:
    marks = trailer.encode(START + np.arange(2) * 1000, 250, 30, np.arange(2), 0, [0, 1])
    rows = np.concatenate([frames(1, 2), marks.view(np.uint8).reshape(2, -1)], axis=1)
    assert match(rows, by=matcher(tap=True)).rows["flags"].tolist() == [0, HELD_UP]


def test_a_stale_trailer_is_seen_across_batches() -> None:
    made = matcher(tap=True)
    rows = tapped(frames(1))
    assert match(rows, by=made).rows["flags"].tolist() == [0]
    rows[:, :LENGTH] = frames(2)
    assert match(rows, by=made).rows["flags"].tolist() == [TRAILER_BAD]


def metawatch(rows: Any, second: int = 1_700_000_000) -> Any:
    """Frames as they come from a tap that appends when each passed, a microsecond apart."""
    marks = [
        struct.pack(">IIIBHB", zlib.crc32(row.tobytes()), second, k * 1000, 1, 9, 2)
        for k, row in enumerate(rows)
    ]
    tails = np.frombuffer(b"".join(marks), np.uint8).reshape(len(rows), 16)
    return np.concatenate([rows, tails], axis=1)


def test_a_taps_trailer_of_the_market_is_read_and_is_no_part_of_the_frame() -> None:
    found = match(metawatch(frames(1, 2)), by=matcher("metawatch"))
    assert found.rows["flags"].tolist() == [0, 0]
    assert found.rows["size"].tolist() == [LENGTH + 14] * 2
    assert found.rows["trailer_release_ns"].tolist() == [START, START + 1000]
    assert (found.rows["trailer_ingress_ns"] == NOT_TAKEN).all()


@given(missing=st.sets(st.integers(0, 9)), stale=st.sets(st.integers(1, 9)))
def test_missing_and_stale_trailers_of_the_market_are_bad_and_cost_no_frame(
    missing: set[int], stale: set[int]
) -> None:
    rows = metawatch(frames(*range(10)))
    lengths = [LENGTH if k in missing else LENGTH + 16 for k in range(10)]
    for k in sorted(stale):
        rows[k, LENGTH:] = rows[k - 1, LENGTH:]
    found = match(rows, lengths, by=matcher("metawatch"))
    assert found.rows["seq"].tolist() == list(range(10))
    bad = [bool(flags) for flags in found.rows["flags"]]
    seen_before = {k for k in stale if k - 1 not in missing}
    assert bad == [k in missing or k in seen_before for k in range(10)]


@given(place=st.integers(0, 15), change=st.integers(1, 255))
def test_a_corrupt_trailer_never_makes_a_frame_another(place: int, change: int) -> None:
    rows = metawatch(frames(1, 2))
    rows[0, LENGTH + place] ^= change
    found = match(rows, by=matcher("metawatch"))
    assert found.rows["seq"].tolist() == [1, 2]
    assert set(found.rows["flags"].tolist()) <= {0, TRAILER_BAD}
    assert found.rows["flags"][1] == 0


def test_a_frame_without_a_trailer_is_not_cut_by_chance() -> None:
    """Its own last bytes could be read as a time; that its length is whole says they are none."""
    found = match(frames(1, 2), by=matcher("hpt"))
    assert found.rows["flags"].tolist() == [TRAILER_BAD, TRAILER_BAD]
    assert found.rows["size"].tolist() == [LENGTH + 14] * 2


def udp_packet() -> Any:
    from scapy.layers.inet import IP, UDP
    from scapy.packet import Raw

    payload = bytes(probe.SIZE) + bytes(range(32))
    packet = IP(src="10.0.0.1", dst="10.0.1.2", ttl=64, tos=0) / UDP(sport=4000, dport=5000)
    return packet / Raw(payload)


def routed_matcher(*, routed: bool) -> tuple[Matcher, Any]:
    from hil.traffic.compile import Template, fixed

    raw = bytes(udp_packet())
    shape = Template(frame=raw, link=0, probe_at=28, size=len(raw))
    payload = np.frombuffer(raw, np.uint8).copy()
    flow = expected(
        probe_at=28,
        ethernet=False,
        udp_port=5000,
        routed=routed,
        version=4,
        shapes={len(raw): Shape(len(raw), payload, fixed(shape, routed=routed))},
    )
    made = Matcher(RUN, [flow], None)
    made.start_ns = START
    return made, payload


def with_probe(packet: bytes, seq: int) -> Any:
    row = np.frombuffer(packet, np.uint8).copy()
    row[28 : 28 + probe.SIZE] = probe.encode(RUN, 1, np.array([seq], np.uint64), START)[0]
    return row[None]


def test_a_router_may_change_what_routers_change_and_nothing_else() -> None:
    made, _ = routed_matcher(routed=True)
    packet = udp_packet()
    packet.ttl, packet.tos, packet.src, packet["UDP"].sport = 61, 184, "192.0.2.9", 31_000
    assert match(with_probe(bytes(packet), 1), by=made).rows["flags"].tolist() == [0]
    packet.id = 77
    assert match(with_probe(bytes(packet), 2), by=made).rows["flags"].tolist() == [DAMAGED]


def test_a_changed_field_without_its_checksum_is_damage_on_a_routed_path() -> None:
    made, payload = routed_matcher(routed=True)
    row = with_probe(payload.tobytes(), 1)
    row[0, 8] = 61
    assert match(row, by=made).rows["flags"].tolist() == [DAMAGED]


def test_a_changed_hop_limit_is_damage_where_no_router_is() -> None:
    made, _ = routed_matcher(routed=False)
    packet = udp_packet()
    packet.ttl = 63
    assert match(with_probe(bytes(packet), 1), by=made).rows["flags"].tolist() == [DAMAGED]


@pytest.mark.parametrize("place", [0, 9, 15, 21, 25, 30, 95])
def test_checksums_of_a_packet(place: int) -> None:
    row = np.frombuffer(bytes(udp_packet()), np.uint8).copy()[None]
    assert checksums_right(row, 4).tolist() == [True]
    row[0, place] ^= 0x40
    assert checksums_right(row, 4).tolist() == [False]


def test_udp_of_others_is_nobodys_and_to_our_port_foreign() -> None:
    made, payload = routed_matcher(routed=False)
    rows = np.tile(payload, (2, 1))
    rows[:, 28:] = 0x55
    rows[0, 22:24] = 0
    found = match(rows, by=made)
    assert (len(found.rows), found.foreign) == (0, 1)


@pytest.mark.parametrize("wanted", [0, 5])
@given(seen=st.lists(st.sampled_from([0, 5, 6, 4095, 0x1005]), min_size=1, max_size=8))
def test_a_frame_of_ours_in_another_vlan_is_damage_and_never_a_receipt(
    wanted: int, seen: list[int]
) -> None:
    found = match(frames(*range(len(seen))), by=matcher(vlan=wanted), vlan=seen)
    assert found.rows["seq"].tolist() == list(range(len(seen)))
    assert found.rows["flags"].tolist() == [0 if vlan == wanted else DAMAGED for vlan in seen]
    assert found.other_vlan == sum(vlan != wanted for vlan in seen)
    assert found.foreign == 0


def test_a_missing_tag_is_damage_and_any_tag_will_do_where_none_was_promised() -> None:
    found = match(frames(1), by=matcher(vlan=5))
    assert (found.rows["flags"].tolist(), found.other_vlan) == ([DAMAGED], 1)
    found = match(frames(1, 2), by=matcher(vlan=None), vlan=[0, 77])
    assert (found.rows["flags"].tolist(), found.other_vlan) == ([0, 0], 0)


def test_what_passes_in_a_vlan_that_is_not_ours_is_nobodys() -> None:
    rows = np.concatenate([frames(1, run=RUN ^ 1), frames(2, flow=9), frames(3), frames(4)])
    rows[2, 20] ^= 0xFF  # of our run, damaged, in the VLAN of another port: that port counts it
    rows[3, : probe.SIZE] = 0
    found = match(rows, by=matcher(vlan=5), vlan=[6, 6, 6, 6])
    assert (len(found.rows), found.foreign, found.other_vlan) == (0, 0, 0)
    found = match(rows, by=matcher(vlan=5), vlan=[5, 5, 5, 5])
    assert (found.rows["flags"].tolist(), found.foreign) == ([DAMAGED | UNREADABLE], 3)


def six_packet(**changes: Any) -> Any:
    from scapy.layers.inet import UDP
    from scapy.layers.inet6 import IPv6
    from scapy.packet import Raw

    fields: dict[str, Any] = {"src": "2001:db8::1", "dst": "2001:db8:1::2", "hlim": 64}
    return IPv6(**(fields | changes)) / UDP(sport=4000, dport=5000) / Raw(bytes(72))


def six_matcher(*, routed: bool) -> Matcher:
    from hil.traffic.compile import Template, fixed

    raw = bytes(six_packet())
    shape = Template(frame=raw, link=0, probe_at=48, size=len(raw))
    must = fixed(shape, routed=routed, version=6)
    return matcher(
        probe_at=48,
        ethernet=False,
        udp_port=5000,
        routed=routed,
        version=6,
        shapes={len(raw): Shape(len(raw), np.frombuffer(raw, np.uint8).copy(), must)},
    )


def six(packet: Any, seq: int = 1) -> Any:
    row = np.frombuffer(bytes(packet), np.uint8).copy()
    at = START + OFFSETS[seq]
    row[48 : 48 + probe.SIZE] = probe.encode(RUN, 1, np.array([seq], np.uint64), at)[0]
    return row[None]


def test_an_ipv6_router_may_change_what_routers_change() -> None:
    for changed in (
        six_packet(hlim=61),
        six_packet(tc=184),
        six_packet(fl=0x12345),
        six_packet(src="2001:db8:ffff::9"),
    ):
        assert match(six(changed), by=six_matcher(routed=True)).rows["flags"].tolist() == [0]
        assert match(six(changed), by=six_matcher(routed=False)).rows["flags"].tolist() == [DAMAGED]


@given(place=st.integers(0, 119), change=st.integers(1, 255))
def test_over_a_routed_ipv6_path_what_no_router_changes_is_damage(place: int, change: int) -> None:
    row = six(six_packet())
    row[0, place] ^= change
    found = match(row, by=six_matcher(routed=True))
    # IPv6 has no checksum over traffic class, flow label and hop limit (RFC 8200 section 3).
    free = place in (1, 2, 3, 7) or (place == 0 and change < 16)
    assert bool(found.rows["flags"][0] & DAMAGED) != free
    assert found.foreign == 0


def test_a_datagram_to_our_port_over_ipv6_is_foreign() -> None:
    row = six(six_packet())
    row[0, 48:] = 0x55
    found = match(row, by=six_matcher(routed=False))
    assert (len(found.rows), found.foreign) == (0, 1)


@pytest.mark.parametrize("routed", [False, True])
@pytest.mark.parametrize("version", [4, 6])
def test_a_checksum_that_hardware_was_to_make_is_not_damage(version: int, routed: bool) -> None:
    if version == 4:
        made, payload = routed_matcher(routed=routed)
        row, at = with_probe(payload.tobytes(), 1), 26
    else:
        made, row, at = six_matcher(routed=routed), six(six_packet()), 46
    row[0, at : at + 2] = 0x12, 0x34  # the sum of the pseudo header alone
    assert match(row, by=made).rows["flags"].tolist() == [DAMAGED]
    found = match(row, by=made, pending=[True])
    assert (found.rows["flags"].tolist(), found.pending) == ([0], 1)
    row[0, -1] ^= 1
    assert match(row, by=made, pending=[True]).rows["flags"].tolist() == [DAMAGED]
