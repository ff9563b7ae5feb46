"""Live progress on the real terminal, past pytest's capture; plain lines where there is none."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, TextIO

from hil.clock import SYSTEM, Clock

if TYPE_CHECKING:
    import pytest

_EVERY_NS = 5_000_000_000  # a CI log stays readable, and the job is not killed as idle
_WIDTH = 100


class Progress:
    """Writes what is going on: rewritten in place on a terminal, a line now and then elsewhere."""

    def __init__(self, out: TextIO, clock: Clock = SYSTEM) -> None:
        self._out = out
        self._clock = clock
        self._live = out.isatty()
        self._last_ns: int | None = None
        self._dirty = False

    @classmethod
    def of(cls, config: pytest.Config) -> Progress:
        """Progress on the descriptor that is standard output outside pytest's capture."""
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is None:
            return cls(sys.stdout)
        with capture.global_and_fixture_disabled():
            descriptor = os.dup(1)
        return cls(os.fdopen(descriptor, "w", buffering=1, errors="replace"))

    def show(self, text: str) -> None:
        """Shows the state; on a plain stream only every few seconds."""
        now_ns = self._clock.monotonic_ns()
        if self._live:
            self._write(f"\r\x1b[2K{text[:_WIDTH]}")
            self._dirty = True
        elif self._last_ns is None or now_ns - self._last_ns >= _EVERY_NS:
            self._write(f"\n  {text}" if self._last_ns is None else f"  {text}")
            self._write("\n")
            self._last_ns = now_ns

    def done(self, text: str) -> None:
        """Ends a stretch of progress with one line that stays."""
        if self._dirty:
            self._write("\r\x1b[2K")
        self._write(f"  {text}\n" if self._live or self._last_ns is not None else f"\n  {text}\n")
        self._dirty, self._last_ns = False, self._clock.monotonic_ns()

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a closed terminal must not end a measurement
            self._out.write(text)
            self._out.flush()
