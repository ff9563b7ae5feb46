"""Where the things of a run lie: ``out/<run id>/``, with ``out/latest`` pointing at the newest."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from hil.clock import SYSTEM, Clock
from hil.errors import RigError, UsageError

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.record.schema import JudgementLine

#: What the probe writes before a run starts: enough that a file system with no room for a record
#: and its reports says so now.
_PROBE_BYTES: Final = 1 << 20

_CURES: Final = {
    errno.EROFS: "the file system is read-only; name another directory",
    errno.EACCES: "no permission to write; name another directory or change its owner",
    errno.EPERM: "no permission to write; name another directory or change its owner",
    errno.ENOSPC: "no space is left; free some or name another directory",
    errno.EDQUOT: "the quota is used up; free some space or name another directory",
    errno.ENOTDIR: "part of the path is a file; name a directory",
    errno.EEXIST: "a file of that name is in the way; name another directory",
    errno.ENAMETOOLONG: "the path is too long; name a shorter one",
}


def new_run_id(clock: Clock = SYSTEM) -> str:
    """A run's name: the time in UTC, so that names sort, and a few random characters."""
    moment = datetime.fromtimestamp(clock.realtime_ns() / 1e9, UTC)
    return f"{moment:%Y%m%dT%H%M%SZ}-{secrets.token_hex(3)}"


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_whole(path: Path, text: str) -> None:
    """Write a file so that a reader sees the old content or the new, never half of it.

    Raises:
        RigError: the file cannot be written; one sentence says why.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        beside.write_text(text, encoding="utf-8")
        os.replace(beside, path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise RigError(f"{path}: cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """The directory of one run; its attributes are the paths in it."""

    path: Path

    @property
    def run_id(self) -> str:
        """The run's name, which is the directory's."""
        return self.path.name

    @property
    def record(self) -> Path:
        """The record: append-only JSON lines, the one source of all reports."""
        return self.path / "record.jsonl"

    @property
    def samples(self) -> Path:
        """The raw samples, one set of files per measurement."""
        return self.path / "samples"

    @property
    def cards(self) -> Path:
        """One HTML file per judgement."""
        return self.path / "cards"

    @property
    def allure_results(self) -> Path:
        """What the tests left for Allure."""
        return self.path / "allure-results"

    @property
    def allure_report(self) -> Path:
        """The Allure site."""
        return self.path / "allure-report"

    @property
    def index(self) -> Path:
        """The report that needs nothing but a browser."""
        return self.path / "report" / "index.html"

    @property
    def junit(self) -> Path:
        """The JUnit XML."""
        return self.path / "junit.xml"

    @property
    def exit_code(self) -> Path:
        """The exit code as text, so that a later step can ask what the run said."""
        return self.path / "exit_code"

    @classmethod
    def create(cls, out: Path, run_id: str | None = None) -> RunDirectory:
        """Make ``out/<run_id>`` with its folders, and point ``out/latest`` at it.

        Nothing is left behind where it cannot be done: it is tried by writing before anything
        of the run starts.

        Raises:
            UsageError: not writable, full, or something is in the way; one sentence with a cure.
        """
        run = cls((out / (run_id or new_run_id())).absolute())
        with _usable(out):
            out.mkdir(parents=True, exist_ok=True)
            run.path.mkdir()
        try:
            with _usable(out):
                run._probe()
                for folder in (run.samples, run.cards, run.allure_results, run.index.parent):
                    folder.mkdir()
                run._become_latest()
        except UsageError:
            run._remove_empty()
            raise
        return run

    @classmethod
    def open(cls, path: Path) -> RunDirectory:
        """The directory of a run that somebody made, also by way of ``latest``.

        Raises:
            UsageError: there is no such directory.
        """
        run = cls(path.resolve())
        if not run.path.is_dir():
            raise UsageError(f"{path}: there is no such run directory")
        return run

    def card(self, nodeid: str | None, judgement: Judgement | JudgementLine) -> Path:
        """Where the card of a judgement lies; the same judgement always gets the same name."""
        named = (
            judgement.target,
            judgement.direction,
            judgement.measurement,
            judgement.metric,
            judgement.statistic,
            judgement.sentence,  # two readings of one value are two judgements
        )
        readable = re.sub(r"[^A-Za-z0-9.]+", "-", f"{judgement.target}-{judgement.direction}")
        digest = hashlib.sha256("\0".join((nodeid or "", *named)).encode()).hexdigest()
        return self.cards / f"{readable.strip('-') or 'card'}-{digest[:8]}.html"

    def write_exit_code(self, code: int) -> None:
        """Write the exit code into the run directory and beside it, as ``out/exit_code``."""
        for place in (self.exit_code, self.path.parent / "exit_code"):
            write_whole(place, f"{int(code)}\n")

    def relative(self, path: Path) -> str:
        """`path` as the record names it: relative to the run directory, with forward slashes."""
        return path.resolve().relative_to(self.path.resolve()).as_posix()

    def _probe(self) -> None:
        probe = self.path / ".probe"
        try:
            with probe.open("wb") as stream:
                stream.write(bytes(_PROBE_BYTES))
                stream.flush()
                os.fsync(stream.fileno())
        finally:
            probe.unlink(missing_ok=True)

    def _become_latest(self) -> None:
        beside = self.path.parent / f".latest.{os.getpid()}"
        latest = self.path.parent / "latest"
        if latest.is_dir() and not latest.is_symlink():
            raise UsageError(f"{latest}: a directory is where the link to the newest run belongs")
        beside.unlink(missing_ok=True)
        beside.symlink_to(self.path.name)
        os.replace(beside, latest)
        # What the run before said must not be taken for what this one says if it is killed.
        (self.path.parent / "exit_code").unlink(missing_ok=True)

    def _remove_empty(self) -> None:
        for folder in sorted(self.path.rglob("*"), reverse=True):
            if folder.is_dir():
                folder.rmdir()
        self.path.rmdir()


@contextmanager
def _usable(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        cure = _CURES.get(error.errno or 0, error.strerror)
        raise UsageError(f"{out}: cannot keep a run there: {cure}") from error
