"""A row of the bench: a figure of ours beside those of other people's tools, and its bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.errors import HilError


@dataclass(frozen=True, slots=True)
class Row:
    """One figure: `ours` in `unit`, None where it could not be taken (`notes` say why).

    `peers` are figures of other tools in the same unit; a text says why there is none. `met` is
    None where a peer that the bar is made of did not run.
    """

    what: str
    unit: str
    bar: str
    ours: float | None
    met: bool | None
    peers: Mapping[str, float | str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def guarded(what: str, measure: Callable[[], list[Row]]) -> Iterator[Row]:
    """The rows of one measurement; one row that says why where it failed."""
    try:
        yield from measure()
    except HilError as error:
        yield Row(what, "", "", None, False, notes=(str(error),))


def attempted(measure: Callable[[], float]) -> float | str:
    """The figure of another tool, or why there is none."""
    try:
        return measure()
    except HilError as error:
        return str(error)


def in_turn(
    ours: Callable[[], float], others: Mapping[str, Callable[[], float]], rounds: int
) -> tuple[float, dict[str, float | str]]:
    """Medians of `rounds` rounds, in each of which all are measured one after the other.

    Another tool that failed once is not measured again.
    """
    mine: list[float] = []
    found: dict[str, list[float]] = {name: [] for name in others}
    failed: dict[str, float | str] = {}
    for _ in range(rounds):
        mine.append(ours())
        for name, measure in others.items():
            if name in failed:
                continue
            figure = attempted(measure)
            if isinstance(figure, str):
                failed[name] = figure
            else:
                found[name].append(figure)
    figures = {
        name: failed[name] if name in failed else float(np.median(found[name])) for name in others
    }
    return float(np.median(mine)), figures


def over(ours: float, peer: float | str, least: float) -> bool | None:
    """Whether ours is at least `least` times the peer's; None without a peer."""
    return None if isinstance(peer, str) else ours >= least * peer


def under(ours: float, peer: float | str, most: float) -> bool | None:
    """Whether ours is at most `most` times the peer's; None without a peer."""
    return None if isinstance(peer, str) else ours <= most * peer


def every(*met: bool | None) -> bool | None:
    """False where one is False, else None where one is not known."""
    if False in met:
        return False
    return None if None in met else True


def as_json(row: Row) -> dict[str, Any]:
    """One row as JSON values; a peer without a figure is its reason."""
    return {
        "what": row.what,
        "unit": row.unit,
        "ours": row.ours,
        "peers": dict(row.peers),
        "bar": row.bar,
        "met": row.met,
        "notes": list(row.notes),
    }
