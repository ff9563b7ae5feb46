"""One bench, one run: a file lease, so that two runs on a host never drive the same devices.

A virtual testbed needs none: each run has a world of its own.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from hil._enter import directory
from hil.clock import SYSTEM
from hil.errors import LeaseLost


class Lease:
    """The lease of a bench by name; the kernel frees it when the holder ends, however it ends."""

    def __init__(self, bench: str) -> None:
        self._bench = bench
        self._lock = FileLock(directory() / f"{bench}.lease")
        self._card = Path(f"{self._lock.lock_file}.json")

    def take(self) -> None:
        """Takes the lease.

        Raises: LeaseLost naming who holds it.
        """
        try:
            self._lock.acquire(timeout=0)
        except Timeout:
            raise LeaseLost(f"bench {self._bench} is held by {self._holder()}") from None
        card = {
            "user": getpass.getuser(),
            "host": platform.node(),
            "pid": os.getpid(),
            "since_ns": SYSTEM.realtime_ns(),
        }
        self._card.write_text(json.dumps(card), "utf-8")

    def give_back(self) -> None:
        """Lets go of the bench; safe to call twice."""
        if self._lock.is_locked:
            self._card.unlink(missing_ok=True)
            self._lock.release()

    def _holder(self) -> str:
        with suppress(OSError, ValueError, KeyError):
            card = json.loads(self._card.read_text("utf-8"))
            return f"{card['user']} on {card['host']}, process {card['pid']}"
        return "another run"
