"""``hil validate FILE``: whether a testbed file is right, and everything that is wrong with it."""

from __future__ import annotations

import sys

from hil.errors import UsageError
from hil.verdict import ExitCode


def validate(file: str) -> int:
    """Checks a testbed, by path or by name; one line if it is right, a line for each fault if not.

    Returns:
        0 if the testbed can be used, else 2.
    """
    from hil.drivers.registry import Registry
    from hil.testbed import find, load

    try:
        path = find(file)
        testbed = load(path, Registry())
    except UsageError as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    routes = sum(map(len, testbed.paths.values()))
    counts = [
        _count(len(testbed.devices), "device"),
        _count(len(testbed.ports), "port"),
        _count(routes, "path"),
    ]
    if testbed.world is not None:
        counts.append(f"a world of {_count(len(testbed.world.endpoints), 'endpoint')} (SIMULATED)")
    print(f"{path}: valid: {', '.join(counts)}")
    return ExitCode.OK


def _count(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"
