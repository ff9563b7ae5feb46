"""A child process of a run: started by exec, spoken to through pipes, never left behind."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hil.clock import Deadline
from hil.errors import RigError, UsageError
from hil.traffic.exchange import Lines
from hil.traffic.watch import realtime_offset_ns

_START_NS: Final = 10_000_000_000
_END_S: Final = 2.0
_TAIL: Final = 2000
_ROOT: Final = str(Path(__file__).parents[2])


class Process(ABC):
    """A process of a run, here or on another host, that is spoken to in lines."""

    name: str

    @property
    @abstractmethod
    def pid(self) -> int | None:
        """The process, or a launcher that does not give its place to it; None on another host."""

    @property
    @abstractmethod
    def fileno(self) -> int:
        """The descriptor that becomes readable when it has something to say."""

    @abstractmethod
    def clock(self) -> tuple[int, int]:
        """CLOCK_MONOTONIC of its host now, and CLOCK_REALTIME less that."""

    @abstractmethod
    def send(self, message: Mapping[str, Any]) -> None:
        """Say something to it."""

    @abstractmethod
    def hear(self, timeout_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """What it says.

        Raises: UsageError or RigError, in its words, when it reports a fault; RigError, with the
        end of its error output where there is one, when it is gone.
        """

    @abstractmethod
    def close(self) -> None:
        """End it."""

    def refuse(self, line: Mapping[str, Any]) -> None:
        """Raises: UsageError or RigError where a line reports a fault."""
        if "error" in line:
            raise (UsageError if line.get("usage") else RigError)(line["error"])

    def expect(self, word: str, more_ns: int = 0) -> Any:
        """Wait for a line with `word` and return what it says.

        `more_ns` is what it may take beyond the start of a process.

        Raises: RigError when it does not come in time; as `hear`.
        """
        deadline = Deadline.after(_START_NS + more_ns)
        while not deadline.passed:
            for line in self.hear(deadline.left_s):
                if word in line:
                    return line[word]
        raise RigError(f"the {self.name} process did not say {word!r} in time")


class Child(Process):
    """A module of this room as a process of its own.

    It is in a process group of its own, so that Ctrl-C at a terminal reaches the parent alone.
    """

    def __init__(self, module: str, orders: Path, launcher: Sequence[str]) -> None:
        self.name = module.rpartition(".")[2]
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  closed in `close`
        path = os.pathsep.join(filter(None, (_ROOT, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                [*launcher, sys.executable, "-P", "-m", module, str(orders)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=os.environ | {"PYTHONPATH": path},
                start_new_session=True,
            )
        except OSError as error:
            self._stderr.close()
            raise UsageError(
                f"cannot start {launcher[0] if launcher else sys.executable}: {error.strerror}"
            ) from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._lines = Lines(self._process.stdout.fileno(), self._process.stdin.fileno())

    @property
    def pid(self) -> int:
        """As `Process.pid`."""
        return self._process.pid

    @property
    def fileno(self) -> int:
        """As `Process.fileno`."""
        assert self._process.stdout is not None
        return self._process.stdout.fileno()

    def clock(self) -> tuple[int, int]:
        """As `Process.clock`."""
        return time.monotonic_ns(), realtime_offset_ns()

    def send(self, message: Mapping[str, Any]) -> None:
        """As `Process.send`."""
        self._lines.send(message)

    def hear(self, timeout_s: float = 0.0) -> Iterator[dict[str, Any]]:
        """As `Process.hear`."""
        for line in self._lines.receive(timeout_s):
            self.refuse(line)
            yield line
        if self._lines.closed:
            raise RigError(f"the {self.name} process ended early: {self._last_words()}")

    def _last_words(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        end = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, end - _TAIL))
        text = self._stderr.read().decode(errors="replace").strip()
        return text or f"status {self._process.returncode}"

    def close(self) -> None:
        """End the child: by the end of its input, then by force."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        try:
            process.wait(_END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        process.stdout.close()
        self._stderr.close()
