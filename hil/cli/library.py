"""``hil targets library``: tables of the standards to pick figures from, each with its status."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from hil.cli.columns import columns
from hil.verdict import ExitCode

if TYPE_CHECKING:
    from hil.targets.library import AnyLibrary, Automation, Clock, FiveQi, Service

    Row = FiveQi | Service | Automation | Clock

#: Of where the row is from, and of what stands only in the file.
_ABOUT: Final = ("status", "source", "others", "note", "speed", "devices", "area")
_NAMES: Final = ("fiveqi", "id", "level")


def library(name: str | None) -> int:
    """Prints a library as a table, or which there are."""
    from hil.targets.library import MODELS, load_library, where

    if name is None:
        for each in MODELS:
            print(f"{each:14} {load_library(each).title}")
        return ExitCode.OK
    loaded = load_library(name)
    print(f"{loaded.title}\n")
    print(_table(loaded))
    print()
    for row in loaded.rows:
        if row.note:
            print(f"{_name(row)}: {row.note}")
    for key, source in loaded.sources.items():
        print(f"[{key}] {source.title} ({source.version}; {source.status})")
    print(
        "memory: from memory of the standard, to be checked against its text before a bound is "
        f"made of it. All columns: {where(name)}"
    )
    return ExitCode.OK


def _name(row: Row) -> str:
    return str(next(getattr(row, key) for key in _NAMES if hasattr(row, key)))


def _table(loaded: AnyLibrary) -> str:
    model = type(loaded.rows[0])
    names = [name for name in model.model_fields if name not in (*_ABOUT, "use", "table")]
    shown = [name for name in names if not _continued(name)]
    shown = [name for name in shown if any(_cell(row, name) for row in loaded.rows)]
    rows = [
        (*(_cell(row, name) for name in shown), row.status, f"[{row.source}]", row.use)
        for row in loaded.rows
    ]
    headings = [_key(row=loaded.rows[0], name=name) for name in shown]
    return columns((*headings, "status", "source", "use"), rows)


def _continued(name: str) -> bool:
    """A field that stands in the cell of another: the end of a range, a multiple."""
    return "_to" in name or name.endswith("_intervals")


def _key(row: Row, name: str) -> str:
    return str(type(row).model_fields[name].alias or name)


def _cell(row: Row, name: str) -> str:
    key = _key(row, name)
    stem = name.removesuffix("_ns").removesuffix("_bytes")
    unit = name.removeprefix(stem)
    low, high = getattr(row, name), getattr(row, f"{stem}_to{unit}", None)
    words = " to ".join(_text(name, value) for value in (low, high) if value is not None)
    if low is None and high is not None:
        words = f"up to {words}"
    if (multiple := getattr(row, f"{stem}_intervals", None)) is not None:
        words = f"{multiple:g} x interval"
    there = next((each for each in (key, f"{key}_to") if each in row.others), key)
    origin = row.origin(there)
    if words and origin.status != row.status:
        words += f" ({origin.status} [{origin.source}])"
    return words


def _text(name: str, value: Any) -> str:
    from hil.units import format_duration, format_share, format_size

    if name.endswith("_ns"):
        return format_duration(value)
    if name.endswith("_bytes"):
        return format_size(value)
    if name in ("availability", "reliability"):
        return format_share(value)
    return f"{value:g}" if isinstance(value, float) else str(value)
