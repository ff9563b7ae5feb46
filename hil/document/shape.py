"""What a model expects at a place: the keys it knows, the tags of a union, a field's meaning."""

from __future__ import annotations

import collections.abc
from collections.abc import Iterator
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

_LISTS: Final = (tuple, list, set, frozenset, collections.abc.Sequence)
_MAPPINGS: Final = (dict, collections.abc.Mapping)


def fields_at(kind: object, loc: tuple[str | int, ...]) -> dict[str, FieldInfo]:
    """Key -> field of every model that `kind` allows at a location of pydantic's."""
    kinds = list(_alternatives(kind))
    for step in loc:
        kinds = [below for each in kinds for below in _below(each, step)]
    return {
        key: field
        for each in kinds
        if _is_model(each)
        for key, field in _fields(each)
    }  # fmt: skip


def literals(field: FieldInfo) -> tuple[str, ...]:
    """The words that a field of literals allows; nothing of any other field."""
    return tuple(
        str(word)
        for each in _alternatives(field.annotation)
        if get_origin(each) is Literal
        for word in get_args(each)
    )


def tags_at(kind: object, loc: tuple[str | int, ...], key: str) -> list[str]:
    """The words that `key` may hold to choose among the models of a union."""
    kinds = list(_alternatives(kind))
    for step in loc:
        kinds = [below for each in kinds for below in _below(each, step)]
    models = [each for each in kinds if _is_model(each)]
    return [
        word
        for each in models
        for name, field in _fields(each)
        if name == key
        for word in literals(field)
    ]


def _is_model(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _fields(model: Any) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _alternatives(kind: Any) -> Iterator[Any]:
    """The types that an annotation joins by ``|``, without their metadata."""
    origin = get_origin(kind)
    if origin is Annotated:
        yield from _alternatives(get_args(kind)[0])
    elif origin in (Union, UnionType):
        for each in get_args(kind):
            yield from _alternatives(each)
    else:
        yield kind


def _below(kind: Any, step: str | int) -> Iterator[Any]:
    """The types one step of a location further down."""
    origin = get_origin(kind)
    if _is_model(kind):
        fields = dict(_fields(kind))
        if step in fields:
            yield from _alternatives(fields[str(step)].annotation)
        elif any(step in literals(field) for field in fields.values()):
            yield kind  # the step is the tag that pydantic puts in for the chosen model
    elif origin in _MAPPINGS:
        yield from _alternatives(get_args(kind)[1])
    elif origin in _LISTS:
        yield from _alternatives(get_args(kind)[0])
