"""A bench of veth pairs for the traffic tests, run as a program in namespaces of its own.

``traffic_bench.py SCENARIO [JSON]`` is started under unshare(1) with new user, network and mount
namespaces, so it needs no privilege and leaves nothing behind::

    tx/e0 --- mid/m0  relay  mid/m1 --- rx/e1        tx/d0 --- rx/d1

The relay is a real one: packet sockets, every frame through user space, faults by sequence number.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from hil.errors import HilError, UsageError
from hil.samples import store
from hil.samples.measurement import Measurement
from hil.samples.summarise import summarise
from hil.traffic import Flow, RunInterrupted, periodic, resolve_port, run
from hil.traffic.linux import inside, packet_socket
from hil.wire import probe

MILLISECOND = 1_000_000
_ETH_P_ALL = 3
_IGNORE_OUTGOING = 23


def make_bench() -> None:
    """The three namespaces, named in a private /run, and the links between them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mounting a private /run")
    for name in ("tx", "mid", "rx"):
        netns.create(name)
    for near, far in ((("tx", "e0"), ("mid", "m0")), (("rx", "e1"), ("mid", "m1"))):
        _link(near, far)
    _link(("tx", "d0"), ("rx", "d1"))
    for space, interface, address in (
        ("tx", "e0", "10.9.0.1"),
        ("rx", "e1", "10.9.0.2"),
        ("tx", "d0", "10.8.0.1"),
        ("rx", "d1", "10.8.0.2"),
    ):
        with inside(space), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.addr("add", index=index, address=address, prefixlen=24)


def _link(near: tuple[str, str], far: tuple[str, str]) -> None:
    with inside(near[0]), IPRoute() as netlink:
        netlink.link(
            "add", ifname=near[1], kind="veth", peer={"ifname": far[1], "net_ns_fd": far[0]}
        )
    for space, interface in (near, far):
        with inside(space), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.link("set", index=index, state="up")


# The relay.


def relay(faults: Mapping[str, Any]) -> None:
    """Forward m0 to m1, with faults by sequence number, until the standard input ends.

    ``drop``, ``duplicate``: sequences. ``swap``: sequences sent after their successor.
    ``corrupt``: sequence to byte of the frame, which is inverted. ``foreign``: sequences before
    which a frame of another run goes out. ``stranger``: sequences before which a frame of our
    EtherType goes out that is nobody's probe.
    """
    with inside("mid"):
        arriving, leaving = packet_socket("m0", _ETH_P_ALL), packet_socket("m1")
    arriving.setsockopt(263, _IGNORE_OUTGOING, 1)
    arriving.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    print("ready", flush=True)
    held: bytes | None = None
    corrupt = {int(seq): place for seq, place in faults.get("corrupt", {}).items()}
    while True:
        readable = select.select([arriving, sys.stdin], [], [])[0]
        if arriving not in readable:
            return
        frame = arriving.recv(2048)
        seq = _sequence(frame)
        if seq is None:
            leaving.send(frame)
            continue
        for out in _faulty(frame, seq, faults, corrupt):
            leaving.send(out)
        if held is not None:
            leaving.send(held)
            held = None
        if seq in faults.get("swap", ()):
            held = frame


def _sequence(frame: bytes) -> int | None:
    """The sequence number of a judged probe; None for anything else."""
    import numpy as np

    row = np.frombuffer(frame, np.uint8)[None]
    at = int(probe.offset(row, np.array([len(frame)]))[0])
    if at < 0:
        return None
    fields = probe.decode(row[:, at:])[0]
    return None if fields["flags"] & probe.WARM_UP else int(fields["seq"])


def _faulty(
    frame: bytes, seq: int, faults: Mapping[str, Any], corrupt: Mapping[int, int]
) -> list[bytes]:
    out: list[bytes] = []
    if seq in faults.get("foreign", ()):
        out.append(_of_another_run(frame))
    if seq in faults.get("stranger", ()):
        out.append(frame[:14] + b"not a probe of ours".ljust(len(frame) - 14, b"."))
    if seq in corrupt:
        changed = bytearray(frame)
        changed[corrupt[seq]] ^= 0xFF
        out.append(bytes(changed))
    elif seq not in faults.get("drop", ()) and seq not in faults.get("swap", ()):
        out += [frame] * (2 if seq in faults.get("duplicate", ()) else 1)
    return out


def _of_another_run(frame: bytes) -> bytes:
    import numpy as np

    row = np.frombuffer(frame, np.uint8)[None]
    at = int(probe.offset(row, np.array([len(frame)]))[0])
    fields = probe.decode(row[:, at:])[0]
    other = probe.encode(int(fields["run"]) ^ 1, fields["flow"], [fields["seq"]], 0)[0]
    return b"".join((frame[:at], other.tobytes(), frame[at + probe.SIZE :]))


# Scenarios: each prints one JSON object.


def flow(tx: str, rx: str, count: int, **more: Any) -> Flow:
    """A flow of 128 B, one each millisecond, between two interfaces of the bench."""
    interval = more.pop("interval_ns", MILLISECOND)
    size = more.pop("size", 128)
    ports = [resolve_port(text.split("/")[1], text.split("/")[0]) for text in (tx, rx)]
    return Flow(
        name=f"{tx} {more.get('layer', 'ethernet')}",
        tx=ports[0],
        rx=ports[1],
        planned=periodic(count, interval, size),
        interval_ns=interval,
        **more,
    )


def shown(measurement: Measurement) -> dict[str, Any]:
    """The figures of a measurement, and where its samples are."""
    return {
        **summarise(measurement),
        "invalid": measurement.invalid,
        "conditions": measurement.conditions,
    }


def both_ways(order: Mapping[str, Any]) -> Any:
    """Three flows at once over one veth pair: two layers, two directions."""
    flows = [
        flow("tx/d0", "rx/d1", order["count"]),
        flow("tx/d0", "rx/d1", order["count"], layer="udp", size=255, dscp=46),
        flow("rx/d1", "tx/d0", order["count"], layer="udp", direction="downlink"),
    ]
    with tempfile.TemporaryDirectory() as directory:
        measured = run(flows, directory=Path(directory))
        files = sorted(each.name for each in Path(directory).iterdir())
        stored = [len(store.read(Path(directory) / f"{m.id}.parquet")) for m in measured]
    return {"measured": [shown(m) for m in measured], "files": files, "stored": stored}


def faulty(order: Mapping[str, Any]) -> Any:
    """A run through the relay with a list of faults."""
    child = subprocess.Popen(
        [sys.executable, __file__, "relay", json.dumps(order["faults"])],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdout.readline()
    try:
        with tempfile.TemporaryDirectory() as directory:
            (measured,) = run(
                [flow("tx/e0", "rx/e1", order["count"], layer=order["layer"], size=order["size"])],
                directory=Path(directory),
            )
    finally:
        child.stdin.close()
        child.wait()
        child.stdout.close()
    samples = measured.samples
    return shown(measured) | {
        "gone": samples["seq"][samples["copies"] == 0].tolist(),
        "damaged": samples["seq"][samples["damaged"] > 0].tolist(),
    }


def kinds(order: Mapping[str, Any]) -> Any:
    """One run with a VLAN-tagged template, a path over a router and, if wanted, TUN ports."""
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    count = order["count"]
    _make_router()
    tagged = Ether() / Dot1Q(vlan=5, prio=6) / IP(src="10.8.0.1", dst="10.8.0.2") / UDP(dport=5005)
    flows = [
        flow("tx/d0", "rx/d1", count, layer="udp", size=300, template=tagged),
        Flow(
            name="routed",
            tx=resolve_port("e0", "tx", gateway=IPv4Address("10.9.0.254")),
            rx=resolve_port("e1", "rx", address=IPv4Interface("10.10.0.2/24")),
            planned=periodic(count, MILLISECOND, 200),
            layer="udp",
        ),
    ]
    if order["tun"]:
        pump = threading.Thread(target=_pump, args=(_tun("tx", 1), _tun("rx", 2)), daemon=True)
        pump.start()
        flows.append(flow("tx/tun0", "rx/tun0", count, layer="udp"))
    with tempfile.TemporaryDirectory() as directory:
        measured = run(flows, directory=Path(directory), launcher=["env", "HIL_TEST=launched"])
    return [shown(each) for each in measured]


def _make_router() -> None:
    """The middle forwards IP between 10.9.0.0/24 and 10.10.0.0/24."""
    for space, interface, address in (
        ("mid", "m0", "10.9.0.254"),
        ("mid", "m1", "10.10.0.254"),
        ("rx", "e1", "10.10.0.2"),
    ):
        with inside(space), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.addr("add", index=index, address=address, prefixlen=24)
    with inside("mid"):
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")


def _tun(space: str, host: int) -> int:
    """A TUN interface named tun0 with 10.7.0.`host`; returns its descriptor."""
    with inside(space), IPRoute() as netlink:
        descriptor = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(descriptor, 0x400454CA, struct.pack("16sH22x", b"tun0", 0x1001))
        index = netlink.link_lookup(ifname="tun0")[0]
        netlink.addr("add", index=index, address=f"10.7.0.{host}", prefixlen=24)
        netlink.link("set", index=index, state="up")
    return descriptor


def _pump(source: int, sink: int) -> None:
    while True:
        os.write(sink, os.read(source, 2048))


def link_down(order: Mapping[str, Any]) -> Any:
    """A run one of whose interfaces goes down in the middle and comes up again."""
    states: list[str] = []
    space, interface = order["port"].split("/")

    def progress(state: Any) -> None:
        if not states and state.flows[0].sent:
            for word in ("down", "up"):
                with inside(space), IPRoute() as netlink:
                    index = netlink.link_lookup(ifname=interface)[0]
                    netlink.link("set", index=index, state=word)
                states.append(word)
                time.sleep(0.2)

    with tempfile.TemporaryDirectory() as directory:
        (measured,) = run(
            [flow("tx/d0", "rx/d1", order["count"])], directory=Path(directory), progress=progress
        )
    samples = measured.samples
    known = samples["copies"] > 0
    delay = samples["rx_kernel_ns"] - samples["tx_kernel_ns"]
    return shown(measured) | {
        "states": states,
        "most_early_ns": int((samples["tx_user_ns"] - samples["tx_kernel_ns"])[known].max()),
        "slowest_ns": int(delay[known].max()),
    }


def unplugged(order: Mapping[str, Any]) -> Any:
    """A run whose sending interface is gone in the middle."""

    def progress(state: Any) -> None:
        if state.flows[0].sent:
            with inside("tx"), IPRoute() as netlink:
                for index in netlink.link_lookup(ifname="d0"):
                    netlink.link("del", index=index)

    try:
        with tempfile.TemporaryDirectory() as directory:
            run(
                [flow("tx/d0", "rx/d1", order["count"])],
                directory=Path(directory),
                progress=progress,
            )
    except HilError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def measure(order: Mapping[str, Any]) -> Any:
    """Becomes `hil measure` with the given options; ``disk`` is the size of that under ``out``."""
    words = [sys.executable, "-m", "hil", "measure"]
    options = dict(order)
    if size := options.pop("disk", None):
        libc = ctypes.CDLL(None, use_errno=True)
        place, most = str(options["out"]).encode(), f"size={size}".encode()
        assert libc.mount(b"tmpfs", place, b"tmpfs", 0, most) == 0
    for name, value in options.items():
        words += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    os.execv(sys.executable, words)


def powerless(order: Mapping[str, Any]) -> Any:
    """What is said where the port processes lack the capability, or cannot even start."""
    said: list[str] = []
    left: list[str] = []
    for launcher in order["launchers"]:
        with tempfile.TemporaryDirectory() as directory:
            try:
                run([flow("tx/d0", "rx/d1", 10)], directory=Path(directory), launcher=launcher)
            except HilError as error:
                said.append(f"{type(error).__name__}: {error}")
            left += [each.name for each in Path(directory).iterdir()]
    return {"said": said, "left": left}


def crowded(order: Mapping[str, Any]) -> Any:
    """A run to a port at which others never cease to send frames of our kind."""
    over = threading.Event()
    with inside("tx"):
        sock = packet_socket("d0")
    frame = b"\xff" * 6 + b"\2" + bytes(5) + probe.ETHERTYPE.to_bytes(2, "big") + bytes(64)

    def crowd() -> None:
        while not over.wait(0.001):
            for _ in range(4):
                sock.send(frame)

    others = threading.Thread(target=crowd)
    others.start()
    try:
        with tempfile.TemporaryDirectory() as directory:
            (measured,) = run([flow("tx/d0", "rx/d1", order["count"])], directory=Path(directory))
    finally:
        over.set()
        others.join()
        sock.close()
    return shown(measured)


def refused(order: Mapping[str, Any]) -> Any:
    """What `hil measure` says to each of many wrong option sets."""
    from hil.cli.measure import Options
    from hil.cli.measure import measure as verb

    said: list[str | None] = []
    for options in order["options"]:
        try:
            verb(Options(**options))
        except UsageError as error:
            said.append(str(error))
        else:
            said.append(None)
    return said


def stopped(order: Mapping[str, Any]) -> Any:
    """A run in this process that a signal is to stop: says ``running`` once packets flow."""

    def progress(state: Any) -> None:
        if state.flows[0].received > 100:
            print("running", file=sys.stderr, flush=True)

    directory = Path(order["directory"])
    planned = [flow("tx/d0", "rx/d1", order["count"])]
    try:
        run(planned, directory=directory, progress=progress)
    except RunInterrupted as stop:
        return {"text": str(stop), "measured": [shown(m) for m in stop.measurements]}
    return {"text": "not stopped"}


SCENARIOS: dict[str, Callable[[Mapping[str, Any]], Any]] = {
    "both_ways": both_ways,
    "faulty": faulty,
    "kinds": kinds,
    "link_down": link_down,
    "measure": measure,
    "crowded": crowded,
    "unplugged": unplugged,
    "powerless": powerless,
    "refused": refused,
    "stopped": stopped,
}


def main() -> None:
    """Run one scenario on a bench made for it."""
    name, order = sys.argv[1], json.loads(sys.argv[2]) if len(sys.argv) > 2 else {}
    if name == "relay":
        relay(order)
        return
    make_bench()
    result = SCENARIOS[name](order)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
