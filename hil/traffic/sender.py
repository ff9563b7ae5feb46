"""The sender process: one absolute schedule for all flows of a run, kept to without skipping.

Started by `hil.traffic.engine` with the path of its orders, a JSON file. It says ``ready``, hears
``go`` with the start of the schedule, and ends with ``done``; ``stop`` ends it early, in order. It
also ends when its parent does.

The schedule runs on CLOCK_MONOTONIC, which never steps. A packet that is late is sent at once; no
slot is skipped and none is moved. Frames are made some hundred at a time. Between packets the
process collects transmit stamps and sleeps until shortly before the next slot; then it spins.
Packets of a port that are overdue together, as those of an image or after a stall, go to the kernel
in one call, and share the time at which the process handed them over.
"""

from __future__ import annotations

import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError, UsageError
from hil.samples.table import NOT_TAKEN, SEND_FAILED, SENT
from hil.traffic import linux
from hil.traffic.child import serve, told_to_start
from hil.traffic.exchange import Lines, RowRing, load_array
from hil.traffic.frames import MOST, Frames
from hil.traffic.schedule import SCHEDULE, Schedule, read_plan
from hil.traffic.timestamps import PlainSocket, StampedSocket
from hil.wire import probe

SPIN_NS: Final = 100_000  #: before a slot, spun away instead of slept: wake-ups may take that long
_MOSTLY_ASLEEP: Final = 0.5  # share of time spent spinning, below which real time does no harm
_AHEAD_NS: Final = 20_000_000  # of the schedule, whose frames are made at once,
_LEAST: Final = 16  # but at least so many of them
_GLANCE_NS: Final = 20_000_000  # between looks at the pipe
_APPLY_NS: Final = 60_000  # slack that storing a batch of stamps needs
_APPLY: Final = 64  # stamps stored at once
_DUE: Final = 48  # stamps outstanding before a busy sender stops to collect some
_LAST_STAMPS_NS: Final = 100_000_000
_CARD_NS: Final = 20_000_000  # after the kernel's last stamp, for those of the card
_TOGETHER: Final = 4  # packets overdue of which one call is quicker than many
_NEVER: Final = 1 << 62

_Socket = StampedSocket | PlainSocket


class _Outlet:
    """One sending port."""

    def __init__(self, order: Mapping[str, Any], sent: RowRing) -> None:
        self.name: str = order["name"]
        self._order = order
        self._kernel = sent.rows["tx_kernel_ns"]
        self._card = sent.rows["tx_hardware_ns"]
        self.warm_stamped = 0  #: warm-up frames that the network card stamped
        self._began = False
        self.sock: _Socket
        with linux.inside(order["namespace"]):
            self._namespace = linux.namespace_handle() if order["namespace"] else None
            self.stamps_card = bool(order["card"] and order["stamped"])
            if order["stamped"]:
                store_card = self._store_card if self.stamps_card else None
                self.sock = StampedSocket(self._open, self._store, store_card)
            else:
                self.sock = PlainSocket(self._open)
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


def _busy_share(schedule: Schedule) -> float:
    """The share of time that spinning before each slot of a schedule takes, at most."""
    return schedule.length * SPIN_NS / max(schedule.last_ns - schedule.first_ns, 1)


class Sender:
    """The loop of the process."""

    def __init__(self, orders: Mapping[str, Any], lines: Lines) -> None:
        directory = Path(orders["directory"])
        self._lines = lines
        self._sent = RowRing(directory / "sent", SENT, orders["capacity"])
        self._outlets = [_Outlet(each, self._sent) for each in orders["ports"]]
        self._port_of_flow = np.array(orders["outlet_of_flow"], np.int64)
        everything = load_array(directory / "sending.npy")
        self._frames = Frames(orders["run"], everything, orders["templates"])
        self._schedule = Schedule(
            [read_plan(directory, told) for told in orders["plans"]],
            [dict(places) for places in orders["templates_of_flow"]],
            orders["variants_of_flow"],
        )
        self._warm_up: list[tuple[int, int, int]] = orders["warm_up"]
        asleep = _busy_share(self._schedule) < _MOSTLY_ASLEEP
        self._granted = linux.be_prompt(real_time=asleep)
        self._stop = False
        self._warm_up_sent = [0] * len(self._port_of_flow)
        self._failed: dict[str, int] = {}
        self._overrun = 0
        self._glance_ns = 0

    def run(self) -> None:
        """Send the schedule, then hand over the last stamps."""
        go = told_to_start(self._lines, self._granted)
        if go is None:
            return
        start_ns, intended_ns = go
        self._warm(start_ns)
        self._send_all(start_ns, intended_ns)
        self._collect_rest()
        self._lines.send(
            {
                "done": {
                    "warm_up_sent": self._warm_up_sent,
                    "refused": self._failed,
                    "overrun": self._overrun,
                    "unreadable_stamps": sum(o.sock.unreadable for o in self._outlets),
                    "repeated_stamps": sum(o.sock.repeated for o in self._outlets),
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

    def _warm(self, start_ns: int) -> None:
        """Send the warm-up frames: paths, caches and the kernel's stamping wake up."""
        for offset, flow, template in self._warm_up:
            self._wait(start_ns + offset)
            one = np.array([(offset, 0, flow, template)], SCHEDULE)
            self._frames.make(one, np.array([time.time_ns()]), probe.WARM_UP)
            sock = self._outlets[self._port_of_flow[flow]].sock
            try:
                sock.send(self._frames.frame(0))
            except OSError as error:
                self._refused(error.strerror or str(error))
                sock.failed()
            else:
                self._warm_up_sent[flow] += 1
                sock.sent(-1)
        for outlet in self._outlets:
            outlet.sock.drain()

    def _send_all(self, start_ns: int, intended_ns: int) -> None:
        """The schedule, stretch by stretch, to its end or to a stop."""
        first, ahead = 0, self._schedule.take(MOST)
        while len(ahead) and not self._stop:
            offsets = ahead["offset_ns"]
            near = int(np.searchsorted(offsets, offsets[0] + _AHEAD_NS))
            stretch = ahead[: max(near, _LEAST)]
            sent = self._send_stretch(stretch, first, start_ns, intended_ns)
            self._overrun += int((self._places[:sent] < 0).sum())
            first += sent
            self._sent.written = first
            ahead = ahead[sent:] if sent < len(ahead) else self._schedule.take(MOST)

    def _write_rows(self, stretch: NDArray[Any], first: int, intended: NDArray[np.int64]) -> None:
        """The rows of a stretch as far as there is room, complete but for the times of sending."""
        places = np.arange(first, first + len(stretch)) & self._sent.mask
        room = self._sent.room
        rows = self._sent.rows
        some, inside = stretch[:room], places[:room]
        rows["flow"][inside], rows["seq"][inside] = some["flow"], some["seq"]
        rows["intended_ns"][inside] = intended[:room]
        for name in ("tx_user_ns", "tx_kernel_ns", "tx_hardware_ns"):
            rows[name][inside] = NOT_TAKEN
        rows["flags"][inside] = 0
        places[room:] = -1
        self._places = places

    def _send_stretch(
        self, stretch: NDArray[Any], first: int, start_ns: int, intended_ns: int
    ) -> int:
        """Send some packets, and say how many. Hot: what can be made before or after a slot is."""
        intended = intended_ns + stretch["offset_ns"]
        self._write_rows(stretch, first, intended)
        self._frames.make(stretch, intended)
        self._dues = start_ns + stretch["offset_ns"]
        self._ports = self._port_of_flow[stretch["flow"]]
        index, count = self._send_overdue(first), len(stretch)
        if index == count:
            return count
        self._plan()
        dues, places, socks = self._dues.tolist(), self._places.tolist(), self._socks
        frame, monotonic, realtime = self._frames.frame, time.monotonic_ns, time.time_ns
        users = self._sent.rows["tx_user_ns"]
        while index < count:
            due, place, sock = dues[index], places[index], socks[index]
            if together := self._approach(index, first, due, sock):
                index += together
                continue
            if self._stop:
                break
            view, send = frame(index), sock.send
            while monotonic() < due:
                pass
            user = realtime()
            try:
                send(view)
            except OSError as error:
                self._refused(error.strerror or str(error), place)
                sock.failed()
            else:
                sock.sent(place)
            if place >= 0:
                users[place] = user
            index += 1
        return index

    def _send_overdue(self, first: int) -> int:
        """Send a stretch that is overdue as a whole, as unpaced load is; how many of it went."""
        index, count = 0, len(self._dues)
        while index < count and not self._stop:
            if self._dues[-1] > (now := time.monotonic_ns()):
                break
            index += self._send_together(index, now, self._outlets[self._ports[index]].sock)
            self._sent.written = first + index
            self._glance()
        return index

    def _plan(self) -> None:
        """For packets sent one by one: by which socket, and when several of them are overdue."""
        ahead, dues, ports = _TOGETHER - 1, self._dues, self._ports
        several = np.full(len(dues), _NEVER)
        several[:-ahead] = np.where(ports[ahead:] == ports[:-ahead], dues[ahead:], _NEVER)
        self._several = several.tolist()
        self._socks = [self._outlets[port].sock for port in ports.tolist()]

    def _approach(self, index: int, first: int, due: int, sock: _Socket) -> int:
        """Use the time before a packet is due; how many overdue ones were sent together instead."""
        now, together = time.monotonic_ns(), 0
        if self._several[index] <= now and not self._stop:
            together = self._send_together(index, now, sock)
            self._sent.written = first + index + together
            self._glance()
        elif due - now > SPIN_NS // 2 or sock.outstanding >= _DUE:
            self._sent.written = first + index
            self._wait(due)
        return together

    def _send_together(self, index: int, now: int, sock: _Socket) -> int:
        """Hand over all packets of a port that are due by `now`; how many were dealt with."""
        due = int(np.searchsorted(self._dues[index:], now, side="right"))
        others = np.flatnonzero(self._ports[index : index + due] != self._ports[index])
        wanted = int(others[0]) if len(others) else due
        if sock.room < wanted:
            while sock.collect():
                if sock.full:
                    sock.apply()
        places = self._places[index : index + min(wanted, max(sock.room, 1))]
        user = time.time_ns()
        done, refusal = sock.send_run(self._frames.messages(index), places)
        if refusal is not None:
            self._refused(refusal, int(places[done]))
            done += 1
        inside = places[:done]
        self._sent.rows["tx_user_ns"][inside[inside >= 0]] = user
        return done

    def _wait(self, due_ns: int) -> None:
        """Use the time until shortly before `due_ns`: stamps, the pipe, sleep."""
        for outlet in self._outlets:
            sock = outlet.sock
            if sock.outstanding:
                sock.collect()
            slack = due_ns - time.monotonic_ns()
            idle, worthwhile = slack > 4 * _APPLY_NS, sock.held >= _APPLY
            if sock.held and (idle or (worthwhile and slack > _APPLY_NS)):
                sock.apply(2 * _APPLY)
            elif sock.full:
                sock.apply()
        self._glance()
        while not self._stop and (left := due_ns - time.monotonic_ns() - SPIN_NS) > 0:
            if not self._tidy(due_ns):
                time.sleep(min(left, _GLANCE_NS) / 1e9)
            self._glance()

    def _tidy(self, due_ns: int) -> bool:
        """Collect and store what a burst has left behind; whether there was any and time for it."""
        busy = False
        for outlet in self._outlets:
            sock = outlet.sock
            if due_ns - time.monotonic_ns() > 4 * _APPLY_NS and (sock.collect() or sock.held):
                sock.apply(2 * _APPLY)
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

    def _refused(self, why: str, place: int = -1) -> None:
        self._failed[why] = self._failed.get(why, 0) + 1
        if place >= 0:
            self._sent.rows["flags"][place] = SEND_FAILED

    def _collect_rest(self) -> None:
        """Wait a little for stamps that are still due, and store them all."""
        now = time.monotonic_ns()
        deadline = now + _LAST_STAMPS_NS
        least = now + (_CARD_NS if any(outlet.stamps_card for outlet in self._outlets) else 0)
        while True:
            for outlet in self._outlets:
                outlet.sock.drain()
            left = sum(outlet.sock.outstanding for outlet in self._outlets)
            now = time.monotonic_ns()
            if (not left and now >= least) or now > deadline:
                return
            time.sleep(0.001)


if __name__ == "__main__":
    sys.exit(serve(lambda orders, lines: Sender(orders, lines).run()))
