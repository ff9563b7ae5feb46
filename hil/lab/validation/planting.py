"""How a bug is planted: one function is compiled again with a few characters changed.

A bug is data: where, what stands there, what is put in its place. The changed code takes the place
of the function's own, so that whoever holds the function runs it, however it was imported; when the
block ends the function is what it was. A text that is not there, or not once, means that the
instrument has changed since the bug was written down, and is said so.
"""

from __future__ import annotations
import __future__

import ast
import importlib
import inspect
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from hil.errors import RigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Bug:
    """One way in which the instrument could be wrong.

    `where` is ``module:function`` or ``module:Class.method``; with a `was` of nothing it is
    ``module:CONSTANT``, and `put` the value that it is given, as a Python literal. `found_by` names
    the check that must not hold with the bug in place.
    """

    id: str
    sentence: str
    where: str
    was: str
    put: str
    found_by: str


@contextmanager
def planted(bug: Bug) -> Iterator[None]:
    """Within it the bug is in place, in this process.

    Raises: RigError when the text to change is not there exactly once.
    """
    module_name, _, name = bug.where.partition(":")
    module = importlib.import_module(module_name)
    if not bug.was:
        before = getattr(module, name)
        setattr(module, name, ast.literal_eval(bug.put))
        try:
            yield
        finally:
            setattr(module, name, before)
        return
    function = _function(module, name)
    code = function.__code__
    changed = _changed(bug, function)
    function.__code__ = changed.__code__
    try:
        yield
    finally:
        function.__code__ = code


def _function(module: Any, name: str) -> FunctionType:
    found: Any = module
    for part in name.split("."):
        try:
            found = inspect.getattr_static(found, part)
        except AttributeError:
            raise RigError(
                f"no bug can be planted in {module.__name__}:{name}, which is not there any more:"
                " write the bug anew"
            ) from None
    if isinstance(found, staticmethod | classmethod):
        found = found.__func__
    if isinstance(found, property):
        found = found.fget
    found = inspect.unwrap(found)
    assert isinstance(found, FunctionType)
    return found


def _changed(bug: Bug, function: FunctionType) -> FunctionType:
    source = textwrap.dedent(inspect.getsource(function))
    times = source.count(bug.was)
    if times != 1:
        raise RigError(
            f"bug {bug.id} cannot be planted: {bug.was!r} is {times} times in {bug.where}; the"
            " instrument has changed since, so write the bug anew"
        )
    tree = ast.parse(source.replace(bug.was, bug.put))
    (definition,) = tree.body
    assert isinstance(definition, ast.FunctionDef)
    definition.decorator_list.clear()
    compiled = compile(
        tree, f"<bug {bug.id}>", "exec", __future__.annotations.compiler_flag, dont_inherit=True
    )
    held: dict[str, Any] = {}
    exec(compiled, function.__globals__, held)
    made = held[definition.name]
    assert isinstance(made, FunctionType)
    return made
