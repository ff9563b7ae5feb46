"""Programs for test_clocks, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import os
import select
import socket
import struct
import sys
import tempfile
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from hil.samples.summarise import summarise
from hil.samples.table import NOT_TAKEN, SPOILED
from hil.traffic import Flow, periodic, resolve_port, run
from hil.traffic.card_ring import CardRing, CardStamps
from hil.traffic.hardware import Switched
from hil.traffic.linux import packet_socket
from hil.traffic.ring import ReceiveRing
from hil.traffic.timestamps import StampedSocket
from hil.virtual import stage


def lost_here() -> Any:
    """A run whose receiving interface refuses frames, as too long for it, for a while."""
    stage.veth(("near", "v0"), ("far", "v1"))
    near, far = resolve_port("v0", "near"), resolve_port("v1", "far")
    flow = Flow(name="f", tx=near, rx=far, planned=periodic(1600, 1_000_000, 600))
    turns = iter((500, 1500))

    def progress(state: Any) -> None:
        if state.flows[0].sent and (mtu := next(turns, None)) is not None:
            with stage.inside("far") as ip:
                ip.link("set", index=ip.link_lookup(ifname="v1")[0], mtu=mtu)

    with tempfile.TemporaryDirectory() as directory:
        (measured,) = run([flow], directory=Path(directory), progress=progress)
    samples = measured.samples
    gone, spoiled = samples["copies"] == 0, (samples["flags"] & SPOILED) != 0
    return {
        **summarise(measured),
        "bracketed": int(np.count_nonzero(gone & spoiled)),
        "came_and_spoiled": int(np.count_nonzero(~gone & spoiled)),
        "why": [each.why for each in measured.spoiled],
        "invalid": measured.invalid,
        "counters": measured.conditions["host_counters"],
    }


#: In the receiver alone: the clock that it reads is set forward by 50 ms in the middle of the run.
STEPPING = """
import sys, time
if "hil.traffic.receiver" in sys.orig_argv:
    right, began = time.time_ns, time.monotonic_ns()
    def time_ns():
        return right() + 50_000_000 * (time.monotonic_ns() - began > 2_500_000_000)
    time.time_ns = time_ns
"""


def clock_step() -> Any:
    """A run in the middle of which the clock is set, as its watch reads it."""
    stage.veth(("near", "v0"), ("far", "v1"))
    near, far = resolve_port("v0", "near"), resolve_port("v1", "far")
    flow = Flow(name="f", tx=near, rx=far, planned=periodic(3500, 1_000_000, 128))
    with tempfile.TemporaryDirectory() as place:
        Path(place, "sitecustomize.py").write_text(STEPPING)
        os.environ["PYTHONPATH"] = os.pathsep.join([place, os.environ["PYTHONPATH"]])
        (measured,) = run([flow], directory=Path(place) / "samples")
    spoiled = (measured.samples["flags"] & SPOILED) != 0
    window = measured.spoiled[0]
    left = measured.samples["tx_kernel_ns"]
    inside = (left >= window.start_ns) & (left <= window.end_ns)
    return {
        "why": [each.why for each in measured.spoiled],
        "bracketed": int(np.count_nonzero(spoiled)),
        "outside": int(np.count_nonzero(spoiled & ~inside)),
        "inside": int(np.count_nonzero(inside)),
        "lost": measured.counts.lost,
    }


def _tap(arriving: socket.socket, leaving: socket.socket, over: threading.Event) -> None:
    """Forward frames with the trailer of a tap on the market, on a clock of its own."""
    began = time.time_ns()
    while not over.is_set():
        if not select.select([arriving], [], [], 0.05)[0]:
            continue
        frame = arriving.recv(2048)
        now = time.time_ns()
        seconds, rest = divmod(now + 37 * 10**9 + (now - began) // 20_000, 10**9)
        fcs = zlib.crc32(frame).to_bytes(4, "little")
        leaving.send(frame + fcs + struct.pack(">IIBHB", seconds, rest, 1, 513, 3))


def passive_tap() -> Any:
    """A run to a port before which a passive tap stands."""
    stage.veth(("near", "e0"), ("mid", "m0"))
    stage.veth(("mid", "m1"), ("far", "e1"))
    with stage.inside("mid"):
        arriving, leaving = packet_socket("m0", 3), packet_socket("m1")
    arriving.setsockopt(263, 23, 1)  # PACKET_IGNORE_OUTGOING
    over = threading.Event()
    relay = threading.Thread(target=_tap, args=(arriving, leaving, over))
    relay.start()
    near, far = resolve_port("e0", "near"), resolve_port("e1", "far", tap="metawatch")
    flows = [
        Flow(name=str(size), tx=near, rx=far, planned=periodic(400, 2_000_000, size))
        for size in (128, 1000)
    ]
    try:
        with tempfile.TemporaryDirectory() as directory:
            measured = run(flows, directory=Path(directory))
    finally:
        over.set()
        relay.join()
    return [
        {
            **summarise(each),
            "kernel_p50_ns": int(
                np.median(each.samples["rx_kernel_ns"] - each.samples["tx_kernel_ns"])
            ),
        }
        for each in measured
    ]


def asked_for_cards() -> Any:
    """Stamps of a card asked for where there is none: on a socket that also has a failed send."""
    stage.veth(("near", "v0"), ("far", "v1"))
    kernel: dict[int, int] = {}
    card: list[int] = []
    with stage.inside("far"):
        rings = [each("v1", [(6, 0, 0, 0x40000)], 200, 256) for each in (ReceiveRing, CardRing)]
        refused = Switched("v1").refused
    time.sleep(0.1)  # the kernel arms receive stamps by a work queue; nothing says when it has

    def opened() -> socket.socket:
        with stage.inside("near"):
            return packet_socket("v0")

    def store(rows: Any, times: Any) -> None:
        kernel.update(zip(rows.tolist(), times.tolist(), strict=True))

    stamped = StampedSocket(opened, store, lambda rows, times: card.extend(rows.tolist()))
    sent: list[int] = []
    for row in range(40):
        frame = bytes(12) + b"\x88\xb5" + row.to_bytes(46 if row % 10 else 4_000, "big")
        try:
            stamped.send(frame)
        except OSError:
            stamped.failed()
        else:
            stamped.sent(row)
            sent.append(row)
    stamped.drain()
    mine = rings[0].take()
    assert mine is not None
    by_card = CardStamps(rings[1]).of(mine)
    order = [kernel[row] for row in sorted(kernel)]
    return {
        "refused": refused,
        "sent": sent,
        "stamped": sorted(kernel),
        "in_order": order == sorted(order),
        "by_card": [*card, *by_card[by_card != NOT_TAKEN].tolist()],
        "arrived": len(mine.lengths),
        "kernel_missing": int((mine.kernel_ns == NOT_TAKEN).sum()),
    }


if __name__ == "__main__":
    programs = {
        "lost_here": lost_here,
        "clock_step": clock_step,
        "passive_tap": passive_tap,
        "asked_for_cards": asked_for_cards,
    }
    print(json.dumps(programs[sys.argv[1]]()))
