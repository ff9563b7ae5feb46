"""A power switch (PDU) by SNMP: one number per outlet, set and read back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field

from hil.clock import SYSTEM, Clock
from hil.document import Model, Shape
from hil.drivers.outlets import OutletSwitch, SwitchConfig
from hil.drivers.protocols import Identity
from hil.drivers.snmp import SnmpLink
from hil.errors import DeviceError, ProtocolViolation
from hil.record import register
from hil.testbed import DeviceConfig, Secret

#: sysDescr, sysObjectID and sysName of the system group (RFC 3418 clause 2).
_SYSTEM: Final = ("1.3.6.1.2.1.1.1.0", "1.3.6.1.2.1.1.2.0", "1.3.6.1.2.1.1.5.0")

Oid = Annotated[str, Shape(r"\d+(\.\d+)+", "numbers with dots, as in '1.3.6.1.2.1.1.1.0'")]


class Outlets(Model):
    """Where a device keeps its outlets; the number of the outlet is added to each object."""

    control: Oid
    """Object that switches an outlet."""

    state: Oid | None = None
    """Object that tells its state; absent: the one that switches it."""

    on: int = 1
    """Number that switches on."""

    off: int = 2
    """Number that switches off."""

    is_on: int | None = None
    """Number that tells that it is on; absent: the one that switches on."""

    is_off: int | None = None
    """Number that tells that it is off; absent: the one that switches off."""


#: PowerNet-MIB (sPDUOutletCtl, rPDUOutletControlOutletCommand) and PDU2-MIB
#: (switchingOperation, outletSwitchingState of inlet 1).
DIALECTS: Final[Mapping[str, Outlets]] = {
    "apc_rpdu": Outlets(control="1.3.6.1.4.1.318.1.1.12.3.3.1.1.4"),
    "apc_masterswitch": Outlets(control="1.3.6.1.4.1.318.1.1.4.4.2.1.3"),
    "raritan": Outlets(
        control="1.3.6.1.4.1.13742.6.4.1.2.1.2.1",
        state="1.3.6.1.4.1.13742.6.4.1.2.1.3.1",
        on=1,
        off=0,
        is_on=7,
        is_off=8,
    ),
}


class SwitchSnmpConfig(SwitchConfig):
    """A power switch by SNMP in the testbed file."""

    driver: Literal["switch_snmp"]

    host: str
    """Address of its agent."""

    port: Annotated[int, Field(ge=1, le=65535)] = 161
    """UDP port (IANA: 161, snmp)."""

    version: Literal["1", "2c"] = "2c"
    """Version of SNMP."""

    community: Secret | None = None
    """Community that may read; absent: ``public``."""

    write_community: Secret | None = None
    """Community that may switch; absent: ``private``."""

    dialect: Literal["apc_rpdu", "apc_masterswitch", "raritan"] = "apc_rpdu"
    """Whose objects it has."""

    objects: Outlets | None = None
    """Its own objects, for a device that speaks none of the dialects."""


class SwitchSnmp(OutletSwitch):
    """Implements `hil.drivers.protocols.PowerSwitch`."""

    Config: ClassVar[type[DeviceConfig]] = SwitchSnmpConfig
    requires: ClassVar[tuple[str, ...]] = ("pysnmp",)
    extra: ClassVar[str] = "snmp"

    def __init__(self, name: str, config: SwitchSnmpConfig, *, clock: Clock = SYSTEM) -> None:
        super().__init__(name, config, clock=clock)
        self._config = config
        self._objects = config.objects or DIALECTS[config.dialect]
        self._link = SnmpLink(
            name,
            config.host,
            port=config.port,
            version=config.version,
            limit_s=config.limit_ns / 1e9,
            transcript=self._transcript,
        )

    def close(self) -> None:
        """See `Device.close`."""
        self._link.close()

    def identify(self) -> Identity:
        """See `Device.identify`; an agent has one text for all of it (sysDescr)."""
        community = _revealed(self._config.community, "public")
        texts = [self._text(community, oid) for oid in _SYSTEM]
        names = ("object", "name")
        extra = {name: text for name, text in zip(names, texts[1:], strict=True) if text}
        return Identity(None, texts[0], None, None, extra)

    def _text(self, community: str, oid: str) -> str | None:
        """One object at a time: version 1 refuses the whole question for one that is missing."""
        try:
            (value,) = self._link.get(community, oid)
        except DeviceError:
            return None
        return None if value is None else str(value)

    def _read(self, outlet: int) -> bool:
        known = self._objects
        oid = f"{known.state or known.control}.{outlet}"
        (value,) = self._link.get(_revealed(self._config.community, "public"), oid)
        tail = self._transcript.tail()
        if value is None:
            raise DeviceError(self.name, "get", None, f"no such outlet: {outlet}", transcript=tail)
        is_on = known.on if known.is_on is None else known.is_on
        is_off = known.off if known.is_off is None else known.is_off
        if value not in (is_on, is_off):
            detail = f"outlet {outlet} is {value!r}; {is_on} is on, {is_off} is off"
            raise ProtocolViolation(self.name, "get", detail, transcript=tail)
        return value == is_on

    def _write(self, outlet: int, on: bool) -> None:
        known = self._objects
        community = _revealed(self._config.write_community, "private")
        self._link.set(community, f"{known.control}.{outlet}", known.on if on else known.off)


def _revealed(secret: Secret | None, usual: str) -> str:
    """The community; one that is secret is hidden wherever it is printed."""
    if secret is None:
        return usual
    value = secret.reveal()
    register(value)
    return value
