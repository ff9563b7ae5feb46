"""The uncertainty of the delays of a run, drawn up from what was observed, calibrated or stated."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.measurement import Budget, Timing
from hil.samples.table import SPOILED, Table, taken
from hil.samples.trailer_clock import TrailerMap, observed_floor_ns
from hil.traffic.flow import Flow
from hil.traffic.sources import SAME_INSTANT_NS
from hil.traffic.stamping import Stamping
from hil.units import format_duration

#: Half-widths of the error of a software stamp that was not calibrated, as assumed (JCGM 100 4.3).
_VETH_NS: Final = 5_000
_NIC_NS: Final = 50_000
_HOP_NS: Final = 1_000
_CARD_NS: Final = 1_000  # of a stamp of a network card: PHY and cable before it


def draw_up(
    flow: Flow,
    samples: Table,
    timing: Timing,
    maps: tuple[TrailerMap | None, Stamping],
    receiver: Mapping[str, Any],
) -> Budget:
    """The uncertainty budget of a run; `receiver` is the last report of its receiver process.

    `maps` say how a tap's clock and those of the network cards were brought together with others.
    """
    clock_map, cards = maps
    floor: NDArray[np.int64] | None = None
    if timing.tx == "hardware":
        half, words = _rate(samples, timing, cards.rate_ppm)
        halves, sources = [half, cards.half_ns], [f"rate of the network card's clock: {words}"]
        sources.append(
            "both stamps by one clock of a network card"
            if cards.one_clock
            else f"two clocks of network cards mapped through the host's, each by readings before, "
            f"during and after the run; together off by at most "
            f"{format_duration(round(cards.half_ns))}"
        )
    else:
        half, words = _rate(samples, timing, float(receiver["clock"]["rate_ppm"]))
        halves, sources = [half], [f"rate of the host's clock: {words}"]
    if timing.rx == "trailer" and clock_map is not None:
        half, words = _mapped(flow, clock_map)
        halves.append(half)
        sources.append(words)
        if clock_map.instant == "sending":
            sources.append(
                "floor: the tap's ingress against the kernel's TX stamp of the same frame"
            )
            floor = observed_floor_ns(samples[(samples["flags"] & SPOILED) == 0])
            floor = floor if floor.size else np.array([SAME_INSTANT_NS], np.int64)
    elif flow.tx.touches(flow.rx):
        sources.append(
            "both ports are ends of one veth pair: both stamps fall inside one send call, so the "
            "delay is an artefact of the host and not a transport delay"
        )
    if not flow.stamped:
        sources.append(
            "background load, sent without stamps of the kernel: a time of sending is that of the "
            "process, one for all packets handed over together"
        )
    if floor is None:
        floor = _floor(flow, timing, receiver, sources)
    return Budget(
        common_mode_ns=round(2 * math.hypot(*halves) / math.sqrt(3)),
        floor_ns=floor,
        sources=tuple(sources),
    )


def _rate(samples: Table, timing: Timing, rate_ppm: float) -> tuple[float, str]:
    """What the clock's rate does to the longest delay, and the words for it."""
    other = "the host's clock" if timing.tx == "hardware" else "CLOCK_MONOTONIC_RAW"
    sent, received = samples[timing.tx_column], samples[timing.rx_column]
    known = taken(sent) & taken(received)
    longest = int(np.abs(received[known] - sent[known]).max()) if known.any() else 0
    return rate_ppm * 1e-6 * longest, (
        f"{rate_ppm:.2f} ppm against {other}, over the longest delay of {format_duration(longest)}"
    )


def _mapped(flow: Flow, clock_map: TrailerMap) -> tuple[float, str]:
    """How far off the map of a tap's clock may be as a whole, and the words for it."""
    head = f"tap's clock mapped to the host's through {clock_map.pairs:,} frames; "
    if clock_map.instant == "sending":
        return _HOP_NS, (
            f"{head}the time from the kernel's stamp to the tap, at most {_HOP_NS / 1000:g} us, is "
            f"not told from offset"
        )
    calibrated = flow.floor is not None and flow.floor.floor_ns.size > 0
    if calibrated:
        assert flow.floor is not None
        half = int(np.median(flow.floor.floor_ns))
        how = "the median of the floor that was calibrated on these ports"
    else:
        half, how = _assumed_ns(flow), "assumed"
    return half, (
        f"{head}the median time from the tap to the kernel's stamp of arrival, at most "
        f"{format_duration(half)} ({how}), is not told from offset"
    )


def _floor(
    flow: Flow, timing: Timing, receiver: Mapping[str, Any], sources: list[str]
) -> NDArray[np.int64]:
    """The per-sample error: calibrated on these ports, or else assumed; its words are added."""
    by_process = "user" in (timing.tx, timing.rx)
    by_card = "hardware" in (timing.tx, timing.rx)
    if flow.floor is not None and not by_process and (flow.floor.source == "hardware") == by_card:
        sources.append(flow.floor.words)
        if flow.floor.floor_ns.size:
            return flow.floor.floor_ns
    kind, half = "software", _assumed_ns(flow)
    if by_process:
        kind, half = "user", _by_process_ns(receiver)
    elif by_card:
        kind, half = "hardware", _CARD_NS
    sources.append(
        f"floor: {kind} stamps, not calibrated on these ports; "
        f"assumed off by at most {format_duration(half)} (type B)"
    )
    return np.array([half], np.int64)


def _assumed_ns(flow: Flow) -> int:
    """How far off a software stamp may be that was not calibrated."""
    return _VETH_NS if flow.tx.driver == flow.rx.driver == "veth" else _NIC_NS


def _by_process_ns(receiver: Mapping[str, Any]) -> int:
    """How far off a stamp taken by a process may be: the worst stall that was seen."""
    worst = receiver["stalls"]["max_ns"]
    return max(_NIC_NS, int(worst or 0) + 2_000_000)
