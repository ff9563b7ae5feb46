"""HTML as nested calls: whatever is not markup already is escaped."""

from __future__ import annotations

from html import escape

_VOID = frozenset(("br", "col", "hr", "meta"))


class Markup(str):
    """Text that is HTML already and is not escaped again."""

    __slots__ = ()


Child = str | None


def tag(element: str, /, *children: Child, **attributes: str | None) -> Markup:
    """An element; a trailing underscore of an attribute is dropped, ``data_x`` is ``data-x``."""
    written = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(value)}"'
        for key, value in attributes.items()
        if value is not None
    )
    if element in _VOID:
        return Markup(f"<{element}{written}>")
    return Markup(f"<{element}{written}>{join(*children)}</{element}>")


def join(*children: Child) -> Markup:
    """Children one after the other; None is nothing."""
    return Markup(
        "".join(
            child if isinstance(child, Markup) else escape(child, quote=False)
            for child in children
            if child is not None
        )
    )
