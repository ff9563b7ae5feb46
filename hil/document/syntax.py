"""What the YAML parser complains about, in the words of somebody who writes the file."""

from __future__ import annotations

import re
from typing import Final

from ruamel.yaml.error import MarkedYAMLError

_OPENED: Final = "the bracket opened on line {line} is not closed, or a comma is missing here"

_MEANING: Final = (
    (r"found character '\\t'", "a tab; YAML indents with spaces"),
    (r"found character '(.)' that cannot", "text cannot begin with '{0}'; put it in quotes"),
    (r"mapping values are not allowed", "a ':' that fits nowhere: align this line with its"
     " neighbours, or put text that holds ': ' in quotes"),
    (r"expected <block end>", "the indentation fits no line above; align it with its neighbours"),
    (r"expected ',' or", _OPENED),
    (r"could not find expected ':'", "a key without ':'; write 'key: value'"),
    (r"unknown escape character '(.)'", "\\{0} is no escape in double quotes; use single quotes"),
    (r"expected the node content", "a value is missing here, or a bracket is not closed"),
    (r"incompatible YAML document", "this version of YAML is not read; leave out %YAML"),
    (r"expected '<document start>'", "text after the end of the document; mend the indentation"),
)  # fmt: skip

_UNCLOSED: Final = re.compile(r"unexpected end of stream|unexpected document separator")


def explain(error: MarkedYAMLError) -> tuple[int, int, str]:
    """Line and column, from 1, and what is wrong there."""
    problem = str(error.problem or error.context or "unreadable")
    mark, context = error.problem_mark or error.context_mark, error.context_mark
    if _UNCLOSED.search(problem) and context is not None:
        return context.line + 1, context.column + 1, "a quote that is never closed"
    if "could not find expected ':'" in problem and context is not None:
        mark = context
    place = (1, 1) if mark is None else (mark.line + 1, mark.column + 1)
    opened = place[0] if context is None else context.line + 1
    for pattern, meaning in _MEANING:
        if match := re.search(pattern, problem):
            return *place, meaning.format(*match.groups(), line=opened)
    return *place, f"not YAML: {problem}"
