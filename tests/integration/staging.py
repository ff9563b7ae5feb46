"""Programs of tests in network namespaces of their own, and the JSON that they print."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hil.virtual import stage

ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount"]


def environment(**more: str) -> dict[str, str]:
    """This process's environment with this checkout's code first, and `more`."""
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return os.environ | {"PYTHONPATH": path} | more


def said(command: Sequence[str], **more: str) -> Any:
    """What a command prints as JSON; it must end well. `more` is for its environment."""
    done = subprocess.run(
        command, env=environment(**more), capture_output=True, text=True, check=False, cwd=ROOT
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def on_stage(script: Path, *words: str, names: Sequence[str] = ("near", "far"), **more: str) -> Any:
    """What a script prints on a private stage with those namespaces (`hil.virtual.stage`)."""
    return said(stage.command(names, [sys.executable, str(script), *words]), **more)


def unshared(script: Path, *words: str) -> Any:
    """What a script prints in user, network and mount namespaces of its own, warnings errors."""
    return said([*UNSHARE, sys.executable, str(script), *words], PYTHONWARNINGS="error")
