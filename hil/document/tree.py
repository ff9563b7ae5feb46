"""YAML 1.2 text to a tree of nodes that know where they stand.

ruamel.yaml parses; the tree is built here from its events, because its constructors stop at the
first duplicate key, forget where an alias was used, and read dates where YAML 1.2 has none.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from hil.document.fault import START, Fault, Mark, Path
from hil.document.scalars import Plain, resolve, unprintable
from hil.document.syntax import explain

_MAX_DEPTH: Final = 50
_MAX_NODES: Final = 100_000
_YAML: Final = "tag:yaml.org,2002:"
_KNOWN_TAGS: Final = {
    _YAML + kind for kind in ("str", "int", "float", "bool", "null", "map", "seq")
}
_MERGE: Final = "<<"


@dataclass(slots=True)
class Scalar:
    """A single value; `text` is what the file says, None where it says nothing."""

    mark: Mark
    value: Plain
    text: str | None

    size: int = 1


@dataclass(slots=True)
class Entry:
    """What a key or an index leads to: where it was used, and the node, maybe behind an alias."""

    key: Mark
    mark: Mark
    node: Node


@dataclass(slots=True)
class Sequence:
    """A list."""

    mark: Mark
    items: list[Entry] = field(default_factory=list)
    size: int = 1


@dataclass(slots=True)
class Mapping:
    """Keys, always text, with what they lead to; merged keys after own ones."""

    mark: Mark
    entries: dict[str, Entry] = field(default_factory=dict)
    size: int = 1


Node = Scalar | Sequence | Mapping


class Unreadable(Exception):
    """Reading cannot go on; `mark`, `path` and `what` make the fault."""

    def __init__(self, mark: Mark, what: str, path: Path = ()) -> None:
        super().__init__(what)
        self.mark = mark
        self.path = path
        self.what = what


def _mark(mark: Any) -> Mark:
    return Mark(mark.line + 1, mark.column + 1)


def _events(text: str) -> Iterator[Any]:
    """The parser's events, its complaints in plain words."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            yield from YAML(typ="safe", pure=True).parse(text)
        except MarkedYAMLError as error:
            line, column, what = explain(error)
            raise Unreadable(Mark(line, column), what) from None
        except (YAMLError, ValueError, RecursionError, AttributeError, LookupError) as error:
            raise Unreadable(START, f"not YAML: {error}") from None


class Composer:
    """Builds the tree of one document; `faults` grows with all that is wrong in its structure.

    `broken` are the paths whose value the file does not really give: nothing more is said of them.
    """

    def __init__(self, text: str, source: str) -> None:
        self.faults: list[Fault] = []
        self.broken: set[Path] = set()
        self._source = source
        self._events = _events(text)
        self._anchors: dict[str, Node | None] = {}

    def compose(self) -> Node | None:
        """The root node, None of a document that holds nothing; Unreadable where it must stop."""
        root: Node | None = None
        for event in self._events:
            if isinstance(event, ScalarEvent | SequenceStartEvent | MappingStartEvent | AliasEvent):
                if root is not None:
                    raise Unreadable(_mark(event.start_mark), "a second document; one is wanted")
                root = self._node(event, (), 0)
        return root

    def _fault(self, mark: Mark, path: Path, what: str) -> None:
        self.faults.append(Fault(self._source, mark, path, what))

    def _break(self, mark: Mark, path: Path, what: str) -> None:
        self.broken.add(path)
        self._fault(mark, path, what)

    def _node(self, event: Any, path: Path, depth: int) -> Node:
        mark = _mark(event.start_mark)
        if isinstance(event, AliasEvent):
            return self._alias(event.anchor, mark, path)
        if depth > _MAX_DEPTH:
            raise Unreadable(mark, f"nested deeper than {_MAX_DEPTH} levels", path[:3])
        if event.anchor is not None:
            self._anchors[event.anchor] = None
        if event.tag is not None and event.tag not in _KNOWN_TAGS:
            self._break(mark, path, f"tag {event.tag!r} means nothing here; leave it out")
        node = self._content(event, mark, path, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = node
        if node.size > _MAX_NODES:
            raise Unreadable(mark, f"holds more than {_MAX_NODES:,} values", path[:3])
        return node

    def _content(self, event: Any, mark: Mark, path: Path, depth: int) -> Node:
        if isinstance(event, ScalarEvent):
            return self._scalar(event, mark, path)
        if isinstance(event, SequenceStartEvent):
            return self._sequence(mark, path, depth)
        return self._mapping(mark, path, depth)

    def _alias(self, anchor: str, mark: Mark, path: Path) -> Node:
        known = [name for name, node in self._anchors.items() if node is not None]
        if anchor not in self._anchors:
            names = ", ".join(known) or "none"
            self._break(mark, path, f"no anchor &{anchor} before this; known: {names}")
        elif (node := self._anchors[anchor]) is not None:
            return node
        else:
            self._break(mark, path, f"*{anchor} lies inside what it stands for")
        return Scalar(mark, None, None)

    def _scalar(self, event: Any, mark: Mark, path: Path) -> Scalar:
        text = event.value
        if (char := unprintable(text)) is not None:
            self._break(mark, path, f"holds the character {char!r}; printable text is wanted")
            return Scalar(mark, "", "")
        plain = event.style is None and event.tag in (None, *(_KNOWN_TAGS - {_YAML + "str"}))
        return Scalar(mark, resolve(text) if plain else text, text if text or event.style else None)

    def _sequence(self, mark: Mark, path: Path, depth: int) -> Sequence:
        node = Sequence(mark)
        while not isinstance(event := next(self._events), SequenceEndEvent):
            place = _mark(event.start_mark)
            child = self._node(event, (*path, len(node.items)), depth + 1)
            node.items.append(Entry(place, place, child))
            node.size += child.size
        return node

    def _mapping(self, mark: Mark, path: Path, depth: int) -> Mapping:
        node = Mapping(mark)
        merged: list[Entry] = []
        while not isinstance(event := next(self._events), MappingEndEvent):
            key_mark = _mark(event.start_mark)
            key = self._key(event, path, depth)
            event = next(self._events)
            child = self._node(event, (*path, key or ""), depth + 1)
            empty = isinstance(child, Scalar) and child.text is None
            entry = Entry(key_mark, key_mark if empty else _mark(event.start_mark), child)
            if key == _MERGE:
                merged.extend(self._merged(entry, (*path, key)))
            elif key is not None and key in node.entries:
                first = node.entries[key].key.line
                self._fault(
                    key_mark, (*path, key), f"a second {key!r}; the first is on line {first}"
                )
            elif key is not None:
                node.entries[key] = entry
        for source in merged:
            assert isinstance(source.node, Mapping)
            for name, entry in source.node.entries.items():
                node.entries.setdefault(name, entry)
        node.size += sum(entry.node.size for entry in node.entries.values())
        return node

    def _key(self, event: Any, path: Path, depth: int) -> str | None:
        """The text of a key, as written; None, with its fault, where it is no key."""
        node = self._node(event, path, depth + 1)
        if isinstance(node, Scalar) and node.text:
            return node.text
        what = "an empty key" if isinstance(node, Scalar) else "a list or mapping as a key"
        self._fault(_mark(event.start_mark), path, f"{what}; text is wanted before the ':'")
        return None

    def _merged(self, entry: Entry, path: Path) -> list[Entry]:
        """The mappings that a merge key adds, the first one winning."""
        node = entry.node
        entries = node.items if isinstance(node, Sequence) else [entry]
        for index, each in enumerate(entries):
            if not isinstance(each.node, Mapping):
                place = (*path, index) if isinstance(node, Sequence) else path
                self._fault(each.mark, place, "only a mapping can be merged, as in '<<: *anchor'")
        return [each for each in entries if isinstance(each.node, Mapping)]
