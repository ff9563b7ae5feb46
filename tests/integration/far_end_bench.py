"""A bench for the far end, run as a program in namespaces of its own.

``far_end_bench.py SCENARIO`` is started under unshare(1) with new user, network and mount
namespaces, so it needs no privilege and leaves nothing behind::

    near/e0 --- mid/m0  relay  mid/m1 --- far/e1

The relay is a real one: packet sockets, every frame through user space, faults by the number of
the planned packet and by direction. Reflector and measurement are the commands themselves.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import fcntl
import json
import os
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from hil.traffic.linux import inside, packet_socket
from hil.wire import stamp

NEAR, FAR = "10.9.0.1", "10.9.0.2"
FIRST = 21  # the number of the first planned packet: 20 for warm-up, one left out
_ETH_P_ALL = 3
_IGNORE_OUTGOING = 23
_UDP_AT = 34
_PAYLOAD_AT = 42


def make_bench() -> None:
    """The three namespaces, named in a private /run, and the links between them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mounting a private /run")
    for name in ("near", "mid", "far"):
        netns.create(name)
    for place, interface, peer, address in (
        ("near", "e0", "m0", NEAR),
        ("far", "e1", "m1", FAR),
    ):
        with inside(place), IPRoute() as netlink:
            other = {"ifname": peer, "net_ns_fd": "mid"}
            netlink.link("add", ifname=interface, kind="veth", peer=other)
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.addr("add", index=index, address=address, prefixlen=24)
            netlink.link("set", index=index, state="up")
            netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
            _whole_checksums(interface)
        with inside("mid"), IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname=peer)[0], state="up")


def _whole_checksums(interface: str) -> None:
    """No checksum offload: a relay in user space would pass on checksums that nobody finished."""
    value = array.array("B", struct.pack("II", 0x17, 0))  # ETHTOOL_STXCSUM
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        request = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
        fcntl.ioctl(handle, 0x8946, request)


# The relay.


def relay(faults: Mapping[str, list[int]]) -> None:
    """Forward both ways until the standard input ends.

    ``drop_there``, ``double_there``, ``swap_there`` and those of the way back: planned packets.
    Those of a swap are sent after the one behind them.
    """
    with inside("mid"):
        ends = [packet_socket(name, _ETH_P_ALL) for name in ("m0", "m1")]
    for end in ends:
        end.setsockopt(263, _IGNORE_OUTGOING, 1)
        end.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    print("ready", flush=True)
    held: dict[str, bytes] = {}
    while True:
        ready = select.select([*ends, sys.stdin], [], [])[0]
        if sys.stdin in ready:
            return
        for arriving in [end for end in ends if end in ready]:
            frame = arriving.recv(2048)
            way, leaving = ("there", ends[1]) if arriving is ends[0] else ("back", ends[0])
            number = _number(frame, way)
            if number in faults.get(f"swap_{way}", ()):
                held[way] = frame
                continue
            if number not in faults.get(f"drop_{way}", ()):
                for _ in range(2 if number in faults.get(f"double_{way}", ()) else 1):
                    leaving.send(frame)
            if number is not None and way in held:
                leaving.send(held.pop(way))


def _number(frame: bytes, way: str) -> int | None:
    """The planned packet that a frame carries; None for anything else."""
    if frame[12:14] != b"\x08\x00" or frame[23] != 17 or len(frame) < _PAYLOAD_AT + stamp.SIZE:
        return None
    ports = struct.unpack_from("!HH", frame, _UDP_AT)
    if ports[way == "there"] != stamp.PORT:
        return None
    at = _PAYLOAD_AT if way == "there" else _PAYLOAD_AT + 24
    return int(struct.unpack_from("!I", frame, at)[0]) - FIRST


# What runs on the bench.


@contextlib.contextmanager
def process(namespace: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    """A Python process in a namespace, once it has said its first line."""
    with inside(namespace):
        running = subprocess.Popen(
            [sys.executable, *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
    assert running.stdout is not None
    try:
        if not running.stdout.readline():
            raise RuntimeError(running.communicate()[1])
        yield running
    finally:
        running.kill()
        running.communicate()


def relaying(**faults: list[int]) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return process("mid", __file__, "relay", json.dumps(faults))


def reflecting(*options: str) -> contextlib.AbstractContextManager[subprocess.Popen[str]]:
    return process("far", "-m", "hil", "reflector", *options)


def measure(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "hil", "measure", "--tx", "near/e0", "--reflector", FAR, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def measured(*options: str) -> dict[str, Any]:
    """The object that `hil measure --json` prints, its exit code with it."""
    running = measure("--json", *options)
    out, err = running.communicate()
    found = json.loads(out) if out else {"error": err}
    return found | {"code": running.returncode}


def ended(running: subprocess.Popen[str]) -> dict[str, Any]:
    """Ends a reflector by SIGTERM; what it said last."""
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=10)
    return {"code": running.returncode, "out": out, "err": err}


# Scenarios: each prints one JSON value.


def both_ways() -> Any:
    faults = {
        "drop_there": [5, 50, 51],
        "drop_back": [20, 299],
        "double_there": [100],
        "double_back": [120, 121],
        "swap_there": [150],
        "swap_back": [180],
    }
    with tempfile.TemporaryDirectory() as out, relaying(**faults), reflecting() as far:
        options = ("--count", "300", "--interval", "2 ms", "--size", "200 B", "--out", out)
        found = measured(*options, "--bound", "150 ms", "--share", "0.9")
        files = sorted(path.name.split(".", 1)[1] for path in Path(out).iterdir())
        return found | {"files": files, "far": ended(far)}


def silent() -> Any:
    with relaying():
        return measured("--count", "100")


def killed() -> Any:
    """The reflector is gone in the middle of a run."""
    with relaying(), reflecting() as far:
        running = measure("--json", "--count", "1000", "--interval", "2 ms", "--bound", "150 ms")
        assert running.stderr is not None
        for line in running.stderr:
            if " 0 of" not in line:
                break
        far.kill()
        out, _ = running.communicate()
        return json.loads(out) | {"code": running.returncode}


def interrupted() -> Any:
    with relaying(), reflecting():
        running = measure("--json", "--count", "5000", "--interval", "2 ms")
        assert running.stderr is not None
        for line in running.stderr:
            if " 0 of" not in line:
                break
        running.send_signal(signal.SIGINT)
        out, _ = running.communicate()
        return json.loads(out) | {"code": running.returncode}


def plain() -> Any:
    """A reflector that knows RFC 8762 alone: no TLVs, padding of zeros, stamps of its program."""
    with relaying(drop_there=[10]), process("far", __file__, "answer"):
        return measured("--count", "100", "--interval", "2 ms", "--size", "300 B")


def answer() -> None:
    """Answer as a reflector that hil has no part in would."""
    import time

    epoch = 2_208_988_800
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind((FAR, 862))
    print("ready", flush=True)
    number = 0
    while True:
        packet, sender = sock.recvfrom(2048)
        came = time.time()
        packed = struct.pack("!II", int(came) + epoch, int(came % 1 * 2**32))
        out = struct.pack("!I", number) + packed + struct.pack("!HH", 0x8001, 0) + packed
        out += packet[:14] + bytes(2) + bytes([64]) + bytes(3)
        sock.sendto(out.ljust(len(packet), b"\0"), sender)
        number += 1


def cautious() -> Any:
    """What a reflector answers and what not."""
    plain = reflecting("--stateless", "--port", "8620")
    with relaying(), plain, reflecting("--rate", "50") as far:
        with inside("near"):
            asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            posing = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            posing.bind((NEAR, 862))
        asking.settimeout(0.3)
        asking.connect((FAR, 862))
        good = stamp.question_bytes(stamp.Question(1, stamp.ntp(10**18), 0x8001, 5), bytes(10))
        lengths: list[int | None] = []
        for packet in (good, good[:44], good[:41], good[:40], b"x" * 20):
            asking.send(packet)
            try:
                lengths.append(len(asking.recv(2048)))
            except TimeoutError:
                lengths.append(None)
        numbers = []
        for port in (862, 8620):
            asking.connect((FAR, port))
            for number in (5, 9):
                asking.send(stamp.question_bytes(stamp.Question(number, 1, 0x8001, 6)))
                answered = stamp.answer(asking.recv(2048))
                numbers.append(None if answered is None else answered.number)
        asking.connect((FAR, 862))
        posing.sendto(good, (FAR, 862))
        for _ in range(200):
            asking.send(good)
        came = 0
        with contextlib.suppress(TimeoutError):
            while asking.recv(2048):
                came += 1
        return {"lengths": lengths, "came": came, "numbers": numbers} | ended(far)


SCENARIOS = {
    each.__name__: each for each in (both_ways, silent, killed, interrupted, plain, cautious)
}


if __name__ == "__main__":
    if sys.argv[1] == "relay":
        relay(json.loads(sys.argv[2]))
    elif sys.argv[1] == "answer":
        answer()
    else:
        os.environ["HOME"] = tempfile.gettempdir()
        make_bench()
        print(json.dumps(SCENARIOS[sys.argv[1]]()))
