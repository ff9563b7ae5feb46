"""Which of the frames that arrive are ours, and whether any byte of them changed on the way.

A frame is judged from the network header on and by its VLAN; the rest of the link header may change
on any bridge, the priority in a VLAN tag too.

- The probe's CRC and sum are right and its run and flow are ours: *ours*. Every other byte is
  compared with what was sent; a difference, or a length that was not sent, is *damage*.
- They are right and run or flow are not ours: *foreign*.
- They are wrong, and most of the bytes that never change are those of a frame of that length: ours
  and damaged. Its sequence number is believed only where the probe that was sent under that number
  agrees with what came in at least 32 of 40 bytes: any byte of a wrong number would change the
  number, the planned time, the CRC and the balance word. Else the frame is *unreadable*, or warm-up
  where it says so.
- Anything else of our kind (our EtherType, our UDP port, or the magic number) is foreign; what is
  not of our kind is nobody's.

A frame in a VLAN that it should not be in, or in none where it should be, is *damage* where its
probe is right and its run and flow are ours: a device of the right VLAN would not have got it. What
else is in a VLAN that no flow of this port uses is nobody's, for a trunk carries many.

The UDP checksum of a frame whose sender left it to hardware that never got to it is not compared
(`Batch.pending`): no receiver on this link would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import (
    ARRIVED,
    DAMAGED,
    HELD_UP,
    NOT_TAKEN,
    TRAILER_BAD,
    UNREADABLE,
    Table,
    blank,
    taken,
)
from hil.traffic.ring import Batch
from hil.traffic.schedule import Offsets
from hil.wire import ip, probe
from hil.wire.trailer import LATE_IN, Format, Reading

_AT_ONCE: Final = 1 << 16  # bytes compared at once: more would not stay in the cache
_AGREE: Final = 32  # of the 40 bytes of a probe
_RUN_WRONG: Final = 4  # of the 8 bytes of a run id
_RUN_AT: Final = slice(8, 16)


@dataclass(frozen=True, slots=True)
class Shape:
    """A frame of one flow and length, link header left out, and the bytes that must not change.

    `payload` is one frame, or a row for each packet of a sweep, which they take in turn.
    """

    size: int  #: packet size as planned
    payload: NDArray[np.uint8]
    fixed: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Expected:
    """What one flow sends to this port. `offsets_ns` are the planned times by sequence number.

    `version` is that of IP, None where the frame is no UDP over IP; `vlan` the VLAN that it should
    arrive in, 0 for none, None where it may be any; `vlans` those that a sweep takes in turn.
    """

    flow: int
    probe_at: int  #: after the link header
    ethernet: bool  #: layer ethernet: its EtherType makes any frame of it one of our kind
    udp_port: int | None
    routed: bool
    offsets_ns: NDArray[np.int64] | Offsets
    shapes: dict[int, Shape]  #: by length after the link header
    version: ip.Version | None = None
    vlan: int | None = 0
    vlans: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))

    @property
    def datagram(self) -> ip.Version | None:
        """The version of IP where the probe is what a plain UDP datagram carries, else None."""
        if self.version is None or self.probe_at != ip.HEADER[self.version] + ip.UDP_HEADER:
            return None
        return self.version


@dataclass(slots=True)
class Matched:
    """What a batch holds: rows of `ARRIVED`, how many frames were of no use, and what was odd.

    `pending` are those of ours whose UDP checksum was yet to be made, `other_vlan` those of ours
    that were in a VLAN they should not be in.
    """

    rows: Table
    foreign: int = 0
    warm_up: int = 0
    pending: int = 0
    other_vlan: int = 0
    warm_stamped: int = 0  #: of those, by the network card


class Matcher:
    """Judges the frames of one port."""

    def __init__(self, run: int, flows: Sequence[Expected], tap: Format | None) -> None:
        self._run, self._tap = run, tap
        self._flows = {each.flow: each for each in flows}
        self._places = sorted({each.probe_at for each in flows})
        self._lengths = np.unique([length for each in flows for length in each.shapes])
        self._vlans = {vlan for each in flows for vlan in (each.vlans.tolist() or [each.vlan])}
        self._run_bytes = np.frombuffer(run.to_bytes(8, "big"), np.uint8)
        self._last_tail = b""
        self.start_ns: int | None = None  #: of the schedule, on the realtime clock; once known

    def match(self, batch: Batch, user_ns: int) -> Matched:
        """Judge a batch that the reader saw at `user_ns`."""
        bodies, reading = self._trailers(batch)
        probes, place = self._probes(batch, bodies)
        whole = (place >= 0) & probe.intact(probes)
        fields = probe.decode(probes)
        flows = fields["flow"].astype(np.int64)
        here = np.isin(flows, list(self._flows)) & (fields["run"] == self._run)
        ours = whole & here & self._planned(fields, flows)
        warm = ours & ((fields["flags"] & probe.WARM_UP) != 0)
        flags = np.zeros(len(bodies), np.uint16)
        sequence = fields["seq"].copy()
        for flow in np.unique(flows[ours & ~warm]).tolist():
            mine = np.flatnonzero(ours & ~warm & (flows == flow))
            changed = self._changed(batch, bodies, mine, self._flows[flow], sequence[mine])
            flags[mine[changed]] = DAMAGED
        strays, passing = self._other_vlans(batch, flows, ours & ~warm, sequence)
        flags[strays & ~warm] = DAMAGED
        foreign = whole & ~ours & ~passing
        for row in np.flatnonzero(~whole & ~passing).tolist():
            found = self._damaged(batch.payload[row], int(bodies[row]))
            if found is None:
                foreign[row] = self._of_our_kind(batch.payload[row], place[row] >= 0)
                continue
            flows[row], sequence[row], trusted = found
            ours[row] = True
            warm[row] = not trusted and bool(fields["flags"][row] & probe.WARM_UP)
            flags[row] = DAMAGED if trusted else DAMAGED | UNREADABLE
        keep = ours & ~warm
        rows = blank(ARRIVED, int(keep.sum()))
        rows["flow"], rows["seq"] = flows[keep], sequence[keep]
        rows["size"] = self._sizes(flows[keep], bodies[keep])
        rows["rx_user_ns"], rows["rx_kernel_ns"] = user_ns, batch.kernel_ns[keep]
        rows["flags"] = flags[keep]
        if reading is not None:
            _note_trailers(rows, reading, keep)
        warm_stamped = 0
        if batch.card_ns is not None:
            rows["rx_hardware_ns"] = batch.card_ns[keep]
            warm_stamped = int(taken(batch.card_ns[warm]).sum())
        return Matched(
            rows,
            foreign=int(foreign.sum()),
            warm_up=int(warm.sum()),
            warm_stamped=warm_stamped,
            pending=0 if batch.pending is None else int((batch.pending & keep).sum()),
            other_vlan=int((strays & keep).sum()),
        )

    def _other_vlans(
        self,
        batch: Batch,
        flows: NDArray[np.int64],
        ours: NDArray[np.bool_],
        sequence: NDArray[np.uint64],
    ) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which frames of ours are in a VLAN they should not be in, and which others pass by."""
        none = np.zeros(len(flows), np.bool_)
        if batch.vlan is None and self._vlans <= {0, None}:
            return none, none
        vlan = np.zeros(len(flows), np.int64) if batch.vlan is None else batch.vlan
        strays = none.copy()
        for flow, expected in self._flows.items():
            if len(expected.vlans):
                wanted = expected.vlans[(sequence % np.uint64(len(expected.vlans))).astype(int)]
                strays |= ours & (flows == flow) & (vlan != wanted)
            elif expected.vlan is not None:
                strays |= ours & (flows == flow) & (vlan != expected.vlan)
        if None in self._vlans:
            return strays, none
        known = np.array([each for each in self._vlans if each is not None])
        return strays, ~ours & ~np.isin(vlan, known)

    def _trailers(self, batch: Batch) -> tuple[NDArray[np.int64], Reading | None]:
        """Length of each frame without its trailer, and the trailers where a tap leaves them."""
        if self._tap is None:
            return batch.lengths, None
        size, width = self._tap.size, batch.payload.shape[1]
        start = np.clip(batch.lengths - size, 0, max(0, width - size))
        places = np.minimum(start[:, None] + np.arange(size), width - 1)
        tails = np.take_along_axis(batch.payload, places, axis=1)
        reading = self._tap.decode(tails)
        there = (batch.lengths <= batch.captured) & (batch.lengths > size)
        bare = batch.lengths - size
        fits = np.isin(bare, self._lengths)
        # Without a seal, chance makes a trailer of any bytes: the length alone says there is one.
        marked = reading.good if self._tap.sealed else reading.good & fits
        good = marked & there & ~self._stale(tails)
        shorter = fits & ~np.isin(batch.lengths, self._lengths)
        bodies = np.where(there & (marked | shorter), bare, batch.lengths)
        return bodies, replace(reading, good=good)

    def _stale(self, tails: NDArray[np.uint8]) -> NDArray[np.bool_]:
        """Where a trailer is the very one of the frame before: a tap marks each frame anew."""
        before = np.roll(tails, 1, axis=0)
        stale = np.asarray((tails == before).all(axis=1))
        stale[0] = tails[0].tobytes() == self._last_tail
        self._last_tail = tails[-1].tobytes()
        return stale

    def _probes(
        self, batch: Batch, bodies: NDArray[np.int64]
    ) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """The 40 bytes of each probe, and where they were found (-1: no magic number)."""
        count, width = batch.payload.shape
        probes = np.zeros((count, probe.SIZE), np.uint8)
        place = np.full(count, -1, np.int64)
        for at in self._places:
            if at + probe.SIZE > width:
                continue
            candidates = batch.payload[:, at : at + probe.SIZE]
            fits = np.minimum(bodies, batch.captured) >= at + probe.SIZE
            found = (place < 0) & fits & probe.resembles(candidates)
            probes[found], place[found] = candidates[found], at
        return probes, place

    def _planned(self, fields: NDArray[Any], flows: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Where the sequence number is one of the plan."""
        known = np.zeros(len(flows), np.bool_)
        for flow, expected in self._flows.items():
            known |= (flows == flow) & (fields["seq"] < len(expected.offsets_ns))
        return known

    @staticmethod
    def _changed(
        batch: Batch,
        bodies: NDArray[np.int64],
        rows: NDArray[np.intp],
        expected: Expected,
        sequence: NDArray[np.uint64],
    ) -> NDArray[np.bool_]:
        """Which of `rows`, intact probes of one flow, differ elsewhere from what was sent."""
        changed = np.ones(len(rows), np.bool_)
        lengths = bodies[rows]
        for length in np.unique(lengths).tolist():
            shape = expected.shapes.get(length)
            if shape is None or length > batch.payload.shape[1]:
                continue
            these = np.flatnonzero(lengths == length)
            some = max(1, _AT_ONCE // length)
            for start in range(0, len(these), some):
                few = these[start : start + some]
                changed[few] = _different(batch, rows[few], shape, expected, sequence[few])
        return changed

    def _damaged(self, frame: NDArray[np.uint8], length: int) -> tuple[int, int, bool] | None:
        """Flow, sequence and whether it is believed, of a damaged probe; None: not ours."""
        best: tuple[float, Expected] | None = None
        for expected in self._flows.values():
            shape = expected.shapes.get(length)
            if shape is None or length > len(frame):
                continue
            at = expected.probe_at
            if (frame[at:][_RUN_AT] != self._run_bytes).sum() >= _RUN_WRONG:
                continue
            alike = 1.0
            if shape.fixed.any():
                same = np.atleast_2d(shape.payload) == frame[:length]
                alike = float(same[:, shape.fixed].mean(axis=1).max())
            if alike >= 0.5 and (best is None or alike > best[0]):
                best = alike, expected
        if best is None:
            return None
        expected = best[1]
        received = frame[expected.probe_at : expected.probe_at + probe.SIZE]
        sequence = int(probe.decode(received[None])["seq"][0])
        return expected.flow, sequence, self._believed(received, sequence, expected)

    def _believed(self, received: NDArray[np.uint8], sequence: int, expected: Expected) -> bool:
        if self.start_ns is None or sequence >= len(expected.offsets_ns):
            return False
        intended = self.start_ns + int(expected.offsets_ns[sequence])
        sent = probe.encode(self._run, expected.flow, np.array([sequence], np.uint64), intended)[0]
        return int((sent == received).sum()) >= _AGREE

    def _of_our_kind(self, frame: NDArray[np.uint8], magic: bool) -> bool:
        for expected in self._flows.values():
            if expected.ethernet or magic:
                return True
            if expected.udp_port is not None and (version := expected.datagram) is not None:
                at = ip.HEADER[version] + 2
                if len(frame) < at + 2 or frame[ip.PROTOCOL_AT[version]] != ip.UDP:
                    continue
                if int(frame[at]) << 8 | int(frame[at + 1]) == expected.udp_port:
                    return True
        return False

    def _sizes(self, flows: NDArray[np.int64], bodies: NDArray[np.int64]) -> NDArray[np.int64]:
        """Packet sizes: what arrived, with the link header where the layer counts it."""
        sizes = bodies.copy()
        for flow, expected in self._flows.items():
            if expected.shapes and expected.ethernet:
                length, shape = next(iter(expected.shapes.items()))
                sizes[flows == flow] += shape.size - length
        return sizes


def _different(
    batch: Batch,
    rows: NDArray[np.intp],
    shape: Shape,
    expected: Expected,
    sequence: NDArray[np.uint64],
) -> NDArray[np.bool_]:
    """Which of `rows`, frames as long as `shape`, have another byte where none may change."""
    sent = np.atleast_2d(shape.payload)
    frames = batch.payload[rows, : sent.shape[1]]
    if len(sent) > 1:
        sent = sent[(sequence % np.uint64(len(sent))).astype(int)]
    differences = (frames != sent) & shape.fixed
    version, pending = expected.datagram, _of(batch.pending, rows)
    if version is not None and pending.any():
        differences[pending, ip.checksum_at(version)] = False
    different: NDArray[np.bool_] = differences.any(axis=1)
    if expected.routed and version is not None:
        different |= ~ip.headers_right(frames, version)
        different |= ~(pending | ip.datagrams_right(frames, version))
    return different


def _note_trailers(rows: Table, reading: Reading, keep: NDArray[np.bool_]) -> None:
    good = reading.good[keep]
    for column, values in (
        ("trailer_release_ns", reading.release_ns),
        ("trailer_ingress_ns", reading.ingress_ns),
        ("trailer_lateness_ns", reading.lateness_ns),
    ):
        rows[column] = np.where(good, values[keep], NOT_TAKEN)
    rows["flags"][~good] |= TRAILER_BAD
    rows["flags"][good & ((reading.flags[keep] & LATE_IN) != 0)] |= HELD_UP


def _of(marks: NDArray[np.bool_] | None, rows: NDArray[np.intp]) -> NDArray[np.bool_]:
    return np.zeros(len(rows), np.bool_) if marks is None else marks[rows]
