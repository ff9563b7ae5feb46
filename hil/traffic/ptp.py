"""The host's PTP, asked by pmc(8) once a second while a run lasts.

What a servo reports as its offset is its own residual. It shows when the clock was not kept (no
master, another master, an offset out of the ordinary), and these spans are noted; how far two
clocks are apart it does not show.
"""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from hil.samples.measurement import Window

PERIOD_S: Final = 1.0
_TIMEOUT_S: Final = 5.0
_QUESTIONS: Final = ("GET PORT_DATA_SET", "GET TIME_STATUS_NP", "GET CURRENT_DATA_SET")
#: States of a port whose clock is kept or keeps others (IEEE Std 1588-2008 9.2.5).
_IN_ORDER: Final = frozenset({"SLAVE", "MASTER", "GRAND_MASTER", "PASSIVE"})
#: Where Debian and others put it, beside what the user's PATH has.
_PLACES: Final = "/usr/local/sbin:/usr/sbin:/sbin"


@dataclass(frozen=True, slots=True)
class PtpReading:
    """What ptp4l says of itself at one moment; None where it does not say."""

    at_ns: int  #: CLOCK_REALTIME
    states: tuple[str, ...]  #: of its ports
    grandmaster: str | None
    offset_ns: int | None  #: from the master, by the servo
    path_delay_ns: float | None

    @classmethod
    def of(cls, text: str, at_ns: int) -> PtpReading | None:
        """What the answers of pmc say; None where ptp4l has not answered."""
        words = [line.split(maxsplit=1) for line in text.splitlines() if line.startswith("\t\t")]
        rows = [(key, value.strip()) for key, value in (w for w in words if len(w) == 2)]
        said = dict(rows)
        states = tuple(value for key, value in rows if key == "portState")
        if not states:
            return None
        offset, delay = said.get("master_offset"), said.get("meanPathDelay")
        return cls(
            at_ns=at_ns,
            states=states,
            grandmaster=said.get("gmIdentity"),
            offset_ns=None if offset is None else int(offset),
            path_delay_ns=None if delay is None else float(delay),
        )

    def out_of_order(self, normal_ns: int) -> str | None:
        """Why the clock was not kept at that moment; None where it was."""
        if not _IN_ORDER.intersection(self.states):
            return f"PTP was {', '.join(self.states)}"
        if self.offset_ns is not None and abs(self.offset_ns) > normal_ns:
            return f"PTP was {self.offset_ns / 1000:+.1f} us off its master"
        return None


def spoiled(readings: Sequence[PtpReading], normal_ns: int) -> list[Window]:
    """The spans between readings at whose start or end the clock was not kept."""
    windows: list[Window] = []
    for before, after in itertools.pairwise(readings):
        why = before.out_of_order(normal_ns) or after.out_of_order(normal_ns)
        if why is None and before.grandmaster != after.grandmaster:
            why = f"PTP changed from master {before.grandmaster} to {after.grandmaster}"
        if why is None:
            continue
        if windows and windows[-1].end_ns == before.at_ns:
            last = windows.pop()
            windows.append(Window(last.start_ns, after.at_ns, last.why))
        else:
            windows.append(Window(before.at_ns, after.at_ns, why))
    return windows


class PtpWatch:
    """Asks ptp4l behind `socket` from the entering of this context to its end."""

    def __init__(self, socket: str, domain: int, normal_ns: int) -> None:
        self._socket, self._domain, self._normal_ns = socket, domain, normal_ns
        self._readings: list[PtpReading] = []
        self._count = 0
        self._windows: list[Window] = []
        self._worst_ns: int | None = None
        self.refused: str | None = None
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="ptp", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.is_set():
            self._take()
            self._over.wait(PERIOD_S)
        self._take()

    def _take(self) -> None:
        reading, why = ask(self._socket, self._domain)
        if reading is None:
            self.refused = why
            return
        self._count += 1
        if reading.offset_ns is not None:
            self._worst_ns = max(abs(reading.offset_ns), self._worst_ns or 0)
        self._readings = [*self._readings[-1:], reading]
        for found in spoiled(self._readings, self._normal_ns):
            last = self._windows[-1] if self._windows else None
            if last is not None and last.end_ns == found.start_ns:
                self._windows[-1] = Window(last.start_ns, found.end_ns, last.why)
            else:
                self._windows.append(found)

    def report(self) -> dict[str, Any]:
        """What was seen, as JSON values."""
        last = self._readings[-1] if self._readings else None
        return {
            "readings": self._count,
            "refused": self.refused,
            "last": None if last is None else asdict(last) | {"states": list(last.states)},
            "worst_offset_ns": self._worst_ns,
            "spoiled": [asdict(each) for each in self._windows],
        }


def ask(socket: str, domain: int = 0) -> tuple[PtpReading | None, str | None]:
    """What ptp4l behind `socket` says now, or why it says nothing, one sentence."""
    pmc = shutil.which("pmc") or shutil.which("pmc", path=_PLACES)
    if pmc is None:
        return None, "pmc is not installed: it is part of linuxptp"
    at_ns = time.time_ns()
    with tempfile.TemporaryDirectory(prefix="hil-pmc-") as directory:
        own = os.path.join(directory, "pmc")
        words = [pmc, "-u", "-b", "0", "-d", str(domain), "-i", own, "-s", socket, *_QUESTIONS]
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return None, f"{pmc} does not come back: {error}"
    reading = PtpReading.of(done.stdout, at_ns)
    return reading, None if reading is not None else _silence(socket, domain)


def _silence(socket: str, domain: int) -> str:
    """Why nothing was answered."""
    if not Path(socket).exists():
        return f"no ptp4l behind {socket}: start it, or name its uds_address"
    if not os.access(socket, os.W_OK):
        return f"{socket} may not be asked by this user: see uds_file_mode of ptp4l"
    return f"ptp4l behind {socket} does not answer in domain {domain}"
