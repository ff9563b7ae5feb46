"""Programs for test_clocks, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import socket
import sys
import tempfile
import time
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
    flow = Flow(name="f", tx=near, rx=far, planned=periodic(3000, 1_000_000, 600))
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
    programs = {"lost_here": lost_here, "asked_for_cards": asked_for_cards}
    print(json.dumps(programs[sys.argv[1]]()))
