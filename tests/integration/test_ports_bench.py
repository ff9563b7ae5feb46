"""Every kind of port counts exactly between real namespaces: routed, tagged, tunnelled.

Everything runs in user and network namespaces that unshare(1) makes, hence without privilege.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.integration.staging import unshared

BENCH = Path(__file__).with_name("ports_bench.py")
ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount"]
COUNT = 200


def on_bench(scenario: str, **order: Any) -> Any:
    return unshared(BENCH, scenario, json.dumps({"count": COUNT} | order))


def exact(measured: dict[str, Any], count: int = COUNT) -> None:
    """All came, none changed, every stamp is there, and the instrument has no complaint."""
    names = ("sent", "received", "lost", "corrupted", "duplicated", "reordered", "foreign")
    assert [measured[name] for name in names] == [count, count, 0, 0, 0, 0, 0], measured["flow"]
    assert measured["stamps"]["rx"]["missing"] == measured["stamps"]["tx"]["missing"] == 0
    assert measured["invalid"] == []


def test_both_versions_of_ip_are_counted_exactly_over_a_router_both_ways() -> None:
    seen = on_bench("routed")
    for measured in (*seen["held"], *seen["strange"]):
        exact(measured)
        assert measured["conditions"]["frame"]["routed"]
    assert [each["conditions"]["frame"]["ip"] for each in seen["held"]] == [4, 4, 6, 6]
    # No kernel holds the far address: the router got its answer from the run itself.
    for measured in seen["strange"]:
        assert measured["conditions"]["receiver"]["neighbours_answered"] >= 2


def test_a_port_lies_in_its_vlan_and_a_wrong_or_missing_tag_is_damage() -> None:
    seen = on_bench("vlan")
    for measured in seen["trunk"]:
        exact(measured)
    assert [each["conditions"]["ports"]["rx"]["vlan"] for each in seen["trunk"]] == [5, 6, 6]
    assert seen["trunk"][1]["conditions"]["frame"]["on_wire"] == 1514 + 4 + 4
    for measured in (*seen["wrong"], *seen["superfluous"]):
        names = ("sent", "received", "lost", "corrupted", "foreign")
        assert [measured[name] for name in names] == [COUNT, 0, 0, COUNT, 0], measured["flow"]
    assert seen["superfluous"][0]["conditions"]["receiver"]["other_vlan"] == COUNT


def test_neighbours_are_asked_and_answered_in_a_vlan_that_no_kernel_is_in() -> None:
    seen = on_bench("neighbours")
    assert seen["found"] == [seen["mac"]] * 2
    assert seen["answered"] == 2
    assert seen["said"].startswith("RigError: port near: 10.8.0.77 does not answer ARP in VLAN 6")


def test_a_packet_too_big_for_the_path_is_refused_before_the_first_that_counts() -> None:
    seen = on_bench("too_big")
    for said, name, router in zip(
        seen["said"], ("four", "six"), ("10.9.0.254", "2001:db8:9::fe"), strict=True
    ):
        assert said.startswith(
            f"PacketTooBig: flow {name}: a packet of 1400 B does not fit the path"
        )
        assert f"{router} lets through at most 1300 B" in said
    for measured in seen["fits"]:
        exact(measured)


def test_a_checksum_that_the_kernel_left_to_hardware_is_reported_and_no_damage() -> None:
    (measured,) = on_bench("relayed")
    exact(measured)
    assert measured["conditions"]["receiver"]["checksum_pending"] == COUNT


def test_a_nat_is_opened_from_inside_and_the_downlink_follows_what_it_chose() -> None:
    seen = on_bench("nat")
    for measured in (*seen["both"], *seen["alone"]):
        exact(measured)
    downlinks = [each for each in (*seen["both"], *seen["alone"]) if each["flow"] != "up"]
    ports = [each["conditions"]["nat"]["port"] for each in downlinks]
    assert len(set(ports)) == len(ports)
    assert not set(ports) & set(range(50_000, 50_010)), "the NAT chose ports of its own"
    addresses = [each["conditions"]["nat"]["address"] for each in downlinks]
    assert addresses == ["10.10.0.254", "10.10.0.254", "2001:db8:a::fe", "10.10.0.254"]
    for measured in downlinks:
        told = measured["conditions"]["nat"]
        assert told["openers_sent"] >= 1
        kept = told["keep_alive"]
        assert (kept["sent"], kept["received"], kept["warmup_sent"]) == (1, 1, 20)
    assert "nat" not in seen["both"][0]["conditions"]
    alone = seen["alone"][0]["conditions"]["offered"]
    assert alone["directions"] == "one direction only", "a keep-alive is no uplink traffic"
    assert "both behind a NAT" in seen["between"]
    assert seen["shut"].startswith("RigError: port tx/e0 is behind a NAT, and none of 5 openers")


def test_probes_in_a_tunnel_are_counted_inside_and_the_same_ones_outside() -> None:
    seen = on_bench("tunnels")
    assert [each["flow"] for each in seen] == ["tun", "tun 6", "vxlan", "vxlan frames"]
    for measured in seen:
        exact(measured)
        # Seen once each in the middle, at a time between those of both ends.
        assert measured["outside"] == [[COUNT, COUNT, COUNT]], measured["flow"]
    assert [each["conditions"]["ports"]["tx"]["kind"] for each in seen[:2]] == ["raw-ip"] * 2


def test_a_port_that_merges_datagrams_is_refused_with_the_command_that_ends_it() -> None:
    seen = on_bench("merging")
    for said, name in zip(seen["said"], ("rx-gro-list", "rx-udp-gro-forwarding"), strict=True):
        assert said.startswith("UsageError: port rx/e1 merges datagrams")
        assert f"`ip netns exec rx ethtool -K e1 {name} off`" in said
    exact(seen["without"][0])


def test_doctor_says_what_each_port_and_path_takes_and_what_is_in_the_way() -> None:
    before, after = (
        {(what, grade): f"{found}: {cure}" for what, grade, found, cure in findings}
        for findings in on_bench("doctor")
    )
    assert "ethtool -K e1 rx-gro-list off" in before["port mec", "bad"]
    assert ("path lan - mec", "bad") in before
    assert "MTU 1500" in after["port mec", "good"]
    assert "ethtool -K e1 gro off" in after["port mec", "note"]
    assert "behind a NAT" in after["port six", "note"]
    up = after["path lan -> mec", "note"]
    assert "up to 1300 B come through (10.9.0.254: at most 1300 B)" in up
    # The other way the narrow link is the first one: it drops what is too big and says nothing.
    down = after["path mec -> lan", "note"]
    assert "up to 1280 B come through (1500 B vanish without a word)" in down
