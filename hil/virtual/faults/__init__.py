"""What goes wrong in a world: one place for the faults of packets, radio and devices."""

from __future__ import annotations

from hil.virtual.faults.desk import begin, end, listed

__all__ = ["begin", "end", "listed"]
