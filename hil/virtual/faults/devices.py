"""Faults of the radio and of devices, made by the endpoints process at their time."""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from hil.virtual.faults.desk import Desk
from hil.virtual.faults.ledger import ENDPOINTS, Entry, Ledger

#: Makes a fault, under a name of its own, and returns what ends it.
Maker = Callable[[Any, str], Callable[[], None]]

_LONGEST_S: Final = 3600.0


class DeviceFaults:
    """Begins and ends the faults of a ledger, in a thread of its own until `close`.

    Args:
        directory: the world's run directory.
        ledger: the faults, those of packets aside.
        makers: by kind; each is called from that thread only.
    """

    def __init__(self, directory: Path, ledger: Ledger, makers: Mapping[str, Maker]) -> None:
        self._ledger = ledger
        self._makers = makers
        self._undo: dict[int, Callable[[], None]] = {}
        self._desk = Desk(directory, ENDPOINTS, ledger, lambda _: self._follow())
        self._follow()
        self._wake_read, self._wake_write = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="faults", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End every fault, and the thread."""
        os.write(self._wake_write, b"x")
        self._thread.join()
        while self._undo:
            self._undo.popitem()[1]()
        for each in (self._wake_read, self._wake_write):
            os.close(each)

    def _serve(self) -> None:
        while True:
            ready = select.select([self._desk.fileno(), self._wake_read], [], [], self._left_s())[0]
            if self._wake_read in ready:
                return
            self._follow()
            self._desk.serve()

    def _left_s(self) -> float:
        """Until the next fault begins or ends."""
        now_ns = time.time_ns()
        times = (
            at_ns
            for each in self._ledger.entries
            for at_ns in (each.start_ns, each.end_ns)
            if at_ns is not None and at_ns > now_ns
        )
        return min((min(times, default=now_ns + 10**18) - now_ns) / 1e9, _LONGEST_S)

    def _follow(self) -> None:
        """Begin what is due and end what is over."""
        now_ns = time.time_ns()
        for each in self._ledger.entries:
            if each.number in self._undo and not each.on(now_ns):
                self._undo.pop(each.number)()
        for each in self._ledger.entries:
            if each.number not in self._undo and each.on(now_ns):
                self._undo[each.number] = self._make(each)

    def _make(self, entry: Entry) -> Callable[[], None]:
        return self._makers[entry.fault.kind](entry.fault, f"fault {entry.number}")
