"""How a run ends before its time: by a signal, or because the disk is full."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

from hil.errors import Interrupted, RigError
from hil.samples.measurement import Measurement


class RunInterrupted(Interrupted):
    """A run that was stopped by a signal; `measurements` hold what was taken until then."""

    def __init__(self, text: str, measurements: Sequence[Measurement]) -> None:
        self.measurements = tuple(measurements)
        super().__init__(text)


@contextlib.contextmanager
def disk_faults(directory: Path) -> Iterator[None]:
    """A full or read-only disk is the rig's fault, said in one sentence."""
    try:
        yield
    except OSError as error:
        where = error.filename or directory
        raise RigError(f"the rows of the run cannot be kept: {where}: {error.strerror}") from error


@contextlib.contextmanager
def signals_noted() -> Iterator[list[int]]:
    """SIGINT and SIGTERM are noted instead of acted on, the first time; only in the main thread."""
    noted: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield noted
        return
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}

    def note(number: int, frame: object) -> None:
        if noted:
            raise KeyboardInterrupt
        noted.append(number)

    for each in before:
        signal.signal(each, note)
    try:
        yield noted
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
