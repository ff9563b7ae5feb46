"""Faults of packets, made by the user plane around the model of the cell.

What a fault does to a packet is drawn when the packet enters, from the seed of the world, the name
of the fault and the packet's number among those of its port that the fault met: neither batches nor
the host's load change it. Losses are made there; what delays, doubles or corrupts is done to the
packet when the model has released it, so that the cell itself sees an undisturbed packet.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.testbed import Testbed
from hil.testbed.faults import (
    BurstLoss,
    Corruption,
    DelayStep,
    DeviceFault,
    Duplication,
    Jitter,
    Outage,
    PacketFault,
    Reordering,
)
from hil.virtual.faults.fault_list import Corrupt, Delay, Drop, Duplicate
from hil.virtual.faults.fault_list import Listed as OnPacket
from hil.virtual.faults.ledger import USERPLANE, Entry, Ledger, targets
from hil.virtual.topology import Topology, world_of
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_store import Store, Tags
from hil.virtual.userplane_truth import (
    COPY,
    CORRUPTED,
    DELAYED,
    DUPLICATED,
    HELD_BACK,
    JITTERED,
    LOST,
    NO_LINK,
    PROBE,
    WARM_UP,
)

_COPY_AFTER_NS: Final = 1_000
_EVER: Final = 1 << 62
_LONG_NS: Final = 1_000_000_000

Mask = NDArray[np.bool_]


class PacketFaults:
    """What the faults of a ledger do to the packets of a world.

    Args:
        ledger: the faults, those of devices aside.
        clock: the cell's.
        modems: the CPEs by the names of their endpoints, in the order of the testbed.
        sites: the number of the CPE on whose LAN each attachment is, -1 without.
        seed: of the world.
        capacity: tags are numbers below this.
    """

    def __init__(
        self,
        ledger: Ledger,
        clock: CellClock,
        *,
        modems: Sequence[str],
        sites: Sequence[int],
        seed: int,
        capacity: int,
    ) -> None:
        self.ledger = ledger
        self._clock = clock
        self._cpes = {name: number for number, name in enumerate(modems)}
        self._sites = np.array(sites, np.int64)
        self._seed = seed
        self._streams: dict[tuple[int, int], _Draws] = {}
        self._jitters: dict[tuple[int, int], np.random.Generator] = {}
        self._last_ns: dict[int, int] = {}  # by attachment, the last jittered release
        self._counted: dict[tuple[int, int], int] = {}  # probes that a list has met, by port
        self._met: dict[int, dict[int, OnPacket]] = {}  # by fault, what its list says
        self._places: dict[int, int] = {}  # by tag, the byte that a list says is wrong
        self._delay_ns = np.zeros(capacity, np.int64)
        self._effects = np.zeros(capacity, np.uint16)

    def meet(
        self, source: int, ways: NDArray[np.int64], at_ns: Tags, tags: Tags, rows: NDArray[Any]
    ) -> Mask:
        """Decide about packets that enter at a port, in order of time; which of them are lost.

        `rows` is the table of truth by tag: what was done stands there.
        """
        lost = np.zeros(len(tags), np.bool_)
        if not len(self.ledger.entries) or not len(tags):
            return lost
        self._delay_ns[tags], self._effects[tags] = 0, 0
        long_ago_ns = self._clock.to_host(int(at_ns[0])) - _LONG_NS
        for entry in self.ledger.entries:
            if entry.end_ns is not None and entry.end_ns < long_ago_ns:
                continue
            start_ns, end_ns = self._window(entry)
            if at_ns[-1] < start_ns or at_ns[0] >= end_ns:
                continue
            crossing = self._crosses(entry.fault, source, ways)
            met = np.flatnonzero(~lost & crossing & (at_ns >= start_ns) & (at_ns < end_ns))
            if entry.listed is not None:
                met = met[rows["flags"][tags[met]] & (PROBE | WARM_UP) == PROBE]
                lost[met] = self._follow(entry, source, tags[met], rows)
                continue
            met = met[self._chosen(entry, source, len(met))]
            if not len(met):
                continue
            entry.touched += len(met)
            rows["fault"][tags[met]] = min(entry.number, 0xFFFF)
            effect = self._effect(entry, source, tags[met])
            if effect & (NO_LINK | LOST):
                lost[met] = True
                rows["effects"][tags[met]] |= effect
            else:
                self._effects[tags[met]] |= effect
        return lost

    def release(
        self, tags: Tags, at_ns: Tags, store: Store, rows: NDArray[Any]
    ) -> tuple[Tags, Tags]:
        """Do to released packets what was decided; the packets and their times, copies included."""
        if not len(self.ledger.entries):
            return tags, at_ns
        effects = self._effects[tags]
        if not effects.any():
            return tags, at_ns
        at_ns = at_ns + self._delay_ns[tags]
        self._keep_order(np.flatnonzero(effects & JITTERED), rows["to"][tags], at_ns)
        rows["at_ns"][tags] = at_ns
        rows["effects"][tags] |= effects
        wrong = tags[effects & CORRUPTED > 0]
        for tag in wrong.tolist():
            place = self._places.pop(tag, None)
            if place is None:
                store.rows[tag, store.size[tag] - 1] ^= 1
            else:
                store.rows[tag, place % store.size[tag]] ^= 0xFF
        double = np.flatnonzero(effects & DUPLICATED)
        copies = store.take(len(double))
        double = double[: len(copies)]
        store.rows[copies] = store.rows[tags[double]]
        store.set_size(copies, store.size[tags[double]])
        rows[copies] = rows[tags[double]]
        rows["effects"][copies] |= COPY
        rows["at_ns"][copies] += _COPY_AFTER_NS
        return np.append(tags, copies), np.append(at_ns, rows["at_ns"][copies])

    def _follow(self, entry: Entry, source: int, tags: Tags, rows: NDArray[Any]) -> Mask:
        """Do to the probes of a port what a list says of each; which of them are lost."""
        assert entry.listed is not None
        lost = np.zeros(len(tags), np.bool_)
        first = self._counted.get((entry.number, source), 0)
        self._counted[entry.number, source] = first + len(tags)
        if entry.listed.delay_ns:
            self._touch(entry, tags, DELAYED, rows)
            self._delay_ns[tags] += entry.listed.delay_ns
        if (met := self._met.get(entry.number)) is None:
            met = self._met[entry.number] = entry.listed.by_packet()
        for place, tag in enumerate(tags.tolist()):
            fault = met.get(first + place)
            if fault is None:
                continue
            self._touch(entry, tags[place : place + 1], _LISTED[type(fault)], rows)
            if isinstance(fault, Drop):
                lost[place] = True
                rows["effects"][tag] |= LOST
            elif isinstance(fault, Delay):
                self._delay_ns[tag] += fault.by_ns
            elif isinstance(fault, Corrupt):
                self._places[tag] = fault.byte
        return lost

    def _touch(self, entry: Entry, tags: Tags, effect: int, rows: NDArray[Any]) -> None:
        entry.touched += len(tags)
        rows["fault"][tags] = min(entry.number, 0xFFFF)
        self._effects[tags] |= effect

    def _window(self, entry: Entry) -> tuple[int, int]:
        end_ns = _EVER if entry.end_ns is None else self._clock.of_host(entry.end_ns)
        return self._clock.of_host(entry.start_ns), end_ns

    def _crosses(self, fault: Any, source: int, ways: NDArray[np.int64]) -> Mask:
        """Which packets cross the radio of the fault's CPE in its direction."""
        here, there = int(self._sites[source]), self._sites[ways]
        cpe = None if fault.cpe is None else self._cpes[fault.cpe]
        away = there != here
        up = away & (here >= 0 and cpe in (None, here))
        down = away & (there >= 0 if cpe is None else there == cpe)
        return np.asarray({"uplink": up, "downlink": down, "both": up | down}[fault.direction])

    def _chosen(self, entry: Entry, source: int, count: int) -> Mask:
        fault = entry.fault
        if isinstance(fault, Outage | DelayStep | Jitter):
            return np.ones(count, np.bool_)
        key = (entry.number, source)
        if (draws := self._streams.get(key)) is None:
            assert isinstance(fault, BurstLoss | Reordering | Duplication | Corruption)
            runs = fault.burst if isinstance(fault, BurstLoss) else None
            draws = self._streams[key] = _Draws(self._random(entry, source), fault.share, runs)
        return draws.take(count)

    def _random(self, entry: Entry, source: int) -> np.random.Generator:
        name = zlib.crc32(entry.name.encode())
        again = [entry.again] if entry.again else []
        return np.random.default_rng([self._seed, name, source, *again])

    def _effect(self, entry: Entry, source: int, tags: Tags) -> int:
        fault = entry.fault
        if isinstance(fault, DelayStep | Reordering):
            self._delay_ns[tags] += fault.by_ns
        elif isinstance(fault, Jitter):
            key = (entry.number, source)
            if (random := self._jitters.get(key)) is None:
                random = self._jitters[key] = self._random(entry, source)
            self._delay_ns[tags] += (random.random(len(tags)) * fault.by_ns).astype(np.int64)
        assert not isinstance(fault, DeviceFault)
        return _EFFECTS[type(fault)]

    def _keep_order(self, some: Tags, ways: NDArray[Any], at_ns: Tags) -> None:
        """Let no jittered packet come out before one that was jittered earlier on its way."""
        for way in np.unique(ways[some]).tolist():
            mine = some[ways[some] == way]
            times = np.maximum.accumulate(np.append(self._last_ns.get(way, 0), at_ns[mine]))[1:]
            at_ns[mine], self._last_ns[way] = times, int(times[-1])


_LISTED: Final[dict[type, int]] = {
    Drop: LOST,
    Duplicate: DUPLICATED,
    Delay: DELAYED,
    Corrupt: CORRUPTED,
}

_EFFECTS: Final[dict[type[PacketFault], int]] = {
    Outage: NO_LINK,
    BurstLoss: LOST,
    DelayStep: DELAYED,
    Jitter: JITTERED,
    Reordering: HELD_BACK,
    Duplication: DUPLICATED,
    Corruption: CORRUPTED,
}


def packet_faults(bench: Testbed, plan: Topology, clock: CellClock, capacity: int) -> PacketFaults:
    """The faults of packets of a testbed's world, whose time begins with the clock's epoch."""
    world = world_of(bench)
    return PacketFaults(
        Ledger.of(world, USERPLANE, clock.epoch_ns),
        clock,
        modems=targets(world)["cpe"],
        sites=[-1 if each.cpe is None else each.cpe for each in plan.attachments],
        seed=world.seed,
        capacity=capacity,
    )


class _Draws:
    """Which packets of a stream are chosen: each by itself, or in runs of a mean length."""

    def __init__(self, random: np.random.Generator, share: float, runs: float | None) -> None:
        self._random = random
        self._share = share
        self._means = None if runs is None else (max(1.0, runs * (1 - share) / share), runs)
        self._inside = runs is not None and bool(random.random() < share)
        self._left = self._run() if self._means else 0

    def take(self, count: int) -> Mask:
        """The next packets of the stream."""
        if self._means is None:
            return self._random.random(count) < self._share
        chosen = np.zeros(count, np.bool_)
        done = 0
        while done < count:
            length = min(self._left, count - done)
            chosen[done : done + length] = self._inside
            done, self._left = done + length, self._left - length
            if not self._left:
                self._inside = not self._inside
                self._left = self._run()
        return chosen

    def _run(self) -> int:
        assert self._means is not None
        return int(self._random.geometric(1 / self._means[self._inside]))
