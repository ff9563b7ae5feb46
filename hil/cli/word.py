"""`hil at`, `hil scpi`, `hil plc`: a word with one device, through its driver and its guards.

Nothing is restored afterwards: what was set on purpose stays.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any, Final

from hil.cli.virtual import join_or_enter
from hil.drivers.protocols import Scalar
from hil.drivers.registry import Registry
from hil.drivers.scpi import asks_only
from hil.errors import NeedsNotMet, UsageError
from hil.lab.lease import Lease
from hil.lab.safety import Guard
from hil.lab.world import resolve
from hil.record.redaction import redact
from hil.testbed import load
from hil.verdict import ExitCode

_TRUTH: Final = {"true": True, "false": False}


def at(name: str, command: str, testbed: str) -> int:
    """Sends one AT command; prints its information lines."""
    with _device(testbed, name, "command", "AT commands") as device:
        for line in device.command(command):
            print(line)
    return ExitCode.OK


def scpi(name: str, command: str, testbed: str) -> int:
    """Sends one SCPI message; prints the answer, where it asks for one.

    Raises:
        UsageError: the device's driver lets only questions pass.
    """
    with _device(testbed, name, "query", "SCPI") as device:
        if asks_only(command) or not hasattr(device, "write"):
            print(device.query(command))
        else:
            device.write(command)
    return ExitCode.OK


def plc_read(name: str, tags: list[str], testbed: str) -> int:
    """Prints tags, all where none is named."""
    with _device(testbed, name, "tags", "tags") as device:
        for tag, found in device.read(*tags).items():
            print(f"{tag} = {found.value}" + (f" {found.unit}" if found.unit else ""))
    return ExitCode.OK


def plc_write(name: str, tag: str, value: str, testbed: str) -> int:
    """Writes one tag within its range, and reads it back."""
    wanted = _scalar(value)
    with _device(testbed, name, "tags", "tags") as device:
        device.write({tag: wanted})
        print(f"{tag} = {device.read(tag)[tag].value}")
    return ExitCode.OK


@contextlib.contextmanager
def _device(testbed: str, name: str, ability: str, what: str) -> Iterator[Any]:
    """The device, open, guarded, and held by nobody else; what it does is told on stderr."""
    registry = Registry()
    bench = load(testbed, registry)
    if name not in bench.devices:
        known = ", ".join(bench.devices) or "none"
        raise UsageError(f"no device {name!r} in {bench.source}; it has {known}")
    config = bench.devices[name]
    if not hasattr(registry.create(name, config), ability):
        raise NeedsNotMet([f"{name} is driven by {config.driver}, which knows no {what}"])
    if bench.world is not None:
        join_or_enter(bench.source)
    device = registry.create(name, resolve(config))
    with Lease(bench.name) if bench.world is None else contextlib.nullcontext():
        try:
            device.open()
            yield Guard(device, _tell)
        finally:
            device.close()


def _tell(device: str, text: str) -> None:
    print(redact(f"{device}: {text}"), file=sys.stderr)


def _scalar(text: str) -> Scalar:
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()]
    readers: tuple[Callable[[str], Scalar], ...] = (int, float)
    for reader in readers:
        with contextlib.suppress(ValueError):
            return reader(text)
    raise UsageError(f"{text!r} is no value; write a number, true or false")
