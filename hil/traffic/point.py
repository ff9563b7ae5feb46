"""Ports that only look on, and what is looked for there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from hil.traffic.port import Port

CANARY_BYTES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A port that only looks on.

    `carries` says whether frames are seen there as they are, user packets inside GTP-U, or packets
    inside any other tunnel that is in the clear, and `qfi` which QoS flow identifier a 5QI has in
    those of GTP-U. `untimed` says why frames reach the port at other times than they pass the
    point, where they do: then only that they pass is known.
    """

    port: Port
    carries: Literal["frames", "gtpu", "tunnel"] = "frames"
    qfi: Mapping[int, int] = field(default_factory=dict)
    untimed: str | None = None

    @property
    def name(self) -> str:
        """The name of its port."""
        return self.port.name


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """Points at which every frame is searched for the canary of a flow.

    The canary is made up for the run, `CANARY_BYTES` random bytes behind each probe. `not_observed`
    are names of points where data may pass and nobody can look.
    """

    points: tuple[Point, ...]
    not_observed: tuple[str, ...] = ()
