"""What a test may ask of a traffic generator, and what it says of the flows that it sent.

A generator counts by its own rules and takes times by its own means. What it cannot measure is
None, which is "not measured" everywhere above, never 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from hil.drivers.protocols import Device

ClockQuality = Literal["same host", "ptp", "unsynchronised", "round trip"]
"""What a delay was taken with; only the first two make a one-way delay."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeneratorFlow:
    """One flow to generate: `count` packets from port `tx` to port `rx`, one each `interval_ns`.

    `size` is the PDU-session packet: the IP packet for layer udp, the Ethernet frame without FCS
    for layer ethernet.
    """

    name: str
    tx: str
    rx: str
    size: int
    interval_ns: int
    count: int
    layer: Literal["udp", "ethernet"] = "udp"
    dscp: int = 0

    @property
    def lasts_ns(self) -> int:
        """From the first packet until the last one's interval is over."""
        return self.count * self.interval_ns


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowFigures:
    """What the generator says of one flow; None is what it did not measure.

    `received` are packets that came, with duplicates where it cannot tell those from others.
    """

    name: str
    running: bool
    sent: int | None
    received: int | None
    lost: int | None = None
    duplicated: int | None = None
    reordered: int | None = None
    delay_min_ns: int | None = None
    delay_mean_ns: int | None = None
    delay_max_ns: int | None = None
    jitter_ns: int | None = None
    clock: ClockQuality | None = None


@runtime_checkable
class Generator(Device, Protocol):
    """A device that sends traffic and counts what comes."""

    def apply(self, flows: Sequence[GeneratorFlow]) -> None:
        """Make these the flows of the generator, in place of all others; nothing is sent yet.

        Raises:
            DeviceError: it refuses one of them, or sends.
        """

    def start(self) -> None:
        """Send all flows."""

    def stop(self) -> None:
        """Send no more; what is on its way is still counted. Silent where nothing is sent."""

    def figures(self) -> Mapping[str, FlowFigures]:
        """Every flow by name, as far as it is."""

    def finished(self, limit_s: float) -> Mapping[str, FlowFigures]:
        """Wait until all flows are sent and drained, and return their figures.

        Raises:
            DriverTimeout: they are not within the limit; the generator goes on.
        """
