"""A SCPI instrument's inside: header grammar, error queue and status registers. No input or output.

IEEE 488.2 (message exchange, common commands, status) and SCPI-1999 volume 1 (headers, errors).
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

_QUEUE_DEPTH: Final = 20
#: SCPI-1999 volume 2 clause 21.8.
ERRORS: Final = {
    0: "No error",
    -102: "Syntax error",
    -104: "Data type error",
    -108: "Parameter not allowed",
    -109: "Missing parameter",
    -113: "Undefined header",
    -114: "Header suffix out of range",
    -131: "Invalid suffix",
    -222: "Data out of range",
    -350: "Queue overflow",
}
#: Bits of the standard event status register (IEEE 488.2 clause 11.5.1), by class of error.
_EVENT_BITS: Final = (
    (-200, -100, 0x20),
    (-300, -200, 0x10),
    (-400, -300, 0x08),
    (-500, -400, 0x04),
)
_OPERATION_COMPLETE: Final = 0x01
_POWER_ON: Final = 0x80


class Refusal(Exception):
    """The instrument does not do that; `code` goes to its error queue."""

    def __init__(self, code: int) -> None:
        self.code = code
        super().__init__(f"{code}, {ERRORS[code]}")


Handler = Callable[[list[int], list[str]], str | None]


@dataclass(frozen=True, slots=True)
class _Entry:
    pattern: re.Pattern[str]
    handler: Handler
    parameters: range


def header_pattern(text: str) -> re.Pattern[str]:
    """The grammar of one header, from a text such as ``[SOURce:]ATTenuation:CHANnel<n>?``.

    Upper-case letters are the short form, the whole word the long one; brackets hold what may be
    left out; ``<n>`` is a numeric suffix, 1 where it is missing.
    """
    parts: list[str] = []
    for token in re.findall(r"\[|\]|<n>|[A-Za-z*]+|:|\?", text):
        if token == "[":
            parts.append("(?:")
        elif token == "]":
            parts.append(")?")
        elif token == "<n>":
            parts.append(r"(\d*)")
        elif token in ":?":
            parts.append(re.escape(token))
        else:
            short = "".join(letter for letter in token if not letter.islower())
            parts.append(f"(?:{re.escape(token)}|{re.escape(short)})")
    return re.compile(":?" + "".join(parts), re.I)


class Core:
    """Executes program messages; a subclass or its owner registers the instrument's own headers.

    Args:
        identity: the four fields of ``*IDN?``.
        complete: waits until nothing is pending, for ``*OPC?`` and ``*WAI``.
        reset: what ``*RST`` does.
    """

    def __init__(
        self, identity: str, *, complete: Callable[[], None], reset: Callable[[], None]
    ) -> None:
        self._entries: list[_Entry] = []
        self._queue: deque[int] = deque()
        self._event_status = _POWER_ON
        self._enable = {"*ESE": 0, "*SRE": 0}

        def done(work: Callable[[], None]) -> Handler:
            def handler(_: list[int], __: list[str]) -> None:
                work()

            return handler

        def operation_complete() -> None:
            complete()
            self._raise(_OPERATION_COMPLETE)

        def completed(_: list[int], __: list[str]) -> str:
            complete()
            return "1"

        self.on("*IDN?", lambda n, a: identity)
        self.on("*RST", done(reset))
        self.on("*CLS", done(self._clear))
        self.on("*OPC?", completed)
        self.on("*OPC", done(operation_complete))
        self.on("*WAI", done(complete))
        self.on("*TST?", lambda n, a: "0")
        self.on("*ESR?", lambda n, a: str(self._read_events()))
        self.on("*STB?", lambda n, a: str(self._status()))
        for name in self._enable:
            self.on(f"{name}?", lambda n, a, name=name: str(self._enable[name]))  # type: ignore[misc]
            self.on(name, lambda n, a, name=name: self._set_enable(name, a[0]), 1)  # type: ignore[misc]
        self.on("SYSTem:ERRor[:NEXT]?", lambda n, a: self._next_error())
        self.on("SYSTem:ERRor:COUNt?", lambda n, a: str(len(self._queue)))
        self.on("SYSTem:VERSion?", lambda n, a: "1999.0")

    def on(self, header: str, handler: Handler, least: int = 0, most: int | None = None) -> None:
        """Register a header, its handler, and how many parameters it takes."""
        span = range(least, (least if most is None else most) + 1)
        self._entries.append(_Entry(header_pattern(header), handler, span))

    def execute(self, message: str) -> str | None:
        """One program message; the response, None where it has no query.

        An error ends its own unit only; the units after it are still executed.
        """
        responses: list[str] = []
        path = ""
        for unit in _units(message):
            header, arguments = _parts(unit)
            full = header if header[0] in ":*" else path + header
            if not full.startswith("*"):
                path = full.rpartition(":")[0] + ":" if ":" in full.lstrip(":") else ""
            try:
                response = self._dispatch(full, arguments)
            except Refusal as refusal:
                self._error(refusal.code)
                continue
            if response is not None:
                responses.append(response)
        return ";".join(responses) if responses else None

    def _dispatch(self, header: str, arguments: list[str]) -> str | None:
        for entry in self._entries:
            if match := entry.pattern.fullmatch(header):
                if len(arguments) < entry.parameters.start:
                    raise Refusal(-109)
                if len(arguments) >= entry.parameters.stop:
                    raise Refusal(-108)
                suffixes = [int(text or 1) for text in match.groups() if text is not None]
                return entry.handler(suffixes, arguments)
        raise Refusal(-113 if re.fullmatch(r"[*:]?[A-Za-z]\w*(?::\w+)*\??", header) else -102)

    def _error(self, code: int) -> None:
        if len(self._queue) < _QUEUE_DEPTH:
            self._queue.append(code)
        else:
            self._queue[-1] = -350
        for low, high, bit in _EVENT_BITS:
            if low < code <= high:
                self._raise(bit)

    def _raise(self, bit: int) -> None:
        self._event_status |= bit

    def _clear(self) -> None:
        self._queue.clear()
        self._event_status = 0

    def _read_events(self) -> int:
        value, self._event_status = self._event_status, 0
        return value

    def _status(self) -> int:
        """IEEE 488.2 clause 11.2: bit 2 error queue, 5 event summary, 6 master summary."""
        events = bool(self._event_status & self._enable["*ESE"])
        status = bool(self._queue) << 2 | events << 5
        return status | bool(status & self._enable["*SRE"]) << 6

    def _set_enable(self, name: str, text: str) -> None:
        value = number(text)
        if not 0 <= value <= 255:
            raise Refusal(-222)
        self._enable[name] = int(value)

    def _next_error(self) -> str:
        code = self._queue.popleft() if self._queue else 0
        return f'{code},"{ERRORS[code]}"'


def number(text: str, unit: str = "") -> float:
    """A decimal number, with its unit or without.

    Raises:
        Refusal: -104 for no number, -131 for another unit.
    """
    match = re.fullmatch(r"([+-]?(?:\d+\.?\d*|\.\d+)(?:E[+-]?\d+)?)\s*([A-Za-z]*)", text, re.I)
    if match is None:
        raise Refusal(-104)
    if match[2] and match[2].upper() != unit:
        raise Refusal(-131)
    return float(match[1])


def _units(message: str) -> list[str]:
    """The units of a message, parted by ``;`` outside of quotes."""
    found = re.findall(r"""(?:[^;"']|"[^"]*"?|'[^']*'?)+""", message)
    return [text.strip() for text in found if text.strip()]


def _parts(unit: str) -> tuple[str, list[str]]:
    """Header and parameters of one unit; a comma within quotes or brackets parts nothing."""
    header, *rest = unit.split(None, 1)
    parameters = "".join(rest)
    found = re.findall(r"""(?:[^,"'(]|"[^"]*"?|'[^']*'?|\([^)]*\)?)+""", parameters)
    return header, [text.strip() for text in found if text.strip()]
