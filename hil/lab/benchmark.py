"""The instrument beside other people's tools, on the same links in the same minute.

Needs a stage with `standard.NAMESPACES`. A row holds the figure of `hil`, those of its peers, and
whether the bar is met: None where a peer that the bar is made of did not run.
"""

from __future__ import annotations

import select
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import HilError
from hil.lab import floors, peers, standard
from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.stats import quantile
from hil.traffic import Flow, Port, linux, periodic, resolve_port, round_trip, run
from hil.traffic.linux import inside
from hil.traffic.ring import ReceiveRing
from hil.virtual import stage
from hil.wire import probe

_FAR: Final = "10.99.1.2"
_ECHO_PORT: Final = 7
_SECONDS: Final = 3
_MILLISECOND: Final = 1_000_000
_OURS: Final = 60_000  # frames of ours at full rate
_TRAFGEN: Final = 400_000
_SCAPY: Final = 3_000
_MOST_OFF_NS: Final = 5_000
_FLOOD: Final = 1_000_000
_SLOTS: Final = 1 << 17
_ARMING_S: Final = 0.06  # the kernel switches receive stamps on by a work queue
_LOOK_S: Final = 0.01
_OUR_FRAMES: Final = (
    (linux.BPF_LD_HALF, 0, 0, 12),
    (linux.BPF_JEQ, 0, 1, probe.ETHERTYPE),
    (linux.BPF_RET, 0, 0, linux.KEEP_ALL),
    *linux.DROP_ALL,
)


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: `ours` in `unit`, None where it could not be taken (`notes` say why).

    `peers` are figures of other tools in the same unit; a text says why there is none.
    """

    what: str
    unit: str
    bar: str
    ours: float | None
    met: bool | None
    peers: Mapping[str, float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def rows() -> Iterator[Row]:
    """Every row, measured when it is asked for."""
    stage.veth(("near", "v0"), ("far", "v1"), 1)
    tx, rx = resolve_port("v0", "near"), resolve_port("v1", "far")
    for wire in (64, 1518):
        yield from _guarded(f"frames/s, {wire} B", partial(_rates, tx, rx, wire - 4))
    yield from _guarded("frames of a flood received", partial(_received, tx, rx))
    for kilohertz in (1, 10):
        yield from _guarded(
            f"pacing, {kilohertz} kHz",
            partial(_pacing, tx, rx, _MILLISECOND // kilohertz),
        )
    yield from _guarded("round trip", partial(_round_trip, tx, rx))
    yield from _guarded("two stamps", partial(_two_stamps, tx, rx))
    yield from _guarded("token bucket", _token_bucket)


def _guarded(what: str, measure: Callable[[], list[Row]]) -> Iterator[Row]:
    """The rows of one measurement; one row that says why where it failed."""
    try:
        yield from measure()
    except HilError as error:
        yield Row(what, "", "", None, False, notes=(str(error),))


def _peer(measure: Callable[[], float]) -> float | str:
    try:
        return measure()
    except HilError as error:
        return str(error)


def _over(ours: float, peer: float | str, least: float) -> bool | None:
    """Whether ours is at least `least` times the peer's; None without a peer."""
    return None if isinstance(peer, str) else ours >= least * peer


def _all(*met: bool | None) -> bool | None:
    """False where one is False, else None where one is not known."""
    if False in met:
        return False
    return None if None in met else True


def _measured(flow: Flow) -> Measurement:
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        (measured,) = run([flow], directory=Path(directory))
    return measured


def _flow(tx: Port, rx: Port, count: int, interval_ns: int, size: int) -> Flow:
    return Flow(
        name="bench",
        tx=tx,
        rx=rx,
        planned=periodic(count, interval_ns, size),
        interval_ns=interval_ns or None,
    )


def _rates(tx: Port, rx: Port, size: int) -> list[Row]:
    """Frames a second at full rate, sent with every stamp, received without loss."""
    flow = _flow(tx, rx, _OURS, 0, size)
    ours = peers.received_rate(rx, lambda: _measured(flow))
    found: dict[str, float | str] = {
        "trafgen": _peer(
            lambda: peers.received_rate(rx, lambda: peers.trafgen(tx, rx, size, _TRAFGEN))
        ),
        "Scapy sendp": _peer(lambda: peers.scapy_rate(tx, rx, size, _SCAPY)),
    }
    return [
        Row(
            f"frames sent, {size + 4} B",
            "1/s",
            "1.0 x trafgen, 100 x Scapy sendp",
            ours,
            _all(_over(ours, found["trafgen"], 1.0), _over(ours, found["Scapy sendp"], 100.0)),
            found,
        )
    ]


def _received(tx: Port, rx: Port) -> list[Row]:
    """What the receiver's ring takes, with valid stamps, of a flood that trafgen sends."""
    flood = partial(peers.trafgen, tx, rx, 60, _FLOOD)
    seen: list[tuple[int, int]] = []
    rate = peers.received_rate(rx, lambda: seen.append(_ringed(rx, flood)))
    ((taken_in, unstamped),) = seen

    notes = [_share("hil", taken_in, rate) + f", {unstamped:,} without a stamp"]

    def tcpdump() -> float:
        count: list[int] = []
        speed = peers.received_rate(rx, lambda: count.append(peers.tcpdump_captured(rx, flood)))
        notes.append(_share("tcpdump", count[0], speed))
        return speed * count[0] / _FLOOD

    ours, peer = rate * taken_in / _FLOOD, _peer(tcpdump)
    return [
        Row(
            "frames of a flood received with a stamp, 64 B",
            "1/s",
            "300,000/s and no less than tcpdump; every stamp valid",
            ours,
            _all(ours >= 300_000 and not unstamped, _over(ours, peer, 1.0)),
            {"tcpdump": peer},
            tuple(notes),
        )
    ]


def _share(who: str, frames: int, rate: float) -> str:
    return f"{who} took {frames:,} of {_FLOOD:,} frames that came at {rate:,.0f}/s"


def _ringed(port: Port, send: Callable[[], object]) -> tuple[int, int]:
    """Frames that a ring of 32 MiB took while `send` ran, and how many had no stamp."""
    with inside(port.namespace):
        ring = ReceiveRing(port.interface, _OUR_FRAMES, 64, _SLOTS)
    over = threading.Event()
    faults: list[HilError] = []

    def offer() -> None:
        try:
            send()
        except HilError as error:
            faults.append(error)
        finally:
            over.set()

    frames = unstamped = 0
    sender = threading.Thread(target=offer)
    with ring.sock:
        time.sleep(_ARMING_S)
        sender.start()
        while True:
            last = over.is_set()
            batch = ring.take()
            if batch is not None:
                frames += len(batch.lengths)
                unstamped += int((~taken(batch.kernel_ns)).sum())
            elif last:
                break
            else:
                select.select([ring.sock], [], [], _LOOK_S)
    sender.join()
    if faults:
        raise faults[0]
    return frames, unstamped


def off_grid_ns(times_ns: NDArray[np.int64], interval_ns: int) -> tuple[float, int]:
    """Median distance from the best grid of that interval, and how many of its slots stay empty.

    The grid lies where the median packet is on it; each packet belongs to the slot nearest to it.
    """
    since = times_ns - times_ns[0]
    turns = np.exp(2j * np.pi * (since % interval_ns) / interval_ns)
    phase = round(float(np.angle(turns.mean())) / (2 * np.pi) * interval_ns)
    slots = np.rint((since - phase) / interval_ns).astype(np.int64)
    error = since - phase - slots * interval_ns
    away = np.abs(error - np.median(error))
    empty = int(slots.max() - slots.min()) + 1 - int(np.unique(slots).size)
    return float(np.median(away)), empty


def _pacing(tx: Port, rx: Port, interval_ns: int) -> list[Row]:
    """How far from its grid a packet reaches the far port, by the kernel's stamps there."""
    count = _SECONDS * 10**9 // interval_ns
    measured = _measured(_flow(tx, rx, count, interval_ns, 128))
    came = measured.samples["rx_kernel_ns"]
    ours, _ = off_grid_ns(came[taken(came)], interval_ns)
    skipped = count - measured.counts.received
    notes = [f"{skipped} of our {count:,} slots skipped"]

    def irtt() -> float:
        times = peers.irtt_times(tx, rx, _FAR, interval_ns, _SECONDS)
        median, empty = off_grid_ns(times, interval_ns)
        notes.append(f"irtt left {empty:,} slots empty")
        return median

    peer = _peer(irtt)
    best = None if isinstance(peer, str) else ours <= peer
    return [
        Row(
            f"pacing error, {10**9 // interval_ns:,} Hz, median",
            "ns",
            "5 us, and no worse than irtt --timer=busy; no slot skipped",
            ours,
            _all(ours <= _MOST_OFF_NS and skipped == 0, best),
            {"irtt --timer=busy": peer},
            tuple(notes),
        )
    ]


def _round_trip(tx: Port, rx: Port) -> list[Row]:
    with round_trip.server("far", _FAR, _ECHO_PORT):
        trips = round_trip.measure("near", _FAR, _ECHO_PORT, 1000 * _SECONDS, _MILLISECOND)
    ours = float(np.median(trips))
    found: dict[str, float | str] = {
        "sockperf": _peer(lambda: peers.sockperf_round_trip(tx, rx, _FAR, 1000, _SECONDS)),
        "irtt": _peer(lambda: peers.irtt_round_trip(tx, rx, _FAR, _MILLISECOND, _SECONDS)),
    }
    best = found["sockperf"]
    met = None if isinstance(best, str) else ours <= best
    words = "round trip of two processes, 1,000 Hz, median"
    return [Row(words, "ns", "no worse than sockperf", ours, met, found)]


def _two_stamps(tx: Port, rx: Port) -> list[Row]:
    apart = floors.artefact(tx, rx, 1000 * _SECONDS)
    made: list[Row] = []
    for share, bar in ((0.5, 1_000), (0.999, 5_000)):
        figure = quantile.nearest_rank(apart, share)
        made.append(
            Row(
                f"two kernel stamps of one veth call (an artefact), p{share * 100:g}",
                "ns",
                f"{bar / 1000:g} us",
                None if figure is None else float(figure),
                figure is not None and figure <= bar,
            )
        )
    return made


def _token_bucket() -> list[Row]:
    found = standard.measure(*standard.build())
    off = (found.slope_ns / found.predicted_slope_ns - 1) * 1e6
    return [
        Row(
            "slope of the serialisation standard, off by",
            "ppm",
            "within its uncertainty",
            off,
            found.agrees,
            notes=(found.sentence,),
        )
    ]


def as_json(row: Row) -> dict[str, Any]:
    """One row as JSON values; a peer without a figure is its reason."""
    return {
        "what": row.what,
        "unit": row.unit,
        "ours": row.ours,
        "peers": dict(row.peers),
        "bar": row.bar,
        "met": row.met,
        "notes": list(row.notes),
    }
