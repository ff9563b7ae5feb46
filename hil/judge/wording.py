"""Figures as text, rounded so that a claim never grows by its rounding."""

from __future__ import annotations

import math

from hil.units import format_duration


def at_least(share: float) -> str:
    """A share as per cent, rounded down, with one digit behind its nines: ``98.5 %``."""
    digits = _digits(1 - share)
    scale = 10.0**digits
    return f"{math.floor(share * 100 * scale + 1e-9) / scale:.{digits}f} %"


def at_most(share: float) -> str:
    """A share as per cent, rounded up: ``0.13 %``."""
    if share <= 0:
        return "0 %"
    digits = max(0, 1 - math.floor(math.log10(share * 100)))
    scale = 10.0**digits
    return f"{math.ceil(share * 100 * scale - 1e-9) / scale:.{digits}f} %"


def _digits(missing: float) -> int:
    return 1 if missing <= 0 else min(9, max(1, math.floor(-math.log10(missing))))


def per_hour(rate: float) -> str:
    """A rate of events: ``0.37 /h``, ``1,079 /h``; rounded up."""
    if rate >= 100:
        return f"{math.ceil(rate):,} /h"
    scale = 10.0 ** (2 - math.floor(math.log10(rate)) if rate > 0 else 0)
    return f"{math.ceil(rate * scale - 1e-9) / scale:g} /h"


def lasting(hours: float) -> str:
    """A span of a run: ``10 s``, ``44.9 min``, ``1.6 h``."""
    seconds = hours * 3600
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{hours:.3g} h"


def span(ns: float | None) -> str:
    """A time, or that there is none."""
    return "infinite" if ns is None else format_duration(ns)


def plural(count: int, items: str) -> str:
    """``1 packet``, ``1,000 packets``."""
    return f"{count:,} {items.removesuffix('s') if count == 1 else items}"
