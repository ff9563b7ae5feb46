"""Faults that a bench or a world offers to its suites."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from hil.errors import RigError, UsageError
from hil.lab.hooks import command
from hil.lab.world import run_directory
from hil.testbed import FaultHook, Testbed


def offered(testbed: Testbed) -> list[str]:
    """The names that `fault` takes on a testbed: its hooks, and those of its world."""
    names = list(testbed.hooks.faults)
    if testbed.world is not None:
        from hil.testbed.faults import FAULTS

        names += [*testbed.world.faults, *FAULTS]
    return list(dict.fromkeys(names))


@contextmanager
def fault(
    testbed: Testbed, journal: Callable[[str, str], None], name: str, parameters: Mapping[str, Any]
) -> Iterator[None]:
    """Within it the fault is on; it is ended whatever happens inside.

    Raises:
        UsageError: nothing of that name is offered, or its parameters are wrong.
        RigError: the fault could not be begun or ended.
    """
    hook = testbed.hooks.faults.get(name)
    if hook is not None:
        if parameters:
            raise UsageError(f"fault {name}: the hook of {testbed.name} takes no parameters")
        with _by_hook(name, hook, journal):
            yield
    elif name in offered(testbed):
        with _in_world(testbed, name, parameters, journal):
            yield
    else:
        known = ", ".join(offered(testbed)) or "none; write start and stop under `hooks: faults:`"
        raise UsageError(f"{testbed.name} offers no fault {name!r}; it offers: {known}")


@contextmanager
def _by_hook(name: str, hook: FaultHook, journal: Callable[[str, str], None]) -> Iterator[None]:
    journal(f"fault {name}", f"begins: {hook.start}")
    try:
        command(f"fault {name}", hook.start)
        yield
    finally:
        command(f"fault {name}", hook.stop)  # also after half a start
        journal(f"fault {name}", f"ended: {hook.stop}")


@contextmanager
def _in_world(
    testbed: Testbed,
    name: str,
    parameters: Mapping[str, Any],
    journal: Callable[[str, str], None],
) -> Iterator[None]:
    from hil.virtual import faults

    assert testbed.world is not None
    run = run_directory()
    if run is None:
        raise RigError(f"fault {name}: this process is inside no world")
    part = faults.part_of(testbed.world, name)
    entry = faults.begin(run, part, name, parameters)
    shown = ", ".join(f"{key} {value}" for key, value in parameters.items())
    journal(f"fault {entry['name']}", f"begun: {shown or entry['kind']}")
    try:
        yield
    finally:
        entry = faults.close(run, entry)
        met = f"; {entry['touched']} packets were met" if part == "userplane" else ""
        journal(f"fault {entry['name']}", f"ended{met}")
