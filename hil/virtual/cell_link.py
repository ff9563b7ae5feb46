"""One direction of the cell: a scheduler that hands out slots, HARQ and in-order delivery.

Times are integer nanoseconds on the cell's clock; slot n covers [n, n+1) slot lengths. What leaves
depends on the configuration, the channel and the arrivals alone, never on when or in what batches
packets were offered: that makes catching up after a stall exact. The fate of a packet is final in
the very slot that carries its last byte, as retransmissions reserve later capacity at once.

Classes, in order of priority: URGENT (DSCP EF; 5QI 82 to 86), VIDEO (AF4x; guaranteed bit rate) and
ORDINARY. URGENT travels in transport blocks of its own with a robust modulation; uplink in a
configured grant (TS 38.321 5.8.2), beyond it and for the other classes by scheduling request,
buffer status report and grant (TS 38.321 5.4.4, 5.4.5). CPEs of one class share a slot equally.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from hil.testbed.world import CellConfig
from hil.virtual.cell_channel import Channel, Format, State
from hil.virtual.cell_queue import Delivery, Queue, Times

URGENT, VIDEO, ORDINARY = range(3)
CLASSES: Final = 3

# Why a packet was dropped.
QUEUE_FULL, EXPIRED, RADIO_LOSS, NO_SESSION = range(1, 5)

#: discardTimer of each class (TS 38.331, PDCP-Config).
_DISCARD_NS: Final = (100_000_000, 500_000_000, 1_500_000_000)
_RLC_ROUNDS: Final = 4  #: repetitions by RLC before it gives up
_ORDINARY_REPEATS: Final = 0.8  #: share of a slot that repetitions of other classes may reserve
_CONFIGURED_MOST: Final = 0.5  #: share of an uplink slot that configured grants may take
_EVER: Final = 1 << 62
_MASK: Final = (1 << 64) - 1


class Fate(NamedTuple):
    """What became of some packets, all at once: their release or, with a `reason`, their drop.

    `slot` carried the last byte, `transmissions` counts the sendings of its transport block.
    """

    tags: Times
    at_ns: int
    slot: int
    transmissions: int
    reason: int


class _Report(NamedTuple):
    """An uplink buffer status report, or a scheduling request, as the base station learns it."""

    heard: int  #: the slot after which it is known
    wanted: tuple[int, ...]  #: bytes by class
    used: tuple[int, ...]  #: bytes by class that went in the slot of the report


@dataclass(slots=True)
class _Bearer:
    """The queues of one CPE and what the base station knows of them."""

    cpe: int
    queues: tuple[Queue, ...]
    reports: deque[_Report]

    @property
    def backlog(self) -> int:
        return sum(queue.backlog for queue in self.queues)

    def granted(self, known_slot: int) -> list[int]:
        """Bytes by class that a grant covers which was made from reports known in a slot."""
        sent_since = [0] * CLASSES
        for report in reversed(self.reports):
            if report.heard <= known_slot:
                pairs = zip(report.wanted, sent_since, strict=True)
                return [max(0, wanted - sent) for wanted, sent in pairs]
            sent_since = [a + b for a, b in zip(sent_since, report.used, strict=True)]
        return [0] * CLASSES


class _Block(NamedTuple):
    """A transport block to be sent: bytes by queue, its format and its share of the slot."""

    parts: Sequence[tuple[Queue, int]]
    used: Format
    share: float
    robust: bool


class Link:
    """One direction of one cell: `offer` packets, `advance` the known time, get their fates."""

    def __init__(
        self, config: CellConfig, channel: Channel, cpes: int, *, seed: int, uplink: bool
    ) -> None:
        self._config = config
        self._seed = seed
        self._channel = channel
        self._uplink = uplink
        self._pattern = _Pattern(config, uplink=uplink)
        self._bearers = [
            _Bearer(
                cpe,
                tuple(Queue(config.queue_bytes, config.queue_packets) for _ in range(CLASSES)),
                deque(maxlen=16),
            )
            for cpe in range(cpes)
        ]
        first, last = config.gnb_processing_ns, config.ue_processing_ns
        self._before_ns, self._after_ns = (last, first) if uplink else (first, last)
        self._configured = _configured_share(config, channel, cpes) if uplink else 0.0
        self._reserved: dict[int, float] = {}
        self._slot = 0
        self._fates: list[Fate] = []

    @property
    def horizon_ns(self) -> int:
        """No packet whose fate is undecided can be released before this."""
        return (self._slot + 1) * self._config.slot_ns + self._after_ns

    @property
    def busy(self) -> bool:
        """Whether any packet still waits for its fate."""
        return any(queue.waiting for bearer in self._bearers for queue in bearer.queues)

    def offer(self, cpe: int, kind: int, at_ns: Times, size: Times, tag: Times) -> None:
        """Packets of one CPE and class in order of time, none before the time known so far."""
        self._bearers[cpe].queues[kind].arrive(at_ns, size + self._config.overhead_bytes, tag)

    def advance(self, known_ns: int) -> list[Fate]:
        """Decide the slots that follow from all arrivals up to `known_ns` having been offered.

        Returns fates in the order of the slots that decided them.
        """
        slot_ns = self._config.slot_ns
        last = (known_ns + self._before_ns) // slot_ns
        while self._slot <= last:
            slot = self._slot
            if not any(bearer.backlog for bearer in self._bearers):
                first = self._first_arrival_ns()
                wake = last + 1 if first is None else -(-(first + self._before_ns) // slot_ns)
                if wake > slot:
                    self._slot = min(wake, last + 1)
                    self._forget_reserved()
                    continue
            if self._pattern.capacity(slot):
                self._decide(slot)
            self._slot += 1
        fates, self._fates = self._fates, []
        return fates

    def _first_arrival_ns(self) -> int | None:
        first: int | None = None
        for bearer in self._bearers:
            for queue in bearer.queues:
                at_ns = queue.first_arrival_ns
                if at_ns is not None and (first is None or at_ns < first):
                    first = at_ns
        return first

    def _forget_reserved(self) -> None:
        if self._reserved:
            self._reserved = {s: share for s, share in self._reserved.items() if s >= self._slot}

    def _decide(self, slot: int) -> None:
        start_ns = slot * self._config.slot_ns
        states = [self._channel.state(bearer.cpe, slot) for bearer in self._bearers]
        for bearer in self._bearers:
            self._fill(bearer, slot, start_ns)
        room = self._pattern.capacity(slot) - self._reserved.pop(slot, 0.0)
        if self._uplink:
            blocks = self._uplink_blocks(slot, states, room)
        else:
            blocks = self._downlink_blocks(states, room)
        for bearer, to_send in zip(self._bearers, blocks, strict=True):
            heard = slot
            for block in to_send:
                heard = max(heard, self._send(bearer, block, slot))
            if self._uplink:
                self._report(bearer, to_send, heard)

    def _fill(self, bearer: _Bearer, slot: int, start_ns: int) -> None:
        """Queue what has arrived for a slot, drop what is too much, too old or has no session."""
        up = self._channel.up(bearer.cpe, slot)
        for kind, queue in enumerate(bearer.queues):
            if not queue.waiting:
                continue
            full = queue.admit(start_ns - self._before_ns)
            if len(full):
                self._drop(full, start_ns, slot, QUEUE_FULL)
            if not up:
                self._drop(queue.flush(), start_ns, slot, NO_SESSION)
            elif queue.backlog:
                old = queue.expire(start_ns - _DISCARD_NS[kind])
                self._drop(old, start_ns, slot, EXPIRED)

    def _drop(self, tags: Times, at_ns: int, slot: int, reason: int) -> None:
        if len(tags):
            self._fates.append(Fate(tags, at_ns, slot, 0, reason))

    def _downlink_blocks(self, states: Sequence[State], room: float) -> list[list[_Block]]:
        blocks: list[list[_Block]] = [[] for _ in self._bearers]
        wanted = [bearer.queues[URGENT].backlog for bearer in self._bearers]
        taken = _shares(wanted, [state.robust for state in states], room)
        room -= sum(taken)
        for bearer, state, share, mine in zip(self._bearers, states, taken, blocks, strict=True):
            queue = bearer.queues[URGENT]
            if size := min(queue.backlog, int(share * state.robust.slot_bytes + 0.5)):
                mine.append(_Block(((queue, size),), state.robust, share, robust=True))
        formats = [state.ordinary for state in states]
        parts: list[list[tuple[Queue, int]]] = [[] for _ in self._bearers]
        totals = [0.0 for _ in self._bearers]
        for kind in (VIDEO, ORDINARY):
            taken = _shares([b.queues[kind].backlog for b in self._bearers], formats, room)
            room -= sum(taken)
            for number, share in enumerate(taken):
                queue = self._bearers[number].queues[kind]
                if size := min(queue.backlog, int(share * formats[number].slot_bytes + 0.5)):
                    parts[number].append((queue, size))
                    totals[number] += share
        for mine, some, used, share in zip(blocks, parts, formats, totals, strict=True):
            if some:
                mine.append(_Block(some, used, share, robust=False))
        return blocks

    def _uplink_blocks(self, slot: int, states: Sequence[State], room: float) -> list[list[_Block]]:
        room -= self._configured * len(self._bearers)
        known = self._pattern.grant_known(slot)
        grants = [bearer.granted(known) for bearer in self._bearers]
        blocks: list[list[_Block]] = [[] for _ in self._bearers]
        robust, ordinary = [s.robust for s in states], [s.ordinary for s in states]
        more = _shares([grant[URGENT] for grant in grants], robust, room)
        room -= sum(more)
        for bearer, used, share, mine in zip(self._bearers, robust, more, blocks, strict=True):
            queue = bearer.queues[URGENT]
            whole = share + self._configured
            if size := min(queue.backlog, int(whole * used.slot_bytes)):
                mine.append(_Block(((queue, size),), used, whole, robust=True))
        videos = _shares([grant[VIDEO] for grant in grants], ordinary, room)
        room -= sum(videos)
        others = _shares([grant[ORDINARY] for grant in grants], ordinary, room)
        for number, bearer in enumerate(self._bearers):
            # One grant for the device, which fills it by priority (TS 38.321 5.4.3.1).
            share = videos[number] + others[number]
            left = int(share * ordinary[number].slot_bytes + 0.5)
            parts = []
            for kind in (VIDEO, ORDINARY):
                if size := min(bearer.queues[kind].backlog, left):
                    parts.append((bearer.queues[kind], size))
                    left -= size
            if parts:
                blocks[number].append(_Block(parts, ordinary[number], share, robust=False))
        return blocks

    def _report(self, bearer: _Bearer, sent: Sequence[_Block], heard: int) -> None:
        """A buffer status report with data, else a scheduling request where one is needed."""
        left = tuple(queue.backlog for queue in bearer.queues)
        used = [0] * CLASSES
        for block in sent:
            for queue, size in block.parts:
                used[bearer.queues.index(queue)] += size
        if sent:
            wanted = left
        elif any(bearer.granted(_EVER)):
            return  # a report is on its way: grants will follow without asking
        else:
            first = next((kind for kind, size in enumerate(left) if size), None)
            grant = self._config.request_grant_bytes
            wanted = tuple(grant if kind == first else 0 for kind in range(CLASSES))
        bearer.reports.append(_Report(heard, wanted, tuple(used)))

    def _send(self, bearer: _Bearer, block: _Block, slot: int) -> int:
        """Send a block until it is decoded; the slot after which the base station has it."""
        for queue, size in block.parts:
            queue.serve(size)
        decoded, transmissions, lost = self._transmissions(bearer.cpe, block, slot)
        at_ns = (decoded + 1) * self._config.slot_ns + self._after_ns
        for queue, _ in block.parts:
            delivery = queue.deliver(at_ns, lost=lost)
            self._settle(delivery, slot, transmissions)
        return decoded

    def _settle(self, delivery: Delivery, slot: int, transmissions: int) -> None:
        for tags, reason in ((delivery.tags, 0), (delivery.lost, RADIO_LOSS)):
            if len(tags):
                self._fates.append(Fate(tags, delivery.at_ns, slot, transmissions, reason))

    def _transmissions(self, cpe: int, block: _Block, slot: int) -> tuple[int, int, bool]:
        """The slot in which a block is decoded, how often it was sent, whether it was given up.

        HARQ sends it again, each time with the energy of the ones before; when HARQ gives up, RLC
        begins anew after its own delay (TS 38.322 5.3.2).
        """
        config = self._config
        event = (slot * 2 + block.robust) * 64
        count = 0
        for repeat in range(_RLC_ROUNDS + 1):
            if repeat:
                slot += -(-config.rlc_delay_ns // config.slot_ns)
                slot = self._reserve(self._pattern.following(slot), block)
            for transmission in range(1, config.max_transmissions + 1):
                if transmission > 1:
                    slot = self._reserve(self._pattern.repeat(slot), block)
                count += 1
                state = self._channel.state(cpe, slot)
                draw = _uniform(self._seed, self._uplink, cpe, event + count)
                if draw >= state.error(block.used, transmission):
                    return slot, count, False
        return slot, count, True

    def _reserve(self, slot: int, block: _Block) -> int:
        """The first slot from `slot` on with room for a repetition, which it then has."""
        factor = 1.0 if block.robust else _ORDINARY_REPEATS
        set_aside = self._configured * len(self._bearers)
        share = min(block.share, (self._pattern.most - set_aside) * factor)
        while True:
            taken = self._reserved.get(slot, 0.0)
            if taken + share <= (self._pattern.capacity(slot) - set_aside) * factor + 1e-12:
                self._reserved[slot] = taken + share
                return slot
            slot = self._pattern.following(slot)


class _Pattern:
    """The TDD pattern as the direction of a link sees it (TS 38.213 11.1)."""

    def __init__(self, config: CellConfig, *, uplink: bool) -> None:
        pattern = config.pattern
        period = len(pattern)
        share = {"U": 1.0} if uplink else {"D": 1.0, "S": config.special_share}
        own, down = ("U", "DS") if uplink else ("DS", "DS")
        self._shares = [share.get(kind, 0.0) for kind in pattern]
        self._period = period
        self.most = max(self._shares)

        def first(slot: int, kinds: str) -> int:
            return next(s for s in range(slot, slot + 2 * period) if pattern[s % period] in kinds)

        def last(slot: int, kinds: str) -> int:
            at = range(slot, slot - 4 * period, -1)
            return next(s for s in at if pattern[s % period] in kinds)

        self._following = [first(s + 1, own) - s for s in range(period)]
        if uplink:
            # A grant in a downlink slot, k2 slots before the data.
            self._repeat = [
                first(first(s + config.gnb_slots + 1, down) + config.k2, "U") - s
                for s in range(period)
            ]
            self._known = [
                s - last(last(s - config.k2, down) - config.gnb_slots - 1, "U")
                for s in range(period)
            ]
        else:
            # A negative acknowledgement in an uplink slot, then any downlink slot.
            self._repeat = [
                first(first(s + config.k1, "U") + config.gnb_slots + 1, down) - s
                for s in range(period)
            ]
            self._known = [0] * period

    def capacity(self, slot: int) -> float:
        """Share of a full slot that the direction has in a slot."""
        return self._shares[slot % self._period]

    def following(self, slot: int) -> int:
        """The next slot of the direction after a slot."""
        return slot + self._following[slot % self._period]

    def repeat(self, slot: int) -> int:
        """The first slot for sending again what was sent in a slot."""
        return slot + self._repeat[slot % self._period]

    def grant_known(self, slot: int) -> int:
        """The last uplink slot that the base station had heard when it granted an uplink slot."""
        return slot - self._known[slot % self._period]


def _configured_share(config: CellConfig, channel: Channel, cpes: int) -> float:
    """The share of each uplink slot that is set aside for one CPE's configured grant."""
    if not cpes:
        return 0.0
    wanted = config.configured_grant_bytes / channel.robust_slot_bytes
    return min(wanted, _CONFIGURED_MOST / cpes)


def _shares(wanted: Sequence[int], formats: Sequence[Format], room: float) -> list[float]:
    """How much of a slot each CPE gets: what it wants, or an equal part of what is left."""
    shares = [0.0] * len(wanted)
    demands = sorted(
        (bytes_ / used.slot_bytes, number)
        for number, (bytes_, used) in enumerate(zip(wanted, formats, strict=True))
        if bytes_ and used.slot_bytes
    )
    room = max(room, 0.0)
    for position, (demand, number) in enumerate(demands):
        shares[number] = min(demand, room / (len(demands) - position))
        room -= shares[number]
    return shares


def _uniform(seed: int, uplink: bool, cpe: int, event: int) -> float:
    """A number in [0, 1) that belongs to one event; mixed as in SplitMix64."""
    word = (seed * 0x9E3779B97F4A7C15 + (cpe * 2 + uplink) * 0xD1B54A32D192ED03 + event) & _MASK
    for _ in range(2):
        word = (word + 0x9E3779B97F4A7C15) & _MASK
        word = ((word ^ word >> 30) * 0xBF58476D1CE4E5B9) & _MASK
        word = ((word ^ word >> 27) * 0x94D049BB133111EB) & _MASK
        word ^= word >> 31
    return (word >> 11) * 2.0**-53
