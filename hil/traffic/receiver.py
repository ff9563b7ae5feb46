"""The receiver process: one ring for each port, everything that arrives judged and handed on.

Started by `hil.traffic.engine` with the path of its orders, a JSON file. It says ``ready``, hears
``go`` with the start of the schedule and later ``finish``, and ends with ``done``. It also ends
when its parent does.
"""

from __future__ import annotations

import gc
import select
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.errors import UsageError
from hil.samples.planned import from_description
from hil.samples.table import ARRIVED
from hil.traffic import linux
from hil.traffic.card_ring import CardRing, CardStamps
from hil.traffic.cards import Cards
from hil.traffic.child import serve
from hil.traffic.drops import DropWatch
from hil.traffic.exchange import Lines, RowRing, load_array
from hil.traffic.keeper import FrameKeeper
from hil.traffic.match import Expected, Matcher, Shape
from hil.traffic.observer import Observers
from hil.traffic.ring import MOST, ReceiveRing
from hil.traffic.schedule import Offsets
from hil.traffic.stack import TOO_BIG, Complaint, Stack
from hil.traffic.watch import ClockWatch, StallWatch
from hil.wire import ip, probe
from hil.wire.trailer import FORMATS

TICK_NS: Final = 2_000_000  #: between two looks at a ring that holds frames
_IDLE_NS: Final = 20_000_000
_ARMING_S: Final = 0.06  # the kernel switches receive stamps on by a work queue
_MOST_LENGTHS: Final = 64  # told apart one by one; beyond that, a range
_BEHIND: Final = 64  # batches of one port before the others have their turn


class _Inlet:
    """One receiving port."""

    def __init__(self, order: Mapping[str, Any], run: int, directory: Path) -> None:
        flows = [_expected(each, directory) for each in order["flows"]]
        tap = FORMATS[order["tap"]] if order["tap"] else None
        self.name: str = order["name"]
        self.matcher = Matcher(run, flows, tap)
        self.foreign = 0
        self.warm_up = 0
        self.pending = 0
        self.other_vlan = 0
        self.warm_stamped = 0
        self.frames = 0
        self.went_down = 0
        self._held: list[socket.socket] = []
        link = probe.ETHERNET_HEADER if order["kind"] == "ethernet" else 0
        longest = max(length for flow in flows for length in flow.shapes)
        widest = longest + link + probe.VLAN_TAG + (tap.size if tap else 0)
        program = arrival_filter(flows, link, tap.size if tap else 0)
        with linux.inside(order["namespace"]):
            try:
                self.ring = ReceiveRing(order["interface"], program, widest, order["slots"])
                self._card = None
                if order["card"]:
                    self._card = CardStamps(
                        CardRing(order["interface"], program, widest, order["slots"])
                    )
            except OSError as error:
                raise UsageError(f"port {self.name} cannot receive: {error.strerror}") from None
        self.keeper: FrameKeeper | None = None
        if order["keep"]:
            bounds = {each["flow"]: each["bound_ns"] for each in order["flows"]}
            due = {f.flow: (f.offsets_ns, bounds[f.flow]) for f in flows if bounds[f.flow]}
            self.keeper = FrameKeeper(Path(order["keep"]), due, bare=not link)
            self.ring.with_link = bool(link)
        with linux.inside(order["namespace"]):
            for each in order["flows"]:
                if each["hold"]:
                    own = ip_address(each["hold"])
                    where = linux.own_address(own, order["index"], each["udp_port"])
                    self._held.append(linux.silent_socket(where, self.name))

    def turn(self, arrived: RowRing) -> tuple[int, int]:
        """Hand on what has arrived: frames seen, and rows there was no room for."""
        seen = lost = 0
        for _ in range(_BEHIND):
            batch = self.ring.take()
            if batch is None:
                break
            if self._card is not None:
                batch = replace(batch, card_ns=self._card.of(batch))
            matched = self.matcher.match(batch, time.time_ns())
            lost += len(matched.rows) - arrived.append(matched.rows)
            if self.keeper is not None:
                self.keeper.look(batch, matched.rows, self.matcher.start_ns)
            self.foreign += matched.foreign
            self.warm_up += matched.warm_up
            self.pending += matched.pending
            self.other_vlan += matched.other_vlan
            self.warm_stamped += matched.warm_stamped
            seen += len(batch.lengths)
            if len(batch.lengths) < MOST // 2:
                break
        self.frames += seen
        return seen, lost


def _expected(order: Mapping[str, Any], directory: Path) -> Expected:
    frames = load_array(directory / "frames.npy")
    must = load_array(directory / "fixed.npy")
    many = order["variants"]
    shapes = {
        length: Shape(
            size,
            np.array(frames[start : start + many * length]).reshape(many, length),
            np.array(must[start : start + length]),
        )
        for length, size, start in order["shapes"]
    }
    return Expected(
        flow=order["flow"],
        probe_at=order["probe_at"],
        ethernet=order["ethernet"],
        udp_port=order["udp_port"],
        routed=order["routed"],
        offsets_ns=(
            Offsets(from_description(order["offsets"]))
            if isinstance(order["offsets"], dict)
            else load_array(directory / order["offsets"])
        ),
        shapes=shapes,
        version=order["version"],
        vlan=order["vlan"],
        vlans=np.array(order["vlans"], np.int64),
    )


def arrival_filter(flows: list[Expected], link: int, trailer: int) -> tuple[linux.Instruction, ...]:
    """A classic BPF program that keeps what may be ours, so that other traffic costs little.

    Kept is our EtherType and, of IP in a version that a flow is of, what has one of our UDP ports
    or one of our lengths: a frame whose header was damaged on the way still has its length. A VLAN
    tag is out of the frame when the program sees it.
    """
    keep = (linux.BPF_RET, 0, 0, linux.KEEP_ALL)
    drop = (linux.BPF_RET, 0, 0, 0)
    program: list[linux.Instruction] = []
    udp = [flow for flow in flows if not flow.ethernet]
    versions: list[ip.Version] = sorted({flow.version for flow in udp if flow.version is not None})
    if link:
        program.append((linux.BPF_LD_HALF, 0, 0, 12))
        if any(flow.ethernet for flow in flows):
            program += [(linux.BPF_JEQ, 0, 1, probe.ETHERTYPE), keep]
        for place, version in enumerate(versions):
            # Past the other versions and the drop behind them.
            program.append((linux.BPF_JEQ, len(versions) - place, 0, ip.ETHERTYPE[version]))
        program.append(drop)
    lengths = sorted(
        {length + link + extra for flow in udp for length in flow.shapes for extra in {0, trailer}}
    )
    program.append((linux.BPF_LD_LENGTH, 0, 0, 0))
    if len(lengths) > _MOST_LENGTHS:
        low, high = lengths[0], lengths[-1]
        program += [(linux.BPF_JGE, 0, 2, low), (linux.BPF_JGT, 1, 0, high), keep]
    else:
        for length in lengths:
            program += [(linux.BPF_JEQ, 0, 1, length), keep]
    for version in versions:
        ports = {each.udp_port for each in udp if each.udp_port and each.version == version}
        block = [(linux.BPF_LD_HALF, 0, 0, link + ip.HEADER[version] + 2)]
        for port in sorted(ports):
            block += [(linux.BPF_JEQ, 0, 1, port), keep]
        program += [
            (linux.BPF_LD_BYTE, 0, 0, link),
            (linux.BPF_AND, 0, 0, 0xF0),
            (linux.BPF_JEQ, 1, 0, version << 4),
            (linux.BPF_JA, 0, 0, len(block)),
            *block,
        ]
    program.append(drop)
    return tuple(program)


class Receiver:
    """The loop of the process."""

    def __init__(self, orders: Mapping[str, Any], lines: Lines) -> None:
        directory = Path(orders["directory"])
        self._lines = lines
        self._arrived = RowRing(directory / "arrived", ARRIVED, orders["capacity"])
        self._inlets = [_Inlet(each, orders["run"], directory) for each in orders["ports"]]
        self._observers = Observers(orders, directory)
        self._poll = select.poll()
        for inlet in self._inlets:
            self._poll.register(inlet.ring.sock, select.POLLIN)
        self._clock, self._stalls = ClockWatch(), StallWatch()
        self._watched = [each["name"] for each in orders["watched"]]
        self._drops = DropWatch(
            orders["watched"], {inlet.name: inlet.ring.dropped for inlet in self._inlets}
        )
        self._cards = Cards(orders["watched"])
        self._stack = Stack(orders["stations"], self._complained)
        self._start_ns = 1 << 63
        self._overrun = 0
        self._finish = False

    def run(self) -> None:
        """Receive until told to finish or the parent is gone."""
        linux.be_prompt()
        time.sleep(_ARMING_S)
        self._lines.send({"ready": {inlet.name: inlet.ring.slots for inlet in self._inlets}})
        gc.collect()
        gc.freeze()
        gc.disable()
        while not self._lines.closed and not self._finish:
            self._watch()
            self._hear()
            self._rest(busy=self._turn() > 0)
        if self._lines.closed:
            self._cards.close()
            return
        # A ring full is all that can have come by now; others may go on sending for ever.
        left = sum(inlet.ring.slots for inlet in self._inlets)
        while left > 0 and (seen := self._turn()):
            left -= seen
        self._observers.finish()
        self._watch(now=True)
        self._stack.close()
        self._clock.finish()
        self._lines.send({"done": self._report()})
        self._cards.close()

    def _watch(self, *, now: bool = False) -> None:
        """Look at the clocks and at what the host loses, if it is due or `now`."""
        monotonic = time.monotonic_ns()
        self._clock.look(monotonic, now=now)
        self._drops.look(monotonic, time.time_ns(), now=now)
        self._cards.look(monotonic, now=now)

    def _complained(self, port: str, said: Complaint) -> None:
        """A router has no room for a packet: said at once while the run is yet to begin."""
        if said.says == TOO_BIG and time.monotonic_ns() < self._start_ns:
            self._lines.send(
                {
                    "too_big": {
                        "port": port,
                        "by": str(said.by),
                        "mtu": said.mtu,
                        "udp_port": said.udp_port,
                    }
                }
            )

    def _turn(self) -> int:
        total = 0
        for inlet in self._inlets:
            seen, lost = inlet.turn(self._arrived)
            total += seen
            self._overrun += lost
        self._observers.turn(time.monotonic_ns())
        return total

    def _hear(self) -> None:
        for line in self._lines.receive():
            if "go" in line:
                self._start_ns = line["start"]
                for inlet in self._inlets:
                    inlet.matcher.start_ns = line["go"]
            self._finish |= "finish" in line

    def _rest(self, *, busy: bool) -> None:
        """Wait a tick while frames come, else until one comes; the sleeper that watches stalls."""
        start = time.monotonic_ns()
        if busy:
            time.sleep(TICK_NS / 1e9)
            due = start + TICK_NS
        elif ready := self._poll.poll(_IDLE_NS // 1_000_000):
            if any(event & select.POLLERR for _, event in ready):
                for inlet in self._inlets:
                    inlet.went_down += inlet.ring.fault() != 0
            return
        else:
            due = start + _IDLE_NS
        self._stalls.woke(time.monotonic_ns() - due, time.time_ns())

    def _report(self) -> dict[str, Any]:
        return {
            "ports": {
                inlet.name: {
                    "frames": inlet.frames,
                    "foreign": inlet.foreign,
                    "warm_up": inlet.warm_up,
                    "checksum_pending": inlet.pending,
                    "other_vlan": inlet.other_vlan,
                    "warm_stamped": inlet.warm_stamped,
                    "ring_drops": self._drops.ring_drops[inlet.name],
                    "went_down": inlet.went_down,
                    "lost_here": self._drops.windows(inlet.name, "ring", "rx"),
                    "kept": inlet.keeper.close() if inlet.keeper is not None else None,
                }
                for inlet in self._inlets
            },
            "observers": self._observers.report(),
            "overrun": self._overrun + self._observers.overrun,
            "complaints": dict(self._stack.complaints),
            "neighbours_answered": self._stack.answered,
            "lost_on_the_way_out": {
                name: self._drops.windows(name, "tx") for name in self._watched
            },
            "backlog": self._drops.windows("", "backlog"),
            "host": self._drops.report(),
            "cards": self._cards.report(),
            "clock": self._clock.report(),
            "stalls": self._stalls.report(),
        }


if __name__ == "__main__":
    sys.exit(serve(lambda orders, lines: Receiver(orders, lines).run()))
