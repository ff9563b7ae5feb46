"""The only door from a test to a device: every action is written down, refusals are final.

The ranges themselves (tags, attenuation) are in each driver, which knows its device; here is what
is the same for all: the journal of actions, and the way home.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Final

from hil.errors import RigError

#: Methods that change a device. What is not named here only reads.
ACTIONS: Final = frozenset(
    {
        "activate",
        "cell",
        "command",
        "configure",
        "configure_cell",
        "cycle",
        "deactivate",
        "handover",
        "output",
        "radio_on",
        "ramp",
        "reboot",
        "release",
        "restore",
        "safe_state",
        "set",
        "set_db",
        "set_power",
        "write",
    }
)

Journal = Callable[..., None]


class Guard:
    """Stands for a device; passes every call on and writes down each that changes something."""

    def __init__(self, device: Any, journal: Journal) -> None:
        self._device = device
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._device, name)
        if name not in ACTIONS or not callable(attribute):
            return attribute

        def action(*args: Any, **kwargs: Any) -> Any:
            words = [repr(value) for value in args]
            words += [f"{key}={value!r}" for key, value in kwargs.items()]
            text = f"{name}({', '.join(words)})"
            try:
                result = attribute(*args, **kwargs)
            except Exception as error:
                self._journal(self._device.name, f"{text} failed: {error}")
                raise
            self._journal(self._device.name, text if result is None else f"{text} -> {result!r}")
            return result

        return action

    def __repr__(self) -> str:
        return f"<{self._device.name}>"


def bounded(step: Callable[[], None], what: str, limit_s: float) -> None:
    """Runs a step of the way home, but no longer than its limit: one device must not hold up all.

    Raises: RigError when the limit passes; otherwise whatever the step raises.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=run, name=what, daemon=True)
    worker.start()
    worker.join(limit_s)
    if worker.is_alive():
        raise RigError(f"{what}: not done within {limit_s:g} s, left as it is")
    if failure:
        raise failure[0]
