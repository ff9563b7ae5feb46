"""The inside of a 5G modem: registration driven by the radio, and PDU sessions. No input or output.

Time is given by the caller, in nanoseconds since the world's epoch.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from hil.testbed import ModemEndpoint, World
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.measurement import Level, Receiver
from hil.virtual.radio import Radio

#: Once lost, a cell is used again only this far above the level at which it was lost.
HYSTERESIS_DB: Final = 4.0
#: T310 of TS 38.331 clause 7.1.1: how long the cell may be gone before the link counts as failed.
RADIO_LINK_FAILURE_NS: Final = 1_000_000_000
#: Cell search and system information, then the registration and session procedures: the
#: order of what commercial modules need on a cell they know.
CELL_SEARCH_NS: Final = 1_000_000_000
REGISTRATION_NS: Final = 800_000_000
#: Without traffic the base station releases the radio connection after this time.
INACTIVITY_NS: Final = 10_000_000_000

FULL, FLIGHT = 1, 4  # AT+CFUN, TS 27.007 clause 8.2
IDLE, HOME, SEARCHING = 0, 1, 2  # <stat> of +C5GREG


@dataclass
class Context:
    """A PDU session context; `wanted` ones come up by themselves after registration."""

    pdu_type: str
    dnn: str
    snssai: str
    active: bool = False
    wanted: bool = False


@dataclass
class Reporting:
    """What the modem was asked to report by itself; gone with each restart."""

    c5greg: int = 0
    cereg: int = 0
    cgerep: int = 0
    cscon: int = 0
    cops_format: int = 0


@dataclass
class ModemState:
    """One modem in the world."""

    config: ModemEndpoint
    world: World
    coupling: Coupling
    row: int
    pin: str | None = None  # what the SIM asks for after each start
    reporting: Reporting = field(default_factory=Reporting)
    functionality: int = FULL
    stat: int = IDLE
    connected: bool = False  # RRC

    def __post_init__(self) -> None:
        radio = self.world.radio
        self.receiver = Receiver(
            Radio(radio, self.world.seed), self.row, self.world.seed, radio.settling_ns
        )
        self.contexts = {
            1: Context("IPV4V6", self.config.dnn, self.snssai, active=False, wanted=True)
        }
        self.locked = self.pin is not None
        self._lost_since: int | None = None
        self._registered_at: int | None = None
        self._signalling_ns = -INACTIVITY_NS
        self._out: list[str] = []

    @property
    def snssai(self) -> str:
        """The ordered slice as TS 27.007 clause 10.1.1 writes it, in hexadecimal."""
        sst, _, sd = self.config.snssai.partition(".")
        return f"{int(sst):02X}" + (f".{sd.upper()}" if sd else "")

    @property
    def plmn(self) -> str:
        """The home network: the first five digits of the IMSI."""
        return self.config.imsi[:5]

    @property
    def level(self) -> Level | None:
        """What is measured of the serving cell; None while there is none."""
        return self.receiver.level if self.stat == HOME else None

    def settle(self, now_ns: int) -> None:
        """Be where a modem is that was switched on long ago."""
        self.step(now_ns)
        if self.stat == SEARCHING and self._usable(HYSTERESIS_DB):
            self._register(now_ns)
        self._signalling_ns = now_ns - INACTIVITY_NS
        self._out.clear()

    def restart(self) -> None:
        """Lose everything but the SIM, as at a reboot."""
        self._detach(IDLE)
        self.reporting = Reporting()
        self.functionality = FULL
        self.locked = self.pin is not None
        self._out.clear()

    def unlock(self, pin: str) -> bool:
        """Whether that was the PIN; a SIM that asks for none takes any."""
        self.locked = self.locked and pin != self.pin
        return not self.locked

    def step(self, now_ns: int) -> list[str]:
        """Let the time pass until `now_ns`; the unsolicited lines that this brought."""
        if self.functionality == FULL and not self.locked:
            attenuation = float(self.coupling.rows["attenuation_db"][self.row])
            self.receiver.sample(now_ns, attenuation)
            if self.stat == HOME:
                self._watch(now_ns)
            else:
                self._search(now_ns)
            self._radio_connection(now_ns)
        out, self._out = self._out, []
        return out

    def set_functionality(self, value: int, now_ns: int) -> None:
        """Radio on (1) or flight mode (4)."""
        self.functionality = value
        if value == FULL:
            self.step_into_search(now_ns)
        else:
            self._detach(IDLE)

    def step_into_search(self, now_ns: int) -> None:
        """Begin to look for a cell; nothing when registered."""
        if self.stat == IDLE:
            self._change(SEARCHING)
            self._registered_at = now_ns + CELL_SEARCH_NS + REGISTRATION_NS

    def activate(self, cid: int, on: bool, now_ns: int) -> bool:
        """Bring a context up or down; False when there is no network."""
        context = self.contexts[cid]
        if on and self.stat != HOME:
            return False
        self._signalling_ns = now_ns
        context.wanted = on
        self._switch(cid, on)
        return True

    def define(self, cid: int, pdu_type: str, dnn: str, snssai: str) -> None:
        """Define or redefine a context; it stays down until it is activated."""
        self.contexts[cid] = Context(pdu_type, dnn, snssai)

    def registration_fields(self) -> str:
        """The part of +C5GREG after <n>."""
        if self.stat != HOME or self.reporting.c5greg < 2:
            return f"{self.stat}"
        octets = 4 if "." in self.snssai else 1
        return f'{self.stat},"000001","000066C01",11,{octets},"{self.snssai}"'

    def _usable(self, margin_db: float) -> bool:
        level = self.receiver.level
        threshold = self.world.radio.out_of_service_dbm + margin_db
        return level is not None and level.rsrp_dbm >= threshold

    def _watch(self, now_ns: int) -> None:
        if self._usable(0):
            self._lost_since = None
        elif self._lost_since is None:
            self._lost_since = now_ns
        elif now_ns - self._lost_since >= RADIO_LINK_FAILURE_NS:
            self._detach(SEARCHING)

    def _search(self, now_ns: int) -> None:
        self.step_into_search(now_ns)
        if not self._usable(HYSTERESIS_DB):
            self._registered_at = None
        elif self._registered_at is None:
            self._registered_at = now_ns + CELL_SEARCH_NS + REGISTRATION_NS
        elif now_ns >= self._registered_at:
            self._register(now_ns)

    def _register(self, now_ns: int) -> None:
        self._lost_since = self._registered_at = None
        self._signalling_ns = now_ns
        self._change(HOME)
        for cid, context in self.contexts.items():
            if context.wanted:
                self._switch(cid, True)

    def _detach(self, stat: int) -> None:
        self._lost_since = self._registered_at = None
        if stat == IDLE:
            self.receiver.reset()
        was_home = self.stat == HOME
        for cid in self.contexts:
            self._switch(cid, False)
        self._set_connected(False)
        self._change(stat)
        if was_home and stat == IDLE and self.reporting.cgerep:
            self._out.append("+CGEV: ME DETACH")

    def _change(self, stat: int) -> None:
        if stat == self.stat:
            return
        self.stat = stat
        if self.reporting.c5greg:
            self._out.append(f"+C5GREG: {self.registration_fields()}")

    def _switch(self, cid: int, on: bool) -> None:
        context = self.contexts[cid]
        if context.active != on:
            context.active = on
            if self.reporting.cgerep:
                self._out.append(f"+CGEV: ME PDN {'ACT' if on else 'DEACT'} {cid}")
        self.coupling.set_session(self.row, any(c.active for c in self.contexts.values()))

    def _radio_connection(self, now_ns: int) -> None:
        traffic_ns = int(self.coupling.rows["traffic_ns"][self.row])
        last_ns = self._signalling_ns if traffic_ns < 0 else max(self._signalling_ns, traffic_ns)
        self._set_connected(self.stat == HOME and now_ns - last_ns < INACTIVITY_NS)

    def _set_connected(self, connected: bool) -> None:
        if connected != self.connected:
            self.connected = connected
            if self.reporting.cscon:
                self._out.append(f"+CSCON: {int(connected)}")
