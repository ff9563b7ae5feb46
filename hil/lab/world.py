"""From the `world:` block to addresses: `${run}`, and whether the world still lives."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hil.clock import SYSTEM, Deadline
from hil.errors import RigError
from hil.testbed import DeviceConfig, Testbed

_RUN: Final = "${run}"
_STATUS_NS: Final = 2_000_000_000


def run_directory() -> Path | None:
    """The directory of the world this process is inside of, None outside of any."""
    path = os.environ.get("HIL_RUN")
    return Path(path) if path else None


def resolve(config: DeviceConfig) -> DeviceConfig:
    """`config` with `${run}` replaced by the world's directory.

    Raises: RigError when it is needed and this process is inside no world.
    """

    def late(value: Any) -> Any:
        if isinstance(value, str) and _RUN in value:
            directory = run_directory()
            if directory is None:
                raise RigError(f"{value} is known only inside a world")
            return value.replace(_RUN, str(directory))
        if isinstance(value, Mapping):
            return {key: late(item) for key, item in value.items()}
        if isinstance(value, Sequence) and not isinstance(value, str | bytes):
            return type(value)(late(item) for item in value)  # type: ignore[call-arg]
        return value

    fields = {name: late(getattr(config, name)) for name in type(config).model_fields}
    changed = {n: v for n, v in fields.items() if v != getattr(config, n)}
    return config.model_copy(update=changed) if changed else config


def check(testbed: Testbed) -> None:
    """Raises RigError when the world this testbed lives in has lost a part."""
    directory = run_directory()
    if testbed.world is None or directory is None:
        return
    try:
        status = json.loads((directory / "world.json").read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise RigError(f"the world is gone: {error}") from None
    if died := status.get("died"):
        raise RigError(f"the world lost a part: {died}")


def overrun(since_ns: int = 0) -> int:
    """Frames that the world itself had no room for, since it came up.

    They look like loss of the network and are a fault of the simulation. The user plane says so
    once a second: waits for a word later than `since_ns`, but no longer than two seconds. 0 outside
    of any world.
    """
    directory = run_directory()
    if directory is None:
        return 0
    patience = Deadline.after(_STATUS_NS)
    while True:
        with suppress(OSError, ValueError, KeyError):  # none yet, or just being replaced
            status = json.loads((directory / "userplane.json").read_text("utf-8"))
            if status["at_ns"] >= since_ns or patience.passed:
                return int(status["overrun"])
        if patience.passed:
            return 0
        SYSTEM.sleep_ns(_STATUS_NS // 40)
