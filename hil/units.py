"""Quantities at the edges: text with a unit outside, plain numbers in one fixed unit inside.

Inside, a time is an integer of nanoseconds, a size an integer of bytes, a rate an integer of bits
per second. At the edges each is text with a unit; a bare number is refused, because nobody can see
whether 10 means seconds or milliseconds.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Final

_QUANTITY: Final = re.compile(
    r"\s*([+-]?\d+(?:[_,]\d{3})*(?:\.\d+)?(?:[eE][+-]?\d{1,2})?)\s*(\S.*?)\s*"
)
_DURATION: Final = {
    "ns": 1,
    "us": 10**3,
    "µs": 10**3,
    "ms": 10**6,
    "s": 10**9,
    "min": 60 * 10**9,
    "h": 3600 * 10**9,
}
_SIZE: Final = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20}
_RATE: Final = {"bit/s": 1, "kbit/s": 10**3, "Mbit/s": 10**6, "Gbit/s": 10**9}
_FREQUENCY: Final = {"Hz": 1, "kHz": 10**3, "MHz": 10**6, "GHz": 10**9}
_PER_TIME: Final = {"/h": 1.0, "/min": 60.0, "/s": 3600.0, "/d": 1 / 24}


def _split(text: object, what: str, example: str, factors: dict[str, int]) -> Decimal:
    if isinstance(text, str) and (match := _QUANTITY.fullmatch(text)):
        number, unit = match.groups()
        if unit in factors:
            return Decimal(re.sub("[_,]", "", number)) * factors[unit]
        known = ", ".join(factors)
        raise ValueError(f"{unit!r} is no unit of {what}; write one of {known}, as in '{example}'")
    raise ValueError(f"{what} needs a number and a unit, as in '{example}'; got {text!r}")


def _whole(value: Decimal, what: str, unit: str) -> int:
    if value != value.to_integral_value():
        raise ValueError(f"{what} must be a whole number of {unit}; got {value}")
    if abs(value) >= 2**63:
        raise ValueError(f"{what} must fit into 64 bits of {unit}; got {value}")
    return int(value)


def parse_duration(text: object) -> int:
    """Nanoseconds in a text such as ``10 ms``; ValueError says what would be right."""
    return _whole(_split(text, "a duration", "10 ms", _DURATION), "a duration", "nanoseconds")


def parse_size(text: object) -> int:
    """Bytes in a text such as ``255 B``; ValueError says what would be right."""
    size = _whole(_split(text, "a size", "255 B", _SIZE), "a size", "bytes")
    if size < 0:
        raise ValueError(f"a size cannot be negative; got {text!r}")
    return size


def parse_rate(text: object) -> int:
    """Bits per second in a text such as ``5 Mbit/s``; ValueError says what would be right."""
    return _whole(_split(text, "a rate", "5 Mbit/s", _RATE), "a rate", "bits per second")


def parse_frequency(text: object) -> int:
    """Hertz in a text such as ``100 MHz``; ValueError says what would be right."""
    return _whole(_split(text, "a frequency", "100 MHz", _FREQUENCY), "a frequency", "hertz")


def parse_events_per_hour(text: object) -> float:
    """Events per hour in a text such as ``6 /h``; ValueError says what would be right."""
    if isinstance(text, str) and (match := _QUANTITY.fullmatch(text)):
        number, unit = match.groups()
        if (factor := _PER_TIME.get(unit.replace("per ", "/"))) is not None:
            return float(number) * factor
    raise ValueError(f"an event rate needs a number and a unit, as in '6 /h'; got {text!r}")


def _suffixed(text: object, what: str, unit: str, example: str) -> float:
    if isinstance(text, str) and (match := _QUANTITY.fullmatch(text)) and match[2] == unit:
        return float(match[1])
    raise ValueError(f"{what} needs a number and the unit {unit}, as in '{example}'; got {text!r}")


def parse_level(text: object) -> float:
    """A level in dBm from a text such as ``-85 dBm``; ValueError says what would be right."""
    return _suffixed(text, "a level", "dBm", "-85 dBm")


def parse_attenuation(text: object) -> float:
    """An attenuation in dB from a text such as ``20 dB``; ValueError says what would be right."""
    return _suffixed(text, "an attenuation", "dB", "20 dB")


def parse_voltage(text: object) -> float:
    """Volts in a text such as ``12 V``; ValueError says what would be right."""
    return _suffixed(text, "a voltage", "V", "12 V")


def parse_current(text: object) -> float:
    """Amperes in a text such as ``2 A``; ValueError says what would be right."""
    return _suffixed(text, "a current", "A", "2 A")


def parse_drift(text: object) -> float:
    """Parts per million in a text such as ``3 ppm``; ValueError says what would be right."""
    return _suffixed(text, "a drift", "ppm", "3 ppm")


def format_duration(ns: float, digits: int = 4) -> str:
    """The text of a time in the unit that keeps one to three digits before the point."""
    magnitude = abs(ns)
    for unit, factor in (("s", 10**9), ("ms", 10**6), ("us", 10**3)):
        if magnitude >= factor:
            return f"{ns / factor:.{digits}g} {unit}"
    return f"{ns:.{digits}g} ns"


def format_rate(bits_per_second: float, digits: int = 4) -> str:
    """The text of a rate, as in ``5.2 Mbit/s``."""
    for unit in ("Gbit/s", "Mbit/s", "kbit/s"):
        if abs(bits_per_second) >= _RATE[unit]:
            return f"{bits_per_second / _RATE[unit]:.{digits}g} {unit}"
    return f"{bits_per_second:.{digits}g} bit/s"


def format_size(size: int) -> str:
    """The text of a size in bytes; decimal multiples only where they are exact."""
    for unit in ("MB", "kB"):
        if size >= 10 * _SIZE[unit] and size % _SIZE[unit] == 0:
            return f"{size // _SIZE[unit]} {unit}"
    return f"{size} B"


def format_share(share: float) -> str:
    """A share as per cent, with as many nines as it has: 0.9999 is ``99.99 %``."""
    missing = 1 - share
    digits = 2
    while 0 < missing < 10 ** -(digits + 1) and digits < 9:
        digits += 1
    text = f"{share * 100:.{digits}f}".rstrip("0").rstrip(".")
    return f"{text} %"
