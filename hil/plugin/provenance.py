"""Who ran what, on which host, from which commit: the facts of the first line of a record."""

from __future__ import annotations

import os
import platform
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TypedDict

import hil
from hil.record.directory import sha256_of
from hil.record.redaction import redact_argv
from hil.record.schema import Source


class Provenance(TypedDict):
    """Fields of `RunLine` that the host knows; handed over with ``**``."""

    hil: str
    git_commit: str | None
    git_dirty: bool | None
    host: str
    kernel: str
    python: str
    argv: tuple[str, ...]


def provenance(argv: Sequence[str], suites: Path) -> Provenance:
    """The facts of this host and process, with the commit of the repository `suites` lies in."""
    commit = _git(suites, "rev-parse", "HEAD")
    status = _git(suites, "status", "--porcelain", "--untracked-files=no") if commit else None
    return Provenance(
        hil=hil.__version__,
        git_commit=commit,
        git_dirty=None if status is None else bool(status),
        host=socket.gethostname(),
        kernel=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
        argv=redact_argv(tuple(argv)),
    )


def source(name: str, path: Path | None, version: str | None = None) -> Source:
    """A file named in the record, with the digest of what is in it now."""
    if path is None:
        return Source(name=name, version=version)
    return Source(name=name, version=version, path=str(path), sha256=sha256_of(path))


def _git(folder: Path, *arguments: str) -> str | None:
    # Without optional locks: a run must not disturb somebody's repository.
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        answer = subprocess.run(
            ("git", "-C", str(folder), *arguments),
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env=environment,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return answer.stdout.strip() if answer.returncode == 0 else None
