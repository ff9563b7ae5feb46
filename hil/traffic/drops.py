"""Frames that this host itself lost on their way through its ports, and when.

A packet that is missing while the host was dropping frames is not known to be the network's loss.
Times of packets that came are as good as ever. Everything is looked at ten times a second, by files
of /proc that are opened once inside the namespace of their port and re-read at their start.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, NamedTuple

from hil.samples.measurement import Window
from hil.traffic import linux

PERIOD_NS: Final = 100_000_000
_ROOM: Final = 1 << 20
_WORST: Final = 10
_LOSSES: Final = ("rx", "tx", "ring", "backlog")  # of what is counted, that is a frame lost
_SOFTNET: Final = Path("/proc/net/softnet_stat")
_STAT: Final = Path("/proc/stat")
_TICK_NS: Final = 10**9 // os.sysconf("SC_CLK_TCK")


class Interface(NamedTuple):
    """What /proc/net/dev counts of an interface.

    Lost on the way in and out are its columns `drop` and `fifo`: no room in the card, in its ring
    or in the kernel. `errors` is what came in damaged, which is the wire's doing.
    """

    lost_in: int
    lost_out: int
    errors: int

    @classmethod
    def of(cls, text: str, interface: str) -> Interface:
        """The counts of an interface; zeros where it is not there (any more)."""
        for line in text.splitlines():
            name, colon, rest = line.partition(":")
            if colon and name.strip() == interface:
                counts = [int(each) for each in rest.split()]
                return cls(counts[3] + counts[4], counts[11] + counts[12], counts[2])
        return cls(0, 0, 0)


def softnet(text: str) -> tuple[int, int]:
    """Frames dropped from the backlogs of all processors, and how often a softirq ran out of time.

    The second and third column of /proc/net/softnet_stat, hexadecimal.
    """
    rows = [line.split() for line in text.splitlines()]
    return sum(int(row[1], 16) for row in rows), sum(int(row[2], 16) for row in rows)


def steal_ns(text: str) -> int:
    """Time that the hypervisor gave to others, summed over the processors (proc(5), /proc/stat)."""
    return int(text.split("\n", 1)[0].split()[8]) * _TICK_NS if text else 0


class _File:
    """A file of /proc, opened once; empty where a container has none."""

    def __init__(self, path: str | Path) -> None:
        self._descriptor: int | None = None
        with contextlib.suppress(OSError):
            self._descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)

    def text(self) -> str:
        return "" if self._descriptor is None else os.pread(self._descriptor, _ROOM, 0).decode()


class DropWatch:
    """Counts what the host lost, and notes each span in which it did, per port and cause.

    `watched` are ports as orders name them; `rings` gives, by name of a receiving port, what its
    ring had no room for since the last question.
    """

    def __init__(
        self, watched: Sequence[Mapping[str, Any]], rings: Mapping[str, Callable[[], int]]
    ) -> None:
        self._rings = rings
        self._ports: dict[str, tuple[str, _File]] = {}
        for port in watched:
            with linux.inside(port["namespace"]):
                self._ports[port["name"]] = port["interface"], _File("/proc/thread-self/net/dev")
        self._softnet, self._stat = _File(_SOFTNET), _File(_STAT)
        self._windows: dict[tuple[str, str], list[Window]] = {}
        self.ring_drops = dict.fromkeys(rings, 0)
        self._first = self._before = self._counters()
        self._steal_ns = steal_ns(self._stat.text())
        self._first_steal_ns = self._steal_ns
        self._stolen: list[tuple[int, int]] = []  # (how much, at realtime), the worst of them
        self._last_at_ns: int | None = None
        self._next_ns = 0

    def _counters(self) -> dict[tuple[str, str], int]:
        """Cumulative counts by port ('' is the host) and cause."""
        found: dict[tuple[str, str], int] = {}
        for name, (interface, file) in self._ports.items():
            counts = Interface.of(file.text(), interface)
            found[name, "rx"], found[name, "tx"] = counts.lost_in, counts.lost_out
            found[name, "errors"] = counts.errors
        for name, ask in self._rings.items():
            self.ring_drops[name] += ask()
            found[name, "ring"] = self.ring_drops[name]
        found["", "backlog"], found["", "squeezed"] = softnet(self._softnet.text())
        return found

    def look(self, monotonic_ns: int, at_ns: int, *, now: bool = False) -> None:
        """Look if it is due, or `now`; call it often. `at_ns` is the time on the realtime clock."""
        if monotonic_ns < self._next_ns and not now:
            return
        self._next_ns = monotonic_ns + PERIOD_NS
        since, self._last_at_ns = self._last_at_ns, at_ns
        counters, stolen = self._counters(), steal_ns(self._stat.text())
        if since is not None:
            for key, count in counters.items():
                more = count - self._before[key]
                if more > 0 and key[1] in _LOSSES:
                    self._note(key, Window(since, at_ns, _why(*key, more)))
            if stolen > self._steal_ns:
                self._stolen = sorted([*self._stolen, (stolen - self._steal_ns, at_ns)])[-_WORST:]
        self._before, self._steal_ns = counters, stolen

    def _note(self, key: tuple[str, str], window: Window) -> None:
        """Spans that follow one another are one, so that memory does not grow with a long drop."""
        windows = self._windows.setdefault(key, [])
        if windows and windows[-1].end_ns == window.start_ns:
            before = windows.pop()
            window = Window(before.start_ns, window.end_ns, f"this host went on: {window.why}")
        windows.append(window)

    def windows(self, port: str, *causes: str) -> list[dict[str, Any]]:
        """The spans in which frames of a port ('' is the host) were lost, as JSON values."""
        return [asdict(each) for cause in causes for each in self._windows.get((port, cause), [])]

    def report(self) -> dict[str, Any]:
        """All counts over the run, by port where they are a port's, as JSON values."""
        more = {key: count - self._first[key] for key, count in self._before.items()}
        ports = {
            cause: {name: n for (name, each), n in more.items() if each == own}
            for cause, own in (("rx_dropped", "rx"), ("tx_dropped", "tx"), ("rx_errors", "errors"))
        }
        return {
            **ports,
            "backlog_drops": more["", "backlog"],
            "softirq_out_of_time": more["", "squeezed"],
            "steal_ns": self._steal_ns - self._first_steal_ns,
            "worst_steal": [
                {"steal_ns": stolen, "within_ns": PERIOD_NS, "at_ns": at_ns}
                for stolen, at_ns in reversed(self._stolen)
            ],
        }


def _why(port: str, cause: str, count: int) -> str:
    frames = f"{count:,} frame{'s' if count > 1 else ''}"
    if cause == "ring":
        return f"the receive ring of {port} had no room for {frames}"
    if cause == "backlog":
        return f"this host dropped {frames} from its backlog"
    way = "that had arrived at" if cause == "rx" else "on their way out of"
    return f"this host dropped {frames} {way} {port}"
