"""A tty whose other end is this process, under a name that stays."""

from __future__ import annotations

import contextlib
import os
import select
import tty
from pathlib import Path
from typing import Final

_WRITE_PATIENCE_MS: Final = 100


class PtyPort:
    """A raw pty behind a symbolic link; it can be unplugged and plugged in again.

    Args:
        link: the name that clients open; replaced atomically, as udev does by-id links.
    """

    def __init__(self, link: Path) -> None:
        self._link = link
        self._master = self._slave = -1

    @property
    def plugged(self) -> bool:
        """Whether the tty exists."""
        return self._master >= 0

    def fileno(self) -> int:
        """The descriptor to poll for what clients send."""
        return self._master

    def plug(self) -> None:
        """Make the tty and publish its name."""
        self._master, self._slave = os.openpty()
        # Raw before anybody can open it: a fresh pty echoes and translates line ends. The slave
        # stays open here, else reading the master fails while no client has it open.
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        partial = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        partial.unlink(missing_ok=True)
        partial.symlink_to(os.ttyname(self._slave))
        partial.replace(self._link)

    def unplug(self) -> None:
        """Take the tty away; a client that has it open sees it hang up. Silent when unplugged."""
        if not self.plugged:
            return
        self._link.unlink(missing_ok=True)
        master, slave, self._master, self._slave = self._master, self._slave, -1, -1
        os.close(slave)
        os.close(master)

    def read(self) -> bytes:
        """What clients have sent by now."""
        try:
            return os.read(self._master, 4096)
        except (BlockingIOError, OSError):
            return b""

    def write(self, data: bytes) -> None:
        """Send to the client; what nobody reads for a while is lost, as on a real port."""
        poll = select.poll()
        poll.register(self._master, select.POLLOUT)
        while data:
            with contextlib.suppress(BlockingIOError):
                data = data[os.write(self._master, data) :]
                continue
            if not poll.poll(_WRITE_PATIENCE_MS):
                return
