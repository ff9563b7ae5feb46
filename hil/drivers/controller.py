"""A controller with tags, whatever its protocol: guarded writes, way home, reaction loop."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Protocol, Self

from pydantic import model_validator

from hil.clock import SYSTEM, Clock
from hil.document import Duration
from hil.drivers.liveness import liveness
from hil.drivers.protocols import (
    Cycle,
    Health,
    HealthReport,
    Identity,
    RunState,
    Scalar,
    TagValue,
    Via,
)
from hil.drivers.tags import GuardedTag
from hil.drivers.transcript import Transcript
from hil.errors import ConnectFailed, DeviceError, DriverError, Unsupported, UsageError
from hil.testbed import DeviceConfig

_ECHO_VALUES: Final = 65535  # 1 to 65535: 0 is what a controller starts with
#: Multiples of the golden ratio, modulo 1, fill an interval more evenly than any other (Weyl).
_GOLDEN: Final = 0.6180339887498949


class Link(Protocol):
    """One connection to a controller; connects again by itself after a loss."""

    def connect(self) -> None:
        """Connect, where there is no connection; raises ConnectFailed."""

    def close(self) -> None:
        """Let go of the connection; silent."""

    def read(self, tag: Any) -> Any:
        """The memory of a tag."""

    def write(self, tag: Any, raw: Any) -> None:
        """Set the memory of a tag."""


class ControllerConfig(DeviceConfig):
    """What every controller has in the testbed file, beside its `tags`."""

    host: str
    """Address by which it is reached over the network under test."""

    wire: str | None = None
    """Address of the same controller over a cable, for the reference loop."""

    limit_ns: Duration = 1_000_000_000
    """How long an answer may take; a connection has 3.5 s at least, for a lost first packet."""

    echo: str = "echo"
    """Tag that the reaction loop writes."""

    echoed: str = "echoed"
    """Tag to which the program copies it."""

    @property
    def guarded(self) -> Mapping[str, GuardedTag]:
        """The tags, whatever their addresses are."""
        found: Mapping[str, GuardedTag] = getattr(self, "tags", {})
        return found

    @model_validator(mode="after")
    def _one_register(self) -> Self:
        for name in (self.echo, self.echoed):
            if name in self.guarded and self.guarded[name].type != "uint16":
                raise ValueError(f"tag {name!r} of the reaction loop must be uint16")
        return self


class Controller(ABC):
    """Implements `hil.drivers.protocols.Plc`, but for the protocol.

    A lost request drops its connection; the next call connects again.
    """

    Config: ClassVar[type[DeviceConfig]] = ControllerConfig
    role: ClassVar[str] = "plc"

    def __init__(self, name: str, config: ControllerConfig, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self.tags = config.guarded
        self._loop = (config.echo, config.echoed)
        self._clock = clock
        self._transcript = Transcript()
        self._links: dict[str, Any] = {"5g": self._link(config.host)}
        if config.wire is not None:
            self._links["wire"] = self._link(config.wire)
        self._main = self._links["5g"]
        # The way home does not depend on the network under test where there is a cable.
        self._home = self._links.get("wire", self._main)

    @abstractmethod
    def _link(self, host: str) -> Link:
        """A connection to one address of the controller, not yet made."""

    @abstractmethod
    def _greet(self) -> None:
        """Prove that something lives there."""

    @abstractmethod
    def identify(self) -> Identity:
        """See `Device.identify`."""

    @abstractmethod
    def run_state(self) -> RunState:
        """See `Plc.run_state`."""

    def open(self) -> None:
        """Connect; the proof of life is an answer, be it a refusal."""
        self._main.connect()
        try:
            self._greet()
        except DriverError as error:
            self._main.close()
            tail = error.transcript
            raise ConnectFailed(self.name, "open", error.detail, transcript=tail) from error

    def close(self) -> None:
        """See `Device.close`."""
        for link in self._links.values():
            link.close()

    def health(self) -> HealthReport:
        """See `Device.health`; a controller that does not run its program is degraded."""

        def ask() -> tuple[Health, str]:
            state = self.run_state()
            if state is RunState.UNKNOWN:
                self._greet()
            return Health.DEGRADED if state is RunState.STOP else Health.OK, state.value

        return liveness(ask)

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        offers = {"reaction-loop": set(self._loop) <= self.tags.keys()}
        offers["wire"] = "wire" in self._links
        return frozenset(name for name, offered in offers.items() if offered)

    def snapshot(self) -> Mapping[str, Any]:
        """The value of each writable tag; over the cable where there is one."""
        names = [name for name, tag in self.tags.items() if tag.writable]
        return {name: self._read(name, self._home).value for name in names}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`; guarded as every write, over the cable where there is one."""
        self._write(state, self._home, verify=True)

    def safe_state(self) -> None:
        """Write the safe value of each tag that has one, over the cable where there is one.

        One failure does not stop the others.
        """
        failures: list[DriverError] = []
        for name, tag in self.tags.items():
            if tag.safe is None:
                continue
            try:
                self._write({name: tag.safe}, self._home, verify=True)
            except DriverError as error:
                failures.append(error)
        if failures:
            raise failures[0]

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)

    def read(self, *names: str) -> Mapping[str, TagValue]:
        """See `Plc.read`; one request per tag."""
        return {name: self._read(name, self._main) for name in names or self.tags}

    def _tag(self, name: str) -> GuardedTag:
        try:
            return self.tags[name]
        except KeyError:
            known = ", ".join(self.tags) or "none"
            raise UsageError(f"{self.name} has no tag {name!r}; it has {known}") from None

    def _read(self, name: str, link: Link) -> TagValue:
        tag = self._tag(name)
        return TagValue(name, tag.decode(link.read(tag)), tag.unit, self._clock.realtime_ns())

    def write(self, values: Mapping[str, Scalar], *, verify: bool = True) -> None:
        """See `Plc.write`; all values are checked before the first is written."""
        self._write(values, self._main, verify=verify)

    def _write(self, values: Mapping[str, Scalar], link: Link, *, verify: bool) -> None:
        for name, value in values.items():
            self._tag(name).check(self.name, name, value)
        for name, value in values.items():
            tag = self._tag(name)
            raw = tag.encode(value)
            link.write(tag, raw)
            if not verify:
                continue
            found = link.read(tag)
            if found != raw:
                text = f"{name} reads back as {tag.decode(found)!r}, written was {value!r}"
                tail = self._transcript.tail()
                raise DeviceError(self.name, "write", None, text, transcript=tail)

    def cycle(
        self, *, count: int, interval_s: float = 0.02, over: Via = "5g", timeout_s: float = 1.0
    ) -> Sequence[Cycle]:
        """See `Plc.cycle`.

        Each turn writes a number to the tag `echo` and reads the tag `echoed` until the program
        has copied it; the controller's scan, one read at least and the transport both ways lie in
        between. A turn that takes longer than the interval delays the next; none is skipped.
        Each turn starts a little later than its place on the grid, up to half an interval and
        evenly spread: a plain grid would meet the controller's scan, and the pattern of a TDD
        cell, always in the same phase.

        Raises:
            Unsupported: no such tags, or no cable address.
        """
        echo, echoed = self._loop
        if not {echo, echoed} <= self.tags.keys():
            raise Unsupported(self.name, "cycle", f"needs the tags {echo!r} and {echoed!r}")
        if over not in self._links:
            raise Unsupported(self.name, "cycle", f"no address {over!r} in the testbed file")
        link = self._links[over]
        link.connect()
        last = int(self._read(echoed, link).value)
        interval_ns = round(interval_s * 1e9)
        start_ns = self._clock.realtime_ns() + interval_ns
        turns = []
        for seq in range(count):
            spread_ns = round(seq * _GOLDEN % 1 * interval_ns / 2)
            intended_ns = start_ns + seq * interval_ns + spread_ns
            self._clock.sleep_ns(intended_ns - self._clock.realtime_ns())
            value = (last + seq) % _ECHO_VALUES + 1
            turns.append(self._turn(link, seq, intended_ns, value, round(timeout_s * 1e9)))
        return tuple(turns)

    def _turn(self, link: Link, seq: int, intended_ns: int, value: int, limit_ns: int) -> Cycle:
        echo, echoed = map(self._tag, self._loop)
        echo.check(self.name, self._loop[0], value)
        raw, awaited = echo.encode(value), echoed.encode(value)
        polls = 0
        received_ns: int | None = None
        tx_ns = self._clock.realtime_ns()
        try:
            link.write(echo, raw)
            while received_ns is None and self._clock.realtime_ns() - tx_ns < limit_ns:
                polls += 1
                found = link.read(echoed)
                now_ns = self._clock.realtime_ns()
                if found == awaited:
                    received_ns = now_ns
        except DeviceError:
            raise
        except DriverError as error:
            # A lost request is a lost turn, not a broken bench: the network is what is measured.
            self._transcript.add("*", f"turn {seq} lost: {error}")
        return Cycle(seq, intended_ns, tx_ns, received_ns, polls)
