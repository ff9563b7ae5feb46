"""What a reader has to know of the host that measured."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any


def host_facts() -> dict[str, Any]:
    """What a reader needs to know of the host, as JSON values."""
    system = os.uname()
    clocksource = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    prequeue = Path("/proc/sys/net/core/netdev_tstamp_prequeue")
    return {
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "processors": os.cpu_count(),
        "clocksource": _text(clocksource),
        "stamp_before_backlog": _text(prequeue),
    }


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return None
