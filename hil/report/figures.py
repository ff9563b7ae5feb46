"""What a judgement says in figures, worded once for the table, the report and the card."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from hil.report.quantity import NOT_MEASURED, shown, whole
from hil.units import format_share
from hil.verdict import Verdict

if TYPE_CHECKING:
    from hil.judge.judgement import Judgement
    from hil.record.schema import JudgementLine

    AnyJudgement = Judgement | JudgementLine

ARROWS: Final = {"uplink": "↑", "downlink": "↓", "loop": "↻"}

#: Metrics whose promise is a share of items within a limit, and what an item is.
ITEMS: Final = {
    "delay": "packets",
    "pdv": "packets",
    "frame_delay": "frames",
    "loop_time": "loops",
}
_COUNTED: Final = {
    **ITEMS,
    "goodput": "frames",
    "rsrp_shift": "readings",
    "registration_time": "readings",
}

METRICS: Final = {
    "delay": "one-way delay",
    "pdv": "delay variation",
    "frame_delay": "frame delay",
    "loop_time": "loop time",
    "reception_gap": "reception gaps",
    "watchdog": "watchdog trips",
    "down_events": "down events",
    "goodput": "windows short of the offer",
    "delay_shift": "delay shift under load",
    "rsrp_shift": "RSRP shift",
    "registration_time": "registration time",
}

NONE: Final = "—"


def metric(judgement: AnyJudgement) -> str:
    """The metric in words."""
    return METRICS.get(judgement.metric, judgement.metric.replace("_", " "))


def named_figure(judgement: AnyJudgement, *, short: bool = False) -> str:
    """What the figure is: which quantile of which metric."""
    which = str(judgement.details.get("figure", ""))
    what = judgement.metric.replace("_", " ") if short else metric(judgement)
    return f"{'longest' if which == 'max' else which} {what}".strip()


def items(judgement: AnyJudgement, count: float | None = None) -> str:
    """What is counted, in the plural or, for a count of one, in the singular."""
    plural = _COUNTED.get(judgement.metric, "packets")
    return plural[:-1] if count == 1 else plural


def direction(judgement: AnyJudgement) -> str:
    """The direction with its arrow; a dash where a figure has none."""
    if not judgement.direction:
        return NONE
    return f"{ARROWS.get(judgement.direction, '')} {judgement.direction}".strip()


def figure(judgement: AnyJudgement) -> str:
    """The figure alone; a quantile that falls among the lost is infinite, not unmeasured."""
    if judgement.figure is None and judgement.verdict is Verdict.INVALID:
        return "no claim"
    if judgement.figure is None and judgement.details.get("figure_infinite"):
        return "∞ (lost)"
    return shown(judgement.figure, judgement.unit)


def limits(judgement: AnyJudgement, *, short: bool = False) -> str:
    """The confidence limits of the figure; a side without a finite limit says so."""
    low, high, unit = judgement.figure_low, judgement.figure_high, judgement.unit
    if low is None and high is None:
        return NONE
    if high is None:
        return f"{shown(low, unit)} to ∞" if short else f"from {shown(low, unit)}, no upper limit"
    if low is None:
        return f"up to {_at_most(high, unit)}"
    first, last = shown(low, unit), _at_most(high, unit)
    number, _, name = first.partition(" ")
    return f"{number if last.endswith(f' {name}') else first} to {last}"


def uncertainty(judgement: AnyJudgement) -> str:
    """U as it acts on the verdict: what all samples share, plus the floor of one sample."""
    if judgement.unit != "ns":
        return NONE
    common, floor = judgement.common_mode_ns, judgement.floor_ns
    text = f"± {shown(common, 'ns', 3)}"
    return f"{text} + {shown(floor, 'ns', 3)}" if floor else text


def bound(judgement: AnyJudgement) -> str:
    """The promise in short: limit, and the share or the rate that goes with it."""
    if judgement.limit is None:
        return "no rate declared"
    limit = shown(judgement.limit, judgement.unit)
    if (wanted := expected(judgement)) is not None:
        return f"{shown(wanted, judgement.unit)} ± {limit}"
    if judgement.share is not None:
        return f"{format_share(judgement.share)} ≤ {limit}"
    return f"≤ {limit}"


def expected(judgement: AnyJudgement) -> float | None:
    """The value that a tolerance is around; None where the bound is one-sided."""
    value = judgement.details.get("expected")
    return value if judgement.unit == "dB" and isinstance(value, int | float) else None


def demonstrated(judgement: AnyJudgement) -> str:
    """The share that the evidence supports at the stated confidence, whatever was asked for."""
    share = judgement.demonstrated
    if share is None:
        return NONE
    if judgement.unit == "1/h":
        return f"≤ {_at_most(share, '1/h')}"
    return format_floor(share)


def _at_most(value: float, unit: str) -> str:
    """An upper limit; where it is cut to whole numbers, it is cut upwards."""
    return shown(math.ceil(value) if unit == "1/h" and value >= 100 else value, unit)


def format_floor(share: float) -> str:
    """A share cut off after its first digit that is no nine: never more than was shown."""
    digits = 1
    while digits < 7 and 1 - share < 10.0 ** -(digits + 2):
        digits += 1
    # The least excess keeps a share that is met exactly from falling a digit.
    steps = math.floor(share * 10 ** (digits + 2) + 1e-9)
    return f"{steps / 10**digits:.{digits}f} %"


def packets(judgement: AnyJudgement) -> str:
    """How many were judged, with what they are where they are no packets."""
    if not judgement.n:
        return NOT_MEASURED
    name = items(judgement, judgement.n)
    return whole(judgement.n) if name.startswith("packet") else f"{whole(judgement.n)} {name}"
