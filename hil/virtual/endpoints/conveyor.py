"""The program of the simulated controller and the conveyor it drives. Pure.

Between two writes nothing happens that cannot be calculated, so time is not ticked: `advance`
calculates all scans that are due. The state at a moment therefore never depends on how busy the
host was before.
"""

from __future__ import annotations

import enum
import math
from typing import Final

TOP_SPEED: Final = 2.0  #: m/s at full output
FULL_OUTPUT: Final = 1000
LAG_S: Final = 0.3  #: the drive follows its set point as a first-order lag


class Register(enum.IntEnum):
    """Holding registers."""

    OUTPUT = 0
    HEARTBEAT = 1
    WATCHDOG_MS = 2
    ECHO = 3


#: What the program accepts in each register.
RANGES: Final = {
    Register.OUTPUT: range(FULL_OUTPUT + 1),
    Register.HEARTBEAT: range(65536),
    Register.WATCHDOG_MS: range(10, 10001),
    Register.ECHO: range(65536),
}


class Conveyor:
    """A cyclic program: copies `echo`, drives the belt, and watches the heartbeat.

    A heartbeat is a change of its register to another value than 0. Once one was seen, the next
    must be seen within `watchdog_ms`, else the program trips: the output is forced to 0 and
    `running` is false until the next heartbeat. Writing 0 disarms the watchdog.

    Args:
        scan_ns: time of one scan; inputs take effect and outputs change at scans only.
        watchdog_ms: initial limit of the watchdog.
        now_ns: the time at which the first scan is done, on any clock that never steps.
    """

    def __init__(self, scan_ns: int, watchdog_ms: int, now_ns: int) -> None:
        self.registers = [0, 0, watchdog_ms, 0]
        self.scan_count = 0
        self.speed = 0.0
        self.echoed = 0
        self.tripped = False
        self._scan_ns = scan_ns
        self._scan_at = now_ns
        self._keep = math.exp(-scan_ns / 1e9 / LAG_S)
        self._beat = 0
        self._beat_at = now_ns
        self._stopped = False

    @property
    def running(self) -> bool:
        """Whether the program drives its output."""
        return not self.tripped and not self._stopped

    def stop(self, now_ns: int) -> None:
        """No scan any more and the output off, as with the key switch at STOP."""
        self.advance(now_ns)
        self._stopped = True
        self.registers[Register.OUTPUT] = 0

    def start(self, now_ns: int) -> None:
        """Scan again; the watchdog is armed by the next heartbeat."""
        self.advance(now_ns)
        self._stopped = False
        self._beat = self.registers[Register.HEARTBEAT]
        self._beat_at = self._scan_at

    def write(self, register: int, value: int, now_ns: int) -> None:
        """Write a holding register; the next scan sees it.

        Raises:
            ValueError: the program does not accept the value.
        """
        if value not in RANGES[Register(register)]:
            raise ValueError(f"{Register(register).name} does not take {value}")
        self.advance(now_ns)
        self.registers[register] = value

    def advance(self, now_ns: int) -> None:
        """Do every scan that is due by `now_ns`."""
        due = (now_ns - self._scan_at) // self._scan_ns
        if due < 1:
            return
        if self._stopped:
            self._scan_at += due * self._scan_ns
            self.speed *= self._keep**due
            return
        self._scan()
        due -= 1
        if self._beat and not self.tripped:
            # The first scan later than the limit after the last heartbeat.
            left_ns = self._beat_at + self._limit_ns - self._scan_at
            trip = max(1, left_ns // self._scan_ns + 1)
            if trip <= due:
                self._coast(trip - 1)
                self._scan()
                due -= trip
        self._coast(due)

    @property
    def _limit_ns(self) -> int:
        return self.registers[Register.WATCHDOG_MS] * 1_000_000

    @property
    def _target(self) -> float:
        return TOP_SPEED * self.registers[Register.OUTPUT] / FULL_OUTPUT

    def _scan(self) -> None:
        """One scan: inputs, watchdog, outputs."""
        self._scan_at += self._scan_ns
        heartbeat = self.registers[Register.HEARTBEAT]
        if heartbeat != self._beat:
            self._beat, self._beat_at = heartbeat, self._scan_at
            self.tripped = False
        elif heartbeat and self._scan_at - self._beat_at > self._limit_ns:
            self.tripped = True
        if self.tripped:
            self.registers[Register.OUTPUT] = 0
        self.echoed = self.registers[Register.ECHO]
        self._move(1)

    def _coast(self, scans: int) -> None:
        """Scans in which nothing but the belt and the counter changes."""
        if scans > 0:
            self._scan_at += scans * self._scan_ns
            self._move(scans)

    def _move(self, scans: int) -> None:
        self.scan_count = (self.scan_count + scans) % 65536
        self.speed = self._target + (self.speed - self._target) * self._keep**scans
