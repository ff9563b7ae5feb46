"""The sender process: one absolute schedule for all flows of a run, kept to without skipping.

Started by `hil.traffic.engine` with the path of its orders, a JSON file. It says ``ready``, hears
``go`` with the start of the schedule, and ends with ``done``; ``stop`` ends it early, in order. It
also ends when its parent does.

The schedule runs on CLOCK_MONOTONIC, which never steps. A packet that is late is sent at once; no
slot is skipped and none is moved. Between packets the process collects transmit stamps, encodes the
next probe and sleeps until shortly before the next slot; then it spins.
"""

from __future__ import annotations

import gc
import socket
import struct
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError, UsageError
from hil.samples.table import NOT_TAKEN, SEND_FAILED, SENT
from hil.traffic import linux
from hil.traffic.child import serve
from hil.traffic.exchange import Lines, RowRing, load_array
from hil.traffic.schedule import Schedule, read_plan
from hil.traffic.timestamps import StampedSocket
from hil.wire import probe

_SPIN_NS: Final = 100_000  # before a slot, spun away instead of slept
_SPIN_REAL_TIME_NS: Final = 40_000  # the same where a real-time policy wakes up sooner
_MOSTLY_ASLEEP: Final = 0.5  # share of time spent spinning, below which real time does no harm
_CHUNK: Final = 256  # packets of the schedule turned into Python numbers at once
_GLANCE_NS: Final = 20_000_000  # between looks at the pipe
_APPLY_NS: Final = 60_000  # slack that storing a batch of stamps needs
_APPLY: Final = 64  # stamps stored at once
_DUE: Final = 48  # stamps outstanding before a busy sender stops to collect some
_LAST_STAMPS_NS: Final = 100_000_000
_CARD_NS: Final = 20_000_000  # after the kernel's last stamp, for those of the card
_NUMBERS: Final = struct.Struct("<HQqqqqH")  # a row of SENT
_HEAD: Final = struct.Struct(">IBBHQQq")
_TAIL: Final = struct.Struct(">IHH")


class _Frames:
    """The frames of the run: a buffer for each template, with the probe's place in it."""

    def __init__(self, orders: Mapping[str, Any], directory: Path) -> None:
        everything = load_array(directory / "sending.npy").tobytes()
        self._buffers: list[tuple[bytearray, memoryview]] = []
        for start, length, probe_at in orders["templates"]:
            buffer = bytearray(everything[start : start + length])
            view = memoryview(buffer)[probe_at : probe_at + probe.SIZE]
            self._buffers.append((buffer, view))
        self._run = orders["run"]

    def fill(self, template: int, flow: int, seq: int, intended_ns: int, flags: int) -> bytearray:
        """The frame of one probe; the same bytes as `probe.encode` gives."""
        buffer, view = self._buffers[template]
        _HEAD.pack_into(
            view, 0, probe.MAGIC, probe.VERSION, flags, flow, self._run, seq, intended_ns
        )
        crc = zlib.crc32(view[:32])
        # 2^16 is 1 modulo 65535, so the number the bytes make is congruent to their 16-bit sum.
        total = int.from_bytes(view[:32], "big") + crc
        _TAIL.pack_into(view, 32, crc, 0xFFFF - total % 0xFFFF, 0)
        return buffer


class _Outlet:
    """One sending port."""

    def __init__(self, order: Mapping[str, Any], sent: RowRing) -> None:
        self.name: str = order["name"]
        self._order = order
        self._kernel = sent.rows["tx_kernel_ns"]
        self._card = sent.rows["tx_hardware_ns"]
        self.warm_stamped = 0  #: warm-up frames that the network card stamped
        self._began = False
        with linux.inside(order["namespace"]):
            self._namespace = linux.namespace_handle() if order["namespace"] else None
            self.stamps_card = bool(order["card"])
            store_card = self._store_card if self.stamps_card else None
            self.stamped = StampedSocket(self._open, self._store, store_card)
        self._began = True

    def _open(self) -> socket.socket:
        with linux.inside_handle(self._namespace):
            try:
                raw = self._order["kind"] == "raw-ip"
                sock = linux.packet_socket(self._order["interface"])
                if raw:  # a bare packet does not say what protocol it is
                    linux.attach_filter(sock, linux.DROP_ALL)
                    sock.bind((self._order["interface"], self._order["ethertype"]))
            except OSError as error:
                kind, when = (RigError, " any more") if self._began else (UsageError, "")
                raise kind(f"port {self.name} cannot send{when}: {error.strerror}") from None
        return sock

    def _store(self, rows: NDArray[np.int64], kernel: NDArray[np.int64]) -> None:
        known = kernel != 0
        self._kernel[rows[known]] = kernel[known]

    def _store_card(self, rows: NDArray[np.int64], card: NDArray[np.int64]) -> None:
        """The first stamp of a frame is that of the port; a card below it may stamp it again."""
        ours = rows >= 0
        self.warm_stamped += int((~ours).sum())
        rows, first = np.unique(rows[ours], return_index=True)
        missing = self._card[rows] == NOT_TAKEN
        self._card[rows[missing]] = card[ours][first][missing]


def _busy_share(schedule: Schedule, spin_ns: int) -> float:
    """The share of time that spinning before each slot of a schedule takes, at most."""
    return schedule.length * spin_ns / max(schedule.last_ns - schedule.first_ns, 1)


class Sender:
    """The loop of the process."""

    def __init__(self, orders: Mapping[str, Any], lines: Lines) -> None:
        directory = Path(orders["directory"])
        self._lines = lines
        self._sent = RowRing(directory / "sent", SENT, orders["capacity"])
        self._outlets = [_Outlet(each, self._sent) for each in orders["ports"]]
        self._of_flow: list[int] = orders["outlet_of_flow"]
        self._frames = _Frames(orders, directory)
        self._schedule = Schedule(
            [read_plan(directory, told) for told in orders["plans"]],
            [dict(places) for places in orders["templates_of_flow"]],
        )
        self._warm_up: list[tuple[int, int, int]] = orders["warm_up"]
        asleep = _busy_share(self._schedule, _SPIN_REAL_TIME_NS) < _MOSTLY_ASLEEP
        self._granted = linux.be_prompt(real_time=asleep)
        self._spin_ns = _SPIN_REAL_TIME_NS if self._granted.get("sched_fifo") else _SPIN_NS
        self._stop = False
        self._warm_up_sent = [0] * len(self._of_flow)
        self._failed: dict[str, int] = {}
        self._overrun = 0
        self._glance_ns = 0

    def run(self) -> None:
        """Send the schedule, then hand over the last stamps."""
        self._lines.send({"ready": self._granted})
        go = self._await_go()
        if go is None:
            return
        start_ns, intended_ns = go
        gc.collect()
        gc.freeze()
        gc.disable()
        self._warm(start_ns)
        self._send_all(start_ns, intended_ns)
        self._collect_rest()
        self._lines.send(
            {
                "done": {
                    "warm_up_sent": self._warm_up_sent,
                    "refused": self._failed,
                    "overrun": self._overrun,
                    "unreadable_stamps": sum(o.stamped.unreadable for o in self._outlets),
                    "repeated_stamps": sum(o.stamped.repeated for o in self._outlets),
                    "granted": self._granted,
                    "warm_stamped": self._warm_stamped(),
                }
            }
        )

    def _warm_stamped(self) -> dict[str, int]:
        """Warm-up frames that network cards stamped, by port; a port may have several outlets."""
        found: dict[str, int] = {}
        for outlet in self._outlets:
            found[outlet.name] = found.get(outlet.name, 0) + outlet.warm_stamped
        return found

    def _await_go(self) -> tuple[int, int] | None:
        while not self._lines.closed:
            for line in self._lines.receive(0.5):
                if "go" in line:
                    return line["start"], line["go"]
                if "stop" in line:
                    return None
        return None

    def _warm(self, start_ns: int) -> None:
        """Send the warm-up frames: paths, caches and the kernel's stamping wake up."""
        for offset, flow, template in self._warm_up:
            self._wait(start_ns + offset)
            frame = self._frames.fill(template, flow, 0, time.time_ns(), probe.WARM_UP)
            stamped = self._outlets[self._of_flow[flow]].stamped
            try:
                stamped.send(frame)
            except OSError as error:
                self._refused(error)
                stamped.failed()
            else:
                self._warm_up_sent[flow] += 1
                stamped.sent(-1)
        for outlet in self._outlets:
            outlet.stamped.drain()

    def _send_all(self, start_ns: int, intended_ns: int) -> None:
        """The schedule, chunk by chunk, to its end or to a stop."""
        for first in range(0, self._schedule.length, _CHUNK):
            chunk = self._schedule.take(_CHUNK)
            done = self._send_chunk(chunk, first, start_ns, intended_ns)
            self._sent.written = first + done
            if self._stop:
                return

    def _send_chunk(self, chunk: NDArray[Any], first: int, start_ns: int, intended_ns: int) -> int:
        """Hot: no allocation that can be spared, no lookup that can be hoisted."""
        offsets, sequences = chunk["offset_ns"].tolist(), chunk["seq"].tolist()
        flows, templates = chunk["flow"].tolist(), chunk["template"].tolist()
        fill, monotonic, realtime = self._frames.fill, time.monotonic_ns, time.time_ns
        stamped_of = [self._outlets[outlet].stamped for outlet in self._of_flow]
        pack, rows, mask = _NUMBERS.pack_into, self._sent.bytes, self._sent.mask
        width = SENT.itemsize
        room, near_ns = self._sent.room, self._spin_ns // 2
        for index, offset in enumerate(offsets):
            flow, seq = flows[index], sequences[index]
            stamped = stamped_of[flow]
            intended = intended_ns + offset
            frame = fill(templates[index], flow, seq, intended, 0)
            due = start_ns + offset
            if due - monotonic() > near_ns or stamped.outstanding >= _DUE:
                self._sent.written = first + index
                self._wait(due)
                if self._stop:
                    return index
            while monotonic() < due:
                pass
            user, flags = realtime(), 0
            row = (first + index) & mask
            try:
                stamped.send(frame)
            except OSError as error:
                self._refused(error)
                stamped.failed()
                flags = SEND_FAILED
            else:
                stamped.sent(row if index < room else -1)
            if index < room:
                pack(rows, row * width, flow, seq, intended, user, NOT_TAKEN, NOT_TAKEN, flags)
            else:
                self._overrun += 1
        return len(offsets)

    def _wait(self, due_ns: int) -> None:
        """Use the time until shortly before `due_ns`: stamps, the pipe, sleep."""
        for outlet in self._outlets:
            stamped = outlet.stamped
            if stamped.outstanding:
                stamped.collect()
            slack = due_ns - time.monotonic_ns()
            idle, worthwhile = slack > 4 * _APPLY_NS, stamped.held >= _APPLY
            if stamped.held and (idle or (worthwhile and slack > _APPLY_NS)):
                stamped.apply(2 * _APPLY)
            elif stamped.full:
                stamped.apply()
        self._glance()
        while not self._stop and (left := due_ns - time.monotonic_ns() - self._spin_ns) > 0:
            if not self._tidy(due_ns):
                time.sleep(min(left, _GLANCE_NS) / 1e9)
            self._glance()

    def _tidy(self, due_ns: int) -> bool:
        """Collect and store what a burst has left behind; whether there was any and time for it."""
        busy = False
        for outlet in self._outlets:
            stamped = outlet.stamped
            if due_ns - time.monotonic_ns() > 4 * _APPLY_NS and (stamped.collect() or stamped.held):
                stamped.apply(2 * _APPLY)
                busy = True
        return busy

    def _glance(self) -> None:
        """Look at the pipe now and then: a stop, or the end of the parent."""
        now = time.monotonic_ns()
        if now < self._glance_ns:
            return
        self._glance_ns = now + _GLANCE_NS
        for line in self._lines.receive():
            self._stop |= "stop" in line
        self._stop |= self._lines.closed

    def _refused(self, error: OSError) -> None:
        name = error.strerror or str(error)
        self._failed[name] = self._failed.get(name, 0) + 1

    def _collect_rest(self) -> None:
        """Wait a little for stamps that are still due, and store them all."""
        now = time.monotonic_ns()
        deadline = now + _LAST_STAMPS_NS
        least = now + (_CARD_NS if any(outlet.stamps_card for outlet in self._outlets) else 0)
        while True:
            for outlet in self._outlets:
                outlet.stamped.drain()
            left = sum(outlet.stamped.outstanding for outlet in self._outlets)
            now = time.monotonic_ns()
            if (not left and now >= least) or now > deadline:
                return
            time.sleep(0.001)


if __name__ == "__main__":
    sys.exit(serve(lambda orders, lines: Sender(orders, lines).run()))
