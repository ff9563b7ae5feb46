"""A floor taken again after a run, held against the one taken before it.

The rule is one: at each of the shares 50 %, 99 % and 99.9 % that both can support, the floors
differ by what is left between their 95 % limits. Where nothing is left at any, the floor has held.
Where something is left, the floor of the run becomes at each share the larger of both, and what is
left at 50 % is added to what all its samples share. Where one is beyond twice the other, it is not
known what the instrument added during the run: it has no floor.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.measurement import Budget
from hil.stats import quantile
from hil.units import format_duration

SHARES: Final = (0.5, 0.99, 0.999)
_VOID: Final = 2


@dataclass(frozen=True, slots=True)
class FloorCheck:
    """What became of a floor between two calibrations of the same ports.

    `drift_ns` is the largest difference at any share, `shift_ns` that at 50 %, each without what
    the 95 % limits of both explain. `void` is true where the floor of the run is not known.
    """

    drift_ns: int
    shift_ns: int
    void: bool

    @property
    def words(self) -> str:
        """The outcome as one sentence."""
        if self.void:
            return (
                f"the floor taken after the run is beyond twice the one before, or below half of "
                f"it (drift {format_duration(self.drift_ns)}): the run has no floor"
            )
        if self.drift_ns:
            return (
                f"the floor taken after the run differs by {format_duration(self.drift_ns)}, of "
                f"which {format_duration(self.shift_ns)} all samples share: the larger one counts"
            )
        return "the floor taken after the run is the one before it, within their 95 % limits"


def compare(before_ns: NDArray[np.int64], after_ns: NDArray[np.int64]) -> FloorCheck:
    """Holds two floors, sorted magnitudes, against each other.

    Raises: ValueError for an empty one.
    """
    drift, shift, void = 0, 0, False
    shares = [
        s for s in SHARES if all(quantile.supported(f.size, s) for f in (before_ns, after_ns))
    ]
    for share in shares or [0.5]:
        ends = [_limits(each, share) for each in (before_ns, after_ns)]
        below, above = min(ends)[1], max(ends)[0]
        left = max(0, above - below)
        drift = max(drift, left)
        shift = left if share == SHARES[0] else shift
        void |= left > 0 and above > _VOID * below
    return FloorCheck(drift, shift, void)


def _limits(floor_ns: NDArray[np.int64], share: float) -> tuple[int, int]:
    low, high = quantile.interval(floor_ns, share)
    return int(floor_ns[0] if low is None else low), int(floor_ns[-1] if high is None else high)


def checked(budget: Budget, after_ns: NDArray[np.int64]) -> Budget:
    """The budget of a run whose calibrated floor was taken again after it."""
    found = compare(budget.floor_ns, after_ns)
    sources = (*budget.sources, found.words)
    if found.void:
        return replace(budget, floor_ns=np.empty(0, np.int64), sources=sources)
    if not found.drift_ns:
        return replace(budget, sources=sources)
    half = math.hypot(budget.common_mode_ns / 2, found.shift_ns / math.sqrt(3))
    return Budget(
        common_mode_ns=round(2 * half),
        floor_ns=larger(budget.floor_ns, after_ns),
        sources=sources,
    )


def larger(one_ns: NDArray[np.int64], other_ns: NDArray[np.int64]) -> NDArray[np.int64]:
    """At each share the larger of two floors, with as many values as the longer one has."""
    count = max(one_ns.size, other_ns.size)
    ranks = np.arange(1, count + 1)
    spread = [each[-(-ranks * each.size // count) - 1] for each in (one_ns, other_ns)]
    return np.maximum(*spread)
