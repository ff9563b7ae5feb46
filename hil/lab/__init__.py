"""The live testbed: world -> addresses -> drivers -> guards, routes, safe state."""

from __future__ import annotations

from hil.lab.lab import Lab, device_under_test
from hil.lab.loop import reaction
from hil.lab.path import Bench, BothWays, Offer, OneWay, Path, Paths, live_port, together

__all__ = [
    "Bench",
    "BothWays",
    "Lab",
    "Offer",
    "OneWay",
    "Path",
    "Paths",
    "device_under_test",
    "live_port",
    "reaction",
    "together",
]
