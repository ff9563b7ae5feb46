"""The last of a device's dialogue, timed and redacted as it is read."""

from __future__ import annotations

import datetime as dt
import time
from collections import deque
from typing import Final, Literal

from hil.record.redaction import redact

Mark = Literal[">", "<", "*"]
_KEPT: Final = 2000


class Transcript:
    """A bounded ring of lines: ``>`` sent, ``<`` received, ``*`` a remark of the driver.

    Writing is cheap, because it happens between a command and its answer; times are written out
    and secrets hidden when the lines are read.
    """

    def __init__(self) -> None:
        self._lines: deque[tuple[int, Mark, str]] = deque(maxlen=_KEPT)

    def add(self, mark: Mark, text: str, t_ns: int | None = None) -> None:
        """Write one line down, at CLOCK_REALTIME `t_ns` or now."""
        self._lines.append((time.time_ns() if t_ns is None else t_ns, mark, text))

    def since(self, t_ns: int | None = None) -> tuple[str, ...]:
        """The lines kept, from CLOCK_REALTIME `t_ns` on, redacted."""
        kept = self._lines.copy()
        return tuple(_line(*entry) for entry in kept if t_ns is None or entry[0] >= t_ns)

    def tail(self, lines: int = 20) -> tuple[str, ...]:
        """The last few lines, for an exception."""
        return tuple(_line(*entry) for entry in list(self._lines.copy())[-lines:])


def _line(t_ns: int, mark: Mark, text: str) -> str:
    clock = dt.datetime.fromtimestamp(t_ns // 10**9, dt.UTC).strftime("%H:%M:%S")
    return f"{clock}.{t_ns % 10**9 // 1000:06d} {mark} {redact(text)}"
