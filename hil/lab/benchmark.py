"""Pacing, round trips and start beside other people's tools, on the same links in the same minute.

Needs a stage with `standard.NAMESPACES`.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.lab import floors, peers, standard
from hil.lab.row import Row, every, guarded, in_turn, under
from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.stats import quantile
from hil.traffic import Flow, Port, periodic, resolve_port, round_trip, run
from hil.traffic.sender import SPIN_NS
from hil.virtual import stage

_FAR: Final = "10.99.1.2"
_ECHO_PORT: Final = 7
_SECONDS: Final = 3
_MILLISECOND: Final = 1_000_000
_MOST_OFF_NS: Final = 5_000
_PACED_S: Final = 2
_ROUNDS: Final = 3
_IMPORT_S: Final = 0.10
_HELP_S: Final = 0.4
_STARTS: Final = 8


def rows() -> Iterator[Row]:
    """Every row, measured when it is asked for."""
    stage.veth(("near", "v0"), ("far", "v1"), 1)
    tx, rx = resolve_port("v0", "near"), resolve_port("v1", "far")
    for kilohertz in (1, 10):
        yield from guarded(
            f"pacing, {kilohertz} kHz",
            partial(_pacing, tx, rx, _MILLISECOND // kilohertz),
        )
    yield from guarded("round trip", partial(_round_trip, tx, rx))
    yield from guarded("two stamps", partial(_two_stamps, tx, rx))
    yield from guarded("token bucket", _token_bucket)
    yield from guarded("starting", _starting)


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
    count = _PACED_S * 10**9 // interval_ns
    skipped: list[int] = []
    empty: dict[str, list[int]] = {"C": [], "irtt": []}

    def ours() -> float:
        measured = _measured(_flow(tx, rx, count, interval_ns, 128))
        came = measured.samples["rx_kernel_ns"]
        skipped.append(count - measured.counts.received)
        return off_grid_ns(came[taken(came)], interval_ns)[0]

    def other(name: str, times: Callable[[], NDArray[np.int64]]) -> float:
        median, gaps = off_grid_ns(times(), interval_ns)
        empty[name].append(gaps)
        return median

    in_c = partial(peers.paced_times, tx, rx, 128, count, interval_ns, SPIN_NS)
    irtt = partial(peers.irtt_times, tx, rx, _FAR, interval_ns, _PACED_S)
    mine, found = in_turn(
        ours,
        {"C": partial(other, "C", in_c), "irtt --timer=busy": partial(other, "irtt", irtt)},
        _ROUNDS,
    )
    notes = [f"{sum(skipped)} of our {count * len(skipped):,} slots skipped"]
    notes += [f"{name} left {sum(gaps):,} slots empty" for name, gaps in empty.items() if gaps]
    notes += [
        f"{mine / peer:.2f} x {name}" for name, peer in found.items() if not isinstance(peer, str)
    ]
    return [
        Row(
            f"pacing error, {10**9 // interval_ns:,} Hz, median",
            "ns",
            "5 us, 1.5 x a sender in C, no worse than irtt --timer=busy; no slot skipped",
            mine,
            every(
                mine <= _MOST_OFF_NS and not any(skipped),
                under(mine, found["C"], 1.5),
                under(mine, found["irtt --timer=busy"], 1.0),
            ),
            found,
            tuple(notes),
        )
    ]


def _round_trip(tx: Port, rx: Port) -> list[Row]:
    """From user space to user space and back, by processes that sleep until a datagram comes."""

    def ours() -> float:
        with round_trip.server("far", _FAR, _ECHO_PORT):
            trips = round_trip.measure("near", _FAR, _ECHO_PORT, 1000 * _PACED_S, _MILLISECOND)
        return float(np.median(trips))

    mine, found = in_turn(
        ours,
        {
            "sockperf": partial(peers.sockperf_round_trip, tx, rx, _FAR, 1000, _PACED_S),
            "irtt": partial(peers.irtt_round_trip, tx, rx, _FAR, _MILLISECOND, _PACED_S),
        },
        _ROUNDS,
    )
    met = under(mine, found["sockperf"], 1.0)
    words = "round trip of two processes, 1,000 Hz, median"
    return [Row(words, "ns", "no worse than sockperf", mine, met, found)]


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


def _starting() -> list[Row]:
    """How long it takes until `hil` is there, beside the bare interpreter."""
    bare = _median_s([sys.executable, "-c", "pass"])
    loaded = _median_s([sys.executable, "-c", "import hil"])
    helped = _median_s([sys.executable, "-m", "hil", "--help"])
    return [
        Row(
            "import hil, over the bare interpreter",
            "ms",
            "100 ms",
            (loaded - bare) * 1e3,
            loaded - bare < _IMPORT_S,
        ),
        Row("hil --help", "ms", "400 ms", helped * 1e3, helped < _HELP_S),
    ]


def _median_s(words: list[str]) -> float:
    """How long a command takes, the median of some times, the first left out."""
    spans: list[float] = []
    for _ in range(_STARTS):
        start = time.monotonic()
        done = subprocess.run(words, capture_output=True, check=False)
        spans.append(time.monotonic() - start)
        if done.returncode:
            raise RigError(f"{' '.join(words)} failed: {done.stderr.decode()[-200:]}")
    return float(np.median(spans[1:]))
