"""How sender and receiver begin and end as processes; `hil.traffic.process` is the other side."""

from __future__ import annotations

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
