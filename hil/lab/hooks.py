"""Shell commands by which a bench takes part that hil has no driver for."""

from __future__ import annotations

import subprocess
from typing import Final

from hil.errors import RigError

_COMMAND_S: Final = 60.0


def command(what: str, line: str) -> None:
    """Runs a hook of the testbed file with `sh -c`; `what` names it in what is said.

    Raises:
        RigError: it did not exit with 0 within 60 s.
    """
    try:
        done = subprocess.run(
            ["sh", "-c", line],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_COMMAND_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"{what}: {line!r} took longer than {_COMMAND_S:.0f} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise RigError(
            f"{what}: {line!r} ended with {done.returncode}: {said or 'it said nothing'}"
        )
