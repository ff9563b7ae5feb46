"""What was measured, pure: nothing here reads a clock, a socket or a device; `store` alone files.

- `table`: the rows (planned, sent, arrived, sample), their columns, clocks and flags.
- `measurement`: samples with everything a verdict needs.
- `accounting`: the rows joined to one sample per planned probe, with exact counts.
- `trailer_clock`: a tap's clock mapped to the host's.
- `metrics`: delay, variation, intervals, watchdog, frames, goodput.
- `outages`: runs of packets not in time, down events.
- `summarise`: one measurement as plain JSON values.
- `store`: rows on disk, as they come and for good.
"""

from __future__ import annotations

from hil.samples import (
    accounting,
    measurement,
    metrics,
    outages,
    store,
    summarise,
    table,
    trailer_clock,
)

__all__ = [
    "accounting",
    "measurement",
    "metrics",
    "outages",
    "store",
    "summarise",
    "table",
    "trailer_clock",
]
