"""What goes wrong in a world: one place for the faults of packets, radio and devices."""

from __future__ import annotations

from hil.virtual.faults.desk import begin, close, end, listed
from hil.virtual.faults.ledger import part_of

__all__ = ["begin", "close", "end", "listed", "part_of"]
