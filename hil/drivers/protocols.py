"""What a test may ask of a device: small protocols, and the frozen answers they give.

A driver takes its name and its own configuration and does no input or output until `open`. Every
method may raise a `hil.errors.DriverError`, and never a library's own exception. Names carry their
unit; times are integer nanoseconds, limits that a caller sets are seconds. A value that the device
does not know is None.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, Protocol, runtime_checkable


class Health(enum.StrEnum):
    """How a device is doing."""

    OK = "ok"
    DEGRADED = "degraded"  #: it answers, but not as it should
    DEAD = "dead"


@dataclass(frozen=True, slots=True)
class Identity:
    """What a device says that it is; None where it does not say."""

    vendor: str | None
    model: str | None
    firmware: str | None
    serial: str | None
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HealthReport:
    """The outcome of one liveness check; `latency_ns` is how long the answer took."""

    status: Health
    detail: str
    latency_ns: int | None


@runtime_checkable
class Device(Protocol):
    """What every driver does, whatever the device."""

    role: ClassVar[str]
    name: str

    def open(self) -> None:
        """Connect and prove that something lives there; a second open does nothing.

        Raises:
            ConnectFailed: refused, absent, held by somebody else, or no answer in time.
        """

    def close(self) -> None:
        """Let go of the device; silent, also twice, also when the device is gone."""

    def identify(self) -> Identity:
        """Ask the device who it is."""

    def health(self) -> HealthReport:
        """Whether the device answers; raises nothing."""

    def capabilities(self) -> frozenset[str]:
        """Names of optional abilities that this device and configuration offer."""

    def snapshot(self) -> Mapping[str, Any]:
        """The settings that a test may change, as JSON values, for `restore`."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Bring the settings back to a snapshot."""

    def safe_state(self) -> None:
        """Bring the device where it can harm nobody, whatever happened before."""

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """The last of the dialogue, redacted, one line per entry, from CLOCK_REALTIME on."""


class Reg(enum.IntEnum):
    """Registration status <stat> of +C5GREG (TS 27.007 clause 10.1.47)."""

    IDLE = 0
    HOME = 1
    SEARCHING = 2
    DENIED = 3
    UNKNOWN = 4
    ROAMING = 5


class Rat(enum.StrEnum):
    """Radio access as the core sees it."""

    NONE = "none"
    LTE = "lte"
    ENDC = "en-dc"
    NR_SA = "nr-sa"


@dataclass(frozen=True, slots=True)
class SNssai:
    """A slice: service type and differentiator (TS 23.003 clause 28.4)."""

    sst: int
    sd: int | None = None

    def __str__(self) -> str:
        """SST or SST.SD, the differentiator as six hexadecimal digits."""
        return f"{self.sst}" if self.sd is None else f"{self.sst}.{self.sd:06x}"


@dataclass(frozen=True, slots=True)
class Registration:
    """Where a CPE is registered; `reject_cause` is the 5GMM cause of a denial."""

    stat: Reg
    rat: Rat
    plmn: str | None
    tac: int | None
    cell_id: int | None
    allowed: tuple[SNssai, ...]
    reject_cause: int | None = None

    @property
    def registered(self) -> bool:
        """At home or roaming."""
        return self.stat in (Reg.HOME, Reg.ROAMING)


@dataclass(frozen=True, slots=True)
class RadioSample:
    """One reading of the serving cell, taken at `t_ns` (CLOCK_REALTIME, when the answer came)."""

    t_ns: int
    rat: Rat
    rsrp_dbm: float | None
    rsrq_db: float | None
    sinr_db: float | None
    band: int | None = None
    arfcn: int | None = None
    pci: int | None = None
    bandwidth_hz: float | None = None
    scs_hz: float | None = None


@dataclass(frozen=True, slots=True)
class SettledRsrp:
    """An RSRP that had stopped moving: mean of the last readings.

    `uncertainty_db` is two standard deviations of that mean, from the scatter of the readings and
    the modem's resolution (JCGM 100 clause 4); a constant error of the modem, which cancels in a
    difference, is not in it.
    """

    dbm: float
    uncertainty_db: float
    readings: int
    span_ns: int


@dataclass(frozen=True, slots=True)
class PduSession:
    """One PDU session context; rates are None where the network states none."""

    cid: int
    active: bool
    dnn: str
    pdu_type: str
    addresses: tuple[str, ...]
    snssai: SNssai | None = None
    five_qi: int | None = None
    session_ambr_dl_bps: int | None = None
    session_ambr_ul_bps: int | None = None


EventKind = Literal["reg", "pdn-act", "pdn-deact", "detach", "rrc", "boot", "other"]


@dataclass(frozen=True, slots=True)
class ModemEvent:
    """Something a modem said by itself.

    `t_ns` is CLOCK_REALTIME and `monotonic_ns` CLOCK_MONOTONIC, both taken in the reading thread
    as the line came in. `fields` are its arguments, in order, without quotes.
    """

    t_ns: int
    monotonic_ns: int
    kind: EventKind
    raw: str
    fields: tuple[str, ...]


@runtime_checkable
class Cpe(Device, Protocol):
    """A 5G CPE, whatever it is reached by."""

    def registration(self) -> Registration:
        """Where it is registered now."""

    def radio(self) -> RadioSample:
        """One reading of the serving cell."""

    def settled_rsrp(self, *, timeout_s: float = 20.0) -> SettledRsrp:
        """RSRP once it has stopped moving.

        Raises:
            DriverTimeout: it went on moving, or was unknown, until the limit.
        """

    def sessions(self) -> Sequence[PduSession]:
        """Every defined PDU session context."""

    def activate(self, cid: int, *, timeout_s: float = 30.0) -> PduSession:
        """Bring a defined session up, and say what came up."""

    def deactivate(self, cid: int, *, timeout_s: float = 30.0) -> None:
        """Take a session down."""

    def radio_on(self, on: bool, *, timeout_s: float = 20.0) -> None:
        """Switch the radio on, or to flight mode."""

    def reboot(self, *, timeout_s: float = 120.0) -> int:
        """Restart the device; nanoseconds until it answered again."""

    def wait_registered(self, *, rat: Rat | None = None, timeout_s: float = 120.0) -> Registration:
        """The registration as soon as there is one (on that radio access)."""

    def events(self, *, since_ns: int | None = None) -> Sequence[ModemEvent]:
        """What it said by itself, from CLOCK_MONOTONIC `since_ns`."""

    def wait_event(
        self,
        kind: EventKind,
        *,
        timeout_s: float,
        since_ns: int | None = None,
        where: Callable[[ModemEvent], bool] | None = None,
    ) -> ModemEvent:
        """The first such event after CLOCK_MONOTONIC `since_ns`, or after the call.

        Raises:
            DriverTimeout: none came in time.
        """


@runtime_checkable
class Modem(Cpe, Protocol):
    """A CPE with an AT command port."""

    def command(
        self, text: str, *, timeout_s: float | None = None, prefix: str | None = None
    ) -> Sequence[str]:
        """One raw AT command; its information lines, without the final result."""


Scalar = bool | int | float


@dataclass(frozen=True, slots=True)
class TagValue:
    """A value as read; `t_ns` is CLOCK_REALTIME when the answer was in."""

    tag: str
    value: Scalar
    unit: str | None
    t_ns: int


class RunState(enum.StrEnum):
    """Whether a controller executes its program."""

    RUN = "run"
    STOP = "stop"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Cycle:
    """One turn of a reaction loop: a value written, and its echo read.

    All times are CLOCK_REALTIME of the tester's user space: `intended_ns` on the grid, `tx_user_ns`
    just before the write was handed over, `rx_user_ns` just after the answer that carried the echo
    was in, None where none came in time. `polls` is how many reads that took.
    """

    seq: int
    intended_ns: int
    tx_user_ns: int
    rx_user_ns: int | None
    polls: int


Via = Literal["5g", "wire"]


@runtime_checkable
class Plc(Device, Protocol):
    """A controller whose tags can be read and, within their guards, written."""

    def read(self, *names: str) -> Mapping[str, TagValue]:
        """The values of these tags, of all where none is named."""

    def write(self, values: Mapping[str, Scalar], *, verify: bool = True) -> None:
        """Write tags one after another, each read back where `verify`.

        Raises:
            UnsafeOperation: a tag is read-only or a value outside its range; nothing was written.
            DeviceError: the controller refused, or the read-back differs.
        """

    def run_state(self) -> RunState:
        """Whether it runs, as measured; never assumed."""

    def cycle(
        self, *, count: int, interval_s: float = 0.02, over: Via = "5g", timeout_s: float = 1.0
    ) -> Sequence[Cycle]:
        """Run the reaction loop `count` times on a fixed grid, over 5G or over the cable."""


@runtime_checkable
class Attenuator(Device, Protocol):
    """A programmable attenuator; channels count from 1."""

    channels: int
    min_db: float
    max_db: float

    def set_db(self, channel: int, value_db: float) -> float:
        """Set one channel; what the device then says it is.

        Raises:
            UnsafeOperation: outside the guard; nothing was sent.
            DeviceError: the device refused, or clipped the value.
        """

    def get_db(self, channel: int) -> float:
        """What the device says a channel is set to."""


@runtime_checkable
class PowerSwitch(Device, Protocol):
    """A switch of mains or DC outlets, as a PDU or a relay."""

    outlets: tuple[int, ...]

    def set(self, outlet: int, on: bool) -> None:
        """Switch an outlet, and return once the device says that it is so.

        Raises:
            UnsafeOperation: none of the outlets that may be switched, its budget is used up, or it
                has not been off for long enough; nothing was sent.
            DeviceError: the device refused, or the outlet does not read back as it was set.
        """

    def get(self, outlet: int) -> bool:
        """What the device says of an outlet, asked for now."""

    def cycle(self, outlet: int, *, off_s: float | None = None) -> None:
        """Switch an outlet off, wait, and switch it on; guarded as `set` is.

        `off_s` is how long it stays off; None: as short as its guard allows.
        """


@runtime_checkable
class Instrument(Device, Protocol):
    """Anything that is spoken to in SCPI."""

    def write(self, command: str) -> None:
        """Send a command and see that it left no error.

        Raises:
            UnsafeOperation: a guard refused; nothing was sent.
            DeviceError: the first entry that it left in the error queue.
        """

    def query(self, command: str) -> str:
        """Send a query; its answer."""

    def errors(self) -> Sequence[tuple[int, str]]:
        """Empty the error queue; code and text of each entry."""


@dataclass(frozen=True, slots=True)
class Output:
    """What one channel of a supply does: set, measured, and why it is off.

    `tripped` names the protections that acted: ov, oc, ot, pf (power fail).
    """

    on: bool
    set_v: float
    limit_a: float
    measured_v: float
    measured_a: float
    tripped: tuple[str, ...]


@runtime_checkable
class PowerSupply(Device, Protocol):
    """A laboratory supply; `channels` are the numbers of those that may be used."""

    channels: tuple[int, ...]

    def configure(self, channel: int, *, voltage_v: float, limit_a: float) -> None:
        """Set voltage and current limit of a channel; each is read back.

        Raises:
            UnsafeOperation: outside the window of the channel; nothing was sent.
            DeviceError: the device refused, or applied another value.
        """

    def output(self, channel: int, on: bool) -> None:
        """Switch a channel's output."""

    def read(self, channel: int) -> Output:
        """What a channel is set to and what it does."""

    def clear_protection(self, channel: int) -> None:
        """Let a channel work again after its protection has acted; it stays off."""
