"""Two ptp4l over a veth, neither of which may touch the host's clock; prints one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hil.traffic.ptp import PtpReading, PtpWatch, ask
from hil.virtual import stage

#: Software stamps, free running: the servo computes and adjusts nothing. Announced and synchronised
#: so often that all is settled in two seconds.
OPTIONS = """\
[global]
free_running 1
time_stamping software
network_transport L2
logAnnounceInterval -2
logSyncInterval -3
logMinDelayReqInterval -3
announceReceiptTimeout 3
"""


def started(ptp4l: str, space: str, interface: str, directory: Path, *more: str) -> Any:
    config = directory / f"{space}.conf"
    config.write_text(f"{OPTIONS}uds_address {directory / space}\n[{interface}]\n")
    with stage.inside(space):
        return subprocess.Popen(
            [ptp4l, "-f", str(config), "-m", *more],
            stdout=(directory / f"{space}.log").open("w"),
            stderr=subprocess.STDOUT,
        )


def awaited(socket: str, what: Callable[[PtpReading], bool]) -> PtpReading:
    """The first reading that is as wanted; the test's own time-out ends a wait in vain."""
    while True:
        reading, _ = ask(socket)
        if reading is not None and what(reading):
            return reading
        time.sleep(0.1)


def main(ptp4l: str, directory: Path) -> dict[str, Any]:
    stage.veth(("near", "v0"), ("far", "v1"))
    master = started(ptp4l, "near", "v0", directory)
    follower = started(ptp4l, "far", "v1", directory, "-s")
    try:
        kept = awaited(str(directory / "near"), lambda found: "MASTER" in found.states)
        heard = awaited(str(directory / "far"), lambda found: bool(found.path_delay_ns))
        with PtpWatch(str(directory / "far"), 0, 10_000_000) as watch:
            master.terminate()
            master.wait()
            awaited(str(directory / "far"), lambda found: "LISTENING" in found.states)
        elsewhere = ask(str(directory / "far"), 5)[1]
    finally:
        for each in (master, follower):
            each.kill()
            each.wait()
    return {
        "master": kept.states,
        "kept": kept.out_of_order(1_000),
        "own": kept.grandmaster,
        "heard": heard.grandmaster,
        "offset_ns": heard.offset_ns,
        "path_delay_ns": heard.path_delay_ns,
        "free": heard.out_of_order(1_000_000_000),
        "watch": watch.report(),
        "gone": ask(str(directory / "far"))[1],
        "elsewhere": elsewhere,
    }


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], Path(sys.argv[2]))))
