"""How sender and receiver begin and end as processes; `hil.traffic.process` is the other side."""

from __future__ import annotations

import gc
import json
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hil.errors import HilError, UsageError
from hil.traffic import linux
from hil.traffic.exchange import Lines


def serve(work: Callable[[Mapping[str, Any], Lines], None]) -> int:
    """Do `work` with the orders that the command line names; 0 when it ended in order.

    A fault is said to the parent in one line. The process ends when its parent does; Ctrl-C at a
    terminal is the parent's to act on.
    """
    orders = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if not linux.end_with_parent(orders["parent"], signal.SIGKILL):
        return 1
    lines = Lines(0, 1)
    try:
        work(orders, lines)
    except (HilError, OSError) as error:
        lines.send({"error": str(error), "usage": isinstance(error, UsageError)})
        return 1
    return 0


def told_to_start(lines: Lines, granted: Mapping[str, bool]) -> tuple[int, int] | None:
    """Say that a sender is ready and wait until it is told to start; None when it is not to.

    Returns when the schedule starts, on CLOCK_MONOTONIC and on CLOCK_REALTIME. From then on no
    garbage is collected: a collection would make packets late.
    """
    lines.send({"ready": granted})
    while not lines.closed:
        for line in lines.receive(0.5):
            if "go" in line:
                gc.collect()
                gc.freeze()
                gc.disable()
                return line["start"], line["go"]
            if "stop" in line:
                return None
    return None
