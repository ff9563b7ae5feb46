"""A file read into a document: plain values, and the place of each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from collections.abc import Mapping as MappingType
from pathlib import Path as FilePath
from typing import Any, Final, Literal, TypeVar

from pydantic import TypeAdapter, ValidationError

from hil.document.fault import START, Fault, Mark, Path
from hil.document.scalars import unprintable
from hil.document.tree import Composer, Entry, Mapping, Node, Scalar, Sequence, Unreadable
from hil.document.wording import Complaint, complaint, joined
from hil.errors import ConfigError

_MAX_BYTES: Final = 2**20
_TOP: Final = "'key: value' lines are wanted, the first of them 'schema: 1'"
_UTF8: Final = "UTF-8 text is wanted"

_T = TypeVar("_T")

At = Literal["key", "value"]


class Document:
    """One YAML file: values as plain Python, and where each key and value stands.

    `source` is the file as the user named it; `faults` are those of the structure itself
    (duplicate keys, unknown anchors), found while reading on.
    """

    def __init__(self, source: str, root: Mapping, composer: Composer) -> None:
        self.source = source
        self.faults = tuple(composer.faults)
        self._broken = frozenset(composer.broken)
        self._root = root

    def plain(self, path: Path = ()) -> Any:
        """The value at `path` as fresh dicts, lists and scalars; None where there is nothing."""
        entries, left = self._walk(path)
        node = entries[-1].node if entries else self._root
        return None if left else _plain(node)

    def text(self, path: Path) -> str | None:
        """A scalar as the file writes it, None where there is none."""
        entries, left = self._walk(path)
        node = entries[-1].node if entries else self._root
        return node.text if isinstance(node, Scalar) and not left else None

    def mark(self, path: Path, at: At = "value") -> Mark:
        """The place of the key or the value at `path`; of the nearest parent's key if absent."""
        entries, left = self._walk(path)
        if not entries:
            return self._root.mark
        return entries[-1].key if left or at == "key" else entries[-1].mark

    def fault(self, path: Path, what: str, at: At = "value") -> Fault:
        """A fault at the key or the value of `path`."""
        return Fault(self.source, self.mark(path, at), path, what)

    def scalars(self) -> list[tuple[Path, str]]:
        """Path and text of every scalar, in the order of the file."""
        return list(_scalars(self._root, ()))

    def check(
        self,
        kind: type[_T],
        faults: list[Fault],
        *,
        path: Path = (),
        value: object = ...,
        context: MappingType[str, Any] | None = None,
    ) -> _T | None:
        """The value at `path` as a `kind`; None, with every reason added to `faults`.

        Args:
            kind: A pydantic model, or any type that pydantic knows.
            faults: Grows by one fault for each thing wrong.
            path: Where in the document the value stands.
            value: What to check in its stead, where a caller took something out of it.
            context: Handed to the validators.

        The check is strict, as of JSON: a number is no text, 1 is not true, "5" is not 5.
        """
        plain = self.plain(path) if value is ... else value
        adapter = TypeAdapter(kind)
        try:
            return adapter.validate_json(
                json.dumps(plain), strict=True, context=dict(context or {})
            )
        except ValidationError as error:
            faults.extend(self._complaints(kind, plain, error, path))
        return None

    def _complaints(
        self, kind: object, plain: object, error: ValidationError, path: Path
    ) -> list[Fault]:
        """One fault a place: what a union tried in vain is one sentence."""
        found: dict[Path, list[Complaint]] = {}
        for each in error.errors(include_url=False):
            about = complaint(kind, plain, each, lambda below: self.text((*path, *below)))
            found.setdefault(about.path, []).append(about)
        return [
            self.fault((*path, *place), joined(each.what for each in about), about[0].at)
            for place, about in found.items()
            if (*path, *place) not in self._broken
        ]

    def _walk(self, path: Path) -> tuple[list[Entry], int]:
        """The entries along a path, and how many of its steps lead nowhere."""
        node: Node = self._root
        entries: list[Entry] = []
        for step in path:
            entry: Entry | None = None
            if isinstance(node, Mapping) and isinstance(step, str):
                entry = node.entries.get(step)
            elif isinstance(node, Sequence) and isinstance(step, int) and step < len(node.items):
                entry = node.items[step]
            if entry is None:
                break
            entries.append(entry)
            node = entry.node
        return entries, len(path) - len(entries)


def _plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [_plain(entry.node) for entry in node.items]
    return {key: _plain(entry.node) for key, entry in node.entries.items()}


def _scalars(node: Node, path: Path) -> Iterator[tuple[Path, str]]:
    if isinstance(node, Scalar):
        yield path, node.text or ""
    elif isinstance(node, Sequence):
        for index, entry in enumerate(node.items):
            yield from _scalars(entry.node, (*path, index))
    else:
        for key, entry in node.entries.items():
            yield from _scalars(entry.node, (*path, key))


def read(path: str | FilePath) -> Document:
    """The document in a file.

    Raises:
        ConfigError: The file cannot be read, is no text, no YAML or no mapping.
    """
    source = str(path)
    text = _text(source)
    composer = Composer(text, source)
    try:
        root = composer.compose()
    except Unreadable as error:
        fault = Fault(source, error.mark, error.path, error.what)
        raise ConfigError([*composer.faults, fault]) from None
    if root is None or (isinstance(root, Scalar) and root.text is None):
        raise _refused(source, f"is empty; {_TOP}")
    if not isinstance(root, Mapping):
        raise _refused(source, f"holds no mapping; {_TOP}")
    return Document(source, root, composer)


def load(
    path: str | FilePath, model: type[_T], *, context: MappingType[str, Any] | None = None
) -> _T:
    """A file as a `model`.

    Raises:
        ConfigError: Every fault of the file at once, in the order of the file.
    """
    document = read(path)
    faults = list(document.faults)
    result = document.check(model, faults, context=context)
    if result is None or faults:
        raise refusal(faults)
    return result


def refusal(faults: Iterable[Fault]) -> ConfigError:
    """The error that carries these faults, each once, in the order of the file."""
    ordered = sorted(set(faults), key=lambda fault: (fault.mark, str(fault)))
    return ConfigError(ordered)


def _refused(source: str, what: str, mark: Mark = START) -> ConfigError:
    return ConfigError([Fault(source, mark, (), what)])


def _text(source: str) -> str:
    """The text of a file, without its byte order mark."""
    try:
        with open(source, "rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _refused(source, f"cannot be read: {reason or error}; name a YAML file") from None
    if len(raw) > _MAX_BYTES:
        raise _refused(source, f"is larger than {_MAX_BYTES:,} bytes; name a YAML file")
    if b"\0" in raw:
        raise _refused(source, f"is binary: a zero byte at offset {raw.index(0)}; {_UTF8}")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refused(source, f"is binary: no UTF-8 at offset {error.start}; {_UTF8}") from None
    if (char := unprintable(text)) is not None:
        before = text[: text.index(char)]
        mark = Mark(before.count("\n") + 1, len(before) - before.rfind("\n"))
        raise _refused(source, f"holds the character {char!r}; printable text is wanted", mark)
    return text
