"""The cell and what is behind it: who is attached where, and when each packet comes out.

::

    CPE LAN --uplink--> base station --core--> edge (MEC)
                                         |---- backhaul --> cloud

Every packet takes one of five ways, by where it enters and leaves: within the LAN of one CPE
(a switch, no radio), uplink, downlink, uplink and downlink (between two CPEs), or beyond the cell
(between edge and cloud). Pure: no I/O, no clock, no thread; times are integer nanoseconds on the
cell's clock, and the fate of a packet depends on the arrivals, not on when they were offered.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.testbed.world import CellConfig
from hil.virtual.cell_channel import Channel, Signal
from hil.virtual.cell_link import CLASSES, Fate, Link
from hil.virtual.cell_queue import Times

LAN_NS: Final = 10_000  #: store and forward of the switch in a CPE
_GAP_BYTES: Final = 24  #: preamble, FCS and inter-packet gap on the wire (IEEE Std 802.3)

#: What became of one packet. `at_ns` is its release, or with a `reason` (see `cell_link`) its drop;
#: `slot` carried its last byte, -1 where no radio was in the way; `transmissions` counts the
#: sendings of that transport block, over both directions. `n3_ns` is when it crossed N3, at the
#: base station; 0 where it did not, and on its way up where it crosses twice.
OUTCOME: Final = np.dtype(
    [
        ("tag", "<i8"),
        ("at_ns", "<i8"),
        ("slot", "<i8"),
        ("n3_ns", "<i8"),
        ("transmissions", "u1"),
        ("reason", "u1"),
    ]
)


@dataclass(frozen=True, slots=True)
class Site:
    """Where something is attached: on the LAN of a CPE, or without one at the edge or beyond."""

    cpe: int | None
    cloud: bool = False


class Cell:
    """One cell, its core and its backhaul.

    Args:
        config: the cell of the world.
        signal: its radio.
        sites: every attachment by number.
        seed: of the world; draws the block errors.
        capacity: tags are numbers from 0 to below this, each of one packet at a time.
    """

    def __init__(
        self,
        config: CellConfig,
        signal: Signal,
        sites: Sequence[Site],
        *,
        seed: int,
        capacity: int,
    ) -> None:
        self._config = config
        cpes = 1 + max((site.cpe for site in sites if site.cpe is not None), default=-1)
        self._cpe = np.array([-1 if s.cpe is None else s.cpe for s in sites], np.int64)
        self._extra = np.where([site.cloud for site in sites], config.backhaul_delay_ns, 0).astype(
            np.int64
        )
        self._uplink, self._downlink = (
            Link(config, Channel(config, signal, uplink=up), cpes, seed=seed, uplink=up)
            for up in (True, False)
        )
        self._to_air, self._to_ground = _Staging(), _Staging()
        self._ground = _Egress(config, len(sites))
        self._air = _Egress(config, len(sites))
        self._from, self._to, self._kind, self._size, self._sent, self._n3_ns = (
            np.zeros(capacity, np.int64) for _ in range(6)
        )
        self._turned: list[tuple[Times, int]] = []
        self._known_ns = -1
        self._done: list[NDArray[Any]] = []
        self.late_in = 0  #: packets that were offered after their time had been decided

    @property
    def busy(self) -> bool:
        """Whether any packet waits for its fate."""
        links = self._uplink.busy or self._downlink.busy
        staged = self._to_air.waiting or self._to_ground.waiting
        return bool(links or staged or self._ground.waiting or self._air.waiting or self._done)

    def offer(
        self,
        source: int,
        to: Times,
        *,
        at_ns: Times,
        size: Times,
        kind: NDArray[np.integer[Any]],
        tags: Times,
    ) -> NDArray[np.bool_]:
        """Packets that entered at site `source`, in order of time.

        A packet that is offered after its time was passed to `advance` is taken as having come
        just after that; the returned mask says which.
        """
        late = at_ns <= self._known_ns
        if late.any():
            self.late_in += int(np.count_nonzero(late))
            at_ns = np.where(late, self._known_ns + 1, at_ns)
        self._from[tags], self._to[tags], self._kind[tags] = source, to, kind
        self._size[tags], self._sent[tags], self._n3_ns[tags] = size, 0, 0
        there, here = self._cpe[to], int(self._cpe[source])
        if here < 0:
            beyond = there < 0
            self._finish(tags[beyond], (at_ns + self._crossing(source, to))[beyond])
            down = ~beyond
            at_cell = self.down_n3_ns(source, at_ns[down])
            self._n3_ns[tags[down]] = at_cell
            self._to_ground.add(at_cell, tags[down], source)
        else:
            local = there == here
            self._finish(tags[local], at_ns[local] + LAN_NS)
            self._to_air.add(at_ns[~local], tags[~local], source)
        return late

    def down_n3_ns(self, source: int, at_ns: Times) -> Times:
        """When packets that entered at the edge or beyond cross N3 at the base station."""
        at_cell: Times = at_ns + self._extra[source] + self._config.core_delay_ns
        return at_cell

    def turned(self) -> list[tuple[Times, int]]:
        """Packets between two CPEs that came up since the last call: which, and when at N3."""
        turned, self._turned = self._turned, []
        return turned

    @property
    def turn_ns(self) -> int:
        """From N3 up to N3 down of a packet between two CPEs: to the core and back."""
        return 2 * self._config.core_delay_ns

    def _crossing(self, source: int, to: Times) -> Times:
        """The way between edge and cloud, or within one of them."""
        way: Times = np.abs(self._extra[to] - self._extra[source]) + LAN_NS
        return way

    def advance(self, known_ns: int) -> NDArray[Any]:
        """All packets with times up to `known_ns` are offered: decide what follows from that.

        Returns rows of `OUTCOME`, final.
        """
        self._known_ns = max(self._known_ns, known_ns)
        core = self._config.core_delay_ns
        self._offer_link(self._uplink, self._to_air, self._known_ns, self._from)
        for fate in self._uplink.advance(self._known_ns):
            self._climb(fate)
        self._collect(self._ground, self._uplink.horizon_ns + core)
        self._offer_link(self._downlink, self._to_ground, self._known_ns + core, self._to)
        for fate in self._downlink.advance(self._known_ns + core):
            self._sent[fate.tags] += fate.transmissions
            self._leave(self._air, fate, fate.at_ns)
        self._collect(self._air, self._downlink.horizon_ns)
        done, self._done = self._done, []
        if len(done) == 1:
            return done[0]
        rows, start = np.zeros(sum(map(len, done)), OUTCOME), 0
        for part in done:
            rows[start : start + len(part)] = part
            start += len(part)
        return rows

    def _offer_link(self, link: Link, staged: _Staging, until_ns: int, site: Times) -> None:
        if (some := staged.take(until_ns)) is None:
            return
        at_ns, tags = some
        group = self._cpe[site[tags]] * CLASSES + self._kind[tags]
        for each in _distinct(group):
            mine = slice(None) if len(group) == 1 else group == each
            ours = tags[mine]
            link.offer(each // CLASSES, each % CLASSES, at_ns[mine], self._size[ours], ours)

    def _climb(self, fate: Fate) -> None:
        """From the base station to the core: out there, or down again to another CPE."""
        self._sent[fate.tags] += fate.transmissions
        if not fate.reason:
            self._n3_ns[fate.tags] = fate.at_ns
        down = self._cpe[self._to[fate.tags]] >= 0
        if fate.reason or not down.any():
            self._leave(self._ground, fate, fate.at_ns + self._config.core_delay_ns)
            return
        at_cell = np.full(int(down.sum()), fate.at_ns + self.turn_ns)
        self._to_ground.add(at_cell, fate.tags[down], len(self._cpe))
        self._turned.append((fate.tags[down], fate.at_ns))
        if not down.all():
            rest = fate._replace(tags=fate.tags[~down])
            self._leave(self._ground, rest, rest.at_ns + self._config.core_delay_ns)

    def _leave(self, egress: _Egress, fate: Fate, at_ns: int) -> None:
        if fate.reason:
            rows = self._rows(fate.tags, at_ns)
            rows["slot"], rows["reason"] = fate.slot, fate.reason
            self._done.append(rows)
        else:
            egress.add(at_ns, fate.tags, fate.slot)

    def _collect(self, egress: _Egress, horizon_ns: int) -> None:
        if (some := egress.take(horizon_ns, self._to, self._size)) is not None:
            at_ns, tags, slots = some
            rows = self._rows(tags, at_ns + self._extra[self._to[tags]])
            rows["slot"] = slots
            self._done.append(rows)

    def _finish(self, tags: Times, at_ns: Times) -> None:
        if len(tags):
            rows = self._rows(tags, at_ns)
            rows["slot"] = -1
            self._done.append(rows)

    def _rows(self, tags: Times, at_ns: Times | int) -> NDArray[Any]:
        rows = np.zeros(len(tags), OUTCOME)
        rows["tag"], rows["at_ns"], rows["n3_ns"] = tags, at_ns, self._n3_ns[tags]
        rows["transmissions"] = np.minimum(self._sent[tags], 255)
        return rows


def _distinct(values: Times) -> list[int]:
    """The different values, sorted; mostly there is one."""
    first = int(values[0])
    if len(values) == 1 or (values == first).all():
        return [first]
    return [int(each) for each in np.unique(values)]


class _Staging:
    """Packets on their way to a link, until every packet before them is known too."""

    def __init__(self) -> None:
        self._parts: list[tuple[Times, Times, int]] = []

    @property
    def waiting(self) -> bool:
        return bool(self._parts)

    def add(self, at_ns: Times, tags: Times, source: int) -> None:
        if len(tags):
            self._parts.append((at_ns, tags, source))

    def take(self, until_ns: int) -> tuple[Times, Times] | None:
        """What has come up to a time, by time; packets of one instant by their source."""
        if not self._parts:
            return None
        ready, rest = [], []
        for part in self._parts:
            at_ns, tags, source = part
            count = int(at_ns.searchsorted(until_ns, "right"))
            if count:
                ready.append((at_ns[:count], tags[:count], source))
            if count < len(tags):
                rest.append((at_ns[count:], tags[count:], source))
        self._parts = rest
        if len(ready) <= 1:
            return ready[0][:2] if ready else None
        at_ns = np.concatenate([part[0] for part in ready])
        tags = np.concatenate([part[1] for part in ready])
        sources = np.repeat([part[2] for part in ready], [len(part[1]) for part in ready])
        order = np.lexsort((sources, at_ns))
        return at_ns[order], tags[order]


class _Egress:
    """The wires behind one direction: packets of one instant follow each other at line rate."""

    def __init__(self, config: CellConfig, sites: int) -> None:
        self._parts: list[tuple[int, int, Times]] = []
        self._rate = config.line_rate_bps
        self._free_ns = [0] * sites

    @property
    def waiting(self) -> bool:
        return bool(self._parts)

    def add(self, at_ns: int, tags: Times, slot: int) -> None:
        self._parts.append((at_ns, slot, tags))

    def take(self, horizon_ns: int, to: Times, size: Times) -> tuple[Times, Times, Times] | None:
        """What leaves up to a time before which nothing undecided can leave."""
        ready = [part for part in self._parts if part[0] <= horizon_ns]
        if not ready:
            return None
        self._parts = [part for part in self._parts if part[0] > horizon_ns]
        ready.sort(key=lambda part: part[:2])
        counts = [len(part[2]) for part in ready]
        tags = ready[0][2] if len(ready) == 1 else np.concatenate([part[2] for part in ready])
        at_ns = np.repeat([part[0] for part in ready], counts)
        slots = np.repeat([part[1] for part in ready], counts)
        ports, spans = to[tags], (size[tags] + _GAP_BYTES) * 8_000_000_000 // self._rate
        for port in _distinct(ports):
            mine = np.flatnonzero(ports == port)
            before = spans[mine].cumsum() - spans[mine]
            ready_ns = np.maximum(at_ns[mine], self._free_ns[port]) - before
            starts = np.maximum.accumulate(ready_ns) + before
            at_ns[mine] = starts
            self._free_ns[port] = int(starts[-1] + spans[mine[-1]])
        return at_ns, tags, slots
