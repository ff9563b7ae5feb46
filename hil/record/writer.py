"""Writing a record so that nothing said is ever lost.

One ``write`` per line with O_APPEND: after a kill the file holds whole lines and at most one
broken one, the last. What decides something (test, judgement, end) is forced to the disk before
the writer goes on.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from threading import RLock
from types import TracebackType
from typing import Final

from hil.errors import LeaseLost, RigError
from hil.record.redaction import redact_tree
from hil.record.schema import Line

_FORCED: Final = frozenset(("run", "test", "judgement", "end"))


class Record:
    """The open record of a running run; a context manager, usable from several threads.

    The file is locked while it is open (flock), so that two runs never share one, and so that a
    reader can tell a run that still goes on from one that was cut short.

    Raises:
        LeaseLost: another process writes this record.
        RigError: the file cannot be opened or written; one sentence says why.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._turn = RLock()  # re-entrant: a signal handler may write between two lines
        self._torn = False
        try:
            self._descriptor = os.open(
                path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644
            )
        except OSError as error:
            raise RigError(f"{path}: cannot be opened: {error.strerror}") from error
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            self._descriptor = -1
            raise LeaseLost(f"{path}: another process writes this record") from None

    def __enter__(self) -> Record:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def closed(self) -> bool:
        """True when nothing more can be written."""
        return self._descriptor < 0

    def write(self, line: Line) -> None:
        """Append one line, redacted.

        Raises:
            RigError: the line could not be written whole; what was written before stands.
        """
        fields = redact_tree(line.model_dump(mode="json", by_alias=True))
        text = json.dumps(fields, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        with self._turn:
            if self.closed:
                raise RigError(f"{self.path}: the record is closed")
            self._append(f"{text}\n".encode(errors="replace"), forced=fields["kind"] in _FORCED)

    def close(self) -> None:
        """Force everything to the disk and let go of the file; may be called again."""
        with self._turn:
            if not self.closed:
                try:
                    os.fsync(self._descriptor)
                finally:
                    os.close(self._descriptor)
                    self._descriptor = -1

    def _append(self, text: bytes, *, forced: bool) -> None:
        if self._torn:
            text = b"\n" + text
        try:
            written = os.write(self._descriptor, text)
            if forced and written == len(text):
                os.fsync(self._descriptor)
        except OSError as error:
            raise RigError(f"{self.path}: cannot be written: {error.strerror}") from error
        self._torn = written < len(text)
        if self._torn:
            raise RigError(f"{self.path}: cannot be written: no space for a whole line")


def being_written(path: Path) -> bool:
    """True while some process holds the record open for writing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
