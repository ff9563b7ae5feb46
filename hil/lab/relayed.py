"""Links with a relay on them that does what a list says, and the truth about what it did.

::

    near/c0 --- mid/r0  relay  mid/r1 --- far/c1

The relay is `hil.virtual.relay`, a process of its own in the middle namespace. Where the list lets
the sender stand still, the process that sends is stopped and continued by signals.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final

from hil.clock import Deadline
from hil.errors import RigError
from hil.traffic import Port, resolve_port
from hil.virtual import relay_truth, stage
from hil.virtual.faults.fault_list import FaultList

#: Namespaces that the stage must have.
NAMESPACES: Final = ("near", "mid", "far")
NEAR_ADDRESS: Final = "10.99.2.1"
FAR_ADDRESS: Final = "10.99.2.2"

_NETWORK: Final = 2
_START_NS: Final = 15_000_000_000
_END_S: Final = 10.0

#: The process id of what sends the flow, None while it does not.
Sender = Callable[[], int | None]


def build() -> tuple[Port, Port]:
    """Make the links; the ports at their ends."""
    stage.through(("near", "c0"), (("mid", "r0"), ("mid", "r1")), ("far", "c1"), _NETWORK)
    return resolve_port("c0", "near"), resolve_port("c1", "far")


@dataclass(slots=True)
class Relayed:
    """What passed: `forth` is the truth about the flow and `back` about its answers, once over."""

    stood_still: list[tuple[int, int]] = field(default_factory=list)  #: CLOCK_REALTIME, from, to
    report: dict[str, Any] = field(default_factory=dict)
    _truths: tuple[relay_truth.Truth, relay_truth.Truth] | None = None
    _faults: list[str] = field(default_factory=list)

    @property
    def forth(self) -> relay_truth.Truth:
        """The way of the flow."""
        assert self._truths is not None
        return self._truths[0]

    @property
    def back(self) -> relay_truth.Truth:
        """The way of its answers."""
        assert self._truths is not None
        return self._truths[1]

    def hear(self, lines: IO[str], sender: Sender) -> None:
        """Act on what the relay says, to its end."""
        for line in lines:
            said = json.loads(line)
            if "stall" in said:
                self._stand_still(sender(), said["for_ns"])
            elif "done" in said:
                self.report = said["done"]
            elif "error" in said:
                self._faults.append(said["error"])

    def _stand_still(self, pid: int | None, for_ns: int) -> None:
        try:
            if pid is None:
                raise ProcessLookupError
            os.kill(pid, signal.SIGSTOP)
            start_ns = time.time_ns()
            time.sleep(for_ns / 1e9)
            os.kill(pid, signal.SIGCONT)
        except ProcessLookupError:
            self._faults.append("the sender that was to stand still is gone")
        else:
            self.stood_still.append((start_ns, time.time_ns()))

    def close(self, truth: Path) -> None:
        """Read what is left of a relay that has ended.

        Raises: RigError where it failed or lost a frame of its own.
        """
        if not self.report and not self._faults:
            self._faults.append("it ended early")
        lost = self.report.get("overrun", 0) + self.report.get("oversize", 0)
        if lost:
            self._faults.append(f"it lost {lost} frames by itself")
        if self._faults:
            raise RigError(f"no truth from the relay: {'; '.join(self._faults)}")
        rows = relay_truth.read(truth)
        forth, back = (
            relay_truth.truth(rows, way) for way in (relay_truth.FORTH, relay_truth.BACK)
        )
        self._truths = forth, back


@contextlib.contextmanager
def relaying(flow: str, faults: FaultList, sender: Sender = lambda: None) -> Iterator[Relayed]:
    """A relay for the time of the block; afterwards what it yields holds the truth.

    Args:
        flow: the flow that meets the faults, in the words of `hil.virtual.relay`.
        faults: the list.
        sender: asked when the sender is to stand still.

    Raises: RigError where the relay does not start, fails, or loses frames of its own.
    """
    with tempfile.TemporaryDirectory(prefix="hil-relay-") as directory:
        listed, truth = Path(directory) / "list.json", Path(directory) / "truth"
        listed.write_text(faults.text(), "utf-8")
        words = [sys.executable, "-m", "hil.virtual.relay", "r0", "r1", "--flow", flow]
        words += ["--faults", str(listed), "--truth", str(truth)]
        with subprocess.Popen(
            ["nsenter", f"--net=/run/netns/{NAMESPACES[1]}", *words],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            found = Relayed()
            try:
                deadline = Deadline.after(_START_NS)
                ready = select.select([process.stdout], [], [], deadline.left_s)[0]
                said = process.stdout.readline() if ready else ""
                if "ready" not in said:
                    raise RigError(f"the relay did not start: {said.strip() or 'no word'}")
                hearing = threading.Thread(target=found.hear, args=(process.stdout, sender))
                hearing.start()
                try:
                    yield found
                finally:
                    process.stdin.close()
                    hearing.join(_END_S)
            finally:
                process.kill()
            found.close(truth)
