"""Confidence sequences: limits that hold at every look, so that looking costs nothing.

A limit made for a fixed number of samples is wrong as soon as one stops because it looks good.
Here a mixture of likelihood ratios is a martingale under the true value, and Ville's inequality
bounds the chance that it *ever* exceeds 1 / (1 - confidence) (H. Robbins, Ann. Math. Stat. 41,
1970; S. R. Howard et al., Ann. Stat. 49, 2021). The values at which it has not are the limits. Both
limits hold together, at all times, at `confidence`.

The mixture is centred on the value to be shown: there the sequence is narrowest. Validity does not
depend on the centre, only width does; but it must be fixed before the first look. With no failure a
share is shown after about 1.6 times the packets of the fixed test.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from hil.stats._special import check_confidence, check_counts, check_share

_STEPS = 200  # halvings; more than a double has bits, on a logarithmic scale


def share_limits(
    k: float, n: float, *, centre: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Lower and upper limit of a share after `k` successes in `n` trials, valid at every look.

    Beta-binomial mixture: the failure share has the weight Beta(1, c / (1 - c)) with c = `centre`,
    whose mean is 1 - centre. Counts may be divided by a design effect; the guarantee then holds as
    far as the design effect does.

    Raises:
        ValueError: not 0 <= k <= n, or a centre or confidence not between 0 and 1.
    """
    check_counts(k, n)
    check_share(centre)
    check_confidence(confidence)
    failures = n - k
    weight = centre / (1 - centre)
    threshold = -math.log1p(-confidence)
    evidence = _log_beta(1 + failures, weight + k) - _log_beta(1, weight)

    def excess(q: float) -> float:
        ratio = evidence - failures * math.log(q) if failures else evidence
        return ratio - (k * math.log1p(-q) if k else 0.0) - threshold

    seen = failures / n if n else 0.0
    high = _crossing(excess, max(seen, 1e-300), 1.0) if k else 1.0
    low = _crossing(excess, seen, 0.0) if failures else 0.0
    return 1 - high, 1 - low


def rate_limits(
    events: float, hours: float, *, centre: float, confidence: float = 0.95
) -> tuple[float, float]:
    """Lower and upper limit of events per hour, valid at every moment of the run.

    Gamma-Poisson mixture: the rate has the weight Gamma(1, 1 / centre), an exponential of mean
    `centre` events per hour.

    Raises:
        ValueError: negative events or hours, a centre that is not positive, or not
            0 < confidence < 1.
    """
    check_confidence(confidence)
    if not (events >= 0 and hours >= 0 and centre > 0):
        raise ValueError(f"not a rate: {events} events in {hours} h, centre {centre} /h")
    if hours == 0:
        return 0.0, math.inf
    threshold = -math.log1p(-confidence)
    evidence = (
        math.lgamma(1 + events) - math.log(centre) - (1 + events) * math.log(1 / centre + hours)
    )

    def excess(rate: float) -> float:
        ratio = evidence - events * math.log(rate) if events else evidence
        return ratio + rate * hours - threshold

    seen = events / hours
    ceiling = seen + (threshold + 1) / hours
    while excess(ceiling) < 0:
        ceiling *= 2
    high = _crossing(excess, max(seen, 1e-300), ceiling)
    return (_crossing(excess, seen, 0.0) if events else 0.0), high


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _crossing(excess: Callable[[float], float], inside: float, outside: float) -> float:
    """Where `excess` rises through 0 between a value seen and the end of its range.

    The end itself (0 or 1, where the logarithm has no value) is never asked.
    """
    for _ in range(_STEPS):
        middle = (
            math.sqrt(inside * outside)
            if inside > 0 < outside and max(inside, outside) > 4 * min(inside, outside)
            else (inside + outside) / 2
        )
        if middle in (inside, outside):
            break
        if excess(middle) < 0:
            inside = middle
        else:
            outside = middle
    return outside
