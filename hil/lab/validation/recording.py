"""A run without any I/O: what sender and receiver would have seen of packets through the cell.

Sending times are drawn, the model of the cell decides when each packet is released, a fault list
says what else happens to it, and the frames are written byte by byte, trailers included. What reads
them is the instrument's own: matching, clock map, accounting. So the whole way from bytes to a
figure is tried, apart from sockets and stamps, which `in_world` tries.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.drivers.registry import Registry
from hil.errors import RigError
from hil.samples import accounting
from hil.samples.measurement import Budget, Measurement, Timing
from hil.samples.table import PLANNED, SENT, Table, blank
from hil.samples.trailer_clock import fit_trailer_map, observed_floor_ns
from hil.testbed import Testbed, load
from hil.traffic.match import Expected, Matcher, Shape
from hil.traffic.ring import Batch
from hil.virtual import replay
from hil.virtual.faults.fault_list import Corrupt, Delay, Drop, Duplicate, FaultList, Swap
from hil.virtual.topology import topology
from hil.virtual.userplane_clock import CellClock
from hil.wire import probe, trailer

RUN: Final = 0x0123_4567_89AB_CDEF
FLOW: Final = 1
LENGTH: Final = 100  #: of a frame after its link header, without a trailer
SIZE: Final = LENGTH + probe.ETHERNET_HEADER
INTERVAL_NS: Final = 1_000_000
START_NS: Final = 1_790_000_001_000_000_000
WARM_UP: Final = 20
COMMON_MODE_NS: Final = 1_000
_COPY_AFTER_NS: Final = 1_000
_WARM_UP_GAP_NS: Final = 60_000_000


def template() -> NDArray[np.uint8]:
    """The bytes of a frame after its link header, zeros where the probe goes."""
    row = (np.arange(LENGTH) * 167 + 29).astype(np.uint8)
    row[: probe.SIZE] = 0
    return row


def calm() -> Testbed:
    """The default testbed with a channel that does not fade: what varies is drawn here."""
    bench = load("virtual", Registry())
    assert bench.world is not None
    radio = bench.world.radio.model_copy(update={"shadowing_db": 0.0, "blockage": False})
    return bench.model_copy(update={"world": bench.world.model_copy(update={"radio": radio})})


@dataclass(frozen=True, slots=True)
class Recording:
    """What the two ends of one flow saw; nothing in it says what was done to the packets."""

    offset_ns: NDArray[np.int64]
    sent: Table
    payload: NDArray[np.uint8]
    lengths: NDArray[np.int64]
    kernel_ns: NDArray[np.int64]

    def save(self, path: Path) -> None:
        """Write it as an npz file."""
        np.savez(path, **{each.name: getattr(self, each.name) for each in fields(self)})

    @classmethod
    def read(cls, path: Path) -> Recording:
        """The one in a file."""
        with np.load(path) as held:
            return cls(**{each.name: held[each.name] for each in fields(cls)})

    @property
    def planned(self) -> Table:
        """The plan of the flow."""
        rows = np.zeros(len(self.offset_ns), PLANNED)
        rows["seq"] = rows["frame"] = np.arange(len(rows))
        rows["size"], rows["offset_ns"] = SIZE, self.offset_ns
        return rows

    def arrived(self) -> tuple[Table, int, int]:
        """The rows that the receiver makes of the frames; foreign frames; warm-up frames."""
        must = np.ones(LENGTH, np.bool_)
        must[: probe.SIZE] = False
        expected = Expected(
            flow=FLOW,
            probe_at=0,
            ethernet=True,
            udp_port=None,
            routed=False,
            offsets_ns=self.offset_ns,
            shapes={LENGTH: Shape(SIZE, template(), must)},
        )
        matcher = Matcher(RUN, [expected], trailer.FORMATS["hil"])
        matcher.start_ns = START_NS
        captured = np.minimum(self.lengths, self.payload.shape[1])
        batch = Batch(
            payload=self.payload,
            lengths=self.lengths,
            captured=captured,
            kernel_ns=self.kernel_ns,
        )
        found = matcher.match(batch, int(self.kernel_ns[-1]) if len(self.kernel_ns) else 0)
        return found.rows, found.foreign, found.warm_up

    def measurement(self) -> Measurement:
        """The measurement that the instrument makes of it."""
        arrived, foreign, _ = self.arrived()
        samples, counts = accounting.join(
            self.planned,
            self.sent,
            arrived,
            flow=FLOW,
            trailer_map=fit_trailer_map(self.sent, arrived, flow=FLOW),
            expected=accounting.Expected(rx=("trailer", "kernel")),
            ports=accounting.PortCounts(warmup_sent=WARM_UP, foreign=foreign),
        )
        return Measurement(
            id="recorded-0",
            flow="recorded",
            path="device-edge",
            direction="uplink",
            tx_port="lan_a",
            rx_port="mec",
            traffic={},
            interval_ns=INTERVAL_NS,
            samples=samples,
            counts=counts,
            timing=Timing("kernel", "trailer"),
            budget=Budget(
                common_mode_ns=COMMON_MODE_NS,
                floor_ns=observed_floor_ns(samples),
                sources=("the tap's ingress against the TX stamp of the same frame",),
            ),
            simulated=True,
        )


@dataclass(frozen=True, slots=True)
class Done:
    """What was done: each frame that came out, in order, and whether it is as it was sent."""

    seq: NDArray[np.int64]
    intact: NDArray[np.bool_]
    left_ns: NDArray[np.int64]  #: on the host's clock, without the lateness of the real delivery
    entered_ns: NDArray[np.int64]  #: when each packet reached the cell, by sequence


def record(
    bench: Testbed,
    random: np.random.Generator,
    faults: FaultList,
    *,
    count: int,
    drift_ppb: int = 3_000,
    strangers: int = 0,
) -> tuple[Recording, Done]:
    """Send `count` packets, one each millisecond at a phase of its own, through the model.

    Args:
        bench: a testbed with a world.
        random: draws sending times, latenesses and the model's seed.
        faults: what happens to each packet; stalls of the sender are not made.
        count: packets.
        drift_ppb: of the cell's clock against the host's.
        strangers: frames of our kind that belong to another run, strewn in.

    Raises: RigError when the model itself loses a packet.
    """
    offset = np.arange(count) * INTERVAL_NS + random.integers(0, INTERVAL_NS, count)
    sent = blank(SENT, count)
    sent["flow"], sent["seq"], sent["flags"] = FLOW, np.arange(count), 0
    sent["intended_ns"] = START_NS + offset
    late = random.gamma(2.0, 4_000.0, count).astype(np.int64)
    sent["tx_user_ns"] = sent["intended_ns"] + late
    sent["tx_kernel_ns"] = (
        sent["tx_user_ns"] + 2_000 + random.gamma(2.0, 300.0, count).astype(np.int64)
    )
    clock = CellClock(START_NS - 10**9, drift_ppb)
    entered = sent["tx_kernel_ns"] + 200 + random.gamma(1.5, 100.0, count).astype(np.int64)
    ingress = clock.of_host(entered)
    release = _released(bench, ingress, clock, int(random.integers(1, 1 << 31)))
    seq, payload, left, intact = _frames(faults, release, sent["intended_ns"])
    order = np.argsort(left, kind="stable")
    seq, payload, left, intact = seq[order], payload[order], left[order], intact[order]
    lateness = random.exponential(30_000.0, len(left)).astype(np.int64)
    came = np.maximum.accumulate(clock.to_host(left) + lateness) if len(left) else left
    _mark(payload, left, ingress[seq], came - clock.to_host(left))
    warm = _probes(np.zeros(WARM_UP, np.uint64), START_NS - _WARM_UP_GAP_NS, probe.WARM_UP)
    others = _probes(np.arange(strangers, dtype=np.uint64), START_NS, 0, run=RUN ^ 1)
    payload = np.concatenate([warm, payload, others])
    recording = Recording(
        offset_ns=offset,
        sent=sent,
        payload=payload,
        lengths=np.full(len(payload), LENGTH + trailer.SIZE, np.int64),
        kernel_ns=np.concatenate(
            [
                START_NS - _WARM_UP_GAP_NS + np.arange(WARM_UP, dtype=np.int64) * 1000,
                came,
                np.full(strangers, int(came[-1]) if len(came) else START_NS, np.int64),
            ]
        ),
    )
    return recording, Done(seq, intact, clock.to_host(left), entered)


def _probes(
    seq: NDArray[np.uint64], intended_ns: Any, flags: int, run: int = RUN
) -> NDArray[np.uint8]:
    """Frames with probes, with room for a trailer behind."""
    rows = np.zeros((len(seq), LENGTH + trailer.SIZE), np.uint8)
    rows[:, :LENGTH] = template()
    if len(seq):
        rows[:, : probe.SIZE] = probe.encode(run, FLOW, seq, intended_ns, flags)
    return rows


def _released(
    bench: Testbed, ingress: NDArray[np.int64], clock: CellClock, seed: int
) -> NDArray[np.int64]:
    """When the model lets each packet out, on the cell's clock."""
    numbers = {each.name: each.number for each in topology(bench).attachments}
    rows = np.zeros(len(ingress), replay.ARRIVAL)
    rows["at_ns"], rows["size"], rows["expected"] = ingress, SIZE, -1
    rows["source"], rows["to"] = numbers["lan_a"], numbers["mec"]
    done = replay.replay(bench, replay.Arrivals(rows, clock, []), seed=seed).outcomes
    if (done["reason"] > 0).any() or (done["tag"] < 0).any():
        raise RigError("the calm cell lost a packet of its own")
    return np.asarray(done["at_ns"], np.int64)


def _frames(
    faults: FaultList, release: NDArray[np.int64], intended_ns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.uint8], NDArray[np.int64], NDArray[np.bool_]]:
    """The frames that come out: sequence, bytes, release on the cell's clock, whether intact."""
    count = len(release)
    left = release + faults.delay_ns
    copies = np.ones(count, np.int64)
    wrong: list[tuple[int, int]] = []
    for packet, each in faults.by_packet().items():
        if packet >= count:
            continue
        if isinstance(each, Drop):
            copies[packet] = 0
        elif isinstance(each, Duplicate):
            copies[packet] = 2
        elif isinstance(each, Delay):
            left[packet] += each.by_ns
        elif isinstance(each, Corrupt):
            wrong.append((packet, each.byte))
        elif isinstance(each, Swap) and packet + 1 < count:
            left[packet] = left[packet + 1] + _COPY_AFTER_NS
    seq = np.repeat(np.arange(count), copies)
    payload = _probes(seq.astype(np.uint64), intended_ns[seq], 0)
    intact = np.ones(len(seq), np.bool_)
    for packet, byte in wrong:
        place = byte if byte < 0 else byte - probe.ETHERNET_HEADER
        payload[seq == packet, place % LENGTH] ^= 0xFF
        intact[seq == packet] = False
    left = left[seq]
    left[1:] += np.where(seq[1:] == seq[:-1], _COPY_AFTER_NS, 0)
    return seq, payload, left, intact


def _mark(
    payload: NDArray[np.uint8],
    left: NDArray[np.int64],
    ingress: NDArray[np.int64],
    lateness: NDArray[np.int64],
) -> None:
    """Write the trailers behind the frames, as the cell does."""
    if len(payload):
        marks = trailer.encode(left, left - ingress, lateness, np.arange(len(left)))
        payload[:, LENGTH:] = marks.view(np.uint8).reshape(len(left), -1)
