"""The reference that this project did not write: the kernel's token bucket, over five sizes.

Run on a stage with `hil.lab.standard.NAMESPACES`. It is the linearity of a time interval: spacing
against size is a line that is known beforehand.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from hil.lab import standard
from hil.lab.validation import item
from hil.lab.validation.item import Figure, Item
from hil.samples.serialisation import Agreement

_SOURCE: Final = "the kernel's token bucket (tc-tbf); kernel stamps at both ends"


def report(found: Agreement) -> Item:
    """The item of the serialisation standard."""
    slope = abs(found.slope_ns - found.predicted_slope_ns) <= found.slope_uncertainty_ns
    intercept = abs(found.intercept_ns) <= found.intercept_uncertainty_ns
    figures = [
        Figure(
            what="slope of spacing over size",
            value=found.slope_ns,
            unit="ns/B",
            n=len(found.spacings),
            of="sizes",
            low=found.slope_ns - found.slope_uncertainty_ns,
            high=found.slope_ns + found.slope_uncertainty_ns,
            confidence=0.95,
            expected=f"{found.predicted_slope_ns:.4f} ns/B within U",
            source=_SOURCE,
            holds=slope,
        ),
        Figure(
            what="intercept",
            value=found.intercept_ns,
            unit="ns",
            n=len(found.spacings),
            of="sizes",
            low=found.intercept_ns - found.intercept_uncertainty_ns,
            high=found.intercept_ns + found.intercept_uncertainty_ns,
            confidence=0.95,
            expected="0 ns within U",
            source=_SOURCE,
            holds=intercept,
        ),
    ]
    for each, departure in zip(found.spacings, found.departures_ns, strict=True):
        figures.append(
            Figure(
                what=f"spacing of {each.size} B less its prediction",
                value=departure,
                unit="ns",
                n=each.frames,
                of="frames",
                low=departure - each.uncertainty_ns,
                high=departure + each.uncertainty_ns,
                confidence=0.95,
                expected=f"0 ns ({each.size * found.predicted_slope_ns:,.0f} ns apart)",
                source=_SOURCE,
            )
        )
    return Item(
        id="serialisation",
        title="Serialisation standard (linearity)",
        holds=found.agrees,
        sentence=found.sentence,
        figures=tuple(figures),
    )


def _work(orders: Mapping[str, Any]) -> Iterable[Item]:
    begin = time.monotonic()
    found = standard.measure(*standard.build())
    yield replace(report(found), seconds=time.monotonic() - begin)


if __name__ == "__main__":
    sys.exit(item.serve(_work))
