"""Plain tables for a terminal, a pipe or a mail: aligned columns, no colour, no frame."""

from __future__ import annotations

from collections.abc import Sequence


def columns(headings: Sequence[str], rows: Sequence[Sequence[str]], *, right: str = "") -> str:
    """A table as text, the last column as long as it needs to be.

    Args:
        headings: one for each column.
        rows: cells as text.
        right: headings, comma-separated, of the columns that are set flush right.
    """
    numbers = {heading.strip() for heading in right.split(",")}
    widths = [
        max(len(heading), *(len(row[i]) for row in rows)) if rows else len(heading)
        for i, heading in enumerate(headings)
    ]
    lines = []
    for row in (headings, *rows):
        cells = [
            cell.rjust(width) if heading in numbers else cell.ljust(width)
            for cell, heading, width in zip(row, headings, widths, strict=True)
        ]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)
