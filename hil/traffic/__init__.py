"""Traffic: flows from one port to another, sent on a grid, timed in the kernel, counted exactly.

Names are loaded when they are first used (PEP 562): the sender and receiver processes, whose
modules are in this room, start without what only their parent needs.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hil.traffic.engine import run
    from hil.traffic.flow import Flow, periodic
    from hil.traffic.interruption import RunInterrupted
    from hil.traffic.port import Port, parse_port, resolve_port
    from hil.traffic.progress import FlowProgress, Progress

_HOME = {
    "Flow": "flow",
    "FlowProgress": "progress",
    "Port": "port",
    "Progress": "progress",
    "RunInterrupted": "interruption",
    "parse_port": "port",
    "periodic": "flow",
    "resolve_port": "port",
    "run": "engine",
}

__all__ = [
    "Flow",
    "FlowProgress",
    "Port",
    "Progress",
    "RunInterrupted",
    "parse_port",
    "periodic",
    "resolve_port",
    "run",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
