"""One thing wrong in a file: where, and what would be right."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

Path = tuple[str | int, ...]
"""Keys and indices from the top of a document to a place in it."""

WHOLE: Final = "(file)"
"""Stands for the path where the fault is the file's own."""

_PLAIN_KEY: Final = re.compile(r"[\w${}/.+@()<-]+")


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a file; both count from 1."""

    line: int
    column: int


START: Final = Mark(1, 1)


def one_line(text: str) -> str:
    """The text with everything escaped that a terminal would not show on one line."""
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in text)


def dotted(path: Path) -> str:
    """A path as text: ``devices.plc1.port``, ``paths.device-edge.0.to``."""
    steps = (str(step) for step in path)
    plain = (step if _PLAIN_KEY.fullmatch(step) else repr(step) for step in steps)
    return one_line(".".join(plain)) or WHOLE


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault; its text is ``file:line:col: path: what is wrong, and what would be right``."""

    source: str
    mark: Mark
    path: Path
    what: str

    def __str__(self) -> str:
        source = one_line(self.source)
        place = f"{source}:{self.mark.line}:{self.mark.column}"
        return f"{place}: {dotted(self.path)}: {one_line(self.what)}"
