"""One bench, one run: so that two runs on a host, of whichever users, never drive the same devices.

A virtual testbed needs none: each run has a world of its own.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import stat
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final

from hil.errors import LeaseLost, RigError

_SHARED: Final = stat.S_ISVTX | stat.S_IWOTH  # every user may make a file here and none removes it


class Lease:
    """The lease of a bench by name; the kernel frees it when the holder ends, however it ends.

    A flock(2) on a file that is only ever read, because no user may write the file of another.
    """

    def __init__(self, bench: str) -> None:
        places = [Path("/run/lock"), Path(tempfile.gettempdir())]
        place = next(
            (p for p in places if p.is_dir() and p.stat().st_mode & _SHARED == _SHARED), None
        )
        self.path = (place or places[-1]) / f"hil-{bench}.lease"
        self._bench = bench
        self._descriptor = -1

    def take(self) -> None:
        """Takes the lease; a second time does nothing.

        Raises:
            LeaseLost: somebody else has it; the text says who.
            RigError: there is no place for it.
        """
        if self._descriptor >= 0:
            return
        try:
            descriptor = _opened(self.path)
        except OSError as error:
            raise RigError(f"{self.path}: no lease can be taken: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = _holder(os.fstat(descriptor).st_ino)
            os.close(descriptor)
            raise LeaseLost(f"bench {self._bench} is held by {holder}") from None
        self._descriptor = descriptor

    def give_back(self) -> None:
        """Lets go of the bench; safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Lease:
        self.take()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.give_back()


def _opened(path: Path) -> int:
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW
    with suppress(FileExistsError):
        descriptor = os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o644)
        os.fchmod(descriptor, 0o644)  # whatever the umask: others must be able to ask
        return descriptor
    return os.open(path, flags)


def _holder(inode: int) -> str:
    """Who holds the lock on a file, as the kernel knows it (proc_locks(5))."""
    with suppress(OSError, ValueError, KeyError):
        for line in Path("/proc/locks").read_text("utf-8").splitlines():
            fields = line.split()
            if fields[1] == "FLOCK" and int(fields[5].rpartition(":")[2]) == inode:
                uid = os.stat(f"/proc/{fields[4]}").st_uid
                return f"{pwd.getpwuid(uid).pw_name}, process {fields[4]}"
    return "another run"
