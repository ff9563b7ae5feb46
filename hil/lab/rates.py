"""How many frames a second are sent and received, beside trafgen, Scapy and dumpcap.

Needs a stage with `standard.NAMESPACES`. The referee of rates is the counter of the receiving
interface. What is received is offered by the sender process at a rate that is searched for.
"""

from __future__ import annotations

import contextlib
import select
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

from hil.clock import Deadline
from hil.errors import HilError, RigError
from hil.lab import peers
from hil.lab.row import Row, attempted, every, guarded, in_turn, over
from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.targets.traffic import Burst
from hil.traffic import Flow, Port, linux, periodic, resolve_port, run
from hil.traffic.linux import inside
from hil.traffic.orders import private_directory, room_for, write_orders
from hil.traffic.process import Child
from hil.traffic.ring import ReceiveRing
from hil.traffic.watch import realtime_offset_ns
from hil.virtual import stage
from hil.wire import probe

_ROUNDS: Final = 2
_FRAMES: Final = 300_000
_SCAPY: Final = 3_000
_SLOTS: Final = 1 << 17
_ARMING_S: Final = 0.06  # the kernel switches receive stamps on by a work queue
_LOOK_S: Final = 0.01
_START_NS: Final = 100_000_000
_END_NS: Final = 20_000_000_000
_LEAST_RATE: Final = 300_000
_FASTEST: Final = 1_000_000  # frames a second: more than any sender here
_SLOWEST: Final = 100_000
_STEPS: Final = 4
_REACHED: Final = 0.95  # of a rate asked for; below, the sender is the limit
_SECONDS: Final = 3
_IMAGE: Final = 5_000_000
_IMAGE_NS: Final = 40_000_000
_OUR_FRAMES: Final = (
    (linux.BPF_LD_HALF, 0, 0, 12),
    (linux.BPF_JEQ, 0, 1, probe.ETHERTYPE),
    (linux.BPF_RET, 0, 0, linux.KEEP_ALL),
    *linux.DROP_ALL,
)


def rows() -> Iterator[Row]:
    """Every row, measured when it is asked for."""
    stage.veth(("near", "v0"), ("far", "v1"), 1)
    tx, rx = resolve_port("v0", "near"), resolve_port("v1", "far")
    for wire in (64, 1518):
        yield from guarded(f"frames sent, {wire} B", partial(_sending, tx, rx, wire - 4))
    yield from guarded("frames received", partial(_receiving, tx, rx))
    yield from guarded("images", partial(_images, tx, rx))


def _flow(tx: Port, rx: Port, size: int, count: int, interval_ns: int, *, stamped: bool) -> Flow:
    planned = periodic(count, 1, size)
    # A rate of hundreds of thousands a second has no whole number of nanoseconds between frames.
    planned["offset_ns"] = np.arange(count) * interval_ns // 1000
    return Flow(name="bench", tx=tx, rx=rx, planned=planned, stamped=stamped)


def offer(flow: Flow) -> int:
    """Let the sender process offer a flow to whoever listens; how many frames have a TX stamp.

    Raises: RigError when it does not end, or a frame was refused.
    """
    with contextlib.ExitStack() as stack:
        with private_directory(room_for([flow])) as shared:
            orders = write_orders(shared, [flow], 1, 0, launched=False)
            sender = stack.enter_context(
                contextlib.closing(Child("hil.traffic.sender", orders.sender, ()))
            )
            sender.expect("ready")
        start = time.monotonic_ns() + _START_NS
        sender.send({"go": start + realtime_offset_ns(), "start": start})
        deadline = Deadline.after(_END_NS)
        while not deadline.passed:
            for line in sender.hear(deadline.left_s):
                if done := line.get("done"):
                    if done["refused"] or done["overrun"]:
                        raise RigError(f"the sender did not send all: {done}")
                    sent = orders.sent.peek(0, orders.sent.written)
                    return int(taken(sent["tx_kernel_ns"]).sum())
    raise RigError("the sender did not end in time")


def _sending(tx: Port, rx: Port, size: int) -> list[Row]:
    """Frames a second of the sender process at full rate, with nobody listening, as trafgen."""
    made: list[Row] = []
    for stamped in (False, True):
        flow = _flow(tx, rx, size, _FRAMES, 0, stamped=stamped)
        stamps: list[int] = []

        def send(flow: Flow = flow, stamps: list[int] = stamps) -> None:
            stamps.append(offer(flow))

        ours, found = in_turn(
            partial(peers.received_rate, rx, send),
            {
                "trafgen": lambda: peers.received_rate(
                    rx, lambda: peers.trafgen(tx, rx, size, _FRAMES)
                ),
                "Scapy sendp": partial(peers.scapy_rate, tx, rx, size, _SCAPY),
            },
            _ROUNDS,
        )
        kind = "measured, every TX stamp taken" if stamped else "load, each frame numbered"
        made.append(
            Row(
                f"frames sent, {size + 4} B, {kind}",
                "1/s",
                "1.0 x trafgen, 100 x Scapy sendp",
                ours,
                every(
                    over(ours, found["trafgen"], 1.0),
                    over(ours, found["Scapy sendp"], 100.0),
                    min(stamps) == (_FRAMES if stamped else 0),
                ),
                found,
                tuple(
                    f"{ours / peer:.2f} x {name}"
                    for name, peer in found.items()
                    if not isinstance(peer, str)
                ),
            )
        )
    return made


#: One trial at a rate asked for: the rate reached, and whether nothing was lost.
Trial = Callable[[int], tuple[float, bool]]


def highest_lossless(trial: Trial) -> tuple[float, bool]:
    """The highest rate reached in a trial without loss, and whether the sender set that limit.

    The first trial asks for more than the sender has; then the interval between the highest rate
    without loss and the lowest with loss is halved, in proportion.

    Raises: RigError when no trial is without loss.
    """
    best, low, high, asked = 0.0, float(_SLOWEST), float(_FASTEST), float(_FASTEST)
    for _ in range(_STEPS):
        reached, whole = trial(round(asked))
        if whole:
            best, low = max(best, reached), asked
            if reached < _REACHED * asked:
                return best, True
        else:
            high = asked
        asked = float(np.sqrt(low * high))
    if not best:
        raise RigError(f"frames were lost at each rate, down to {asked:,.0f}/s")
    return best, False


def _offered(tx: Port, rx: Port, rate: int, count: int) -> Flow:
    return _flow(tx, rx, 60, count, round(1e12 / rate), stamped=False)


def _receiving(tx: Port, rx: Port) -> list[Row]:
    """The highest rate at which nothing is lost: of the ring, of dumpcap, of a whole run."""
    notes: list[str] = []

    def searched(who: str, trial: Trial) -> float:
        rate, sender = highest_lossless(trial)
        limit = "the sender had no more" if sender else "frames were lost above it"
        notes.append(f"{who}: {rate:,.0f}/s; {limit}")
        return rate

    def ring(rate: int) -> tuple[float, bool]:
        flow, seen = _offered(tx, rx, rate, _FRAMES), [(0, 0)]

        def listen() -> None:
            seen[0] = _ringed(rx, lambda: offer(flow))

        reached = peers.received_rate(rx, listen)
        return reached, seen[0] == (_FRAMES, 0)

    def dumpcap(rate: int) -> tuple[float, bool]:
        flow, seen = _offered(tx, rx, rate, _FRAMES), [0]

        def listen() -> None:
            seen[0] = peers.dumpcap_captured(rx, lambda: offer(flow))

        reached = peers.received_rate(rx, listen)
        return reached, seen[0] == _FRAMES

    def whole(rate: int) -> tuple[float, bool]:
        found: list[Measurement] = []
        flow = _offered(tx, rx, rate, _FRAMES)
        with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
            found += run([flow], directory=Path(directory), warm_up=0)
        samples = found[0].samples
        came = samples["rx_kernel_ns"][taken(samples["rx_kernel_ns"])]
        span = int(came.max() - came.min()) if came.size else 1
        return came.size * 1e9 / span, came.size == _FRAMES and not found[0].invalid

    ours, found = in_turn(
        partial(searched, "ring of hil", ring),
        {"dumpcap": partial(searched, "dumpcap", dumpcap)},
        _ROUNDS,
    )
    judged = attempted(partial(searched, "whole run of hil", whole))
    return [
        Row(
            "highest lossless receive with every stamp valid, 64 B, ring",
            "1/s",
            "300,000/s and no less than dumpcap",
            ours,
            every(ours >= _LEAST_RATE, over(ours, found["dumpcap"], 1.0)),
            found,
            tuple(notes),
        ),
        Row(
            "highest lossless receive with every stamp valid, 64 B, whole run, each frame judged",
            "1/s",
            "300,000/s",
            None if isinstance(judged, str) else judged,
            not isinstance(judged, str) and judged >= _LEAST_RATE,
            notes=(judged,) if isinstance(judged, str) else (),
        ),
    ]


def _ringed(port: Port, send: Callable[[], object]) -> tuple[int, int]:
    """Frames that a ring took while `send` ran, and how many had no stamp."""
    with inside(port.namespace):
        ring = ReceiveRing(port.interface, _OUR_FRAMES, 64, _SLOTS)
    over_now = threading.Event()
    faults: list[HilError] = []

    def sending() -> None:
        try:
            send()
        except HilError as error:
            faults.append(error)
        finally:
            over_now.set()

    frames = unstamped = 0
    sender = threading.Thread(target=sending)
    with ring.sock:
        time.sleep(_ARMING_S)
        sender.start()
        while True:
            last = over_now.is_set()
            batch = ring.take()
            if batch is not None:
                frames += len(batch.lengths)
                unstamped += int((~taken(batch.kernel_ns)).sum())
            elif last:
                break
            elif frames:
                time.sleep(_LOOK_S)
            else:
                select.select([ring.sock], [], [], _LOOK_S)
    sender.join()
    if faults:
        raise faults[0]
    return frames, unstamped


def _images(tx: Port, rx: Port) -> list[Row]:
    """Images back to back, 1 Gbit/s on average, through a whole run."""
    image = Burst.model_validate(
        {
            "layer": "ethernet",
            "packet_size": "1514 B",
            "frame_size": f"{_IMAGE} B",
            "interval": f"{_IMAGE_NS} ns",
        }
    )
    planned = image.schedule(count=_SECONDS * 10**9 // _IMAGE_NS)
    flow = Flow(name="images", tx=tx, rx=rx, planned=planned, interval_ns=_IMAGE_NS)
    with tempfile.TemporaryDirectory(prefix="hil-bench-") as directory:
        (found,) = run([flow], directory=Path(directory))
    left, came = found.samples["tx_kernel_ns"], found.samples["rx_kernel_ns"]
    count, both = len(left), int((taken(left) & taken(came)).sum())
    gone = left[taken(left)]
    span = int(gone.max() - gone.min()) + _IMAGE_NS // 2 if gone.size else 1
    rate = float(found.samples["size"].sum()) * 8e3 / span
    lost = found.counts.lost + found.counts.corrupted
    whole = both == count and not lost and not found.invalid
    return [
        Row(
            "image bursts of 1514 B, sent and received",
            "Mbit/s",
            "1,000 Mbit/s, nothing lost by us, every stamp on both sides",
            rate,
            whole and rate >= 1_000,
            notes=(
                f"{count:,} packets, {lost:,} lost, {both:,} with both stamps",
                *found.invalid,
            ),
        )
    ]
