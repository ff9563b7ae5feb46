"""AT command lines: what a line means while a command is pending, and its arguments. Pure.

Framing and result codes are those of ITU-T V.250 and 3GPP TS 27.007 clause 9; they are read
leniently, because modules differ in line ends, spaces and echo.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import Final

_LINE_END: Final = re.compile(rb"[\r\n]+")
_NOISE: Final = b"\x00\xff"  # a booting UART
_BLANK: Final = " \t\v\f\x1c\x1d\x1e\x1f\ufffd"
#: Longer than any answer line; what grows beyond it without an end is noise.
_LONGEST: Final = 16384

_FINAL_ERRORS: Final = frozenset(
    {"ERROR", "NO CARRIER", "BUSY", "NO ANSWER", "NO DIALTONE", "ABORTED", "COMMAND NOT SUPPORT"}
)
#: Commands whose answer has no prefix (TS 27.007 clause 5, V.250 clause 6.1.3).
_BARE: Final = frozenset({"+CGMI", "+CGMM", "+CGMR", "+CGSN", "+GSN", "+CIMI"})
#: Prefixes that an answer and an unsolicited line share; the answer has <n> before <stat>.
_TWICE: Final = frozenset({"+C5GREG", "+CEREG", "+CGREG", "+CREG", "+CSCON"})
#: Limits in seconds of commands that may take long; the longest fitting entry counts.
_LIMITS_S: Final = {
    "AT+COPS=": 180.0,
    "AT+COPS=?": 180.0,
    "AT+CGACT=": 150.0,
    "AT+CGATT=": 75.0,
    "AT+CFUN=": 15.0,
    "AT+CPIN=": 5.0,
}
SHORT_LIMIT_S: Final = 3.0


class Lines:
    """Cuts a stream of bytes, in pieces of any size, into lines."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[str]:
        """The lines that are complete now, without noise and blank ones."""
        *complete, self._rest = _LINE_END.split(self._rest + data)
        if len(self._rest) > _LONGEST:
            self._rest = b""
        texts = (line.translate(None, _NOISE).decode("ascii", "replace") for line in complete)
        return [text for raw in texts if (text := raw.strip(_BLANK))]


def arguments(line: str) -> tuple[str, ...]:
    """The comma-separated arguments after the prefix, without their quotes.

    A comma within quotes does not separate; a missing closing quote ends with the line.
    """
    return tuple(text for text, _ in _fields(line))


def _fields(line: str) -> list[tuple[str, bool]]:
    """Arguments and whether each was quoted."""
    _, _, rest = line.partition(":")
    found: list[tuple[str, bool]] = []
    current: list[str] = []
    inside = quoted = False
    for letter in rest:
        if letter == '"':
            inside, quoted = not inside, True
        elif letter == "," and not inside:
            found.append(("".join(current).strip(), quoted))
            current, quoted = [], False
        else:
            current.append(letter)
    found.append(("".join(current).strip(), quoted))
    return found


def prefix_of(line: str) -> str:
    """The ``+NAME`` a line begins with; empty where it has none."""
    match = re.match(r"[+^#$!*]?[A-Za-z][\w ]*(?=:)", line)
    return match[0] if match else ""


@dataclass(frozen=True, slots=True)
class Expectation:
    """What answer lines a command has: those with `prefix`, bare lines, or none."""

    command: str
    prefix: str | None
    bare: bool

    @classmethod
    def of(cls, command: str, prefix: str | None = None) -> Expectation:
        """What to expect of `command`; `prefix` overrides what its name says."""
        if prefix is not None:
            return cls(command, prefix.rstrip(":"), bare=False)
        match = re.match(r"AT([+^#$!*][A-Za-z0-9]+)", command, re.I)
        name = match[1].upper() if match else ""
        if not match or name in _BARE or ";" in command:
            return cls(command, name or None, bare=True)
        if name in _TWICE and "?" not in command:
            return cls(command, None, bare=False)  # a set command: such a line is an event
        return cls(command, name, bare=False)


class Meaning(enum.Enum):
    """What a line is to the command that is pending."""

    ECHO = enum.auto()
    FINAL = enum.auto()
    ANSWER = enum.auto()
    EVENT = enum.auto()


def meaning(line: str, pending: Expectation | None, events: frozenset[str]) -> Meaning:
    """Tell an answer from an event.

    Args:
        line: a line as received.
        pending: what the pending command expects, None when nothing is pending.
        events: prefixes and whole lines that this make sends unasked.
    """
    if is_final(line):
        return Meaning.FINAL
    if pending is None:
        return Meaning.EVENT
    if line == pending.command:
        return Meaning.ECHO
    prefix = prefix_of(line)
    if pending.prefix and prefix == pending.prefix:
        return Meaning.EVENT if prefix in _TWICE and not _is_read(line) else Meaning.ANSWER
    if (prefix or line) in events or prefix in _TWICE:
        return Meaning.EVENT
    return Meaning.ANSWER if pending.bare else Meaning.EVENT


def _is_read(line: str) -> bool:
    """Whether the second argument is a bare number, as only in the answer to a read command."""
    fields = _fields(line)
    return len(fields) >= 2 and not fields[1][1] and fields[1][0].isdigit()


def is_final(line: str) -> bool:
    """Whether a line is a final result code."""
    return (
        line == "OK"
        or line in _FINAL_ERRORS
        or line.startswith(("+CME ERROR:", "+CMS ERROR:", "CONNECT"))
    )


def refusal(final: str) -> tuple[int | None, str] | None:
    """Code and text of a final result; None where it is no refusal.

    The text of a numeric code is named where TS 27.007 clause 9.2 names it.
    """
    if final == "OK" or final.startswith("CONNECT"):
        return None
    if not final.startswith(("+CME ERROR:", "+CMS ERROR:")):
        return None, final
    text = final.split(":", 1)[1].strip()
    if text.isdecimal():
        return int(text), CME_TEXT.get(int(text), "unnamed error")
    named = (code for code, name in CME_TEXT.items() if name.casefold() == text.casefold())
    return next(named, None), text


#: TS 27.007 clause 9.2, the codes that matter to a data modem.
CME_TEXT: Final = {
    3: "operation not allowed",
    4: "operation not supported",
    10: "SIM not inserted",
    11: "SIM PIN required",
    12: "SIM PUK required",
    13: "SIM failure",
    14: "SIM busy",
    15: "SIM wrong",
    16: "incorrect password",
    30: "no network service",
    31: "network timeout",
    50: "incorrect parameters",
    100: "unknown",
    103: "illegal MS",
    106: "illegal ME",
    107: "GPRS services not allowed",
    111: "PLMN not allowed",
    112: "location area not allowed",
    132: "service option not supported",
    133: "requested service option not subscribed",
    148: "unspecified GPRS error",
    149: "PDP authentication failure",
}


def limit_s(command: str) -> float:
    """How long a command may take; network operations are slow by their nature."""
    upper = command.upper()
    fitting = [start for start in _LIMITS_S if upper.startswith(start)]
    return _LIMITS_S[max(fitting, key=len)] if fitting else SHORT_LIMIT_S
