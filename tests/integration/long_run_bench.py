"""A run whose rows are treated as too many for memory, on the bench of `traffic_bench`.

``long_run_bench.py DIRECTORY COUNT DROPPED...`` is started like that program, and prints one JSON
object.
"""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

from scapy.utils import PcapReader

from hil.judge import judge_bound
from hil.samples import store
from hil.samples.columns import Columns
from hil.samples.planned import Regular
from hil.samples.summarise import summarise
from hil.traffic import Flow, resolve_port, run
from hil.wire import probe

BOUND_NS = 2_000_000_000

traffic_bench = importlib.import_module("traffic_bench")  # beside this program


def main() -> None:
    """Run once and say what came of it."""
    directory, count, dropped = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    traffic_bench.make_bench()
    faults = json.dumps({"drop": [int(each) for each in dropped]})
    relay = subprocess.Popen(
        [sys.executable, str(traffic_bench.__file__), "relay", faults],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert relay.stdin is not None
    assert relay.stdout is not None
    relay.stdout.readline()
    flow = Flow(
        name="long",
        tx=resolve_port("e0", "tx"),
        rx=resolve_port("e1", "rx"),
        planned=Regular(count, traffic_bench.MILLISECOND, 128),
        interval_ns=traffic_bench.MILLISECOND,
        bound_ns=BOUND_NS,
    )
    store.MOST_IN_MEMORY = 100  # type: ignore[misc]
    try:
        (measured,) = run([flow], directory=directory)
    finally:
        relay.stdin.close()
        relay.wait()
        relay.stdout.close()
    found = measured.conditions["violations"]
    print(
        json.dumps(
            {
                "by_column": isinstance(measured.samples, Columns),
                "counts": summarise(measured, bound_ns=BOUND_NS),
                "verdict": judge_bound(measured, BOUND_NS, 0.5).verdict.value,
                "violations": found,
                "around": store.read(directory / found["samples"])["seq"].tolist(),
                "frames": frames(directory / found["frames"]),
                "seen": measured.conditions["while_running"],
                "memory": measured.conditions["memory"],
            }
        )
    )


def frames(path: Path) -> list[int]:
    """The sequence numbers in a capture file."""
    import numpy as np

    with PcapReader(str(path)) as file:
        rows = np.array([list(bytes(packet)[14 : 14 + probe.SIZE]) for packet in file], np.uint8)
    assert probe.intact(rows).all()
    return [int(seq) for seq in probe.decode(rows)["seq"]]


if __name__ == "__main__":
    main()
