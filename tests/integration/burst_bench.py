"""Programs for test_traffic_bursts, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from hil.samples.summarise import summarise
from hil.samples.table import SEND_FAILED, taken
from hil.targets.traffic import Burst
from hil.traffic import Flow, periodic, resolve_port, run
from hil.virtual import stage

INTERVAL_NS = 100_000


def flow(name: str, planned: Any, **more: Any) -> Flow:
    """A flow from the near end of the pair to the far one."""
    return Flow(
        name=name,
        tx=resolve_port("v0", "near"),
        rx=resolve_port("v1", "far"),
        planned=planned,
        **more,
    )


def measured(flows: list[Flow], progress: Callable[[Any], None] | None = None) -> list[Any]:
    """The figures of a run, and what they do not say."""
    with tempfile.TemporaryDirectory() as directory:
        found = run(flows, directory=Path(directory), progress=progress)
    shown: list[Any] = []
    for each in found:
        samples = each.samples
        left, came = samples["tx_kernel_ns"], samples["rx_kernel_ns"]
        both = taken(left) & taken(came)
        refused = (samples["flags"] & SEND_FAILED) != 0
        shown.append(
            {
                **summarise(each),
                "invalid": each.invalid,
                "conditions": each.conditions,
                "stamped_both": int(both.sum()),
                "apart_ns": [
                    int((came - left)[both].min()) if both.any() else None,
                    int((came - left)[both].max()) if both.any() else None,
                ],
                "before_handed_over": int((left < samples["tx_user_ns"])[taken(left)].sum()),
                "refused_sizes": np.unique(samples["size"][refused]).tolist(),
                "refused_came": int((samples["copies"][refused] > 0).sum()),
            }
        )
    return shown


def images() -> Any:
    """Images back to back, 1514 B on the wire, and a cyclic flow and a load beside them."""
    image = Burst(
        layer="ethernet", packet_size="1514 B", frame_size="2 MB", interval="50 ms", pacing=None
    )
    load = periodic(20_000, 0, 64)
    return measured(
        [
            flow("image", image.schedule(count=8), interval_ns=image.interval_ns),
            flow("cyclic", periodic(400, 1_000_000, 128), interval_ns=1_000_000),
            flow("load", load, stamped=False),
        ]
    )


def shrunk() -> Any:
    """Bursts of packets of two sizes; the longer ones cease to fit in the middle of the run."""
    planned = periodic(20_000, 1, 200)
    planned["size"][::7] = 1400
    planned["offset_ns"] = np.arange(20_000) // 400 * 20_000_000
    states: list[str] = []

    def progress(state: Any) -> None:
        if state.flows[0].sent and not states:
            states.append("shrunk")
            with stage.inside("near") as ip:
                ip.link("set", index=ip.link_lookup(ifname="v0")[0], mtu=600)

    return measured([flow("two sizes", planned)], progress)


def drift() -> Any:
    """Three seconds at 10 kHz: is the grid kept to the end?"""
    count = 30_000
    grid = flow("grid", periodic(count, INTERVAL_NS, 128), interval_ns=INTERVAL_NS)
    with tempfile.TemporaryDirectory() as directory:
        (found,) = run([grid], directory=Path(directory))
    samples = found.samples
    late = samples["tx_kernel_ns"] - samples["intended_ns"]
    return {
        "sent": found.counts.sent,
        "received": found.counts.received,
        "untaken": int((~taken(samples["tx_kernel_ns"])).sum()),
        "intervals": np.unique(np.diff(samples["intended_ns"])).tolist(),
        "earliest_ns": int(late.min()),
        "first_second_ns": int(late[:10_000].min()),
        "last_second_ns": int(late[-10_000:].min()),
    }


if __name__ == "__main__":
    stage.veth(("near", "v0"), ("far", "v1"), 1)
    programs: dict[str, Callable[[], Any]] = {"images": images, "shrunk": shrunk, "drift": drift}
    print(json.dumps(programs[sys.argv[1]]()))
