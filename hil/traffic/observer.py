"""A port that only looks on, in the receiver process: probes of the run among all that passes.

The probe is found by its own bytes, behind whatever header a mirror, a tap or a tunnel left before
it; inside GTP-U in the user packet, of an IP session or of an Ethernet session. It counts as seen
where it is intact itself: damage elsewhere in the frame is the receiving port's business.

A port may also search every frame for a canary: bytes that were made up for this run and placed
behind its probes.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import UsageError
from hil.samples.table import NOT_TAKEN, OBSERVED, SEEN_WARM_UP, TRAILER_BAD, Table, blank
from hil.traffic import linux
from hil.traffic.exchange import RowRing
from hil.traffic.ring import MOST, Batch, ReceiveRing
from hil.wire import gtpu, probe
from hil.wire.trailer import FORMATS, Format

_LOOK_NS: Final = 20_000_000  # between two looks
_BEHIND: Final = 16  # batches before the other ports have their turn
_ADD_MEMBERSHIP: Final = 1
_MEMBERSHIP: Final = struct.Struct("iHH8s")  # struct packet_mreq
_PROMISCUOUS: Final = 1

# Classic BPF beyond what a receiving port needs: the protocol of the frame as the kernel has it,
# and loads at an offset or behind an IPv4 header (Documentation/networking/filter.rst).
_LD_BYTE, _PROTOCOL_AT = 0x30, 0xFFFF_F000
_LDX_IPV4_HEADER, _LD_HALF_BEHIND = 0xB1, 0x48
_IPV6: Final = 0x86DD
_UDP: Final = 17


class Observer:
    """One such port."""

    def __init__(self, order: Mapping[str, Any], run: int, places: Mapping[int, int]) -> None:
        """`places` says for each flow where its probe starts behind the network header.

        Raises: UsageError when frames cannot be captured here.
        """
        self.name: str = order["name"]
        self._point: int = order["point"]
        self._tunnelled = order["carries"] == "gtpu"
        self._anywhere = order["carries"] == "tunnel"
        self._tap: Format | None = FORMATS[order["tap"]] if order["tap"] else None
        self._run = run
        self._flows = np.array(sorted(places), np.int64)
        self._places = sorted(set(places.values()))
        self._canary = Canary(bytes.fromhex(order["canary"])) if order["canary"] else None
        self.went_down = 0
        self._frames = self._bytes = self._seen = self._tunnels = 0
        link = probe.ETHERNET_HEADER if order["kind"] == "ethernet" else 0
        self._link = link
        everything = order["canary"] is not None or self._anywhere
        program = _KEEP_ALL if everything else passing_filter(link, tunnelled=self._tunnelled)
        with linux.inside(order["namespace"]):
            try:
                self.ring = ReceiveRing(
                    order["interface"], program, order["widest"], order["slots"]
                )
                sock = self.ring.sock
                # On the interface of a base station or a server uplink is what goes out.
                sock.setsockopt(linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, 0)
                index = socket.if_nametoindex(order["interface"])
                member = _MEMBERSHIP.pack(index, _PROMISCUOUS, 0, b"")
                sock.setsockopt(linux.SOL_PACKET, _ADD_MEMBERSHIP, member)
            except OSError as error:
                raise UsageError(f"port {self.name} cannot observe: {error.strerror}") from None

    def turn(self, observed: RowRing) -> tuple[int, int]:
        """Hand on what has passed: frames looked at, and rows there was no room for."""
        seen = lost = 0
        for _ in range(_BEHIND):
            batch = self.ring.take()
            if batch is None:
                break
            rows = self.look(batch)
            lost += len(rows) - observed.append(rows)
            seen += len(batch.lengths)
            if len(batch.lengths) < MOST // 2:
                break
        return seen, lost

    def look(self, batch: Batch) -> Table:
        """The rows of `OBSERVED` in a batch."""
        self._frames += len(batch.lengths)
        self._bytes += int(batch.lengths.sum()) + self._link * len(batch.lengths)
        if self._canary is not None:
            self._canary.search(batch)
        release_ns, bad, bodies = self._trailers(batch)
        start = np.zeros(len(bodies), np.int64)
        ends = np.minimum(bodies, batch.captured)
        tunnels: NDArray[Any] | None = None
        if self._tunnelled:
            tunnels = gtpu.decode(batch.payload, ends)
            start = inner_network_header(batch.payload, tunnels)
            ends = np.where(start >= 0, ends, 0)
            self._tunnels += int(np.count_nonzero(start >= 0))
        places: Sequence[int] = self._places
        if self._anywhere:
            start, places = probe.find(batch.payload, ends), (0,)
        probes = self._probes(batch.payload, start, ends, places)
        fields = probe.decode(probes)
        ours = probe.intact(probes) & (fields["run"] == self._run)
        ours &= np.isin(fields["flow"], self._flows)
        rows = blank(OBSERVED, int(np.count_nonzero(ours)))
        for name in ("flow", "seq"):
            rows[name] = fields[name][ours]
        rows["point"], rows["size"] = self._point, bodies[ours]
        rows["seen_kernel_ns"] = batch.kernel_ns[ours]
        rows["trailer_release_ns"] = release_ns[ours]
        warm = (fields["flags"] & probe.WARM_UP) != 0
        rows["flags"] = np.where(warm, SEEN_WARM_UP, 0)[ours]
        rows["flags"] |= np.where(bad, TRAILER_BAD, 0)[ours].astype(np.uint16)
        for name, absent in (("teid", 0), ("pdu_type", gtpu.ABSENT), ("qfi", gtpu.ABSENT)):
            rows[name] = absent if tunnels is None else tunnels[name][ours]
        self._seen += len(rows)
        return rows

    def _trailers(
        self, batch: Batch
    ) -> tuple[NDArray[np.int64], NDArray[np.bool_], NDArray[np.int64]]:
        """The tap's time of each frame, where it is unsound, and the frame's length without it."""
        count = len(batch.lengths)
        if self._tap is None:
            return np.full(count, NOT_TAKEN), np.zeros(count, np.bool_), batch.lengths
        size, width = self._tap.size, batch.payload.shape[1]
        start = np.clip(batch.lengths - size, 0, max(0, width - size))
        places = np.minimum(start[:, None] + np.arange(size), width - 1)
        reading = self._tap.decode(np.take_along_axis(batch.payload, places, axis=1))
        there = (batch.lengths <= batch.captured) & (batch.lengths > size)
        good = reading.good & there
        # Without a magic number a tap that was declared is believed to mark every frame.
        marked = good if self._tap.sealed else there
        bodies = np.where(marked, batch.lengths - size, batch.lengths)
        return np.where(good, reading.release_ns, NOT_TAKEN), ~good, bodies

    @staticmethod
    def _probes(
        payload: NDArray[np.uint8],
        start: NDArray[np.int64],
        ends: NDArray[np.int64],
        places: Sequence[int],
    ) -> NDArray[np.uint8]:
        """The bytes at the place of each probe; zeros where there is none."""
        probes = np.zeros((len(payload), probe.SIZE), np.uint8)
        found = np.zeros(len(payload), np.bool_)
        width = payload.shape[1]
        for place in places:
            at = start + place
            fits = ~found & (start >= 0) & (at + probe.SIZE <= np.minimum(ends, width))
            rows = np.flatnonzero(fits)
            if not len(rows):
                continue
            some = payload[rows[:, None], at[rows, None] + np.arange(probe.SIZE)]
            alike = probe.resembles(some)
            probes[rows[alike]], found[rows[alike]] = some[alike], True
        return probes

    def report(self) -> dict[str, Any]:
        """What was looked at, as JSON values; takes the kernel's count of drops."""
        return {
            "frames": self._frames,
            "bytes": self._bytes,
            "probes": self._seen,
            "tunnels": self._tunnels if self._tunnelled else None,
            "ring_drops": self.ring.dropped(),
            "went_down": self.went_down,
            "canary": None if self._canary is None else self._canary.report(),
        }


class Observers:
    """All such ports of a run. Their rings outlast the time between two looks.

    So a frame that passes wakes nobody up: on a small host that would delay what is sent.
    """

    def __init__(self, orders: Mapping[str, Any], directory: Path) -> None:
        run = orders["run"]
        self._all = [Observer(e, run, dict(e["places"])) for e in orders["observers"]]
        self._looked_ns = 0
        self.overrun = 0  #: rows there was no room for
        if self._all:
            capacity = orders["observed_capacity"]
            self._rows = RowRing(directory / "observed", OBSERVED, capacity)

    def turn(self, now_ns: int) -> None:
        """Look at what has passed, if it is time to."""
        if now_ns - self._looked_ns < _LOOK_NS:
            return
        self._looked_ns = now_ns
        for observer in self._all:
            observer.went_down += observer.ring.fault() != 0
            self.overrun += observer.turn(self._rows)[1]

    def finish(self) -> None:
        """Take what has passed until now; a ring full is all that it can be."""
        for observer in self._all:
            left = observer.ring.slots
            while left > 0:
                seen, lost = observer.turn(self._rows)
                self.overrun += lost
                left = left - seen if seen else 0

    def report(self) -> dict[str, Any]:
        """What each looked at, by its name."""
        return {each.name: each.report() for each in self._all}


@dataclass(slots=True)
class Canary:
    """Bytes that are looked for in all that passes a port."""

    pattern: bytes
    found: int = 0  #: frames that hold them
    cut: int = 0  #: frames that were longer than what was captured of them
    first_ns: int | None = None  #: when the first such frame passed, by the kernel's stamp

    def search(self, batch: Batch) -> None:
        """Look at every captured byte of a batch, headers of the link aside."""
        width = batch.payload.shape[1]
        text = batch.payload.tobytes()
        self.cut += int(np.count_nonzero(batch.captured < batch.lengths))
        ends = np.minimum(batch.captured, width)
        last = -1
        at = text.find(self.pattern)
        while at >= 0:
            row, column = divmod(at, width)
            # Beyond a frame's end there may be what an earlier frame left behind.
            if row > last and column + len(self.pattern) <= ends[row]:
                last = row
                self.found += 1
                if self.first_ns is None and batch.kernel_ns[row] != NOT_TAKEN:
                    self.first_ns = int(batch.kernel_ns[row])
            following = (row + 1) * width if row == last else at + 1
            at = text.find(self.pattern, following)

    def report(self) -> dict[str, Any]:
        """As JSON values."""
        return {"found": self.found, "cut": self.cut, "first_ns": self.first_ns}


def inner_network_header(payload: NDArray[np.uint8], tunnels: NDArray[Any]) -> NDArray[np.int64]:
    """Where the user packet's network header starts, -1 where there is no user packet.

    In an Ethernet session that is behind the frame's own header, one VLAN tag seen through.
    """
    at = tunnels["inner_at"].astype(np.int64)
    frames = np.flatnonzero((at >= 0) & ~gtpu.carries_ip(payload, tunnels))
    if not len(frames):
        return at
    last = payload.shape[1] - 1
    kind = at[frames] + 12
    tagged = payload[frames, np.minimum(kind, last)] == 0x81
    tagged &= payload[frames, np.minimum(kind + 1, last)] == 0x00
    at[frames] += probe.ETHERNET_HEADER + np.where(tagged, probe.VLAN_TAG, 0)
    return at


_KEEP_ALL: Final[Sequence[linux.Instruction]] = ((linux.BPF_RET, 0, 0, linux.KEEP_ALL),)


def passing_filter(link: int, *, tunnelled: bool) -> tuple[linux.Instruction, ...]:
    """A classic BPF program that keeps what may hold a probe, so that other traffic costs little.

    That is UDP and the probe's own EtherType, or of tunnels UDP to the port of GTP-U.
    """
    keep = (linux.BPF_RET, 0, 0, linux.KEEP_ALL)
    drop = (linux.BPF_RET, 0, 0, 0)
    protocol = (linux.BPF_LD_HALF, 0, 0, _PROTOCOL_AT)
    if not tunnelled:
        return (
            protocol,
            (linux.BPF_JEQ, 6, 0, probe.ETHERTYPE),
            (linux.BPF_JEQ, 0, 2, linux.ETH_P_IP),
            (_LD_BYTE, 0, 0, link + 9),
            (linux.BPF_JEQ, 3, 4, _UDP),
            (linux.BPF_JEQ, 0, 3, _IPV6),
            (_LD_BYTE, 0, 0, link + 6),
            (linux.BPF_JEQ, 0, 1, _UDP),
            keep,
            drop,
        )
    return (
        protocol,
        (linux.BPF_JEQ, 0, 5, linux.ETH_P_IP),
        (_LD_BYTE, 0, 0, link + 9),
        (linux.BPF_JEQ, 0, 9, _UDP),
        (_LDX_IPV4_HEADER, 0, 0, link),
        (_LD_HALF_BEHIND, 0, 0, link + 2),
        (linux.BPF_JEQ, 5, 6, gtpu.UDP_PORT),
        (linux.BPF_JEQ, 0, 5, _IPV6),
        (_LD_BYTE, 0, 0, link + 6),
        (linux.BPF_JEQ, 0, 3, _UDP),
        (linux.BPF_LD_HALF, 0, 0, link + probe.IPV6_HEADER + 2),
        (linux.BPF_JEQ, 0, 1, gtpu.UDP_PORT),
        keep,
        drop,
    )
