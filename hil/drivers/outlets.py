"""Switching of outlets with its guards: what may be cut, how often, and for how long at least.

A power switch is a driver that reads and writes one outlet; this is everything else of it.
"""

from __future__ import annotations

import math
import threading
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar

from pydantic import Field

from hil.clock import SYSTEM, Clock, Deadline
from hil.document import Duration, Model
from hil.drivers.liveness import liveness
from hil.drivers.protocols import Health, HealthReport, Identity
from hil.drivers.transcript import Transcript
from hil.errors import ConnectFailed, DeviceError, DriverError, UnsafeOperation, UsageError
from hil.testbed import DeviceConfig
from hil.units import format_duration

_POLL_NS = 50_000_000


class OutletConfig(Model):
    """An outlet that a test may switch, in the testbed file."""

    feeds: str | None = None
    """What hangs on it, for reports."""

    safe: bool | None = None
    """Whether it is on in the safe state; absent: left as it is."""

    min_off_ns: Annotated[Duration, Field(ge=0)] = 5_000_000_000
    """Shortest time it stays off, so that capacitors are empty when the power returns."""

    cycles: Annotated[int, Field(ge=0)] = 10
    """How often it may be switched off in one run."""


class SwitchConfig(DeviceConfig):
    """What every power switch has in the testbed file."""

    outlets: Annotated[Mapping[int, OutletConfig], Field(min_length=1)]
    """The outlets that may be switched, by number; the others are not touched."""

    limit_ns: Duration = 2_000_000_000
    """How long an answer may take."""

    settle_ns: Duration = 5_000_000_000
    """How long until an outlet reads back as it was set."""


class OutletSwitch(ABC):
    """Implements `hil.drivers.protocols.PowerSwitch`, but for the dialogue with the device."""

    Config: ClassVar[type[DeviceConfig]] = SwitchConfig
    role: ClassVar[str] = "switch"

    def __init__(self, name: str, config: SwitchConfig, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self.outlets = tuple(config.outlets)
        self._guards = config.outlets
        self._settle_ns = config.settle_ns
        self._clock = clock
        self._transcript = Transcript()
        self._cycles: Counter[int] = Counter()
        self._off_at_ns: dict[int, int] = {}
        self._turn = threading.RLock()

    @abstractmethod
    def identify(self) -> Identity:
        """See `Device.identify`."""

    @abstractmethod
    def close(self) -> None:
        """See `Device.close`."""

    @abstractmethod
    def _read(self, outlet: int) -> bool:
        """What the device says of an outlet."""

    @abstractmethod
    def _write(self, outlet: int, on: bool) -> None:
        """Tell the device to switch an outlet."""

    def open(self) -> None:
        """Connect; the proof of life is the state of every outlet that may be switched.

        How long an outlet found off has been off nobody knows: its time begins here.
        """
        try:
            states = {outlet: self._read(outlet) for outlet in self.outlets}
        except DriverError as error:
            self.close()
            tail = error.transcript
            raise ConnectFailed(self.name, "open", error.detail, transcript=tail) from error
        for outlet, on in states.items():
            if not on:
                self._off_at_ns.setdefault(outlet, self._clock.monotonic_ns())

    def health(self) -> HealthReport:
        """See `Device.health`."""

        def ask() -> tuple[Health, str]:
            on = self._read(self.outlets[0])
            return Health.OK, f"outlet {self.outlets[0]} is {_word(on)}"

        return liveness(ask)

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"read-back"})

    def snapshot(self) -> Mapping[str, Any]:
        """The state of each outlet that may be switched."""
        return {str(outlet): self._read(outlet) for outlet in self.outlets}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`; waits until an outlet has been off for long enough."""
        self._home({int(outlet): bool(on) for outlet, on in state.items()})

    def safe_state(self) -> None:
        """Bring each outlet that has one to its safe state; one failure does not stop the rest."""
        safe = {outlet: guard.safe for outlet, guard in self._guards.items()}
        self._home({outlet: on for outlet, on in safe.items() if on is not None})

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`; without what it was proven with, a password or community."""
        return self._transcript.since(since_ns)

    def get(self, outlet: int) -> bool:
        """See `PowerSwitch.get`."""
        if outlet not in self._guards:
            raise UsageError(f"{self.name} has outlets {self._listed}; no {outlet}")
        return self._read(outlet)

    def set(self, outlet: int, on: bool) -> None:
        """See `PowerSwitch.set`."""
        with self._turn:
            guard = self._guard(outlet)
            if on and (left_ns := self._left_ns(outlet)) > 0:
                raise UnsafeOperation(
                    f"{self.name}: outlet {outlet} must stay off for another "
                    f"{format_duration(left_ns)} (min_off {format_duration(guard.min_off_ns)})"
                )
            self._within_budget(outlet, on)
            self._change(outlet, on)

    def cycle(self, outlet: int, *, off_s: float | None = None) -> None:
        """See `PowerSwitch.cycle`."""
        with self._turn:
            least_ns = self._guard(outlet).min_off_ns
            asked_ns = least_ns if off_s is None else off_s * 1e9
            if not least_ns <= asked_ns < math.inf:
                raise UnsafeOperation(
                    f"{self.name}: outlet {outlet} must stay off for {format_duration(least_ns)} "
                    f"at least, asked were {off_s} s"
                )
            self._within_budget(outlet, False)
            self._change(outlet, False)
            since_ns = self._off_at_ns.setdefault(outlet, self._clock.monotonic_ns())
            self._clock.sleep_ns(since_ns + round(asked_ns) - self._clock.monotonic_ns())
            self._change(outlet, True)

    def _guard(self, outlet: int) -> OutletConfig:
        try:
            return self._guards[outlet]
        except KeyError:
            raise UnsafeOperation(
                f"{self.name}: outlet {outlet} is none of those that may be switched, "
                f"{self._listed}"
            ) from None

    @property
    def _listed(self) -> str:
        return ", ".join(map(str, self.outlets))

    def _left_ns(self, outlet: int) -> int:
        """How much longer an outlet must stay off; 0 where it was never switched off."""
        since_ns = self._off_at_ns.get(outlet)
        if since_ns is None:
            return 0
        return since_ns + self._guards[outlet].min_off_ns - self._clock.monotonic_ns()

    def _within_budget(self, outlet: int, on: bool) -> None:
        most = self._guards[outlet].cycles
        if not on and self._cycles[outlet] >= most:
            raise UnsafeOperation(
                f"{self.name}: outlet {outlet} was switched off {self._cycles[outlet]} times, "
                f"its budget is {most}"
            )

    def _change(self, outlet: int, on: bool) -> None:
        """Switch, where it is not so already, and wait until the device says that it is."""
        if self._read(outlet) is on:
            return
        if not on:
            # Noted before it is sent: when the answer is lost, the outlet may yet be off.
            self._cycles[outlet] += 1
            self._off_at_ns[outlet] = self._clock.monotonic_ns()
        self._write(outlet, on)
        deadline = Deadline.after(self._settle_ns, self._clock)
        while self._read(outlet) is not on:
            if deadline.passed:
                text = (
                    f"outlet {outlet} reads back as {_word(not on)} "
                    f"{format_duration(self._settle_ns)} after it was switched {_word(on)}"
                )
                tail = self._transcript.tail()
                raise DeviceError(self.name, "set", None, text, transcript=tail)
            self._clock.sleep_ns(_POLL_NS)
        if on:
            self._off_at_ns.pop(outlet, None)

    def _home(self, states: Mapping[int, bool]) -> None:
        """The way home: outside of the budget, but never sooner than an outlet may be on again."""
        failures: list[DriverError] = []
        with self._turn:
            for outlet, on in states.items():
                try:
                    if on:
                        self._clock.sleep_ns(self._left_ns(outlet))
                    self._change(outlet, on)
                except DriverError as error:
                    failures.append(error)
        if failures:
            raise failures[0]


def _word(on: bool) -> str:
    return "on" if on else "off"
