"""pydantic's complaints in the words of somebody who writes the file."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from hil.document.fault import Path
from hil.document.shape import fields_at, tags_at

_LONGEST: Final = 60

_WHOLE: Final = "wants a whole number"
_NUMBER: Final = "wants a number"
_SWITCH: Final = "wants true or false"
_MAPPING: Final = "wants a mapping: one 'key: value' a line"
_LIST: Final = "wants a list, as in [a, b]"
_WANTS: Final[Mapping[str, str]] = {
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_parsing_size": _WHOLE,
    "int_from_float": _WHOLE,
    "float_type": _NUMBER,
    "float_parsing": _NUMBER,
    "finite_number": "wants a finite number",
    "bool_type": _SWITCH,
    "bool_parsing": _SWITCH,
    "string_type": "wants text",
    "dict_type": _MAPPING,
    "mapping_type": _MAPPING,
    "model_type": _MAPPING,
    "model_attributes_type": _MAPPING,
    "dataclass_type": _MAPPING,
    "tuple_type": _LIST,
    "list_type": _LIST,
    "set_type": _LIST,
    "frozen_set_type": _LIST,
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "multiple_of": "must be a multiple of {multiple_of}",
    "literal_error": "wants one of {expected}",
    "enum": "wants one of {expected}",
    "none_required": "wants no value",
    "string_too_short": "must not be shorter than {min_length}",
    "string_too_long": "must not be longer than {max_length}",
    "too_short": "wants at least {min_length} of them",
    "too_long": "wants at most {max_length} of them",
    "string_pattern_mismatch": "must match {pattern}",
}


@dataclass(frozen=True, slots=True)
class Complaint:
    """What is wrong, and the path to it; `at` says whether its key or its value is meant."""

    path: Path
    what: str
    at: Literal["key", "value"] = "value"


def joined(sentences: Iterable[str]) -> str:
    """One sentence for what several alternatives wanted of the same value."""
    said = list(dict.fromkeys(sentences))
    halves = [each.partition("; got ") for each in said]
    if len({tail for _, _, tail in halves}) > 1:
        return "; or ".join(said)
    wants = [
        head.removeprefix("wants ") if index else head for index, (head, _, _) in enumerate(halves)
    ]
    return " or ".join(wants) + halves[0][1] + halves[0][2]


def nearest(word: str, known: Iterable[str]) -> str:
    """What to put behind ``unknown ...;``: the nearest name there is, or all of them."""
    names = sorted(set(known))
    if close := difflib.get_close_matches(word, names, n=1, cutoff=0.5):
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(names) or 'none'}"


def got(value: object, text: str | None) -> str:
    """What stands there, short; `text` is how the file writes it."""
    if isinstance(value, dict):
        return "got a mapping"
    if isinstance(value, list):
        return "got a list"
    shown = str(value) if text is None else text
    shown = shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"
    if isinstance(value, bool):
        return f"got {shown}"
    return f"got the number {shown}" if isinstance(value, int | float) else f"got {shown!r}"


def complaint(
    kind: object,
    plain: object,
    error: Mapping[str, Any],
    text: Callable[[Path], str | None],
) -> Complaint:
    """One of pydantic's errors about `plain`, which was to be a `kind`.

    `text` gives a scalar of `plain` as the file writes it.
    """
    code, loc = str(error["type"]), tuple(error["loc"])
    path, value, at_key = _locate(plain, loc)
    if code == "extra_forbidden":
        known = fields_at(kind, loc[:-1])
        return Complaint(path, f"unknown key; {nearest(str(loc[-1]), known)}", "key")
    if code == "missing":
        return Complaint((*path, loc[-1]), _missing(kind, loc))
    if code in ("union_tag_invalid", "union_tag_not_found"):
        key = error["ctx"]["discriminator"].strip("'")
        return _tag(kind, loc, Complaint((*path, key), ""), value)
    wants = _wants(code, error)
    if at_key and code == "literal_error":
        return Complaint(path, f"unknown key; {nearest(str(path[-1]), _quoted(wants))}", "key")
    if at_key:
        return Complaint(path, f"unfit as a name: {wants}", "key")
    return Complaint(path, _wrong(wants, value, text(path), code))


def _locate(plain: object, loc: Path) -> tuple[Path, object, bool]:
    """The steps of pydantic's location that lie in the document, what is there, key or value."""
    path: list[str | int] = []
    value = plain
    for step in loc:
        if (isinstance(value, dict) and step in value) or (
            isinstance(value, list) and isinstance(step, int) and step < len(value)
        ):
            value = value[step]  # type: ignore[index]
            path.append(step)
    return tuple(path), value, bool(loc) and loc[-1] == "[key]"


def _missing(kind: object, loc: Path) -> str:
    key = str(loc[-1])
    field = fields_at(kind, loc[:-1]).get(key)
    meaning = (field.description or "") if field else ""
    first = " ".join(meaning.split()).split("; ")[0].rstrip(".")
    return f"missing; add '{key}: …'" + (f" ({first})" if first else "")


def _tag(kind: object, loc: Path, found: Complaint, value: object) -> Complaint:
    key = str(found.path[-1])
    tags = tags_at(kind, loc, key)
    if isinstance(value, dict) and key in value:
        word = str(value[key])
        return Complaint(found.path, f"unknown {key} {word!r}; {nearest(word, tags)}")
    return Complaint(found.path, f"missing; add '{key}: …', one of: {', '.join(tags)}")


def _wants(code: str, error: Mapping[str, Any]) -> str:
    context = error.get("ctx", {})
    if code == "value_error":
        return str(context["error"])
    if code in ("literal_error", "enum") and " or " not in context["expected"]:
        return f"wants {context['expected']}"
    if code in _WANTS:
        return _WANTS[code].format(**context)
    return str(error["msg"]).removeprefix("Input ")


def _wrong(wants: str, value: object, text: str | None, code: str) -> str:
    """The sentence about a wrong value; own validators say themselves what they got."""
    if value is None:
        return f"has no value; {wants.removesuffix('; got None')}"
    if code == "value_error":
        return wants
    what = f"{wants}; {got(value, text)}"
    if code == "string_type" and text is not None:
        what += f'; put it in quotes: "{text}"'
    if code in ("literal_error", "enum") and isinstance(value, str):
        close = difflib.get_close_matches(value, _quoted(wants), n=1, cutoff=0.5)
        what += f"; did you mean {close[0]!r}?" if close else ""
    if code == "bool_type" and isinstance(value, str):
        what += "; on, off, yes and no are text"
    return what


def _quoted(text: str) -> list[str]:
    return text.split("'")[1::2]
