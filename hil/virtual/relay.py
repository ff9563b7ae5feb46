"""A relay between two interfaces that does to a flow what a list says, and stamps every frame.

``python -m hil.virtual.relay NEAR FAR --flow FLOW --faults FILE --truth FILE`` forwards every frame
between NEAR and FAR, in order, until its standard input ends. The flow goes from NEAR to FAR; its
frames meet the faults of the list (`hil.virtual.faults.fault_list`), those that go back meet none.
FLOW says which frames are counted:

- ``probe``: probes (`hil.wire.probe`), those of a warm-up aside;
- ``udp:PORT`` or ``udp:PORT:BYTES``: UDP over IPv4 to that port (back: from it), with a payload of
  that many bytes.

So any tool's UDP flow can pass, beside its connections over TCP. The kernel stamps each frame when
it comes and when it goes; the stamps are the truth (`hil.virtual.relay_truth`). The relay's own
lateness therefore moves a delay and never the truth about it.

It says ``{"ready": true}`` on standard output, ``{"stall": PACKET, "for_ns": N}`` when the sender
is to stand still, which is for whoever started that to do, and ``{"done": {...}}`` last.
"""

from __future__ import annotations

import argparse
import gc
import heapq
import json
import select
import socket
import struct
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, Final

from hil.errors import HilError, RigError, UsageError
from hil.samples.table import NOT_TAKEN
from hil.verdict import ExitCode
from hil.virtual.faults.fault_list import Corrupt, Delay, FaultList, Stall, read
from hil.virtual.relay_truth import BACK, DID, FORTH
from hil.virtual.userplane_port import Port
from hil.virtual.userplane_store import Store
from hil.wire import probe

_FRAMES: Final = 8192  # that each of the two rings holds
_TIMESTAMPING: Final = 37
_TX_SOFTWARE, _SOFTWARE, _OPT_ID, _OPT_TSONLY = 1 << 1, 1 << 4, 1 << 7, 1 << 11
_SOL_PACKET, _PACKET_TX_TIMESTAMP = 263, 16
_ARMING_S: Final = 0.06  # the kernel switches receive stamps on by a work queue
_STAMP_NS: Final = 20_000_000  # after which a stamp that did not come is given up
_IPV4_UDP: Final = probe.ETHERNET_HEADER + probe.IPV4_HEADER
_PAYLOAD: Final = _IPV4_UDP + probe.UDP_HEADER
_MAGIC: Final = probe.MAGIC.to_bytes(4, "big")
_ROW: Final = struct.Struct("<BBBqIqq")  # relay_truth.ROW

#: Whether a frame is of the flow, on its way or back.
Belongs = Callable[[bytes, int], bool]


def flow(text: str) -> Belongs:
    """What a word for a flow means.

    Raises: UsageError when it is none.
    """
    if text == "probe":
        return _is_probe
    match text.split(":"):
        case ["udp", port, *length] if len(length) < 2 and all(
            word.isdecimal() for word in (port, *length)
        ):
            return _datagram(int(port), int(length[0]) if length else None)
    raise UsageError(f"{text!r} is no flow: write probe, udp:PORT or udp:PORT:BYTES")


def _is_probe(frame: bytes, way: int) -> bool:
    for at in (probe.ETHERNET_HEADER, _PAYLOAD):
        if frame[at : at + 4] == _MAGIC and len(frame) >= at + probe.SIZE:
            return not frame[at + 5] & probe.WARM_UP
    return False


def _datagram(port: int, length: int | None) -> Belongs:
    word = port.to_bytes(2, "big")
    size = None if length is None else (length + probe.UDP_HEADER).to_bytes(2, "big")

    def belongs(frame: bytes, way: int) -> bool:
        at = _IPV4_UDP + (2 if way == FORTH else 0)
        return (
            frame[12:15] == b"\x08\x00\x45"
            and frame[23] == 17
            and frame[at : at + 2] == word
            and size in (None, frame[_IPV4_UDP + 4 : _IPV4_UDP + 6])
        )

    return belongs


class _Outlet:
    """Sends frames and waits for the kernel's stamp of each."""

    def __init__(self, interface: str) -> None:
        self._sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self._sock.bind((interface, 0))
        flags = _TX_SOFTWARE | _SOFTWARE | _OPT_TSONLY
        self._sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPING, flags)
        self._sock.setsockopt(socket.SOL_SOCKET, _TIMESTAMPING, flags | _OPT_ID)
        self._count = 0

    def send(self, frame: bytes) -> int:
        """Send a frame; the kernel's stamp of it, `NOT_TAKEN` where none came."""
        self._sock.send(frame)
        number, self._count = self._count & 0xFFFF_FFFF, self._count + 1
        deadline_ns = 0
        while True:
            try:
                _, messages, _, _ = self._sock.recvmsg(1, 256, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                now = time.monotonic_ns()
                deadline_ns = deadline_ns or now + _STAMP_NS
                if now > deadline_ns:
                    return NOT_TAKEN
                continue
            stamp_ns, of = NOT_TAKEN, -1
            for level, kind, value in messages:
                if (level, kind) == (socket.SOL_SOCKET, _TIMESTAMPING):
                    second, rest = struct.unpack_from("qq", value)
                    stamp_ns = second * 10**9 + rest
                elif (level, kind) == (_SOL_PACKET, _PACKET_TX_TIMESTAMP):
                    of = struct.unpack_from("IBBBBII", value)[6]
            if of == number:
                return stamp_ns


class Relay:
    """The two interfaces and what waits between them.

    Raises: OSError when an interface is missing or refuses raw frames.
    """

    def __init__(
        self, near: str, far: str, belongs: Belongs, faults: FaultList, into: BinaryIO
    ) -> None:
        self._store = Store(2 * _FRAMES)
        self._inlets = (Port(near, _FRAMES), Port(far, _FRAMES))
        self._outlets = (_Outlet(far), _Outlet(near))
        self._belongs = belongs
        self._extra_ns = faults.delay_ns
        self._faults = faults.by_packet()
        self._into = into
        self._numbers = [0, 0]
        self._order = 0
        self._waiting: list[tuple[int, int, bytes, tuple[int, int, int, int]]] = []
        self._overtaken: tuple[int, bytes, tuple[int, int, int, int]] | None = None
        self._unstamped = 0

    def serve(self) -> None:
        """Forward until the standard input ends, then let everything go that still waits."""
        sources = [*self._inlets, sys.stdin]
        while True:
            left_s = None
            if self._waiting:
                left_s = max(0.0, (self._waiting[0][0] - time.time_ns()) / 1e9)
            ready = select.select(sources, [], [], left_s)[0]
            self._turn()
            if sys.stdin in ready:
                break
        if self._overtaken is not None:
            self._wait(*self._overtaken)
        while self._waiting:
            self._leave()

    def _turn(self) -> None:
        """Take in what has come, and let go what is due."""
        for way, inlet in enumerate(self._inlets):
            received = inlet.receive(self._store)
            if received is None:
                continue
            tags = received.tags.tolist()
            for tag, stamp_ns in zip(tags, received.stamp_ns.tolist(), strict=True):
                frame = self._store.rows[tag, : int(self._store.size[tag])].tobytes()
                self._take(way, frame, stamp_ns)
            self._store.give(received.tags)
        while self._waiting and self._waiting[0][0] <= time.time_ns():
            self._leave()

    def _take(self, way: int, frame: bytes, rx_ns: int) -> None:
        """Decide about a frame that came."""
        if not self._belongs(frame, way):
            self._wait(rx_ns, frame, (way, -1, 0, rx_ns))
            return
        number = self._numbers[way]
        self._numbers[way] += 1
        if way == BACK:
            self._wait(rx_ns, frame, (way, number, 0, rx_ns))
            return
        due_ns = rx_ns + self._extra_ns
        fault = self._faults.get(number)
        did = 0 if fault is None else DID[fault.do]
        about = (way, number, did, rx_ns)
        before, self._overtaken = self._overtaken, None
        if isinstance(fault, Stall):
            _say({"stall": number, "for_ns": fault.by_ns})
        elif isinstance(fault, Delay):
            due_ns += fault.by_ns
        elif isinstance(fault, Corrupt):
            frame = _corrupted(frame, fault.byte)
        if did == DID["drop"]:
            self._note(about, 0, len(frame), NOT_TAKEN)
        elif did == DID["swap"]:
            self._overtaken = due_ns, frame, about
        else:
            self._wait(due_ns, frame, about)
        if before is not None:
            self._wait(max(before[0], due_ns), *before[1:])

    def _wait(self, due_ns: int, frame: bytes, about: tuple[int, int, int, int]) -> None:
        self._order += 1
        heapq.heappush(self._waiting, (due_ns, self._order, frame, about))

    def _leave(self) -> None:
        """Send what is due first."""
        _, _, frame, about = heapq.heappop(self._waiting)
        way, number, did, _ = about
        for copy in range(2 if did == DID["duplicate"] else 1):
            stamp_ns = self._outlets[way].send(frame)
            if number >= 0:
                self._note(about, copy, len(frame), stamp_ns)
                self._unstamped += stamp_ns == NOT_TAKEN

    def _note(self, about: tuple[int, int, int, int], copy: int, size: int, tx_ns: int) -> None:
        way, number, did, rx_ns = about
        self._into.write(_ROW.pack(way, did, copy, number, size, rx_ns, tx_ns))

    def report(self) -> dict[str, Any]:
        """What was counted, and what the relay itself lost: that must be nothing."""
        return {
            "forth": self._numbers[FORTH],
            "back": self._numbers[BACK],
            "overrun": sum(inlet.count_overrun() for inlet in self._inlets),
            "oversize": sum(inlet.oversize for inlet in self._inlets),
            "unstamped": self._unstamped + sum(inlet.unstamped for inlet in self._inlets),
        }


def _corrupted(frame: bytes, place: int) -> bytes:
    """Raises RigError where the frame has no such byte."""
    changed = bytearray(frame)
    try:
        changed[place] ^= 0xFF
    except IndexError:
        raise RigError(f"a frame of {len(frame)} B has no byte {place} to corrupt") from None
    return bytes(changed)


def _say(line: dict[str, Any]) -> None:
    print(json.dumps(line), flush=True)


def main(words: list[str]) -> int:
    """Relay until the standard input ends."""
    parser = argparse.ArgumentParser(prog=f"python -m {__spec__.name}")
    parser.add_argument("near")
    parser.add_argument("far")
    parser.add_argument("--flow", default="probe")
    parser.add_argument("--faults", type=Path)
    parser.add_argument("--truth", type=Path, required=True)
    given = parser.parse_args(words)
    try:
        faults = read(given.faults) if given.faults else FaultList()
        belongs = flow(given.flow)
        with given.truth.open("wb") as into:
            relay = Relay(given.near, given.far, belongs, faults, into)
            time.sleep(_ARMING_S)
            _say({"ready": True})
            gc.freeze()
            gc.disable()
            relay.serve()
        _say({"done": relay.report()})
    except (HilError, OSError) as error:
        _say({"error": str(error)})
        return ExitCode.USAGE if isinstance(error, UsageError) else ExitCode.RIG
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
