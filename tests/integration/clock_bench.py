"""Programs for test_clocks, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from hil.samples.summarise import summarise
from hil.samples.table import SPOILED
from hil.traffic import Flow, periodic, resolve_port, run
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


if __name__ == "__main__":
    print(json.dumps({"lost_here": lost_here}[sys.argv[1]]()))
