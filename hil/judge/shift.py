"""Comparisons of two measurements: isolation under load, and a loop over 5G beside the wire."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from hil.judge.evidence import NEVER, Evidence, Times
from hil.judge.finding import Finding
from hil.judge.judgement import Reason
from hil.judge.share import Tally
from hil.judge.uncertainty import Uncertainty
from hil.judge.wording import at_most, span
from hil.samples.table import taken
from hil.stats import proportion, quantile
from hil.targets.plan import for_zero_failures
from hil.targets.target import ShiftTarget
from hil.units import format_duration, format_share

_NOTHING = np.iinfo(np.int64).min + 1


@dataclass(frozen=True, slots=True)
class Between:
    """A difference with limits; None where a side has no finite one."""

    value: float | None
    low: float | None
    high: float | None


def quantile_shift(
    loaded: Times, alone: Times, share: float, confidence: float, effects: tuple[float, float]
) -> Between:
    """The quantile of `loaded` less that of `alone`, values sorted, infinite ones as `NEVER`.

    Order-statistic limits of both; each at half the error, so that the difference holds at
    `confidence`.
    """
    each = 1 - (1 - confidence) / 2
    value, low, high = [], [], []
    for values, effect in ((loaded, effects[0]), (alone, effects[1])):
        bounds = quantile.interval(values, share, each, design_effect=effect)
        value.append(_finite(quantile.nearest_rank(values, share)))
        low.append(_finite(bounds[0]))
        high.append(_finite(bounds[1]))
    return Between(_less(value[0], value[1]), _less(low[0], high[1]), _less(high[0], low[1]))


def _finite(value: int | None) -> int | None:
    return None if value in (None, NEVER, _NOTHING) else value


def _less(left: int | None, right: int | None) -> float | None:
    return None if left is None or right is None else float(left - right)


def _bounded(seen: Evidence, bracketed_as: int) -> Times:
    """All delays, sorted, with bracketed ones put where they harm the claim."""
    return np.sort(np.where(seen.bracketed | ~taken(seen.delay_ns), bracketed_as, seen.delay_ns))


def judge_shift(
    target: ShiftTarget, loaded: Evidence, alone: Evidence, found: Uncertainty
) -> Finding:
    """Non-inferiority of a victim under load: of a quantile, and of the late share.

    For PASS both must be shown; for FAIL one refuted is enough, so each takes half the error. The
    late share is compared by Newcombe's limits. Bracketed packets count late under load and in time
    alone for PASS, the other way round for FAIL.
    """
    confidence = target.confidence
    halved = 1 - (1 - confidence) / 2
    late = _Late.of(target, loaded, alone)
    effects = late.to_show[0].effect, late.to_show[1].effect
    late_loaded, late_alone = (
        int((~(seen.within(target.bound_ns) | seen.bracketed)).sum()) for seen in (loaded, alone)
    )
    base = np.sort(alone.delay_ns[alone.within(NEVER - 1) & ~alone.bracketed])
    base_value = quantile.nearest_rank(base, target.quantile) if base.size else 0
    margin = max(target.limit_ns, round(target.relative * (base_value or 0)))
    hard = quantile_shift(
        _bounded(loaded, NEVER),
        _bounded(alone, _NOTHING),
        target.quantile,
        confidence,
        effects,
    )
    mild = quantile_shift(
        _bounded(loaded, _NOTHING),
        _bounded(alone, NEVER),
        target.quantile,
        halved,
        (late.to_refute[0].effect, late.to_refute[1].effect),
    )
    seen = quantile_shift(
        np.sort(loaded.delay_ns[taken(loaded.delay_ns)]),
        np.sort(alone.delay_ns[taken(alone.delay_ns)]),
        target.quantile,
        confidence,
        effects,
    )
    growth_high, growth_low = late.high(confidence), late.low(halved)
    met = (
        hard.high is not None
        and hard.high + found.floor_ns <= margin
        and growth_high <= target.epsilon
    )
    refuted = (
        mild.low is not None and mild.low - found.floor_ns > margin
    ) or growth_low > target.epsilon
    details: dict[str, Any] = {
        "figure": f"p{target.quantile * 100:g}",
        "bound_ns": target.bound_ns,
        "margin_ns": margin,
        "late_loaded": late_loaded,
        "late_alone": late_alone,
        "n_alone": alone.n,
        "late_growth": late_loaded / loaded.n - late_alone / alone.n,
        "late_growth_low": growth_low,
        "late_growth_high": growth_high,
        "epsilon": target.epsilon,
        "bracketed_alone": int(alone.bracketed.sum()),
    }
    return Finding(
        met=met,
        missed=Reason.MISSED if refuted else None,
        promising=seen.value is not None
        and seen.value <= margin
        and details["late_growth"] <= target.epsilon,
        undecided=Reason.UNDECIDED,
        sentence=_sentence(target, (loaded, alone), seen, margin, details),
        n=loaded.n,
        exceeding=late_loaded,
        bracketed=int(loaded.bracketed.sum()),
        figure=seen.value,
        figure_low=mild.low,
        figure_high=hard.high,
        design_effect=max(effects),
        required=for_zero_failures(target, 1),
        details=details,
    )


@dataclass(frozen=True, slots=True)
class _Late:
    """Who was in time under load and alone, counted against the claim for PASS, for it for FAIL."""

    to_show: tuple[Tally, Tally]
    to_refute: tuple[Tally, Tally]

    @classmethod
    def of(cls, target: ShiftTarget, loaded: Evidence, alone: Evidence) -> _Late:
        strict = [seen.within(target.bound_ns) & ~seen.bracketed for seen in (loaded, alone)]
        mild = [seen.within(target.bound_ns) | seen.bracketed for seen in (loaded, alone)]
        burst, confidence = target.burst, target.confidence
        return cls(
            (
                Tally.to_show(strict[0], burst, confidence),
                Tally.to_show(mild[1], burst, confidence),
            ),
            (
                Tally.to_refute(mild[0], burst, confidence),
                Tally.to_refute(strict[1], burst, confidence),
            ),
        )

    def high(self, confidence: float) -> float:
        """Upper limit of the growth of the late share."""
        return _growth(*self.to_show, confidence)[1]

    def low(self, confidence: float) -> float:
        """Lower limit of the growth of the late share."""
        return _growth(*self.to_refute, confidence)[0]


def _growth(loaded: Tally, alone: Tally, confidence: float) -> tuple[float, float]:
    """Limits of the late share under load less that alone: of the share in time the other way."""
    return proportion.newcombe(*alone.effective, *loaded.effective, confidence)


def _sentence(
    target: ShiftTarget,
    sides: tuple[Evidence, Evidence],
    seen: Between,
    margin: int,
    details: dict[str, Any],
) -> str:
    loaded, alone = sides
    name = f"p{target.quantile * 100:g} under load"
    shifts = f"shifts by {span(seen.value)}" if seen.value is not None else "cannot be compared"
    return (
        f"{name} {shifts} (margin {format_duration(margin)}); late for "
        f"{format_duration(target.bound_ns)} are {details['late_loaded']:,} of {loaded.n:,} under "
        f"load and {details['late_alone']:,} of {alone.n:,} alone, so at "
        f"{format_share(target.confidence)} confidence the late share grows by at most "
        f"{at_most(details['late_growth_high'])} (epsilon {at_most(target.epsilon)})"
    )


def beside_wire(loop: Evidence, wire: Evidence, confidence: float) -> dict[str, Any]:
    """Medians of a loop over 5G and over the wire, and their difference with limits."""
    sides = [np.sort(seen.delay_ns[taken(seen.delay_ns)]) for seen in (loop, wire)]
    if not all(values.size for values in sides):
        return {}
    difference = quantile_shift(sides[0], sides[1], 0.5, confidence, (1.0, 1.0))
    return {
        "median_ns": _finite(quantile.nearest_rank(sides[0], 0.5)),
        "wire_median_ns": _finite(quantile.nearest_rank(sides[1], 0.5)),
        "difference_ns": difference.value,
        "difference_low_ns": difference.low,
        "difference_high_ns": difference.high,
        "wire_n": int(sides[1].size),
    }
