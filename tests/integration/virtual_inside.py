"""Run as a script by the tests of the world: enters the world of a testbed and reports as JSON.

``python virtual_inside.py TESTBED flows`` sends frames on the tester's ports and says what came;
``... hold`` says who it is and stays until its standard input ends.
"""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from hil import _enter

EF: Final = 46
PATIENCE_S: Final = 5.0


def main() -> None:
    testbed, verb = Path(sys.argv[1]), sys.argv[2]
    _enter.enter(testbed)
    {"flows": flows, "hold": hold}[verb]()


def say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def hold() -> None:
    """Who this is; then nothing until the caller lets go."""
    world = _enter.inside()
    assert world is not None
    effective = next(
        line.split()[1]
        for line in Path("/proc/self/status").read_text("utf-8").splitlines()
        if line.startswith("CapEff")
    )
    interfaces = sorted(name for _, name in socket.if_nameindex())
    say(
        pid=os.getpid(),
        uid=os.getuid(),
        raw=bool(int(effective, 16) >> 13 & 1),  # CAP_NET_RAW
        world=world.to_json(),
        interfaces=interfaces,
        open=[int(fd) for fd in os.listdir("/proc/self/fd")],
    )
    sys.stdin.read()
    sys.exit(7)


def flows() -> None:
    """Frames between the ports of the tester and what became of each."""
    import numpy as np

    from hil.virtual import userplane_truth as truth
    from hil.wire import probe, trailer

    world = _enter.inside()
    assert world is not None
    status = json.loads((world.run / "world.json").read_text("utf-8"))
    macs = {
        each["name"]: bytes.fromhex(each["mac"].replace(":", "")) for each in status["attachments"]
    }
    sites = [each["name"] for each in status["attachments"]]
    _await_sessions(world.run)
    ports = {name: _open(name) for name in ("lan_a", "lan_b", "mec", "cloud")}
    ways = [("lan_a", "mec"), ("mec", "lan_a"), ("lan_a", "lan_b"), ("cloud", "lan_b")]
    sent: dict[tuple[int, int], tuple[int, int]] = {}
    arrived: dict[tuple[int, int], dict[str, Any]] = {}
    count = 60

    def collect(until: Callable[[], bool]) -> None:
        limit = time.monotonic() + PATIENCE_S
        while not until() and time.monotonic() < limit:
            for port in select.select(list(ports.values()), [], [], 0.2)[0]:
                data, ancillary, _, _ = port.recvmsg(2048, 256)
                rx = next(
                    struct.unpack_from("qq", each)
                    for level, kind, each in ancillary
                    if (level, kind) == (socket.SOL_SOCKET, 37)
                )
                rows = np.frombuffer(data.ljust(128, b"\0")[:128], np.uint8)[None]
                at = int(probe.offset(rows, np.array([len(data)]))[0])
                if at < 0:
                    continue
                name = probe.decode(rows[:, at:])[0]
                tail = np.frombuffer(data[-trailer.SIZE :], np.uint8)[None]
                reading = trailer.decode(tail)
                key = (int(name["flow"]), int(name["seq"]))
                arrived[key] = {
                    "size": len(data),
                    "marked": bool(reading.good[0]),
                    "release_ns": int(reading.release_ns[0]),
                    "ingress_ns": int(reading.ingress_ns[0]),
                    "lateness_ns": int(reading.lateness_ns[0]),
                    "rx_ns": rx[0] * 10**9 + rx[1],
                    "port": next(n for n, p in ports.items() if p is port),
                }

    for seq in range(count):
        if seq == count // 2:
            _stall(world.run)
        for flow, (source, target) in enumerate(ways):
            frame = _frame(macs[source], macs[target], flow, seq)
            before = time.time_ns()
            ports[source].send(frame)
            sent[flow, seq] = before, time.time_ns()
        collect(lambda: len(arrived) >= len(sent))
    rows, clock = truth.read(world.run / "truth")
    rows = rows[(rows["flags"] & truth.PROBE) > 0]
    log = {
        (int(row["flow"]), int(row["seq"])): {
            "ingress_host_ns": clock.to_host(int(row["ingress_ns"])),
            "release_ns": int(row["at_ns"]),
            "release_host_ns": clock.to_host(int(row["at_ns"])),
            "to": sites[int(row["to"])],
            "reason": int(row["reason"]),
        }
        for row in rows
    }
    say(
        ways=ways,
        packets=[
            {"flow": flow, "seq": seq, "sent": sent[flow, seq], **arrived.get((flow, seq), {})}
            | {"truth": log.get((flow, seq))}
            for flow, seq in sent
        ],
        modbus={host: _modbus(host) for host in ("10.60.0.20", "10.61.0.20")},
        through_cell=_through_cell(world.run),
        **_odd_frames(world.run, macs, ports),
    )


def _odd_frames(
    run: Path, macs: dict[str, bytes], ports: dict[str, socket.socket]
) -> dict[str, Any]:
    """A group frame, a tagged one, some to a port that is down, some of a CPE without power."""
    from pyroute2 import IPRoute

    from hil.virtual.coupling import Coupling

    sites = json.loads((run / "world.json").read_text("utf-8"))["attachments"]
    group = _frame(macs["lan_a"], b"\xff" * 6, 100, 0)
    ports["lan_a"].send(group)
    plain = _frame(macs["lan_a"], macs["mec"], 101, 0)
    ports["lan_a"].send(plain[:12] + b"\x81\x00\x80\x05" + plain[12:])
    everywhere, tagged = _truth(run, 100, len(sites) - 1), _truth(run, 101, 1)
    with IPRoute() as netlink:
        netlink.link("set", index=socket.if_nametoindex("cloud"), state="down")
    for seq in range(5):
        ports["mec"].send(_frame(macs["mec"], macs["cloud"], 103, seq))
    unplugged = _truth(run, 103, 5)
    coupling = Coupling.open(run / "coupling")
    coupling.set_powered(coupling.row("cpe2"), False)
    for name in ("lan_b", "mec"):
        other = "mec" if name == "lan_b" else "lan_b"
        ports[name].send(_frame(macs[name], macs[other], 102, 0))
    return {
        "group": sorted(sites[int(row["to"])]["name"] for row in everywhere),
        "tagged": [int(tagged[0][field]) for field in ("kind", "size", "reason")],
        "unplugged": [int(row["reason"]) for row in unplugged],
        "dark": [int(row["reason"]) for row in _truth(run, 102, 2)],
    }


def _truth(run: Path, flow: int, count: int) -> Any:
    """The rows of a flow in the truth log, as soon as there are that many."""
    from hil.virtual import userplane_truth as truth

    limit = time.monotonic() + PATIENCE_S
    while True:
        rows, _ = truth.read(run / "truth")
        mine = rows[((rows["flags"] & truth.PROBE) > 0) & (rows["flow"] == flow)]
        if len(mine) >= count or time.monotonic() > limit:
            return mine
        select.select([], [], [], 0.02)


def _through_cell(run: Path) -> list[str]:
    """Names of attachments that carried a frame which is no probe."""
    from hil.virtual import userplane_truth as truth

    status = json.loads((run / "world.json").read_text("utf-8"))
    rows, _ = truth.read(run / "truth")
    numbers = {int(n) for n in rows["source"][(rows["flags"] & truth.PROBE) == 0]}
    return sorted(status["attachments"][n]["name"] for n in numbers)


def _await_sessions(run: Path) -> None:
    from hil.virtual.coupling import Coupling

    rows = Coupling.open(run / "coupling").rows
    limit = time.monotonic() + PATIENCE_S
    while not rows["session_up"].all() and time.monotonic() < limit:
        select.select([], [], [], 0.02)


def _open(interface: str) -> socket.socket:
    port = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    port.setsockopt(socket.SOL_SOCKET, 37, 1 << 3 | 1 << 4)  # receive stamps of the kernel
    port.setsockopt(263, 23, 1)  # not what is sent here
    port.bind((interface, 3))
    return port


def _frame(source: bytes, target: bytes, flow: int, seq: int) -> bytes:
    import numpy as np

    from hil.wire import probe

    body = probe.encode(9, flow, np.array([seq]), 0).tobytes() + bytes(60)
    udp = struct.pack("!HHHH", 7000, 7001, 8 + len(body), 0)
    length = 20 + len(udp) + len(body)
    ip = struct.pack("!BBHHHBBH4s4s", 0x45, EF << 2, length, 0, 0, 64, 17, 0, bytes(4), bytes(4))
    return target + source + b"\x08\x00" + ip + udp + body


def _stall(run: Path) -> None:
    """Stop the user plane for 50 ms, as a busy host does."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
        except OSError:
            continue
        if b"hil.virtual.userplane" in words and str(run).encode() in words:
            os.kill(int(entry.name), signal.SIGSTOP)
            select.select([], [], [], 0.05)
            os.kill(int(entry.name), signal.SIGCONT)
            return
    raise AssertionError("the user plane is not there")


def _modbus(host: str) -> str:
    """The answer of a Modbus server to a read of one register, in hex."""
    with socket.create_connection((host, 502), timeout=PATIENCE_S) as plc:
        plc.sendall(bytes([0, 1, 0, 0, 0, 6, 1, 3, 0, 0, 0, 1]))
        return plc.recv(64).hex()


if __name__ == "__main__":
    main()
