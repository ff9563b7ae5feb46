"""The clock of a bench: how it is kept, and how far it may be off another host's."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from hil.document import Duration, Model, Shape

_DAY = Shape(r"\d{4}-\d{2}-\d{2}", "a day, as in '2026-11-20'")


class Asymmetry(Model):
    """How it was found that the path between two clocks is as slow one way as the other.

    A servo cannot see that: it halves what both ways take together.
    """

    apart_ns: Annotated[Duration, Field(gt=0)]
    """The clocks differ by at most this, as the check has shown."""

    by: Literal["direction swap", "1pps"]
    """How: the cables of both directions exchanged, or the pulses of both clocks compared."""

    on: Annotated[str, _DAY]
    """The day of the check."""


class ClockConfig(Model):
    """What keeps the clock of this host: ptp4l, asked by pmc while a run lasts."""

    ptp: Annotated[str, Field(min_length=1)]
    """The socket of ptp4l that pmc asks, as in ``/var/run/ptp4l``."""

    domain: Annotated[int, Field(ge=0, le=127)] = 0
    """PTP domain."""

    wired: bool = False
    """True: PTP runs over cables, and not over the network under test."""

    normal_ns: Annotated[Duration, Field(gt=0)] = 1_000
    """The most that the servo is off its master in good order; beyond it a span is spoiled."""

    asymmetry: Asymmetry | None = None
    """The last check of the path's asymmetry; absent: none was made."""
