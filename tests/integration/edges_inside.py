"""`hil measure` at its edges, between near and far; prints JSON by the name of the case."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any

from hil.cli.measure import Options, measure
from hil.errors import HilError
from hil.samples import store
from hil.samples.planned import Regular
from hil.traffic import Flow, resolve_port, run
from hil.virtual import stage

IMAGES = "  images: {pattern: burst, frame_size: 1400 B, interval: 50 ms, count: 3}\n"
SIX = f"""\
flows:
{IMAGES}\
  calls: {{pattern: poisson, size: 128 B, interval: 5 ms, count: 40}}
  alarms: {{pattern: poisson, size: 128 B, interval: 5 ms, count: 40}}
"""


def said(**options: Any) -> Any:
    """What the command prints as JSON, or the sentence it ends with."""
    out = io.StringIO()
    try:
        with contextlib.redirect_stdout(out):
            measure(Options(tx="near/v0", rx="far/v1", json=True, **options))
    except HilError as error:
        return str(error)
    return json.loads(out.getvalue())


def by_file(directory: Path) -> Any:
    """More samples than are held in memory, in a directory that nobody asked to keep."""
    store.MOST_IN_MEMORY = 100  # type: ignore[misc]
    found = said(count=400, interval="1 ms", bound="100 ms", share=0.5, period="2.5 ms")
    tx, rx = resolve_port("v0", "near"), resolve_port("v1", "far")
    stop = threading.Event()
    stop.set()
    (stopped,) = run(
        [Flow(name="long", tx=tx, rx=rx, planned=Regular(400, 1_000_000, 128))],
        directory=directory / "stopped",
        stop=stop,
    )
    store.MOST_IN_MEMORY = 1 << 20  # type: ignore[misc]
    return found, {"sent": stopped.counts.sent, "complete": stopped.complete}


def over_six(directory: Path) -> Any:
    """A mix where the ports speak IPv6 alone."""
    for space, interface, address in (("near", "v0", "fd00::1"), ("far", "v1", "fd00::2")):
        with stage.inside(space) as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.flush_addr(index=index)
            netlink.addr("add", index=index, address=address, prefixlen=64, flags=2)
    mix = directory / "mix.yaml"
    mix.write_text(SIX)
    kept = directory / "kept"
    found = said(traffic=mix)
    mix.write_text(SIX.replace(IMAGES, ""))
    searched = said(traffic=mix, bound="1 ns", out=kept, canary=("far/v1", "elsewhere"))
    intended = [
        store.read(path)["intended_ns"].tolist() for path in sorted(kept.glob("*[0-9].parquet"))
    ]
    return found, searched, intended


def main() -> None:
    stage.veth(("near", "v0"), ("far", "v1"), 8)
    with tempfile.TemporaryDirectory() as name:
        long, stopped = by_file(Path(name))
        six, searched, intended = over_six(Path(name))
    cases = {
        "long": long,
        "stopped": stopped,
        "six": six,
        "searched": searched,
        "intended": intended,
    }
    json.dump(cases, sys.stdout)


if __name__ == "__main__":
    main()
