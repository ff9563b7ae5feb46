"""The network cards of a run, as its receiver sees them: stamps switched on, clocks read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hil.traffic import linux
from hil.traffic.hardware import Switched
from hil.traffic.phc import PhcWatch


class Cards:
    """Switches the stamps of the ports of a run on until `close`, and reads the cards' clocks.

    `watched` are ports as orders name them; `card` is the number of its card's clock where the
    card's stamps are wanted, else None.
    """

    def __init__(self, watched: Sequence[Mapping[str, Any]]) -> None:
        self._switched: dict[str, Switched] = {}
        self._clock_of = {e["name"]: e["card"] for e in watched if e["card"] is not None}
        for port in watched:
            if port["card"] is not None:
                with linux.inside(port["namespace"]):
                    self._switched[port["name"]] = Switched(port["interface"])
        self._clocks = PhcWatch(self._clock_of.values())

    def look(self, monotonic_ns: int, *, now: bool = False) -> None:
        """Read the clocks if it is due, or `now`."""
        self._clocks.look(monotonic_ns, now=now)

    def report(self) -> dict[str, Any]:
        """Clocks and refusals by port, and what the clocks were read to be, as JSON values."""
        return {
            "clock_of": self._clock_of,
            "refused": {name: each.refused for name, each in self._switched.items()},
            "clocks": self._clocks.report(),
        }

    def close(self) -> None:
        """Set the interfaces as they were found."""
        for each in self._switched.values():
            each.close()
        self._clocks.close()
