"""The three floors of the instrument (docs/explanation/method.md), never one for another.

(a) The distance of two stamps in one call of a veth: an artefact, it proves that the kernel's
stamps are used. (b) The round trip between two processes: what sockperf and irtt give. (c) A
store-and-forward hop or a wire between the very ports that are to measure: the only one that enters
an uncertainty. (a) and (b) are taken on a private stage (`hil.virtual.stage`) by this
module as a program, which prints one JSON object.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import HilError, RigError, UsageError
from hil.samples import metrics
from hil.samples.measurement import Measurement, Timing
from hil.samples.table import taken
from hil.traffic import Flow, Port, periodic, resolve_port, round_trip, run
from hil.traffic.floor import VETH_SAYS_NOTHING
from hil.units import format_duration
from hil.virtual import stage
from hil.wire.trailer import FORMATS

_INTERVAL_NS: Final = 1_000_000
_PACKETS: Final = 1_000
_UDP_PORT: Final = 7

#: More than a hop: 1514 B stored and forwarded at 10 Mbit/s takes 1.2 ms, at any faster rate less.
_SLOWEST_NS: Final = 2_000_000


def refuse(tx: Port, rx: Port) -> None:
    """Raises UsageError, one sentence, where floor (c) cannot be taken between these ports."""
    for port in (tx, rx):
        if port.host is not None:
            raise UsageError(
                f"port {port.name} is on another host, and a floor belongs to the host that takes "
                f"it: calibrate there"
            )
    if tx.touches(rx):
        raise UsageError(
            f"{tx.name} and {rx.name} are ends of one veth pair: both stamps of a frame are taken "
            f"in one call, which is an artefact and no floor; put a store-and-forward hop between "
            f"them (a bridge), or calibrate the ports that are to measure"
        )
    if (tx.driver == "veth") != (rx.driver == "veth"):
        veth, other = (tx, rx) if tx.driver == "veth" else (rx, tx)
        raise UsageError(f"{veth.name} is a veth and {other.name} is not: {VETH_SAYS_NOTHING}")
    for port in (tx, rx):
        if port.kind != "ethernet":
            raise UsageError(
                f"{port.name} carries bare IP, so no wire can join it to {rx.name}: calibrate two "
                f"Ethernet ports"
            )
        if port.tap is not None and FORMATS[port.tap].sealed:
            raise UsageError(
                f"a tap stands before {port.name}: there the floor is observed in every run, from "
                f"the tap's ingress and the kernel's stamp of the same frame"
            )


def hop(tx: Port, rx: Port, *, size: int, count: int, launcher: Sequence[str] = ()) -> Measurement:
    """Measures what joins two ports.

    Raises: as `hil.traffic.run`, and UsageError as `refuse`.
    """
    refuse(tx, rx)
    flow = hop_flow(tx, rx, size, count)
    with tempfile.TemporaryDirectory(prefix="hil-calibrate-") as directory:
        (measured,) = run([flow], directory=Path(directory), launcher=launcher)
    return measured


def hop_flow(tx: Port, rx: Port, size: int, count: int) -> Flow:
    """What `hop` offers: a packet each millisecond."""
    return Flow(
        name="calibrate",
        tx=tx,
        rx=rx,
        planned=periodic(count, _INTERVAL_NS, size),
        interval_ns=_INTERVAL_NS,
        traffic={"pattern": "periodic", "layer": "ethernet", "size": size, "count": count},
    )


def floor_of(measured: Measurement) -> NDArray[np.int64]:
    """Floor (c) as sorted magnitudes: the whole delay over the hop, of which nothing is a network.

    The time on the wire is included; it makes the floor larger, never smaller. Where a passive tap
    stands before the receiving port, the floor is that of the kernel's stamps, which is what its
    clock is mapped through.

    Raises: RigError where what was measured is no floor.
    """
    counts = measured.counts
    if measured.invalid:
        raise RigError(f"no floor: {'; '.join(measured.invalid)}")
    spoilt = counts.lost + counts.corrupted + counts.duplicated
    if spoilt or not measured.complete:
        raise RigError(
            f"no floor: of {counts.sent:,} packets {counts.lost:,} were lost, "
            f"{counts.corrupted:,} corrupted and {counts.duplicated:,} duplicated; join the ports "
            f"by a cable or one hop that carries nothing else"
        )
    timing = measured.timing
    if timing.rx == "trailer":
        timing = Timing("kernel", "kernel")
    if timing not in (Timing("kernel", "kernel"), Timing("hardware", "hardware")):
        raise RigError("no floor: neither kernel nor card gave stamps on both ports")
    delay = metrics.delay_ns(measured.samples, timing)
    found = np.sort(np.abs(delay[taken(delay)]))
    if 100 * found.size < 99 * counts.sent:
        raise RigError(f"no floor: {counts.sent - found.size:,} packets have no stamps")
    median = int(found[found.size // 2])
    if median > _SLOWEST_NS:
        raise RigError(
            f"no floor: half of the packets take more than {format_duration(median)}, so more than "
            f"one hop lies between {measured.tx_port} and {measured.rx_port}; join them by a cable"
        )
    return found


def own_floors() -> dict[str, Any]:
    """Floors (a) and (b) in nanoseconds, taken by a process on a stage of its own.

    Keys ``artefact`` and ``round_trip``, sorted lists.

    Raises: RigError when it fails; the sentence says why.
    """
    words = stage.command(("near", "far"), [sys.executable, "-m", __name__])
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip() or "no reason given").splitlines()[-1]
        raise RigError(f"floors (a) and (b) were not measured: {last}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def artefact(near: Port, far: Port, count: int = _PACKETS, size: int = 128) -> NDArray[np.int64]:
    """Floor (a): sorted distances of the two kernel stamps of each packet over one veth pair."""
    with tempfile.TemporaryDirectory(prefix="hil-calibrate-") as directory:
        (measured,) = run([hop_flow(near, far, size, count)], directory=Path(directory))
    delay = measured.delay_ns
    return np.sort(delay[taken(delay)])


def main() -> int:
    """Take floors (a) and (b) and print them."""
    try:
        stage.veth(("near", "v0"), ("far", "v1"), 1)
        stamps = artefact(resolve_port("v0", "near"), resolve_port("v1", "far"))
        with round_trip.server("far", "10.99.1.2", _UDP_PORT):
            trips = round_trip.measure("near", "10.99.1.2", _UDP_PORT, _PACKETS, _INTERVAL_NS)
    except HilError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps({"artefact": stamps.tolist(), "round_trip": sorted(trips)}))
    return 0


if __name__ == "__main__":
    sys.exit(main())
