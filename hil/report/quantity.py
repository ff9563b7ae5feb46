"""Figures as a reader wants them: a unit that fits, as many digits as the figure is worth."""

from __future__ import annotations

from dataclasses import dataclass

from hil.units import format_duration, format_rate, format_share

NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Scale:
    """A unit to draw or print in: inner value times `factor` is the shown number of `unit`."""

    factor: float
    unit: str

    def __call__(self, value: float) -> float:
        """The number to show."""
        return value * self.factor


def scale_of(unit: str, magnitude: float) -> Scale:
    """The scale in which a value of about `magnitude` (in the inner unit) has few digits."""
    if unit == "ns":
        for factor, name in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")):
            if abs(magnitude) >= factor:
                return Scale(1 / factor, name)
        return Scale(1.0, "ns")
    if unit == "bit/s":
        for factor, name in ((1e9, "Gbit/s"), (1e6, "Mbit/s"), (1e3, "kbit/s")):
            if abs(magnitude) >= factor:
                return Scale(1 / factor, name)
    if unit == "1":
        return Scale(100.0, "%")
    if unit == "1/h":
        return Scale(1.0, "/h")
    return Scale(1.0, unit)


def shown(value: float | None, unit: str, digits: int = 4) -> str:
    """`value` of the inner `unit` as text; what was not measured says so and is never 0."""
    if value is None:
        return NOT_MEASURED
    if unit == "ns":
        return format_duration(value, digits).replace(" us", " µs")
    if unit == "bit/s":
        return format_rate(value, digits)
    if unit == "1":
        return format_share(value) if 0 <= value <= 1 else f"{value * 100:.{digits}g} %"
    if unit == "1/h":
        return f"{value:,.0f} /h" if value >= 100 else f"{value:.3g} /h"
    return f"{value:.{digits}g} {unit}"


def whole(value: float | None) -> str:
    """A count with thousands set apart."""
    if value is None:
        return NOT_MEASURED
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def one_in(share: float) -> str:
    """What a share leaves over, as people say it: 0.999 is ``1 in 1,000``."""
    left = 1 - share
    return "none" if left <= 0 else f"1 in {round(1 / left):,}"
