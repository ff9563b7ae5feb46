"""Kinds of ports, each between real namespaces; a program like `traffic_bench`, with its bench.

tx/e0 --- mid/m0  router, bridge or NAT  mid/m1 --- rx/e1        tx/d0 --- rx/d1
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute
from pyroute2.ethtool import Ethtool
from pyroute2.nftables.main import NFTables
from traffic_bench import MILLISECOND, _tun, make_bench, shown  # type: ignore[import-not-found]

from hil.errors import HilError
from hil.samples.measurement import Measurement
from hil.samples.sightings import Sighting
from hil.traffic import Flow, periodic, resolve_port, run
from hil.traffic.flow import Datagram
from hil.traffic.linux import inside
from hil.traffic.neighbour import neighbour_mac
from hil.traffic.point import Point
from hil.traffic.port import Port
from hil.traffic.stack import Stack
from hil.traffic.stations import stations

_NO_DAD = 0x02  # an address is used at once (linux/if_addr.h)


def give(space: str, interface: str, *addresses: str, mtu: int | None = None) -> None:
    """Addresses to an interface, usable at once."""
    with inside(space), IPRoute() as netlink:
        index = netlink.link_lookup(ifname=interface)[0]
        for text in addresses:
            address = ip_interface(text)
            length = address.network.prefixlen
            six = {"flags": _NO_DAD} if address.version == 6 else {}
            netlink.addr("add", index=index, address=str(address.ip), prefixlen=length, **six)
        if mtu is not None:
            netlink.link("set", index=index, mtu=mtu)


def write(space: str, name: str, value: str) -> None:
    """A sysctl of a namespace."""
    with inside(space):
        Path("/proc/sys/net", name).write_text(value)


def make_router(**more: Any) -> None:
    """The middle forwards both versions of IP between x.9 and x.10."""
    give("mid", "m0", "10.9.0.254/24", "2001:db8:9::fe/64")
    give("mid", "m1", "10.10.0.254/24", "2001:db8:a::fe/64", **more)
    give("tx", "e0", "2001:db8:9::1/64")
    give("rx", "e1", "10.10.0.2/24", "2001:db8:a::2/64")
    write("mid", "ipv4/ip_forward", "1")
    write("mid", "ipv6/conf/all/forwarding", "1")


def port(text: str, address: str | None = None, gateway: str | None = None, **more: Any) -> Port:
    """A port of the bench, as a testbed file would declare it."""
    space, interface = text.split("/")
    found = resolve_port(
        interface,
        space,
        address=ip_interface(address) if address else None,
        gateway=ip_address(gateway) if gateway else None,
        name=more.pop("name", None),
    )
    return replace(found, **more)


def flow(name: str, tx: Port, rx: Port, count: int, **more: Any) -> Flow:
    """A flow of 200 B over UDP, one each millisecond."""
    interval = more.pop("interval_ns", MILLISECOND)
    fields: dict[str, Any] = {
        "layer": "udp",
        "planned": periodic(count, interval, more.pop("size", 200)),
        "interval_ns": interval,
    }
    return Flow(name=name, tx=tx, rx=rx, **(fields | more))


def measured(flows: list[Flow], **more: Any) -> list[dict[str, Any]]:
    """The figures of a run of these flows."""
    with tempfile.TemporaryDirectory() as directory:
        done = run(flows, directory=Path(directory), **more)
        left = [each.name for each in Path(directory).iterdir() if each.suffix != ".parquet"]
        files = len(list(Path(directory).iterdir()))
    assert not left, left
    assert files == len(flows)
    return [shown(each) for each in done]


def refused(flows: list[Flow], **more: Any) -> str:
    """What is said of flows that cannot be run."""
    try:
        measured(flows, **more)
    except HilError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


# Scenarios.


def routed(order: Mapping[str, Any]) -> Any:
    """Both versions of IP over a router, both ways; then with addresses that no kernel holds."""
    make_router()
    count = order["count"]
    held = {
        4: (port("tx/e0", None, "10.9.0.254"), port("rx/e1", "10.10.0.2/24", "10.10.0.254")),
        6: (
            port("tx/e0", "2001:db8:9::1/64", "2001:db8:9::fe"),
            port("rx/e1", "2001:db8:a::2/64", "2001:db8:a::fe"),
        ),
    }
    strange = {
        4: (
            port("tx/e0", "10.9.0.77/24", "10.9.0.254", name="near 4"),
            port("rx/e1", "10.10.0.77/24", "10.10.0.254", name="far 4"),
        ),
        6: (
            port("tx/e0", "2001:db8:9::77/64", "2001:db8:9::fe", name="near 6"),
            port("rx/e1", "2001:db8:a::77/64", "2001:db8:a::fe", name="far 6"),
        ),
    }
    out: dict[str, Any] = {}
    for name, ports in (("held", held), ("strange", strange)):
        flows = []
        for version, (near, far) in ports.items():
            flows.append(flow(f"{version} up", near, far, count, dscp=46))
            if name == "held":  # the other way the router is asked, and so learns who asks
                flows.append(flow(f"{version} down", far, near, count, direction="downlink"))
        out[name] = measured(flows)
    return out


def vlan(order: Mapping[str, Any]) -> Any:
    """Tags that are right, wrong, missing and superfluous; two ports on one trunk."""
    count = order["count"]
    near = {tag: port("tx/d0", name=f"near {tag}", vlan=tag) for tag in (None, 5, 6)}
    far = {tag: port("rx/d1", name=f"far {tag}", vlan=tag) for tag in (None, 5, 6)}
    trunk = [
        flow("five", near[5], far[5], count),
        flow("six", near[6], far[6], count, layer="ethernet", size=1514),
        flow("back", far[6], near[6], count, direction="downlink"),
    ]
    wrong = [
        flow("wrong", near[5], far[6], count),
        flow("missing", near[None], far[6], count, layer="ethernet"),
    ]
    return {
        "trunk": measured(trunk),
        "wrong": measured(wrong),
        "superfluous": measured([flow("superfluous", near[5], far[None], count)]),
    }


def neighbours(order: Mapping[str, Any]) -> Any:
    """Asking for addresses that no kernel holds, in a VLAN; and in one where nobody is."""
    near = port("tx/d0", name="near", vlan=5)
    four, six = "10.8.0.77/24", "2001:db8::77/64"
    near = replace(near, addresses=(ip_interface("10.8.0.9/24"), ip_interface("2001:db8::9/64")))
    far = port("rx/d1", name="far", vlan=5)
    far = replace(far, addresses=(ip_interface(four), ip_interface(six)))
    stack = Stack(stations([flow("f", near, far, 1)]))
    try:
        found = [neighbour_mac(near, ip_interface(each).ip).hex() for each in (four, six)]
        answered = stack.answered
        try:
            neighbour_mac(replace(near, vlan=6), ip_address("10.8.0.77"))
            said = "nothing"
        except HilError as error:
            said = f"{type(error).__name__}: {error}"
    finally:
        stack.close()
    return {"found": found, "mac": far.mac.hex(), "answered": answered, "said": said}


def too_big(order: Mapping[str, Any]) -> Any:
    """Packets that fit both ports and not the link between, over both versions of IP."""
    make_router(mtu=1300)
    give("rx", "e1", mtu=1300)
    give("rx", "e1", mtu=1500)  # the far port has room; the router's own link has not
    flows = [
        flow(
            "four",
            port("tx/e0", None, "10.9.0.254"),
            port("rx/e1", "10.10.0.2/24"),
            5000,
            size=1400,
        ),
        flow(
            "six",
            port("tx/e0", "2001:db8:9::1/64", "2001:db8:9::fe"),
            port("rx/e1", "2001:db8:a::2/64"),
            5000,
            size=1400,
        ),
    ]
    fits = [replace(each, planned=periodic(order["count"], MILLISECOND, 1300)) for each in flows]
    return {"said": [refused([each]) for each in flows], "fits": measured(fits)}


def relayed(order: Mapping[str, Any]) -> Any:
    """Datagrams that a program in the middle sends on: the kernel leaves their checksum open.

    Over IPv6, whose header has no identification that a second kernel would choose anew.
    """
    make_router()
    near = port("tx/e0", "2001:db8:9::1/64")
    far = port("rx/e1", "2001:db8:a::2/64")
    with inside("mid"):
        sock = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        sock.bind(("2001:db8:9::fe", 0))
        out = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)

    def relay() -> None:
        while True:
            out.sendto(sock.recv(2048), ("2001:db8:a::2", 52_000))

    threading.Thread(target=relay, daemon=True).start()
    towards = (ip_address("2001:db8:9::fe"), sock.getsockname()[1])
    ports = Datagram(source=52_001, target=52_000, towards=towards)
    return measured([flow("relayed", near, far, order["count"], udp=ports, routed=True)])


def tunnels(order: Mapping[str, Any]) -> Any:
    """Probes inside two tunnels, and the same ones seen outside on the way, per packet."""
    for space, interface in (("tx", "e0"), ("mid", "m0"), ("mid", "m1"), ("rx", "e1")):
        give(space, interface, mtu=1600)
    _bridge("mid", "m0", "m1")
    for space, interface, own, other in (
        ("tx", "e0", "10.9.0.1", "10.9.0.2"),
        ("rx", "e1", "10.9.0.2", "10.9.0.1"),
    ):
        last = own[-1]
        _carry(_tun(space, int(last)), space, own, other)
        give(space, "tun0", f"fd00:7::{last}/64")
        _vxlan(space, interface, own, other, f"10.6.0.{last}/24")
    count = order["count"]
    outside = (Point(port=port("mid/m0"), carries="tunnel"),)
    four = port("tx/tun0"), port("rx/tun0")
    six = tuple(
        replace(each, name=f"{each.name} six", addresses=(ip_interface(f"fd00:7::{last}/64"),))
        for last, each in enumerate(four, 1)
    )
    lan = port("tx/vxlan0"), port("rx/vxlan0")
    flows = [
        flow("tun", *four, count, through=outside),
        flow("tun 6", six[1], six[0], count, through=outside, direction="downlink", size=1400),
        flow("vxlan", *lan, count, through=outside),
        flow("vxlan frames", *lan, count, through=outside, layer="ethernet", size=1514),
    ]
    with tempfile.TemporaryDirectory() as directory:
        done = run(flows, directory=Path(directory))
    return [
        shown(each) | {"outside": [_outside(each, sighting) for sighting in each.sightings]}
        for each in done
    ]


def _outside(measurement: Measurement, sighting: Sighting) -> list[int]:
    """Packets of the flow that were seen there, and those of them seen between both stamps."""
    samples, seen = measurement.samples, sighting.seen
    between = (samples["tx_kernel_ns"] < sighting.time_ns) & (
        sighting.time_ns < samples["rx_kernel_ns"]
    )
    return [int(seen.sum()), sighting.frames, int((between & seen).sum())]


def _bridge(space: str, *interfaces: str) -> None:
    """A bridge of the kernel over interfaces, itself without any address."""
    with inside(space), IPRoute() as netlink:
        netlink.link("add", ifname="br0", kind="bridge")
        bridge = netlink.link_lookup(ifname="br0")[0]
        netlink.link("set", index=bridge, mtu=1600, state="up")
        for interface in interfaces:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.link("set", index=index, master=bridge)


def _vxlan(space: str, interface: str, own: str, other: str, address: str) -> None:
    """A VXLAN (RFC 7348) between two hosts, made by the kernel."""
    with inside(space), IPRoute() as netlink:
        netlink.link(
            "add",
            ifname="vxlan0",
            kind="vxlan",
            vxlan_id=42,
            vxlan_link=netlink.link_lookup(ifname=interface)[0],
            vxlan_local=own,
            vxlan_group=other,
            vxlan_port=4789,
        )
        index = netlink.link_lookup(ifname="vxlan0")[0]
        netlink.link("set", index=index, mtu=1500, state="up")
    give(space, "vxlan0", address)


def _carry(tun: int, space: str, own: str, other: str) -> None:
    """A tunnel in user space: each packet of a TUN in a datagram to the other end, and back."""
    with inside(space):
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind((own, 4500))

    def out() -> None:
        while True:
            sock.sendto(os.read(tun, 2048), (other, 4500))

    def back() -> None:
        while True:
            os.write(tun, sock.recv(2048))

    for way in (out, back):
        threading.Thread(target=way, daemon=True).start()


def merging(order: Mapping[str, Any]) -> Any:
    """A port whose kernel would merge datagrams, and what is said of it; then without that."""
    make_router()
    one = flow(
        "merged",
        port("tx/e0", None, "10.9.0.254"),
        port("rx/e1", "10.10.0.2/24"),
        order["count"],
    )
    said: list[str] = []
    for name in ("rx-gro-list", "rx-udp-gro-forwarding"):
        _feature("rx", "e1", {"rx-gro": True, name: True})
        said.append(refused([one]))
        _feature("rx", "e1", {name: False})
    return {"said": said, "without": measured([one])}


def _feature(space: str, interface: str, wanted: Mapping[str, bool]) -> None:
    with inside(space), Ethtool() as ethtool:
        known = ethtool.get_features(interface)
        for name, value in wanted.items():
            known.features[name].enable = value
        ethtool.set_features(interface, known)


def doctor(order: Mapping[str, Any]) -> Any:
    """What `hil doctor` finds at the ports and on the path of a bench with a narrow link."""
    from hil.cli.doctor import _bench
    from hil.drivers.registry import Registry
    from hil.testbed import load

    make_router(mtu=1300)
    _feature("rx", "e1", {"rx-gro": True, "rx-gro-list": True})
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "bench.yaml"
        file.write_text(
            "schema: 1\nname: bench\nports:\n"
            "  lan: {interface: tx/e0, side: device, address: 10.9.0.1/24, gateway: 10.9.0.254}\n"
            "  mec: {interface: rx/e1, side: edge, address: 10.10.0.2/24, gateway: 10.10.0.254}\n"
            "  six: {interface: tx/d0, side: device, address: 10.8.0.1/24, nat: true}\n"
            "paths: {device-edge: [{from: lan, to: mec}]}\n"
        )
        bench = load(str(file), Registry())
        before = list(_bench(bench))
        _feature("rx", "e1", {"rx-gro-list": False})
        after = list(_bench(bench))
    return [
        [[each.what, each.grade, each.found, each.cure] for each in found]
        for found in (before, after)
    ]


def nat(order: Mapping[str, Any]) -> Any:
    """A Linux router that hides what is behind it, as a CPE does: uplink, downlink and both."""
    count = order["count"]
    for version, inner, outer, outside in (
        (4, "192.168.1.1/24", "10.10.0.254/24", "10.10.0.2/24"),
        (6, "fd00:1::1/64", "2001:db8:a::fe/64", "2001:db8:a::2/64"),
    ):
        give("mid", "m0", inner)
        give("mid", "m1", outer)
        give("rx", "e1", outside)
        with inside("mid"):
            _masquerade(version)
    give("tx", "e0", "192.168.1.2/24", "fd00:1::2/64")
    write("mid", "ipv4/ip_forward", "1")
    write("mid", "ipv6/conf/all/forwarding", "1")
    near = port("tx/e0", "192.168.1.2/24", "192.168.1.1", nat=True)
    far = port("rx/e1", "10.10.0.2/24")
    near_6 = port("tx/e0", "fd00:1::77/64", "fd00:1::1", nat=True, name="near 6")
    far_6 = port("rx/e1", "2001:db8:a::77/64", name="far 6")
    down = flow("down", far, near, count, direction="downlink")
    both = [
        flow("up", near, far, count),
        down,
        flow("other down", far, near, count, direction="downlink", size=1500),
        flow("down 6", far_6, near_6, count, direction="downlink"),
    ]
    out: dict[str, Any] = {
        "both": measured(both),
        "alone": measured([down], launcher=["env", "A=b"]),
    }
    out["between"] = refused([flow("between", near, replace(near, name="other"), 10)])
    write("mid", "ipv4/ip_forward", "0")
    out["shut"] = refused([down])
    return out


def _masquerade(version: int) -> None:
    """Translate what leaves m1, ports and all (nf_nat_masquerade, by random ports)."""
    family = socket.AF_INET if version == 4 else socket.AF_INET6
    random = {"attrs": [("NFTA_MASQ_FLAGS", {"NF_NAT_RANGE_PROTO_RANDOM"})]}
    masquerade = {"attrs": [("NFTA_EXPR_NAME", "masq"), ("NFTA_EXPR_DATA", random)]}
    with NFTables(nfgen_family=family) as tables:
        tables.table("add", name="nat")
        tables.chain("add", table="nat", name="out", hook="postrouting", type="nat", policy=1)
        tables.rule("add", table="nat", chain="out", expressions=((masquerade,),))


SCENARIOS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "neighbours": neighbours,
    "doctor": doctor,
    "merging": merging,
    "nat": nat,
    "relayed": relayed,
    "routed": routed,
    "too_big": too_big,
    "tunnels": tunnels,
    "vlan": vlan,
}


def main() -> None:
    """Run one scenario on a bench made for it."""
    name, order = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    make_bench()
    print(json.dumps(SCENARIOS[name](order)))


if __name__ == "__main__":
    main()
