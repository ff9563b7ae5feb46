"""Faults of a world: what can go wrong in it, one YAML line or one call each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from hil.document import Attenuation, Duration, Model, Share
from hil.errors import UsageError

Direction = Literal["uplink", "downlink", "both"]

_Delay = Annotated[Duration, Field(gt=0, le=2_000_000_000)]
_Part = Annotated[Share, Field(gt=0)]


class _Fault(Model):
    start_ns: Annotated[Duration, Field(ge=0)] | None = None
    """When it begins, counted from the start of the world; absent: when it is called for."""

    duration_ns: Annotated[Duration, Field(gt=0)] | None = None
    """How long it lasts; absent: until it is ended."""


class _PacketFault(_Fault):
    cpe: str | None = None
    """The modem whose packets it meets; absent: those of every modem."""

    direction: Direction = "both"
    """uplink is away from the device; traffic inside the LAN of one CPE is never met."""


class Outage(_PacketFault):
    """The link carries nothing, as with a cable out."""

    kind: Literal["outage"]


class BurstLoss(_PacketFault):
    """Packets are lost in runs: a two-state chain (Gilbert 1960) that is either good or lossy."""

    kind: Literal["burst_loss"]

    share: _Part
    """Share of packets that are lost in the long run."""

    burst: Annotated[float, Field(ge=1)] = 5.0
    """Mean length of a run of lost packets."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        most = self.burst / (self.burst + 1)
        if self.share > most:
            raise ValueError(
                f"runs of {self.burst:g} cannot lose more than {most:.3g} of all packets, as one"
                " passes between two runs; make them longer, or use an outage"
            )
        return self


class DelayStep(_PacketFault):
    """Every packet takes longer by the same time."""

    kind: Literal["delay"]

    by_ns: _Delay
    """How much longer."""


class Jitter(_PacketFault):
    """Every packet takes longer by a time of its own, evenly drawn; none overtakes another."""

    kind: Literal["jitter"]

    by_ns: _Delay
    """The most that one takes longer."""


class Reordering(_PacketFault):
    """Some packets are held back, so that later ones overtake them."""

    kind: Literal["reordering"]

    share: _Part
    """Share of packets that are held back."""

    by_ns: _Delay
    """For how long; longer than the spacing of the packets, or nothing is overtaken."""


class Duplication(_PacketFault):
    """Some packets come twice."""

    kind: Literal["duplication"]

    share: _Part
    """Share of packets that come twice."""


class Corruption(_PacketFault):
    """One bit in the last byte of some packets is wrong."""

    kind: Literal["corruption"]

    share: _Part
    """Share of packets with a wrong bit."""


class Listed(_PacketFault):
    """Single probes meet what a list says of them, counted from 0 at each port that sends."""

    kind: Literal["list"]

    file: str
    """The fault list, by its absolute path; it may drop, duplicate, delay and corrupt."""


class CellOff(_Fault):
    """The base station does not send: devices lose it, and find it again afterwards."""

    kind: Literal["cell_off"]


class AttenuationStep(_Fault):
    """More loss in the radio path, beside that of any attenuator."""

    kind: Literal["attenuation"]

    cpe: str | None = None
    """The modem in whose radio path it is; absent: in that of every modem."""

    by_db: Annotated[Attenuation, Field(gt=0)]
    """How much more."""


class PlcStop(_Fault):
    """The control program stops: no scan, outputs off; its network interface still answers."""

    kind: Literal["plc_stop"]

    plc: str
    """The PLC endpoint."""


class TtyUnplug(_Fault):
    """The cable to a modem's tty is out; the modem itself goes on."""

    kind: Literal["tty_unplug"]

    cpe: str
    """The modem endpoint."""


class _ConnectionFault(_Fault):
    endpoint: str
    """The endpoint that is reached over TCP."""


class BlackHole(_ConnectionFault):
    """Connections stand and open, and nothing comes back; what was asked is answered afterwards."""

    kind: Literal["black_hole"]


class Reset(_ConnectionFault):
    """Every connection is reset, and each new one too."""

    kind: Literal["reset"]


class Refuse(_ConnectionFault):
    """New connections are refused; those that stand go on."""

    kind: Literal["refuse"]


class SlowAnswer(_ConnectionFault):
    """Every answer comes later by the same time."""

    kind: Literal["slow_answer"]

    by_ns: _Delay
    """How much later."""


PacketFault = (
    Outage | BurstLoss | DelayStep | Jitter | Reordering | Duplication | Corruption | Listed
)
ConnectionFault = BlackHole | Reset | Refuse | SlowAnswer
DeviceFault = CellOff | AttenuationStep | PlcStop | TtyUnplug | ConnectionFault
Fault = Annotated[PacketFault | DeviceFault, Field(discriminator="kind")]

#: What a live fault may be, by kind.
FAULTS: Final = {
    get_args(each.model_fields["kind"].annotation)[0]: each
    for each in (*get_args(PacketFault), *get_args(DeviceFault))
}

_ADAPTER: Final[TypeAdapter[PacketFault | DeviceFault]] = TypeAdapter(Fault)


def fault(kind: str, parameters: Mapping[str, Any]) -> PacketFault | DeviceFault:
    """A fault from its kind and its parameters, texts with units as in a file.

    Raises: UsageError, one sentence, with what there is instead.
    """
    if kind not in FAULTS:
        raise UsageError(f"no fault is called {kind!r}; there are {', '.join(FAULTS)}")
    try:
        return _ADAPTER.validate_python({**parameters, "kind": kind})
    except ValidationError as error:
        known = [str(each.alias or name) for name, each in FAULTS[kind].model_fields.items()]
        wrong = "; ".join(_wording(each) for each in error.errors(include_url=False))
        raise UsageError(
            f"fault {kind}: {wrong}; it takes {', '.join(k for k in known if k != 'kind')}"
        ) from None


def _wording(error: Any) -> str:
    where = ".".join(str(each) for each in error["loc"][1:])
    say = str(error["msg"]).removeprefix("Value error, ")
    return f"{where}: {say}" if where else say


def words(given: PacketFault | DeviceFault) -> dict[str, Any]:
    """The parameters of a fault as plain JSON values, times in nanoseconds and levels in dB."""
    return given.model_dump(mode="json", exclude_none=True)
