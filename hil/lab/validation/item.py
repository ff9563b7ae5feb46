"""What a validation reports: items that hold or do not, each with its figures."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

from hil.errors import HilError
from hil.stats import proportion
from hil.verdict import ExitCode

_REFUTED: Final = 0.998


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One number: `value` in `unit`, made of `n` of what `of` says.

    `low` and `high` are limits that hold together at `confidence`; `expected` says what the figure
    is held against, `source` where its times come from. None is what was not measured or does not
    apply; `holds` is None for a figure that is shown and not judged.
    """

    what: str
    value: float | None
    unit: str
    n: int | None = None
    of: str = ""
    low: float | None = None
    high: float | None = None
    confidence: float | None = None
    expected: str = ""
    source: str = ""
    holds: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing that was to be shown. `holds` is None where the rig kept it from being tried."""

    id: str
    title: str
    holds: bool | None
    sentence: str
    figures: tuple[Figure, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float | None = None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> Item:
        """The item that `to_json` described."""
        figures = tuple(Figure(**each) for each in plain["figures"])
        return cls(**{**plain, "figures": figures, "notes": tuple(plain["notes"])})


def all_hold(figures: Iterable[Figure]) -> bool:
    """No judged figure fails."""
    return all(each.holds is not False for each in figures)


def coverage(
    what: str, covered: int, of: int, *, claimed: float = 0.95, source: str = ""
) -> Figure:
    """How often intervals held the truth, against the share that they claim.

    It fails where the share claimed is refuted: the upper exact limit (Clopper-Pearson) of what was
    seen, one-sided at 99.8 %, lies below it. There are about a dozen such figures, so a sound
    instrument fails one validation in forty by chance alone. An interval may cover more often than
    it claims, as an exact one of a count does.
    """
    low, high = proportion.lower(covered, of, 0.975), proportion.upper(covered, of, 0.975)
    return Figure(
        what=what,
        value=covered / of if of else None,
        unit="1",
        n=of,
        of="intervals",
        low=low if of else None,
        high=high if of else None,
        confidence=0.95,
        expected=f"at least {claimed:g}, not refuted",
        source=source,
        holds=None if not of else not proportion.refutes(covered, of, claimed, _REFUTED),
    )


def exact(what: str, right: int, of: int, *, unit_of: str, source: str = "") -> Figure:
    """How many of some counts were exactly the truth: every one must be."""
    return Figure(
        what=what,
        value=float(right),
        unit="exact",
        n=of,
        of=unit_of,
        expected=f"all {of}",
        source=source,
        holds=right == of,
    )


def serve(work: Callable[[Mapping[str, Any]], Iterable[Item]]) -> int:
    """Do the work of a part with the JSON orders of the command line, and print its items."""
    orders = json.loads(sys.argv[-1])
    try:
        items = list(work(orders))
    except (HilError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return ExitCode.RIG
    print(json.dumps({"items": [each.to_json() for each in items]}))
    return ExitCode.OK
