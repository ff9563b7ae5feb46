"""Plants each bug and looks whether the check that is named with it finds it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from hil.errors import HilError, RigError
from hil.lab.validation import checks, checks_verdict, item
from hil.lab.validation.bugs import PURE
from hil.lab.validation.checks import Wrong
from hil.lab.validation.item import Figure, Item
from hil.lab.validation.planting import Bug, planted

#: Every check that needs no traffic, by its name.
CHECKS: Final[Mapping[str, Callable[[], None]]] = {**checks.CHECKS, **checks_verdict.CHECKS}


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of a bug: the words of the check that found it, None where it survived."""

    bug: Bug
    said: str | None
    by: str = ""  #: the check that was tried, where it is not the one named
    trouble: str = ""  #: why the bug could not be planted, or the check not be made


def complaint(check: Callable[[], None]) -> str | None:
    """What a check says, None where it holds; an instrument that breaks down is found out too."""
    try:
        check()
    except Wrong as wrong:
        return str(wrong)
    except HilError:
        raise
    except Exception as error:  # whatever a bug may break
        return f"{type(error).__name__}: {error}"
    return None


def found_out(said: str | None) -> None:
    """Raises `Wrong` where a check says something."""
    if said is not None:
        raise Wrong(said)


def fates(bugs: Iterable[Bug] = PURE) -> Iterator[Fate]:
    """Plants one bug after the other."""
    for bug in bugs:
        try:
            with planted(bug):
                said = complaint(CHECKS[bug.found_by])
        except RigError as error:
            yield Fate(bug, None, trouble=str(error))
        else:
            yield Fate(bug, said)


def sound() -> dict[str, str]:
    """The checks that do not hold though no bug is planted, with what they say."""
    said = {name: complaint(check) for name, check in CHECKS.items()}
    return {name: words for name, words in said.items() if words is not None}


def report(found: Iterable[Fate], broken: Mapping[str, str], where: str) -> Item:
    """The item of planted bugs."""
    tried = list(found)
    survivors = [each.bug.id for each in tried if each.said is None and not each.trouble]
    untried = [each for each in tried if each.trouble]
    words = f"{len(tried) - len(survivors) - len(untried)} of {len(tried)} planted bugs found"
    if survivors:
        words += f"; survivors: {', '.join(survivors)}"
    if untried:
        words += f"; not tried: {', '.join(each.bug.id for each in untried)}"
    if broken:
        words += f"; checks that fail without a bug: {', '.join(broken)}"
    holds = False if survivors or broken else None if untried or not tried else True
    return Item(
        id=f"bugs-{where.replace(' ', '-')}",
        title=f"Planted bugs, {where}",
        holds=holds,
        sentence=words,
        figures=tuple(_figure(each) for each in tried),
        notes=(
            *(f"{name}: {said}" for name, said in broken.items()),
            *(each.trouble for each in untried),
        ),
    )


def _figure(fate: Fate) -> Figure:
    return Figure(
        what=f"{fate.bug.id}: {fate.bug.sentence}",
        value=None,
        unit="",
        expected=f"found by {fate.by or fate.bug.found_by}",
        source=fate.trouble or fate.said or "SURVIVED",
        holds=None if fate.trouble else fate.said is not None,
    )


def _work(orders: Mapping[str, Any]) -> Iterable[Item]:
    begin = time.monotonic()
    found = report(fates(), sound(), "without traffic")
    yield replace(found, seconds=time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(item.serve(_work))
