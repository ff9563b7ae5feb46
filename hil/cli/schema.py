"""``hil schema KIND``: the JSON Schema of a file, for editors and other programs."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

from hil.verdict import ExitCode


def schema(kind: str) -> int:
    """Prints the JSON Schema of testbed files, of profiles or of the record.

    Returns:
        0, or 2 where there is no such kind.
    """
    if kind not in KINDS:
        print(f"no schema of {kind!r}; there are: {', '.join(KINDS)}", file=sys.stderr)
        return ExitCode.USAGE
    print(json.dumps(KINDS[kind](), indent=2, ensure_ascii=False))
    return ExitCode.OK


def _testbed() -> dict[str, Any]:
    from hil.drivers.registry import Registry
    from hil.testbed import json_schema

    return json_schema(Registry())


def _profile() -> dict[str, Any]:
    from hil.targets import Profile

    return Profile.model_json_schema()


def _record() -> dict[str, Any]:
    from hil.record.schema import json_schema

    return json_schema()


KINDS: Final[Mapping[str, Callable[[], dict[str, Any]]]] = {
    "testbed": _testbed,
    "profile": _profile,
    "record": _record,
}
