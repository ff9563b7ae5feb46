"""Why times taken at two ends may be subtracted: what is known of the clocks that took them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hil.units import format_duration

Kind = Literal["one host", "ptp", "none"]
Check = Literal["direction swap", "1pps"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockEvidence:
    """What is known of the two clocks of a one-way delay.

    A servo that says "offset 20 ns" reports its own residual: it cannot see that the path to its
    master is slower one way than the other, and half of that difference is a constant error of
    every one-way delay. Only exchanging the directions of that path, or comparing the pulses of
    both clocks, shows it. Therefore `bound_ns` comes from such a check and never from a servo.
    """

    kind: Kind  #: one clock for both ends, two clocks that PTP keeps together, or unknown
    bound_ns: int | None = None  #: the clocks differ by at most this; None where nobody bounded it
    check: Check | None = None  #: how the asymmetry of the path between the clocks was found
    at_ns: int | None = None  #: when that was, CLOCK_REALTIME
    wired: bool = False  #: the PTP path runs over cables, not over the network under test

    @property
    def refusal(self) -> str | None:
        """Why no one-way delay may be judged, one sentence; None where it may."""
        if self.kind == "one host":
            return None
        if self.kind == "none":
            return "the clocks of the two ends are not known to agree"
        if not self.wired:
            return "the clocks of the two ends are kept by PTP, but not over a wired path"
        if self.check is None or self.bound_ns is None:
            return (
                "the clocks of the two ends are kept by PTP, but the asymmetry of its path was not "
                "checked by exchanging directions or comparing 1PPS"
            )
        return None

    @property
    def words(self) -> str:
        """What an uncertainty budget says of it."""
        if self.kind == "one host":
            return "one clock: a host that owns both ports"
        if (why := self.refusal) is not None:
            return why
        assert self.bound_ns is not None
        return (
            f"two clocks kept by PTP over a wired path, apart by at most "
            f"{format_duration(self.bound_ns)} by a check of the asymmetry ({self.check})"
        )


#: Both ports are stamped by the clock of one host.
ONE_HOST = ClockEvidence(kind="one host", bound_ns=0)
