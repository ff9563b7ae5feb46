"""What the kernel says of the clock it stamps with: whether somebody steers it, and how well."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import Final

from hil.traffic.linux import libc

_STA_UNSYNC: Final = 0x40  # linux/timex.h
_TIME_ERROR: Final = 5


class _Timex(ctypes.Structure):
    """The start of struct timex of linux/timex.h, and room for the rest of it."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 32),
    )


@dataclass(frozen=True, slots=True)
class Discipline:
    """Of CLOCK_REALTIME. `error_ns` is the kernel's own bound of its error against UTC."""

    synchronised: bool
    error_ns: int


def discipline() -> Discipline:
    """As the kernel has it now (adjtimex(2)); asking needs no privilege."""
    asked = _Timex()
    state = libc.adjtimex(ctypes.byref(asked))
    synchronised = state not in (-1, _TIME_ERROR) and not asked.status & _STA_UNSYNC
    return Discipline(synchronised, int(asked.maxerror) * 1000)
