"""One run to a reflector far away and back: offered, answered, and made into a measurement.

One process sends and receives (`hil.traffic.session_sender`), because both belong to one UDP
socket. The figure is the round trip less the time that the reflector held the packet; a one-way
delay would compare two clocks and is not measured.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.clock import Deadline
from hil.errors import RigError, UsageError
from hil.samples import store, two_way
from hil.samples.measurement import Measurement
from hil.samples.planned import last_row, stretches
from hil.samples.table import ARRIVED, PLANNED, SEND_FAILED, SENT, taken
from hil.samples.two_way import REPLY
from hil.traffic.assemble import measurement_id
from hil.traffic.assemble_two_way import TwoWayRun, assemble
from hil.traffic.drops import DropWatch
from hil.traffic.exchange import RowRing, capacity_for
from hil.traffic.flow import Flow
from hil.traffic.interruption import RunInterrupted, disk_faults, signals_noted
from hil.traffic.orders import private_directory, room_for
from hil.traffic.process import Child
from hil.traffic.progress import Progress, Tally
from hil.traffic.schedule import write_plan
from hil.traffic.session_sender import greet, lead_ns
from hil.traffic.target import Target
from hil.traffic.watch import realtime_offset_ns
from hil.wire import stamp

DRAIN_NS: Final = 2_000_000_000
LONGEST_DRAIN_NS: Final = 12_000_000_000
_WARM_UP: Final = 20
_ANSWER_NS: Final = 1_000_000_000
_GRACE_NS: Final = 200_000_000
_CUT_SHORT_NS: Final = 500_000_000
_MARGIN_NS: Final = 50_000_000
_SETTLED_NS: Final = 500_000_000
_LOOK_S: Final = 0.1
_SHOW_NS: Final = 500_000_000
_END_NS: Final = 5_000_000_000
_HELD_S: Final = 20.0
_MOST_HELD: Final = 1 << 20


def run(
    flow: Flow,
    target: Target,
    *,
    directory: Path,
    progress: Callable[[Progress], None] | None = None,
    launcher: Sequence[str] = (),
    drain_ns: int = DRAIN_NS,
) -> Measurement:
    """Offer `flow` to a reflector and measure the round trip; arguments as `hil.traffic.run`.

    Of `flow` the port `tx`, plan, DSCP and names are used.

    Raises:
        UsageError: the port cannot reach the reflector, or the packets do not fit.
        RigError: nobody answers there, or a process died.
        RunInterrupted: SIGINT or SIGTERM came.
    """
    flow.check()
    smallest = flow.plan.sizes[0]
    if smallest < target.header + stamp.SIZE:
        raise UsageError(
            f"a packet of {smallest} B has no room for STAMP's fields: give at least "
            f"{target.header + stamp.SIZE} B"
        )
    number = secrets.randbits(64)
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(signals_noted())
        stack.enter_context(disk_faults(directory))
        directory.mkdir(parents=True, exist_ok=True)
        files = store.Files(directory, measurement_id(number, 0))
        with private_directory(room_for([flow])) as shared:
            orders = _orders(shared, flow, target, number, launched=bool(launcher))
            greet(orders, _ANSWER_NS)
            session = _Session(flow, orders, files, progress)
            stack.callback(session.close)
            session.start(shared, launcher)

        def stopped() -> bool:
            return bool(signals)

        session.offer(stopped)
        session.drain(min(drain_ns, LONGEST_DRAIN_NS), stopped)
        session.end_streams()
        measurement = assemble(session.home(target))
    if signals:
        raise RunInterrupted("stopped by a signal before the run was complete", [measurement])
    return measurement


def _orders(
    directory: Path, flow: Flow, target: Target, number: int, *, launched: bool
) -> dict[str, Any]:
    """What the process is told, as JSON values; its plan goes to `directory`."""
    v6 = ":" in target.host
    source = flow.tx.address_of(6 if v6 else 4)
    last = max(int(last_row(flow.plan)["offset_ns"][0]), 1)
    capacity = capacity_for(len(flow.plan), _HELD_S, len(flow.plan) * 1e9 / last)
    return {
        "directory": str(directory),
        "parent": None if launched else os.getpid(),
        "run": number,
        "name": flow.tx.name,
        "interface": flow.tx.interface,
        "namespace": flow.tx.namespace,
        "family": int(socket.AF_INET6 if v6 else socket.AF_INET),
        "source": str(source.ip) if source is not None else None,
        "target": [target.host, target.port],
        "header": target.header,
        "dscp": flow.dscp,
        "ssid": secrets.randbelow(0xFFFF) + 1,
        "size": flow.plan.sizes[0],
        "plan": write_plan(directory, 0, flow.plan),
        "warm_up": _WARM_UP,
        "capacity": min(capacity, _MOST_HELD),
    }


@dataclass(slots=True)
class _Session:
    """The process of a run, and the streams its rows go to."""

    flow: Flow
    orders: Mapping[str, Any]
    files: store.Files
    progress: Callable[[Progress], None] | None
    _cut: bool = False
    _done: dict[str, Any] = field(default_factory=dict)
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _writers: dict[str, store.StreamWriter] = field(default_factory=dict)
    _published: deque[tuple[int, int]] = field(default_factory=deque)
    _offered: bool = False
    _shown_ns: int = 0
    _start_ns: int = 0
    _began_ns: int = 0
    _drops: DropWatch = field(init=False)
    _child: Child = field(init=False)
    _sent: RowRing = field(init=False)
    _replied: RowRing = field(init=False)
    _tally: Tally = field(init=False)

    @property
    def _first(self) -> int:
        return _WARM_UP + 1

    @property
    def _replies(self) -> Path:
        """The stream of `REPLY` rows; it stays beside the samples."""
        return self.files.stream("replies")

    def start(self, directory: Path, launcher: Sequence[str]) -> None:
        """Open the streams and start the process; it has mapped its files on return."""
        self._tally = Tally(self.flow.name, len(self.flow.plan))
        capacity = self.orders["capacity"]
        self._sent = RowRing.create(directory / "sent", SENT, capacity)
        self._replied = RowRing.create(directory / "replied", REPLY, 2 * capacity)
        path = directory / "orders.json"
        path.write_text(json.dumps(self.orders))
        self._drops = DropWatch([self.orders], {})
        self._child = Child("hil.traffic.session_sender", path, launcher)
        self._stack.callback(self._child.close)
        with contextlib.ExitStack() as undo:
            undo.callback(self._replies.unlink, missing_ok=True)
            undo.callback(self.files.unlink_streams)
            self._open_streams()
            self._child.expect("ready")
            undo.pop_all()

    def _open_streams(self) -> None:
        flow = self.flow
        about: dict[str, Any] = {"flow": 0, "name": flow.name, "traffic": dict(flow.traffic)}
        described = flow.plan.described()
        held = about if described is None else about | {"planned": dict(described)}
        with store.StreamWriter(self.files.planned, PLANNED, held) as planned:
            for rows in () if described is not None else stretches(flow.plan):
                planned.append(rows)
        for name, path, dtype in (
            ("sent", self.files.sent, SENT),
            ("arrived", self.files.arrived, ARRIVED),
            ("replies", self._replies, REPLY),
        ):
            writer = store.StreamWriter(path, dtype, about)
            self._stack.callback(writer.close)
            self._writers[name] = writer

    def offer(self, stopped: Callable[[], bool]) -> None:
        """Let the process send its schedule, to the end or until `stopped` says so."""
        self._began_ns = time.time_ns()
        self._drops.look(time.monotonic_ns(), self._began_ns, now=True)
        offset_ns = realtime_offset_ns()
        self._start_ns = time.monotonic_ns() + lead_ns(_WARM_UP) + _MARGIN_NS
        self._child.send({"go": self._start_ns + offset_ns, "start": self._start_ns})
        while not self._offered:
            self._mind(stopped)
            self._look(_LOOK_S)

    def drain(self, drain_ns: int, stopped: Callable[[], bool]) -> None:
        """Wait for the last answers, let the process end, and take what is left."""
        self._take_sent(everything=True)
        deadline = Deadline.after(min(drain_ns, _CUT_SHORT_NS) if self._cut else drain_ns)
        while not deadline.passed and self._tally.received < self._tally.sent:
            if self._mind(stopped):
                deadline = Deadline.after(_CUT_SHORT_NS)
            self._look(min(_LOOK_S, deadline.left_s))
        grace = Deadline.after(_GRACE_NS)
        while not grace.passed:
            self._look(min(_LOOK_S, grace.left_s))
        self._child.send({"finish": True})
        end = Deadline.after(_END_NS)
        while not self._done:
            if end.passed:
                raise RigError("the sender process did not end in time")
            self._look(_LOOK_S)
        self._take_sent(everything=True)
        self._take_replies()
        self._drops.look(time.monotonic_ns(), time.time_ns(), now=True)

    def _mind(self, stopped: Callable[[], bool]) -> bool:
        """Pass on the wish to stop, once; whether it was now."""
        if self._cut or not stopped():
            return False
        self._cut = True
        self._child.send({"stop": True})
        return True

    def _look(self, timeout_s: float) -> None:
        """Hear the process, file the rows it has, show how far it is."""
        if select.select([self._child.fileno], [], [], timeout_s)[0]:
            for line in self._child.hear():
                self._offered |= "offered" in line
                self._done = line.get("done", self._done)
                if self._done:
                    break
        self._take_sent(everything=False)
        self._take_replies()
        now = time.monotonic_ns()
        self._drops.look(now, time.time_ns())
        if self.progress is not None and now >= self._shown_ns + _SHOW_NS:
            self._shown_ns = now
            last = int(last_row(self.flow.plan)["offset_ns"][0])
            left = 0 if self._offered else max(1, self._start_ns + last - now)
            self.progress(Progress((self._tally.progress(),), left))

    def _take_sent(self, *, everything: bool) -> None:
        """Take the sent rows that have their stamps, or had time enough to get them."""
        ring, now = self._sent, time.monotonic_ns()
        written = ring.written
        self._published.append((now, written))
        settled = max(ring.consumed, written if everything else 0)
        while self._published and self._published[0][0] <= now - _SETTLED_NS:
            settled = max(settled, self._published.popleft()[1])
        waiting = ring.peek(settled, written)
        ready = taken(waiting["tx_kernel_ns"]) | ((waiting["flags"] & SEND_FAILED) != 0)
        settled += len(ready) if ready.all() else int(ready.argmin())
        rows = ring.take(settled)
        if len(rows):
            self._writers["sent"].append(rows)
            self._tally.add_sent(rows)

    def _take_replies(self) -> None:
        rows = self._replied.take(self._replied.written)
        if not len(rows):
            return
        self._writers["replies"].append(rows)
        number = rows["number"].astype(np.int64) - self._first
        mine = rows[(number >= 0) & (number < len(self.flow.plan))]
        if len(mine):
            place = mine["number"].astype(np.int64) - self._first
            low, high = int(place.min()), int(place.max()) + 1
            sequences = self.flow.plan.rows(low, high)["seq"]
            arrived = two_way.arrived(mine, sequences, self._first + low)
            self._writers["arrived"].append(arrived)
            self._tally.add_arrived(arrived)

    def end_streams(self) -> None:
        """End the streams properly."""
        for writer in self._writers.values():
            writer.close()

    def _lost_here(self) -> list[dict[str, Any]]:
        """The spans in which this host lost packets; of a full socket only the run is known."""
        found = self._drops.windows(self.flow.tx.name, "rx", "tx")
        found += self._drops.windows("", "backlog")
        if dropped := self._done["dropped"]:
            why = f"{dropped:,} answers found no room in this host's socket"
            found.append({"start_ns": self._began_ns, "end_ns": time.time_ns(), "why": why})
        return found

    def home(self, target: Target) -> TwoWayRun:
        """What the run brought home."""
        return TwoWayRun(
            flow=self.flow,
            target=target,
            files=self.files,
            replies=self._replies,
            first=self._first,
            skipped=_WARM_UP // 2,
            cut=self._cut,
            done=self._done,
            lost_here=self._lost_here(),
            host=self._drops.report(),
        )

    def close(self) -> None:
        """End what still runs; may be called twice."""
        self._stack.close()
