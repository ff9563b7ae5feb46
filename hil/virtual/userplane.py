"""The user plane of a world: forwards Ethernet frames when the model of the cell says so.

``python -m hil.virtual.userplane --testbed FILE --run DIR --coupling FILE --tester FD``, inside the
namespace `cell`, started by the holder; FD is the tester's namespace. One process, one thread.
Frames are taken from the receive rings with the stamp of their sending, the model decides when each
comes out, and sendmmsg(2) lets it out then, or as soon after as the host allows. That lateness of
the real delivery stands in the trailer and in the truth log; the times that the model states are
not touched by it.
"""

from __future__ import annotations

import argparse
import errno
import gc
import json
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil import _enter
from hil.errors import HilError
from hil.samples.table import NOT_TAKEN
from hil.virtual import userplane_frames as frames
from hil.virtual import userplane_truth as truth
from hil.virtual.cell import Cell, Site
from hil.virtual.cell_channel import BLOCK_SLOTS
from hil.virtual.coupling import Coupling
from hil.virtual.faults.desk import Desk
from hil.virtual.faults.ledger import USERPLANE
from hil.virtual.faults.packets import PacketFaults, packet_faults
from hil.virtual.radio import Radio
from hil.virtual.topology import Topology, load, topology, world_of
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_n3 import N3, Listeners
from hil.virtual.userplane_outbox import Outbox
from hil.virtual.userplane_port import Port, Received
from hil.virtual.userplane_signal import WorldSignal
from hil.virtual.userplane_store import HEAD, Store, Tags
from hil.wire import gtpu, probe, trailer

_CAPACITY: Final = 1 << 16
_RING: Final = 8192  #: frames; more than 50 ms of 100,000 frames/s
_SMALL_RING: Final = 1024  #: for an endpoint
#: A frame is known to have come when its stamp is this old: its softirq has run by then. Free as
#: long as it is shorter than what a packet needs from its arrival to its release at least.
_GUARD_NS: Final = 750_000
_AT_ONCE: Final = 2048  #: frames sent before rings are emptied again
_TAKES: Final = 4  #: rounds in which a ring is emptied in one turn
_SOME: Final = 256  #: frames whose trailers state the lateness of one instant
_IDLE_S: Final = 1.0
_SHORTEST_S: Final = 50e-6
_NO_POWER, _REFUSED = 5, 6
_FOR_NOW: Final = (errno.EAGAIN, errno.ENOBUFS, errno.EINTR)
#: How long a port may have no room before its frames are dropped; a link that is down has none.
_PATIENCE_NS: Final = 100_000_000
_PR_SET_TIMERSLACK: Final = 29
_NICE: Final = -15


class UserPlane:
    """Ports, model and clock of one world; `turn` is one look at all of them."""

    def __init__(self, plan: Topology, cell: Cell, signal_: WorldSignal, clock: CellClock) -> None:
        self._plan = plan
        self._cell = cell
        self._signal = signal_
        self._clock = clock
        self._store = Store(_CAPACITY)
        self._switch = frames.Switch({each.mac: each.number for each in plan.attachments})
        self._cpe = [-1 if each.cpe is None else each.cpe for each in plan.attachments]
        self._cpes = np.array(self._cpe, np.int64)
        self._n3: N3 | None = None
        self.ports = [
            Port(
                each.cell_interface,
                _SMALL_RING if each.namespace == each.name else _RING,
                stamped=each.stamped,
            )
            for each in plan.attachments
        ]
        self._recognise = frames.ProbeFinder()
        self._outboxes = [Outbox() for _ in self.ports]
        self._rows = np.zeros(_CAPACITY, truth.ROW)
        self._sequence = self._taken = 0
        self.counts = {"forwarded": 0, "dropped": 0}
        self.lateness_ns: list[NDArray[np.int64]] = []

    def attach(
        self, log: truth.TruthLog, coupling: Coupling, faults: PacketFaults, n3: N3 | None
    ) -> None:
        """Where to write what happened, what goes wrong, and where N3 is seen."""
        self._log, self._coupling, self._faults, self._n3 = log, coupling, faults, n3

    @property
    def busy(self) -> bool:
        """Whether the model has something to decide yet."""
        return self._cell.busy

    @property
    def next_release_ns(self) -> int | None:
        """When the next decided frame is to leave, CLOCK_REALTIME."""
        times = [int(box.at_ns[0]) for box in self._outboxes if len(box.at_ns)]
        if self._n3 is not None and (next_ns := self._n3.next_ns) is not None:
            times.append(next_ns)
        return self._clock.to_host(min(times)) if times else None

    def turn(self) -> bool:
        """Take what came, decide what can be decided, send what is due; True if more is due."""
        known_ns = time.time_ns() - _GUARD_NS  # before the rings are emptied
        self._signal.follow(self._clock.of_host(known_ns + _GUARD_NS))
        for number, port in enumerate(self.ports):
            last = self._empty(number, port)
            known_ns = known_ns if last is None else min(known_ns, last)
        if self._cell.busy:
            outcome = self._cell.advance(self._clock.of_host(known_ns))
            self._see_turned()
            if len(outcome):
                self._settle(outcome)
        behind = False
        for number, box in enumerate(self._outboxes):
            if len(box.tags):
                behind |= self._send(number, box)
        if self._n3 is not None:  # last: what is delivered must not wait for its copies
            behind |= self._n3.send()
        return behind

    def _empty(self, number: int, port: Port) -> int | None:
        """Take what came at a port; the last stamp if there is more than can be taken now."""
        stamp_ns = None
        for _ in range(_TAKES):
            if (received := port.receive(self._store)) is None:
                return None
            if len(received.tags):
                stamp_ns = int(received.stamp_ns[-1])
                self._take(number, received)
            if not received.more:
                return None
        return stamp_ns

    def _take(self, source: int, received: Received) -> None:
        tags, at_ns = received.tags, self._clock.of_host(received.stamp_ns)
        heads = self._store.rows[tags, :HEAD]
        ways = self._switch.ways(heads, source)
        self._switch.learn(heads, source)
        rows = np.zeros(len(tags), truth.ROW)
        rows["ingress_ns"], rows["size"] = at_ns, self._store.size[tags]
        rows["source"], rows["kind"] = source, frames.kinds(heads)
        rows["egress_ns"] = NOT_TAKEN
        found, numbers = self._recognise(heads, self._store.size[tags])
        for name in ("flow", "run", "seq"):
            rows[name] = numbers[name]
        warm = (numbers["flags"] & probe.WARM_UP) > 0
        rows["flags"] = np.where(found, truth.PROBE + truth.WARM_UP * warm, 0)
        if (ways < 0).any():
            tags, ways, rows = self._spread(tags, ways, rows)
        rows["to"] = ways
        rows["order"] = np.arange(self._taken, self._taken + len(tags)) & 0xFFFF_FFFF
        self._taken += len(tags)
        self._rows[tags] = rows
        dark = self._dark(source, ways)
        if dark.any():
            self._drop(tags[dark], rows["ingress_ns"][dark], _NO_POWER)
            tags, ways, rows = tags[~dark], ways[~dark], rows[~dark]
        if self._cpe[source] < 0:
            self._see_coming(source, tags, ways, rows)
        lost = self._faults.meet(source, ways, rows["ingress_ns"], tags, self._rows)
        if lost.any():
            self._drop(tags[lost], rows["ingress_ns"][lost], truth.FAULT)
            tags, ways, rows = tags[~lost], ways[~lost], rows[~lost]
        late = self._cell.offer(
            source,
            ways,
            at_ns=rows["ingress_ns"],
            size=self._store.size[tags],
            kind=rows["kind"],
            tags=tags,
        )
        if late.any():
            self._rows["flags"][tags[late]] |= truth.LATE_IN
        if len(tags) and self._cpe[source] >= 0:
            self._coupling.set_traffic(self._cpe[source], int(received.stamp_ns[-1]))

    def _see(self, tags: Tags, at_ns: NDArray[np.int64], pdu_type: int) -> None:
        """Packets cross N3 at those times."""
        if self._n3 is not None:
            rows = self._rows[tags]
            cpes = self._cpes[rows["source" if pdu_type == gtpu.UPLINK else "to"]]
            kinds = rows["kind"]
            self._n3.add(self._store, tags, at_ns, kinds=kinds, cpes=cpes, pdu_type=pdu_type)

    def _see_coming(
        self, source: int, tags: Tags, ways: NDArray[np.int64], rows: NDArray[Any]
    ) -> None:
        """Downlink reaches N3 before the radio can lose any of it."""
        down = self._cpes[ways] >= 0
        if down.any():
            tags, at_ns = tags[down], self._cell.down_n3_ns(source, rows["ingress_ns"][down])
            self._rows["n3_ns"][tags] = at_ns
            self._see(tags, at_ns, gtpu.DOWNLINK)

    def _see_turned(self) -> None:
        """What goes from one CPE to another passes N3 up and down, before any fault meets it."""
        for tags, up_ns in self._cell.turned():
            at_ns = np.full(len(tags), up_ns)
            self._see(tags, at_ns, gtpu.UPLINK)
            self._see(tags, at_ns + self._cell.turn_ns, gtpu.DOWNLINK)

    def _spread(
        self, tags: Tags, ways: NDArray[np.int64], rows: NDArray[Any]
    ) -> tuple[Tags, NDArray[np.int64], NDArray[Any]]:
        """Copies of what goes everywhere; what would go back where it came from is forgotten."""
        out: list[tuple[int, int, int]] = []
        for number, way in enumerate(ways.tolist()):
            tag = int(tags[number])
            if way >= 0:
                out.append((tag, way, number))
                continue
            sites = [s for s in range(len(self.ports)) if s != int(rows["source"][number])]
            copies = self._store.take(len(sites) if way == frames.EVERYWHERE else 0)
            self._store.rows[copies] = self._store.rows[tag]
            self._store.set_size(copies, np.full(len(copies), self._store.size[tag]))
            self._store.give(np.array([tag], np.int64))
            pairs = zip(copies.tolist(), sites, strict=False)
            out.extend((copy, site, number) for copy, site in pairs)
        columns = np.array(out, np.int64).reshape(-1, 3)
        return columns[:, 0].copy(), columns[:, 1].copy(), rows[columns[:, 2]]

    def _dark(self, source: int, ways: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Frames that a CPE without power would have to carry."""
        off = np.array([cpe >= 0 and not self._signal.powered[cpe] for cpe in self._cpe])
        return np.asarray(off[ways] | off[source])

    def _settle(self, outcome: NDArray[Any]) -> None:
        tags = outcome["tag"]
        for name in ("at_ns", "slot", "n3_ns", "transmissions", "reason"):
            self._rows[name][tags] = outcome[name]
        gone = outcome["reason"] > 0
        if gone.any():
            self._end(tags[gone])
            tags, outcome = tags[~gone], outcome[~gone]
        # What a fault does to an uplink packet it does on the radio, before N3: the way from there
        # to the port stays as the model says.
        up = self._cpes[self._rows["source"][tags]] >= 0
        up &= self._cpes[self._rows["to"][tags]] < 0
        self._rows["n3_ns"][tags[up]] = (outcome["at_ns"] - outcome["n3_ns"])[up]
        tags, at_ns = self._faults.release(tags, outcome["at_ns"], self._store, self._rows)
        ways = self._rows["to"][tags]
        up = (self._cpes[self._rows["source"][tags]] >= 0) & (self._cpes[ways] < 0)
        if up.any():
            crossed = at_ns[up] - self._rows["n3_ns"][tags[up]]
            self._rows["n3_ns"][tags[up]] = crossed
            self._see(tags[up], crossed, gtpu.UPLINK)
        for way in np.unique(ways):
            mine = ways == way
            self._outboxes[way].add(tags[mine], at_ns[mine])

    def _drop(self, tags: Tags, at_ns: NDArray[np.int64], reason: int) -> None:
        for name, value in (("at_ns", at_ns), ("slot", -1), ("transmissions", 0)):
            self._rows[name][tags] = value
        self._rows["reason"][tags] = reason
        self._end(tags)

    def _end(self, tags: Tags) -> None:
        """Dropped: log it and forget the frame."""
        self.counts["dropped"] += len(tags)
        self._log.append(self._rows[tags])
        self._store.give(tags)

    def _send(self, number: int, box: Outbox) -> bool:
        """Send what is due at a port; True if more is due and the port takes it."""
        marked = self._plan.attachments[number].trailers
        for _ in range(_AT_ONCE // _SOME):
            count = min(box.due(self._clock.of_host(time.time_ns())), _SOME)
            if not count:
                return False
            tags = box.tags[:count]
            if marked:
                self._mark(tags)
            # The clock is read last: what comes after it is lateness that no trailer can state.
            now_ns = self._clock.of_host(time.time_ns())
            lateness = np.minimum(now_ns - box.at_ns[:count], 0xFFFF_FFFF)
            if marked:
                self._store.set_lateness(tags, lateness)
            sent, error = self._store.send(self.ports[number].fileno(), tags)
            if (stamps := self.ports[number].stamps) is not None:
                left_ns = stamps.of_last(sent, refused=error != 0)
                self._rows["egress_ns"][tags[:sent]] = left_ns
            if sent:
                box.full_ns = None
                self._sent(number, tags[:sent], lateness[:sent], now_ns)
                box.drop_first(sent)
            if error in _FOR_NOW and box.waits(now_ns) < _PATIENCE_NS:
                return False
            if error:
                refused = box.tags[:1]
                box.drop_first(1)
                self._drop(refused, np.full(1, now_ns), _REFUSED)
        return box.due(now_ns) > 0

    def _sent(self, number: int, tags: Tags, lateness: NDArray[np.int64], now_ns: int) -> None:
        self.counts["forwarded"] += len(tags)
        self.lateness_ns.append(lateness)
        self._rows["lateness_ns"][tags] = lateness
        self._log.append(self._rows[tags])
        self._store.give(tags)
        if self._cpe[number] >= 0:
            self._coupling.set_traffic(self._cpe[number], self._clock.to_host(now_ns))

    def _mark(self, tags: Tags) -> None:
        """Write trailers behind the probes among some frames; their lateness comes later."""
        tags = tags[self._rows["flags"][tags] & truth.PROBE > 0]
        if not len(tags):
            return
        rows = self._rows[tags]
        marks = trailer.encode(
            rows["at_ns"],
            rows["at_ns"] - rows["ingress_ns"],
            0,
            np.arange(self._sequence, self._sequence + len(tags)),
            rows["kind"],
            np.where(rows["flags"] & truth.LATE_IN, trailer.LATE_IN, 0),
        )
        self._sequence += len(tags)
        self._store.set_trailers(tags, marks)

    def status(self) -> dict[str, Any]:
        """Counts since the start, and the lateness of real delivery since the last call."""
        late = np.concatenate(self.lateness_ns) if self.lateness_ns else np.zeros(0, np.int64)
        self.lateness_ns.clear()
        lateness = None
        if len(late):
            p50, p99 = np.percentile(late, (50, 99)).astype(int).tolist()
            lateness = {"n": len(late), "p50": p50, "p99": p99, "max": int(late.max())}
        return {
            **self.counts,
            "late_in": self._cell.late_in,
            "overrun": sum(port.count_overrun() for port in self.ports),
            "n3": None
            if self._n3 is None
            else {"copied": self._n3.copied, "overrun": self._n3.overrun},
            "oversize": sum(port.oversize for port in self.ports),
            "unstamped": sum(port.unstamped for port in self.ports),
            "held": self._store.held,
            "lateness_ns": lateness,
            "faults": self._faults.ledger.to_json(),
            "at_ns": time.time_ns(),
        }


def _open(testbed: Path, coupling: Path, run: Path, tester: int) -> tuple[UserPlane, Desk, int]:
    """The user plane of a testbed, its desk, and the length of its turns in nanoseconds."""
    bench = load(testbed)
    plan, world = topology(bench), world_of(bench)
    coupled = Coupling.create(coupling, plan.cpes)
    clock = CellClock(coupled.epoch_ns, round(world.cell.clock_drift_ppm * 1000))
    step_ns = BLOCK_SLOTS * world.cell.slot_ns // 2
    radio = Radio(world.radio, world.seed)
    signal_ = WorldSignal(radio, world.radio.noise_figure_db, coupled, clock, step_ns)
    signal_.note(run / "steps")
    sites = [Site(each.cpe, each.side == "cloud") for each in plan.attachments]
    for cpe in range(len(plan.cpes)):
        signal_.snr_db(cpe, clock.of_host(time.time_ns()))  # draws its random numbers now
    cell = Cell(world.cell, signal_, sites, seed=world.seed, capacity=_CAPACITY)
    plane = UserPlane(plan, cell, signal_, clock)
    faults = packet_faults(bench, plan, clock, _CAPACITY)
    n3 = None
    if plan.n3 is not None:
        n3 = N3(plan.n3, Listeners(tester, plan.n3.interface), clock)
    plane.attach(truth.TruthLog.create(run / "truth", clock), coupled, faults, n3)
    return plane, Desk(run, USERPLANE, faults.ledger), world.cell.tick_ns


def _serve(plane: UserPlane, desk: Desk, tick_ns: int, wake: int, status: Path) -> bool:
    """Turn until a signal comes, or standard input ends: True then, for the holder has died."""
    stop = [sys.stdin.fileno(), wake]
    calls = [*stop, desk.fileno()]
    tick_s, told = tick_ns / 1e9, time.monotonic()
    while True:
        behind = plane.turn()
        if time.monotonic() - told > _IDLE_S:
            told = time.monotonic()
            _write(status, plane.status())
        release_ns = plane.next_release_ns
        left = _IDLE_S if release_ns is None else (release_ns - time.time_ns()) / 1e9
        if behind:
            ready = select.select(calls, [], [], 0)[0]
        elif plane.busy:
            # New frames can wait for a turn; they are stamped already.
            ready = select.select(calls, [], [], max(min(left, tick_s), _SHORTEST_S))[0]
        else:
            ready = select.select([*calls, *plane.ports], [], [], max(left, _SHORTEST_S))[0]
        if any(each in stop for each in ready):
            return wake not in ready
        if desk.fileno() in ready:
            desk.serve()


def _write(path: Path, status: dict[str, Any]) -> None:
    with suppress(OSError):  # the run directory goes when the world ends
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(status), "utf-8")
        partial.replace(path)


def _be_punctual() -> None:
    """Ask to run before others and to wake up in time, as far as this user may.

    Where the kernel groups processes by session (sched(7), autogroup), niceness counts within the
    session only, and the session has one of its own.
    """
    os.setsid()
    with suppress(OSError):
        os.nice(_NICE)
        Path("/proc/self/autogroup").write_text(str(_NICE), "utf-8")
    _enter.call("prctl", _PR_SET_TIMERSLACK, 1, 0, 0, 0)


def _remove_traces(run: Path) -> None:
    """The holder died without a chance to tidy up: remove the run directory and registry file."""
    shutil.rmtree(run, ignore_errors=True)
    run.with_name(f"{run.name}.world").unlink(missing_ok=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until told to stop; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hil.virtual.userplane", description=__doc__)
    for name in ("--testbed", "--run", "--coupling"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--tester", type=int, required=True, metavar="FD")
    options = parser.parse_args(arguments)
    holder = os.getppid()
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write)
    signal.signal(signal.SIGTERM, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _enter.die_with_parent(holder, signal.SIGTERM)
    _be_punctual()
    if sys.stdin.readline():
        try:
            plane, desk, tick_ns = _open(
                options.testbed, options.coupling, options.run, options.tester
            )
        except (HilError, OSError, ValueError) as error:
            print(json.dumps({"error": str(error)}), flush=True)
            return 1
        gc.freeze()
        gc.disable()
        print(json.dumps({"ready": True}), flush=True)
        orphaned = _serve(plane, desk, tick_ns, read, options.run / "userplane.json")
        if orphaned or os.getppid() != holder:
            _remove_traces(options.run)
    return 0


if __name__ == "__main__":
    sys.exit(main())
