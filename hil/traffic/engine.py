"""One run: flows offered and received by two processes, rows filed while it lasts, then joined."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from hil.clock import Deadline
from hil.errors import RigError, UsageError
from hil.samples import floor, passing, store, violations
from hil.samples.measurement import Measurement
from hil.samples.planned import last_row, stretches
from hil.samples.table import ARRIVED, OBSERVED, PLANNED, SEND_FAILED, SENT, Table, taken
from hil.samples.trailer_clock import fit_trailer_map
from hil.traffic import reference
from hil.traffic.assemble import Taken, assemble, measurement_id
from hil.traffic.elsewhere import clocks_of
from hil.traffic.exchange import RowRing
from hil.traffic.flow import Flow
from hil.traffic.host import host_facts
from hil.traffic.interruption import RunInterrupted, disk_faults, signals_noted
from hil.traffic.long_run import assemble_long
from hil.traffic.memory import MemoryCurve
from hil.traffic.nat import open_nats, with_keep_alives
from hil.traffic.observation import observed, points_of
from hil.traffic.orders import Orders, private_directory, room_for, write_orders
from hil.traffic.process import Child, Process
from hil.traffic.progress import Progress, Tally

DRAIN_NS: Final = 2_000_000_000
LONGEST_DRAIN_NS: Final = 12_000_000_000
_GRACE_NS: Final = 200_000_000  # after the last probe has come, for duplicates of it
_CUT_SHORT_NS: Final = 500_000_000  # drain of a run that was stopped
_MARGIN_NS: Final = 50_000_000  # between the order to start and the first warm-up frame
_SETTLED_NS: Final = 500_000_000  # after which a sent row has its stamp, if it ever gets one
_LOOK_S: Final = 0.1
_SHOW_NS: Final = 500_000_000
_END_NS: Final = 5_000_000_000


def run(
    flows: Sequence[Flow],
    *,
    directory: Path,
    progress: Callable[[Progress], None] | None = None,
    stop: threading.Event | None = None,
    launcher: Sequence[str] = (),
    drain_ns: int = DRAIN_NS,
    warm_up: int = 20,
) -> tuple[Measurement, ...]:
    """Offer `flows` together and measure each; one measurement per flow, in their order.

    While it runs, rows go to Arrow streams in `directory`, one set per measurement, named by its
    id; at the end they become one Parquet file of samples. A killed run leaves the streams, which
    `hil.samples.store.recover` reads.

    Args:
        flows: what to offer; all start together.
        directory: where the rows go; made if need be.
        progress: called about twice a second.
        stop: when set, the run ends early and in order; its measurements are not complete.
        launcher: words put before the command of either process, to give it its capabilities.
        drain_ns: how long to wait for the last packets, at most 12 s; less when all have come.
        warm_up: frames sent before the schedule, for each flow, and not judged.

    Raises:
        UsageError: the flows do not fit their ports, or this process lacks the capabilities.
        RigError: a process died, a next hop does not answer, or the disk is full or read-only.
        RunInterrupted: SIGINT or SIGTERM came; both are taken over while the run lasts, if it is
            in the main thread. A second one ends it at once.
    """
    if not flows:
        raise UsageError("a run needs at least one flow")
    parts = _by_hosts(flows)
    gate = threading.Barrier(len(parts))
    failed = threading.Event()
    with contextlib.ExitStack() as stack:
        signals = stack.enter_context(signals_noted())
        stack.enter_context(disk_faults(directory))
        directory.mkdir(parents=True, exist_ok=True)

        def stopped() -> bool:
            return bool(signals) or failed.is_set() or (stop is not None and stop.is_set())

        order = _Order(
            directory=directory,
            progress=progress,
            launcher=launcher,
            drain_ns=min(drain_ns, LONGEST_DRAIN_NS),
            warm_up=warm_up,
            together=tuple((flow.name, flow.direction) for flow in flows),
            stopped=stopped,
            begin=gate.wait,
        )
        if len(parts) == 1:
            measurements = _offered(flows, order)
        else:
            measurements = _side_by_side(flows, parts, order, failed, gate)
    if signals:
        name = signal.Signals(signals[0]).name
        raise RunInterrupted(f"stopped by {name} before the run was complete", measurements)
    return measurements


class PacketTooBig(UsageError):
    """A packet does not fit the path: `by` is the router that says so, `mtu` what it has room for.

    `mtu` is None where it does not state it.
    """

    def __init__(self, flow: Flow, size: int, by: str, mtu: int | None) -> None:
        self.by, self.mtu = by, mtu
        self.most = f"at most {mtu} B" if mtu else "less"
        super().__init__(
            f"flow {flow.name}: a packet of {size} B does not fit the path from {flow.tx.name} to "
            f"{flow.rx.name}: {by} lets through {self.most} (ICMP, packet too big); give a smaller "
            f"size"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What all flows of a run have in common. `begin` returns when all of them may start."""

    directory: Path
    progress: Callable[[Progress], None] | None
    launcher: Sequence[str]
    drain_ns: int
    warm_up: int
    together: tuple[tuple[str, str], ...]
    stopped: Callable[[], bool]
    begin: Callable[[], object]


def _by_hosts(flows: Sequence[Flow]) -> list[list[int]]:
    """The numbers of the flows that have both hosts in common.

    Raises: UsageError where a port that only looks on is not where its flow's receiver is.
    """
    if any(flow.rx.host for flow in flows) and points_of(flows):
        raise UsageError(
            "ports that observe need every receiving port of the run on this host: leave them out "
            "of `through:`, or measure this direction from here"
        )
    parts: dict[tuple[str | None, str | None], list[int]] = {}
    for number, flow in enumerate(flows):
        parts.setdefault((flow.tx.host, flow.rx.host), []).append(number)
    return list(parts.values())


def _offered(flows: Sequence[Flow], order: _Order) -> tuple[Measurement, ...]:
    """Offer flows between the same two hosts, by one sender and one receiver."""
    number = secrets.randbits(64)
    with contextlib.ExitStack() as stack:
        with private_directory(room_for(flows)) as shared:
            opened = open_nats(flows, shared, order.launcher)
            here = opened.flows[0].rx.host is None
            orders = write_orders(
                shared,
                opened.flows,
                number,
                order.warm_up,
                launched=bool(order.launcher),
                keep=order.directory.absolute() / f"{number:016x}" if here else None,
            )
            names = [measurement_id(number, k) for k in range(len(opened.flows))]
            files = [store.Files(order.directory, name) for name in names]
            session = _Session(opened.flows, orders, files, order.progress)
            stack.callback(session.close)
            session.start(order.launcher)
        order.begin()
        session.offer(order.stopped)
        home = session.drain(number, order.drain_ns, order.stopped, order.together)
        session.end_streams()
        done = _all_measured(opened.flows, orders, files, home)
        for keeper in files[len(flows) :]:
            keeper.parquet.unlink()
        return with_keep_alives(done, opened)


def _side_by_side(
    flows: Sequence[Flow],
    parts: Sequence[Sequence[int]],
    order: _Order,
    failed: threading.Event,
    gate: threading.Barrier,
) -> tuple[Measurement, ...]:
    """Offer flows between several pairs of hosts at once; where one pair fails, all end."""
    faults: list[BaseException] = []

    def part(numbers: Sequence[int]) -> tuple[Measurement, ...]:
        try:
            return _offered([flows[number] for number in numbers], order)
        except threading.BrokenBarrierError:  # another pair could not start
            return ()
        except BaseException as error:
            faults.append(error)
            failed.set()
            gate.abort()
            return ()

    with ThreadPoolExecutor(len(parts)) as pool:
        done = list(pool.map(part, parts))
    if faults:
        raise faults[0]
    found = {
        number: one
        for numbers, measured in zip(parts, done, strict=True)
        for number, one in zip(numbers, measured, strict=True)
    }
    return tuple(found[number] for number in range(len(flows)))


@dataclass(slots=True)
class _Session:
    """The two processes of a run, and the streams their rows go to."""

    flows: Sequence[Flow]
    orders: Orders
    files: Sequence[store.Files]
    progress: Callable[[Progress], None] | None
    _stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    _writers: dict[str, list[store.StreamWriter]] = field(default_factory=dict)
    _tallies: list[Tally] = field(default_factory=list)
    _published: deque[tuple[int, int]] = field(default_factory=deque)
    _sender: Process = field(init=False)
    _receiver: Process = field(init=False)
    _memory: MemoryCurve = field(init=False)
    _start_ns: int = 0
    _shown_ns: int = 0
    _facts: dict[str, Any] = field(default_factory=dict)
    _done: dict[str, Any] = field(default_factory=dict)
    _cut: bool = False

    def start(self, launcher: Sequence[str]) -> None:
        """Open the streams and start both processes; they have mapped their files on return.

        Where that fails nothing was sent, and no stream is left.
        """
        told, one = self.orders, self.flows[0]
        self._receiver = _process("receiver", one.rx.host, told.receiver, told.arrived, launcher)
        self._stack.callback(self._receiver.close)
        self._sender = _process("sender", one.tx.host, told.sender, told.sent, launcher)
        self._stack.callback(self._sender.close)
        with contextlib.ExitStack() as undo:
            undo.callback(self._forget_streams)
            self._open_streams()
            self._receiver.expect("ready")
            self._sender.expect("ready")
            undo.pop_all()
        self._facts["host"] = host_facts()
        processes = {
            "parent": os.getpid(),
            "sender": self._sender.pid,
            "receiver": self._receiver.pid,
        }
        self._memory = MemoryCurve({name: pid for name, pid in processes.items() if pid})

    def _open_streams(self) -> None:
        for number, (flow, files) in enumerate(zip(self.flows, self.files, strict=True)):
            about = {"flow": number, "name": flow.name, "traffic": dict(flow.traffic)}
            described = flow.plan.described()
            held = about if described is None else about | {"planned": dict(described)}
            with store.StreamWriter(files.planned, PLANNED, held) as planned:
                for rows in () if described is not None else stretches(flow.plan):
                    planned.append(rows)
            kinds = [("sent", SENT), ("arrived", ARRIVED)]
            if self.orders.observed is not None:
                kinds.append(("observed", OBSERVED))
            for kind, dtype in kinds:
                writer = store.StreamWriter(files.stream(kind), dtype, about)
                self._stack.callback(writer.close)
                self._writers.setdefault(kind, []).append(writer)
            timed = clocks_of(flow).refusal is None
            self._tallies.append(Tally(flow.name, len(flow.plan), timed=timed))

    def _forget_streams(self) -> None:
        for files in self.files:
            files.unlink_streams()

    def offer(self, stopped: Callable[[], bool]) -> None:
        """Let the sender run to its end, or until `stopped` says so."""
        asked_ns = time.monotonic_ns()
        now_ns, offset_ns = self._sender.clock()
        away_ns = time.monotonic_ns() - asked_ns
        ahead_ns = self.orders.lead_ns + _MARGIN_NS + 3 * away_ns
        start_ns, self._start_ns = now_ns + ahead_ns, asked_ns + away_ns + ahead_ns
        start = {"go": start_ns + offset_ns, "start": start_ns}
        self._receiver.send(start)
        self._sender.send(start)
        while not self._done:
            if not self._cut and stopped():
                self._cut = True
                self._sender.send({"stop": True})
            self._look(_LOOK_S)

    def drain(
        self,
        run: int,
        drain_ns: int,
        stopped: Callable[[], bool],
        together: tuple[tuple[str, str], ...],
    ) -> Taken:
        """Wait for the last packets, end the receiver, and take what is left."""
        self._take_sent(everything=True)
        deadline = Deadline.after(min(drain_ns, _CUT_SHORT_NS) if self._cut else drain_ns)
        while not deadline.passed and any(each.received < each.sent for each in self._tallies):
            if not self._cut and stopped():
                self._cut = True
                deadline = Deadline.after(_CUT_SHORT_NS)
            self._look(min(_LOOK_S, deadline.left_s))
        grace = Deadline.after(_GRACE_NS)
        while not grace.passed:
            self._look(min(_LOOK_S, grace.left_s))
        self._receiver.send({"finish": True})
        report: Any = None
        end = Deadline.after(_END_NS)
        while report is None and not end.passed:
            for line in self._receiver.hear(_LOOK_S):
                report = line.get("done")
                break
            self._take_arrived()
        if report is None:
            raise RigError("the receiver process did not end in time")
        self._take_arrived()
        return Taken(
            run=run,
            complete=not self._cut,
            sender=self._done,
            receiver=report,
            host=self._facts["host"],
            together=together,
            seen=tuple(tally.report() for tally in self._tallies),
            memory=self._memory.report(),
        )

    def _look(self, timeout_s: float) -> None:
        """Hear the processes, file the rows they have, show how far it is."""
        children = [self._receiver] if self._done else [self._receiver, self._sender]
        select.select([child.fileno for child in children], [], [], timeout_s)
        if not self._done:
            for line in self._sender.hear():
                if "done" in line:
                    self._done = line["done"]
                    break
        for line in self._receiver.hear():
            if "too_big" in line:
                self._refuse_size(line["too_big"])
        self._take_sent(everything=False)
        self._take_arrived()
        self._memory.look(time.monotonic_ns())
        self._show()

    def _refuse_size(self, said: Mapping[str, Any]) -> None:
        """End the run where its largest packet does not fit the path, known by the warm-up.

        Later the path has changed under the run, and what is lost is the network's.
        """
        for flow, made in zip(self.flows, self.orders.compiled, strict=True):
            if flow.tx.name == said["port"] and made.sent_to == said["udp_port"]:
                raise PacketTooBig(flow, max(made.templates), said["by"], said["mtu"])

    def _take_sent(self, *, everything: bool) -> None:
        """Take the sent rows that have their stamps, or had time enough to get them."""
        ring, now = self.orders.sent, time.monotonic_ns()
        written = ring.written
        self._published.append((now, written))
        settled = max(ring.consumed, written if everything else 0)
        while self._published and self._published[0][0] <= now - _SETTLED_NS:
            settled = max(settled, self._published.popleft()[1])
        waiting = ring.peek(settled, written)
        stamped = taken(waiting["tx_kernel_ns"])
        if self.orders.cards:
            stamped &= taken(waiting["tx_hardware_ns"])
        done = stamped | ((waiting["flags"] & SEND_FAILED) != 0)
        settled += len(done) if done.all() else int(done.argmin())
        self._file("sent", ring.take(settled), Tally.add_sent)

    def _take_arrived(self) -> None:
        ring = self.orders.arrived
        self._file("arrived", ring.take(ring.written), Tally.add_arrived)
        if (passed := self.orders.observed) is not None:
            self._file("observed", passed.take(passed.written), None)

    def _file(self, kind: str, rows: Table, add: Callable[[Tally, Table], None] | None) -> None:
        if not len(rows):
            return
        for number, writer in enumerate(self._writers[kind]):
            mine = rows[rows["flow"] == number]
            if len(mine):
                writer.append(mine)
                if add is not None:
                    add(self._tallies[number], mine)

    def _show(self) -> None:
        now = time.monotonic_ns()
        if self.progress is None or now < self._shown_ns + _SHOW_NS:
            return
        self._shown_ns = now
        last = max(int(last_row(flow.plan)["offset_ns"][0]) for flow in self.flows)
        left = 0 if self._done else max(1, self._start_ns + last - now)
        self.progress(Progress(tuple(each.progress() for each in self._tallies), left))

    def end_streams(self) -> None:
        """End the streams properly."""
        for writers in self._writers.values():
            for writer in writers:
                writer.close()

    def close(self) -> None:
        """End what still runs; may be called twice."""
        self._stack.close()


def _process(
    name: str, host: str | None, orders: Path, ring: RowRing, launcher: Sequence[str]
) -> Process:
    """A process of a run, on this host or another."""
    module = f"hil.traffic.{name}"
    if host is None:
        return Child(module, orders, launcher)
    from hil.traffic.remote import RemoteChild, connected

    return RemoteChild(connected(host), module, orders, launcher, ring)


def _all_measured(
    flows: Sequence[Flow], orders: Orders, files: Sequence[store.Files], home: Taken
) -> list[Measurement]:
    """The measurements of all flows, in their order; references first, for what they saw."""
    done: dict[int, Measurement] = {}
    for cable in (True, False):
        for k in (number for number, flow in enumerate(flows) if flow.reference is cable):
            done[k] = _measured(flows, k, orders, files[k], home)
        if cable:
            home = reference.watched(home, list(done.values()))
    return [done[k] for k in range(len(flows))]


def _measured(
    flows: Sequence[Flow], number: int, orders: Orders, files: store.Files, home: Taken
) -> Measurement:
    """The measurement of one flow; its streams become Parquet files."""
    flow = flows[number]
    about = {"flow": number, "name": flow.name, "complete": home.complete}
    if orders.observed is None and len(flow.plan) > store.MOST_IN_MEMORY:
        made = orders.compiled[number]
        measurement = assemble_long(flow, number, made, files, home, about)
        files.unlink_streams()
        return _with_violations(measurement, flow, files, home)
    sent = store.read_stream(files.sent, SENT).rows
    arrived = store.read_stream(files.arrived, ARRIVED).rows
    measurement = assemble(flow, number, orders.compiled[number], sent, arrived, home)
    if orders.observed is not None:
        rows = store.read_stream(files.observed, OBSERVED).rows
        tapped = flow.rx.tap is not None
        clock_map = fit_trailer_map(sent, arrived, flow=number) if tapped else None
        reports = home.receiver["observers"]
        measurement, passed, visits = observed(measurement, flow, flows, rows, reports, clock_map)
        described = [visit.to_json() for visit in visits]
        passing.write(passing.beside(files.parquet), passed, about | {"visits": described})
    about |= floor.packed(measurement.budget.floor_ns)
    store.write(files.parquet, measurement.samples, about)
    files.unlink_streams()
    return _with_violations(measurement, flow, files, home)


def _with_violations(
    measurement: Measurement, flow: Flow, files: store.Files, home: Taken
) -> Measurement:
    """What lies around the packets that broke the flow's bound, kept beside its samples."""
    if flow.bound_ns is None or not measurement.timing.comparable:
        return measurement
    into = files.directory / f"{files.name}.violations.parquet"
    found = violations.keep(files.parquet, measurement.timing, flow.bound_ns, into)
    found |= home.receiver["ports"][flow.rx.name]["kept"] or {}
    conditions = dict(measurement.conditions) | {"violations": found}
    return replace(measurement, conditions=conditions)
