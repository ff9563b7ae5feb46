"""AT command lines to a modem's answers: V.250 syntax, TS 27.007 commands, Quectel's own."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from hil.virtual.endpoints.modem_state import FULL, HOME, Context, ModemState

#: TS 27.007 clause 9.2.
NOT_SUPPORTED: Final = (4, "operation not supported")
NO_SIM: Final = (10, "SIM not inserted")
PIN_REQUIRED: Final = (11, "SIM PIN required")
WRONG_PIN: Final = (16, "incorrect password")
NO_SERVICE: Final = (30, "no network service")
UNSPECIFIED: Final = (148, "unspecified GPRS error")

_BANDWIDTH_MHZ: Final = (5, 10, 15, 20, 25, 30, 40, 50, 60, 70, 80, 90, 100)
_SLOTS_NS: Final = (1_000_000, 500_000, 250_000, 125_000)
#: 3550 MHz (TS 38.104 clause 5.4.2.1) in band n78, and a cell with its identities.
_ARFCN, _BAND, _PCI, _CELL, _TAC = 636666, 78, 1, "000066C01", "000001"
#: The session's flow: 5QI 82 (TS 23.501 table 5.7.4-1) with 5 Mbit/s guaranteed either way, the
#: session at most 1 Gbit/s and 500 Mbit/s; kbit/s (TS 27.007 clause 10.1.50).
_QOS: Final = "82,5000,5000,5000,5000,1000000,500000"


class Refused(Exception):
    """The command line ends here with an error; `code` and `text` as +CMEE prints them."""

    def __init__(self, refusal: tuple[int, str]) -> None:
        self.code, self.text = refusal
        super().__init__(self.text)


@dataclass
class Interface:
    """Settings of the port itself (V.250 clause 6.2), gone with each restart."""

    echo: bool = True
    verbose: bool = True
    errors: int = 0


@dataclass
class Interpreter:
    """Executes command lines on one modem."""

    modem: ModemState
    interface: Interface = field(default_factory=Interface)
    restart_wanted: bool = False

    def __post_init__(self) -> None:
        texts: dict[str, Callable[[], list[str]]] = {
            "I": lambda: ["Quectel", "RM520N-GL", "Revision: RM520NGLAAR03A03M4G"],
            "+CGMI": lambda: ["Quectel"],
            "+CGMM": lambda: ["RM520N-GL"],
            "+CGMR": lambda: ["RM520NGLAAR03A03M4G"],
            "+CGSN": lambda: [self.modem.config.imei],
            "+CIMI": lambda: [self._sim(self.modem.config.imsi)],
            "+CPIN?": lambda: [f"+CPIN: {'SIM PIN' if self.modem.locked else 'READY'}"],
            "+CFUN?": lambda: [f"+CFUN: {self.modem.functionality}"],
            "+CMEE?": lambda: [f"+CMEE: {self.interface.errors}"],
            "+CSCS?": lambda: ['+CSCS: "GSM"'],
            "+CGATT?": lambda: [f"+CGATT: {int(self.modem.stat == HOME)}"],
            "+C5GREG?": self._registration,
            "+CEREG?": lambda: [f"+CEREG: {self.modem.reporting.cereg},4"],
            "+COPS?": self._operator,
            "+CESQ": self._signal_quality,
            "+CSCON?": self._radio_connection,
            "+CGDCONT?": self._contexts,
            "+CGACT?": lambda: [f"+CGACT: {c},{int(x.active)}" for c, x in self._each()],
            "+CGPADDR": lambda: [self._address(c) for c, x in self._each() if x.active],
            '+QENG="SERVINGCELL"': self._serving_cell,
        }
        patterns: dict[str, Callable[[re.Match[str]], list[str]]] = {
            r"E([01])": lambda m: self._port("echo", m[1] == "1"),
            r"V([01])": lambda m: self._port("verbose", m[1] == "1"),
            r"[QZ]0?|&[FC][01]?|X4": lambda m: [],
            r"\+CMEE=([012])": lambda m: self._port("errors", int(m[1])),
            r"\+(C5GREG|CEREG|CSCON)=([0-5])": lambda m: self._report(m[1].lower(), int(m[2])),
            r'\+CPIN="?(\d{4,8})"?': self._unlock,
            r"\+CGEREP=([012])(?:,[01])?": lambda m: self._report("cgerep", int(m[1])),
            r"\+COPS=3,([012])": lambda m: self._report("cops_format", int(m[1])),
            r"\+CFUN=([014])(?:,([01]))?": self._functionality,
            r'\+CGDCONT=(\d+),"(\w+)","([^"]*)"(?:,.*)?': self._define,
            r"\+CGACT=([01]),(\d+)": self._activate,
            r"\+CGPADDR=(\d+)": lambda m: self._addresses(int(m[1])),
            r"\+C5GQOSRDP=(\d+)": lambda m: self._qos(int(m[1])),
            r"\+C5GNSSAIRDP(?:=[0-3])?": lambda m: self._slices(),
        }
        self._texts = texts
        self._patterns = [(re.compile(p, re.I), call) for p, call in patterns.items()]
        self._now_ns = 0

    def execute(self, line: str, now_ns: int) -> tuple[list[str], str | None]:
        """The information lines and the final result; no result for what is no command line."""
        if line[:2].upper() != "AT":
            return [], None
        self._now_ns = now_ns
        answer: list[str] = []
        try:
            for command in split(line[2:]):
                answer += self._one(command)
        except Refused as refused:
            return answer, self._error(refused)
        return answer, "OK"

    def _error(self, refused: Refused) -> str:
        texts = ("ERROR", f"+CME ERROR: {refused.code}", f"+CME ERROR: {refused.text}")
        return texts[self.interface.errors]

    def _one(self, command: str) -> list[str]:
        if call := self._texts.get(command.upper()):
            return call()
        for pattern, handler in self._patterns:
            if match := pattern.fullmatch(command):
                return handler(match)
        raise Refused(NOT_SUPPORTED)

    def _sim(self, text: str) -> str:
        if self.modem.functionality == 0:
            raise Refused(NO_SIM)
        if self.modem.locked:
            raise Refused(PIN_REQUIRED)
        return text

    def _unlock(self, match: re.Match[str]) -> list[str]:
        if not self.modem.unlock(match[1]):
            raise Refused(WRONG_PIN)
        return []

    def _port(self, name: str, value: int) -> list[str]:
        setattr(self.interface, name, value)
        return []

    def _report(self, name: str, value: int) -> list[str]:
        setattr(self.modem.reporting, name, value)
        return []

    def _each(self) -> list[tuple[int, Context]]:
        return sorted(self.modem.contexts.items())

    def _registration(self) -> list[str]:
        return [f"+C5GREG: {self.modem.reporting.c5greg},{self.modem.registration_fields()}"]

    def _operator(self) -> list[str]:
        if self.modem.stat != HOME:
            return ["+COPS: 0"]
        form = self.modem.reporting.cops_format
        name = self.modem.plmn if form == 2 else "hil factory"
        return [f'+COPS: 0,{form},"{name}",11']

    def _radio_connection(self) -> list[str]:
        return [f"+CSCON: {self.modem.reporting.cscon},{int(self.modem.connected)}"]

    def _signal_quality(self) -> list[str]:
        """TS 27.007 clause 8.69 with the indices of TS 38.133 clause 10.1; 255 is unknown."""
        level = self.modem.level
        if level is None:
            return ["+CESQ: 99,99,255,255,255,255,255,255,255"]
        rsrq = _index((level.rsrq_db + 43) * 2 + 1, 126)
        rsrp = _index(level.rsrp_dbm + 157, 126)
        sinr = _index((level.sinr_db + 23) * 2 + 1, 127)
        return [f"+CESQ: 99,99,255,255,255,255,{rsrq},{rsrp},{sinr}"]

    def _serving_cell(self) -> list[str]:
        level = self.modem.level
        if level is None:
            return ['+QENG: "servingcell","SEARCH"']
        cell = self.modem.world.cell
        mhz = round(cell.bandwidth_hz / 1e6)
        width = str(_BANDWIDTH_MHZ.index(mhz)) if mhz in _BANDWIDTH_MHZ else "-"
        spacing = _SLOTS_NS.index(cell.slot_ns)
        state = "CONNECT" if self.modem.connected else "NOCONN"
        plmn = self.modem.plmn
        return [
            f'+QENG: "servingcell","{state}","NR5G-SA","TDD", {plmn[:3]},{plmn[3:]},{_CELL},{_PCI},'
            f"{_TAC},{_ARFCN},{_BAND},{width},{level.rsrp_dbm:.0f},{level.rsrq_db:.0f},"
            f"{level.sinr_db:.0f},{spacing},-"
        ]

    def _functionality(self, match: re.Match[str]) -> list[str]:
        if match[2] == "1":
            self.restart_wanted = True
        else:
            self.modem.set_functionality(int(match[1]), self._now_ns)
        return []

    def _contexts(self) -> list[str]:
        empty = ".".join("0" * 16)
        return [
            f'+CGDCONT: {cid},"{x.pdu_type}","{x.dnn}","{empty}",0,0,0,0,,,,,,,,,"{x.snssai}",,,,0'
            for cid, x in self._each()
        ]

    def _define(self, match: re.Match[str]) -> list[str]:
        self.modem.define(int(match[1]), match[2].upper(), match[3], self.modem.snssai)
        return []

    def _context(self, cid: int) -> Context:
        if cid not in self.modem.contexts:
            raise Refused(UNSPECIFIED)
        return self.modem.contexts[cid]

    def _activate(self, match: re.Match[str]) -> list[str]:
        self._context(int(match[2]))
        if not self.modem.activate(int(match[2]), match[1] == "1", self._now_ns):
            raise Refused(NO_SERVICE)
        return []

    def _address(self, cid: int) -> str:
        return f'+CGPADDR: {cid},"10.45.{cid - 1}.{self.modem.row + 2}"'

    def _addresses(self, cid: int) -> list[str]:
        return [self._address(cid)] if self._context(cid).active else []

    def _qos(self, cid: int) -> list[str]:
        return [f"+C5GQOSRDP: {cid},{_QOS}"] if self._context(cid).active else []

    def _slices(self) -> list[str]:
        if self.modem.stat != HOME or self.modem.functionality != FULL:
            raise Refused(NO_SERVICE)
        snssai = self.modem.snssai
        octets = 4 if "." in snssai else 1
        plmn = self.modem.plmn
        return [f'+C5GNSSAIRDP: "{plmn}",{octets},"{snssai}",{octets},"{snssai}",0,""']


def split(body: str) -> list[str]:
    """The commands of a line: basic ones follow each other, others are parted by ``;``.

    V.250 clause 5.2; a ``;`` within quotes parts nothing.
    """
    parts = re.findall(r'(?:[^;"]|"[^"]*"?)+', body)
    commands: list[str] = []
    for part in (text.strip() for text in parts):
        rest = part
        while basic := re.match(r"(?:[A-Za-z]\d*|&[A-Za-z]\d*)", rest):
            commands.append(basic[0])
            rest = rest[basic.end() :].lstrip()
        if rest:
            commands.append(rest)
    return commands


def _index(value: float, most: int) -> int:
    return max(0, min(most, int(value // 1)))
