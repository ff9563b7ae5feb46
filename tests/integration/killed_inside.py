"""A process that gets as far as it is told with the rows of a flow, says so, and waits.

``killed_inside.py DIRECTORY STAGE``; whoever started it kills it there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from hil.samples import store
from hil.samples.planned import Regular
from hil.samples.streaming import StreamedJoin
from hil.samples.table import ARRIVED, PLANNED, SENT, blank

COUNT = 1000
PART = 100


def reached(stage: str) -> None:
    """Wait to be killed, if this is the place."""
    if stage == sys.argv[2]:
        print("here", flush=True)
        sys.stdin.read()


def main() -> None:
    """Write the streams, then join them into a Parquet file, as a run does at its end."""
    files = store.Files(Path(sys.argv[1]), "flow")
    plan = Regular(COUNT, 1_000_000, 128)
    about = {"flow": 0, "planned": plan.described()}
    with store.StreamWriter(files.planned, PLANNED, about):
        pass
    reached("planned")
    sent = store.StreamWriter(files.sent, SENT, {"flow": 0})
    arrived = store.StreamWriter(files.arrived, ARRIVED, {"flow": 0})
    reached("opened")
    for first in range(0, COUNT, PART):
        rows = blank(SENT, PART)
        rows["seq"] = np.arange(first, first + PART)
        rows["tx_kernel_ns"] = rows["tx_user_ns"] = 1_000_000 * rows["seq"].astype(np.int64)
        sent.append(rows)
        came = blank(ARRIVED, PART)
        came["seq"], came["rx_kernel_ns"] = rows["seq"], rows["tx_kernel_ns"] + 5000
        arrived.append(came)
        if first == COUNT // 2:
            reached("half")
    reached("sent")
    sent.close()
    arrived.close()
    reached("ended")
    with store.SamplesWriter(files.parquet) as file:
        for block in StreamedJoin(plan, files.sent, files.arrived, flow=0, block=300).blocks():
            file.append(block)
            reached("joining")
    reached("joined")
    files.unlink_streams()
    reached("over")


if __name__ == "__main__":
    main()
