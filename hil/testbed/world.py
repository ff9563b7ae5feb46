"""The simulated part of a testbed: one cell, one radio field, and the endpoints that live in it.

Every figure has a default, so that a file says only what matters to it. The defaults describe a
healthy indoor cell; where a standard gives the figure, it is named.
"""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Address
from typing import Annotated, Final, Literal, Self

from pydantic import Field, field_validator, model_validator

from hil.document import (
    Attenuation,
    Current,
    Drift,
    Duration,
    EventsPerHour,
    Frequency,
    Level,
    Model,
    Rate,
    Shape,
    Share,
    Size,
    Voltage,
)
from hil.testbed.address import InterfaceV4
from hil.testbed.faults import Fault
from hil.units import format_duration

_SLOTS_NS: Final = (1_000_000, 500_000, 250_000, 125_000)

_PORTS: Final = {"modbus": 502, "s7": 102}
_Delay = Annotated[Duration, Field(ge=0)]
_Span = Annotated[Duration, Field(gt=0)]
_Loss = Annotated[Attenuation, Field(ge=0)]

Imsi = Annotated[str, Shape(r"\d{6,15}", "6 to 15 digits, as in '001010000000001'")]
"""International mobile subscriber identity, at most 15 digits (TS 23.003 2.2)."""


class CellConfig(Model):
    """A TDD cell as the slot-level model sees it, with the core and the backhaul behind it."""

    pattern: Annotated[str, Shape("[DSU]+", "a letter a slot, D, S or U, as in 'DSUUU'")] = "DSUUU"
    """One TDD period, a letter a slot: D downlink, S special, U uplink (TS 38.213 11.1)."""

    slot_ns: Duration = 500_000
    """Slot length; 0.5 ms is a subcarrier spacing of 30 kHz (TS 38.211 Table 4.3.2-1)."""

    bandwidth_hz: Annotated[Frequency, Field(gt=0)] = 100_000_000
    """Channel bandwidth (TS 38.101-1 5.3.5)."""

    downlink_layers: Annotated[int, Field(ge=1, le=4)] = 4
    """MIMO layers towards the device."""

    uplink_layers: Annotated[int, Field(ge=1, le=4)] = 2
    """MIMO layers from the device."""

    special_share: Share = 0.5
    """Share of an S slot's symbols that carry downlink."""

    overhead_bytes: Size = 10
    """SDAP, PDCP, RLC and MAC headers per packet."""

    k1: Annotated[int, Field(ge=0, le=15)] = 2
    """Slots from downlink data to the earliest HARQ feedback (TS 38.213 9.2.3)."""

    k2: Annotated[int, Field(ge=0, le=32)] = 3
    """Slots from an uplink grant to the data (TS 38.214 6.1.2.1)."""

    gnb_slots: Annotated[int, Field(ge=0, le=32)] = 1
    """Slots that the base station needs to answer a scheduling request, a report or a NACK."""

    gnb_processing_ns: _Delay = 250_000
    """Processing time of the base station per packet."""

    ue_processing_ns: _Delay = 200_000
    """Processing time of the device per packet."""

    configured_grant_bytes: Size = 2_000
    """Uplink granted without asking in each U slot (TS 38.321 5.8.2); 0 B: always by request."""

    request_grant_bytes: Size = 2_000
    """Uplink granted in answer to a scheduling request, before the buffer is known."""

    error_share: Share = 0.1
    """Target block error share of a first transmission (TS 38.214 5.2.2.1)."""

    max_transmissions: Annotated[int, Field(ge=1, le=32)] = 4
    """HARQ transmissions of a block; beyond them RLC repeats it."""

    rlc_delay_ns: _Delay = 15_000_000
    """Extra delay of a repetition by RLC (t-StatusProhibit and polling, TS 38.322 5.3)."""

    core_delay_ns: _Delay = 1_000_000
    """Between the base station and the edge (TS 23.501 Table 5.7.4-1 NOTE 4: 1 ms static)."""

    backhaul_delay_ns: _Delay = 8_000_000
    """Between the core and the central cloud, one way."""

    queue_bytes: Annotated[Size, Field(gt=0)] = 3_000_000
    """Bytes that one device's queue holds before packets are dropped."""

    queue_packets: Annotated[int, Field(ge=1)] = 8_000
    """Packets that one device's queue holds before packets are dropped."""

    line_rate_bps: Annotated[Rate, Field(gt=0)] = 10_000_000_000
    """Rate of the wire behind the cell; must exceed what the cell carries."""

    tick_ns: _Span = 500_000
    """How often the user plane takes a turn; moves real delivery, never the model's times."""

    clock_drift_ppm: Drift = 3.0
    """How much faster the clock of the cell runs than that of the host."""

    @field_validator("pattern")
    @classmethod
    def _both_ways(cls, pattern: str) -> str:
        if "U" not in pattern or not set("DS") & set(pattern):
            raise ValueError(
                f"needs at least one U and one D or S slot, as in 'DSUUU'; got {pattern!r}"
            )
        return pattern

    @field_validator("slot_ns")
    @classmethod
    def _numerology(cls, slot_ns: int) -> int:
        if slot_ns not in _SLOTS_NS:
            known = ", ".join(f"'{format_duration(each)}'" for each in _SLOTS_NS)
            raise ValueError(
                f"5G has slots of {known} (TS 38.211 4.3.2); got '{format_duration(slot_ns)}'"
            )
        return slot_ns


class RadioConfig(Model):
    """The radio field that all devices of the cell share.

    RSRP = reference power - path loss - attenuation - shadowing - blockage.
    """

    reference_power_dbm: Level = 15.0
    """Energy per resource element of the synchronisation block, antenna gain included."""

    path_loss_db: _Loss = 95.0
    """Mean loss between antenna and device."""

    noise_figure_db: _Loss = 9.0
    """Noise figure of the device (TR 38.802 Table A.2.1-1)."""

    shadowing_db: _Loss = 2.0
    """Standard deviation of the log-normal shadowing (TR 38.901 7.4.4)."""

    shadowing_time_ns: _Span = 60_000_000_000
    """Time over which the shadowing loses its memory (correlation 1/e).

    A fixed device among machines that move slowly: 10 m (TR 38.901 Table 7.5-6, InF) in a minute.
    """

    doppler_hz: Annotated[Frequency, Field(ge=0)] = 5
    """Highest Doppler shift of the fading; 5 Hz is walking pace beside moving machines."""

    blockage: bool = False
    """Whether bodies and vehicles step into the line of sight."""

    blockage_loss_db: _Loss = 20.0
    """Extra loss while the line of sight is blocked (TR 38.901 7.6.4)."""

    blockage_rate_per_h: Annotated[EventsPerHour, Field(ge=0)] = 60.0
    """How often that happens, Poisson."""

    blockage_time_ns: _Span = 400_000_000
    """How long it lasts, mean of an exponential."""

    settling_ns: _Delay = 200_000_000
    """How long a device averages before it reports a new RSRP (TS 38.331 5.5.3.2)."""

    out_of_service_dbm: Level = -125.0
    """RSRP below which the device loses the cell."""


class ModemEndpoint(Model):
    """A CPE in the cell: an AT command set on a tty, and a LAN port behind it."""

    kind: Literal["modem"]

    link: Annotated[str, Shape(r"[\w.-]+", "a file name, as in 'cpe1'")]
    """Name of the tty in ``${run}``."""

    imsi: Imsi
    """Subscriber identity; quoted, else YAML reads a number."""

    imei: Annotated[str, Shape(r"\d{15}", "15 digits")] = "860000000000000"
    """Equipment identity, 15 digits (TS 23.003 6.2.1)."""

    lan: str
    """The port that lies behind this modem."""

    dialect: Literal["quectel"] = "quectel"
    """Whose AT commands it speaks."""

    dnn: str = "factory"
    """Data network name of its PDU session."""

    snssai: Annotated[
        str, Shape(r"\d{1,3}(\.[0-9A-Fa-f]{6})?", "SST or SST.SD, as in '1' or '1.00ab01'")
    ] = "1"
    """Slice as SST or SST.SD (TS 23.003 28.4)."""


class PlcEndpoint(Model):
    """A controller behind a modem, with a cable to its LAN for the reference loop."""

    kind: Literal["plc"]

    protocol: Literal["modbus", "s7"] = "modbus"
    """What it is spoken to by: Modbus TCP or S7 communication."""

    behind: str
    """The modem endpoint that it is reached through."""

    address: InterfaceV4
    """Address on the far side of the cell: every request to it crosses the cell."""

    wire: InterfaceV4 | None = None
    """Address of the same controller over a cable."""

    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """TCP port; left out: 502 for Modbus, 102 for S7."""

    scan_ns: _Span = 5_000_000
    """Time of one scan of the control program."""

    watchdog_ns: _Span = 100_000_000
    """Longest silence of the heartbeat before the outputs go to their safe values."""

    @property
    def tcp_port(self) -> int:
        """The TCP port, be it left out (IANA: 502, mbap; RFC 1006: 102)."""
        return _PORTS[self.protocol] if self.port is None else self.port


class ListeningEndpoint(Model):
    """A device that is reached at an address of the tester itself."""

    listen: str
    """ADDRESS:PORT that it listens on."""

    @field_validator("listen")
    @classmethod
    def _address_and_port(cls, listen: str) -> str:
        address, _, port = listen.rpartition(":")
        try:
            IPv4Address(address)
            valid = 1 <= int(port) <= 65535
        except ValueError:
            valid = False
        if not valid:
            raise ValueError(f"wants ADDRESS:PORT, as in '127.0.0.1:5025'; got {listen!r}")
        return listen

    @property
    def address(self) -> tuple[str, int]:
        """Address and port to bind."""
        address, _, port = self.listen.rpartition(":")
        return address, int(port)


class AttenuatorEndpoint(ListeningEndpoint):
    """A programmable attenuator in the antenna cable, SCPI over TCP."""

    kind: Literal["attenuator"]

    acts_on: Annotated[tuple[str, ...], Field(min_length=1)]
    """The modem endpoints whose antenna cable it sits in."""

    min_db: _Loss = 0.0
    """Smallest value it can be set to."""

    max_db: _Loss = 60.0
    """Largest value it can be set to."""

    step_db: Annotated[Attenuation, Field(gt=0)] = 0.25
    """Resolution; values in between are rounded to it."""

    settling_ns: _Delay = 20_000_000
    """Time from the command to the new loss."""

    @model_validator(mode="after")
    def _range(self) -> Self:
        if self.min_db >= self.max_db:
            raise ValueError(f"min {self.min_db:g} dB must be below max {self.max_db:g} dB")
        return self


class SwitchEndpoint(ListeningEndpoint):
    """A power switch: cutting an outlet cuts the power of what hangs on it."""

    kind: Literal["switch"]

    protocol: Literal["http", "snmp"] = "http"
    """What it is spoken to by: a plain HTTP relay, or SNMP with the objects of an APC rPDU."""

    outlets: Annotated[int, Field(ge=1, le=48)] = 4
    """How many outlets it has; all are on at first."""

    feeds: tuple[str, ...] = ()
    """The modem endpoints that hang on it: the first on outlet 1, and so on."""

    @model_validator(mode="after")
    def _places(self) -> Self:
        _enough(self.feeds, self.outlets, "outlets")
        return self


class SupplyEndpoint(ListeningEndpoint):
    """A laboratory DC supply, SCPI over TCP in the words of a Keysight N6700."""

    kind: Literal["supply"]

    channels: Annotated[int, Field(ge=1, le=4)] = 1
    """How many channels it has."""

    feeds: tuple[str, ...] = ()
    """The modem endpoints that it supplies: the first from channel 1, and so on."""

    voltage_v: Annotated[Voltage, Field(ge=0)] = 12.0
    """What each channel is set to, and gives, at first."""

    max_voltage_v: Annotated[Voltage, Field(gt=0)] = 20.0
    """Most that a channel can be set to."""

    max_current_a: Annotated[Current, Field(gt=0)] = 5.0
    """Highest current limit that a channel can be set to; the limit at first."""

    load_ohm: Annotated[float, Field(gt=0)] = 24.0
    """What hangs on each channel: a resistance in ohm."""

    drop_out_v: Annotated[Voltage, Field(ge=0)] = 9.0
    """Voltage below which a fed modem is off."""

    @model_validator(mode="after")
    def _places(self) -> Self:
        _enough(self.feeds, self.channels, "channels")
        return self


def _enough(feeds: tuple[str, ...], places: int, what: str) -> None:
    if len(feeds) > places:
        raise ValueError(f"feeds {len(feeds)} modems from {places} {what}")


Endpoint = Annotated[
    ModemEndpoint | PlcEndpoint | AttenuatorEndpoint | SwitchEndpoint | SupplyEndpoint,
    Field(discriminator="kind"),
]


class World(Model):
    """Everything that is simulated; a testbed without it is a real bench."""

    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    """Draws every random number of the world: the same seed is the same world."""

    trailers: bool = True
    """Whether the cell leaves its release time behind each probe; False is real-time mode."""

    cell: CellConfig = CellConfig()

    radio: RadioConfig = RadioConfig()

    endpoints: Mapping[str, Endpoint] = Field(default_factory=dict)
    """Device simulations by name."""

    faults: Mapping[str, Fault] = Field(default_factory=dict)
    """Faults by name: those with a `start` come by themselves, the others when called for."""
