"""How likely a network passes, and how long to measure so that a good one does.

A plan for exactly the smallest sample passes a network that barely complies one time in twenty and
one five times better about every other time. `better` says how many times rarer failures are than
the target allows.

Failures come in runs: their number is Poisson and their lengths are geometric with mean b, where
the design effect is D = 2 b - 1 (`hil.stats.dependence`). Their sum then has a Polya-Aeppli
distribution (N. L. Johnson, A. W. Kemp, S. Kotz, Univariate Discrete Distributions, 3rd ed., 9.7).
That is the power where runs are single. Where they are longer, the verdict also takes the scatter
of the few runs seen into its design effect, which costs up to a fifth of the power; no closed form
is known, so streams are simulated, always the same ones.
"""

from __future__ import annotations

import functools
import math

import numpy as np

from hil.stats import dependence, proportion, rate
from hil.stats._special import check_confidence, check_share, poisson_cdf, smallest

_MOST_FAILURES = 10**7
_FAR = 12
_STREAMS = 2_000
_MOST_RUNS = 400_000  # simulated in one answer: a fraction of a second
_FEWEST_STREAMS = 200
_PRECISION = 0.01


def allowed_failures(
    n: int, share: float, *, design_effect: float = 1.0, confidence: float = 0.95
) -> int | None:
    """The most failures among `n` packets with which `share` is still shown; None: not even 0.

    Raises:
        ValueError: a share or confidence not between 0 and 1, a design effect below 1.
    """
    _check(share, 2.0, design_effect, confidence)
    if not _shown(n, 0, share, design_effect, confidence):
        return None
    return smallest(1, lambda f: not _shown(n, f, share, design_effect, confidence)) - 1


def share_power(
    n: int,
    share: float,
    better: float,
    *,
    design_effect: float = 1.0,
    confidence: float = 0.95,
) -> float:
    """The probability that `n` packets show `share` on a network `better` times better.

    `design_effect` is the declared one, and the network's runs are taken to be as long as declared;
    the answer is then simulated, with a standard error of 0.01.

    Raises:
        ValueError: a share or confidence not between 0 and 1, `better` not positive, a design
            effect below 1.
    """
    _check(share, better, design_effect, confidence)
    allowed = allowed_failures(n, share, design_effect=design_effect, confidence=confidence)
    if allowed is None:
        return 0.0
    failures = n * (1 - share) / better
    if design_effect == 1:
        return poisson_cdf(allowed, failures)
    return _simulated(n, share, failures, (design_effect + 1) / 2, confidence)


@functools.cache
def required_packets(
    share: float,
    better: float,
    power: float = 0.8,
    *,
    design_effect: float = 1.0,
    confidence: float = 0.95,
) -> int:
    """The smallest number of packets that pass a network `better` times better with `power`.

    Exact without a design effect; with one, to one per cent and the error of `share_power`.

    Raises:
        ValueError: a share, power or confidence not between 0 and 1, a design effect below 1, or a
            network that no number of packets (short of ten million failures) sets apart from one
            that barely complies.
    """
    _check(share, better, design_effect, confidence)
    check_confidence(power)
    if better <= 1:
        raise ValueError(f"a power is planned for a network better than the limit; got {better}")
    mean_run = (design_effect + 1) / 2

    def needed(failures: int) -> int:
        return smallest(
            failures + 1, lambda n: _shown(n, failures, share, design_effect, confidence)
        )

    def enough(failures: int) -> bool:
        if failures > _MOST_FAILURES:
            raise ValueError(f"a network {better} times better cannot be told from the limit")
        return _at_most(failures, needed(failures) * (1 - share) / better, mean_run) >= power

    counted = needed(smallest(0, enough))
    if design_effect == 1:
        return counted

    def reaches(n: int) -> bool:
        passing = share_power(n, share, better, design_effect=design_effect, confidence=confidence)
        return passing >= power

    step = max(1, int(_PRECISION * counted))
    return counted + step * smallest(0, lambda steps: reaches(counted + step * steps))


def rate_power(hours: float, limit: float, better: float, confidence: float = 0.95) -> float:
    """The probability that `hours` show a rate of at most `limit` events per hour.

    Raises:
        ValueError: hours or limit or `better` not positive, or not 0 < confidence < 1.
    """
    if not (hours > 0 and limit > 0 and better > 0):
        raise ValueError(f"not a plan: {hours} h, limit {limit} /h, {better} times better")
    if rate.upper(0, hours, confidence) > limit:
        return 0.0
    allowed = smallest(1, lambda events: rate.upper(events, hours, confidence) > limit) - 1
    return poisson_cdf(allowed, hours * limit / better)


def required_hours(
    limit: float, better: float, power: float = 0.8, confidence: float = 0.95
) -> float:
    """The fewest hours that pass a network `better` times better with `power`.

    Raises:
        ValueError: a limit not positive, `better` not above 1, power or confidence not between 0
            and 1.
    """
    check_confidence(power)
    if better <= 1:
        raise ValueError(f"a power is planned for a network better than the limit; got {better}")

    def enough(events: int) -> bool:
        hours = rate.required_hours(limit, confidence, events)
        return poisson_cdf(events, hours * limit / better) >= power

    return rate.required_hours(limit, confidence, smallest(0, enough))


def _check(share: float, better: float, design_effect: float, confidence: float) -> None:
    check_share(share)
    check_confidence(confidence)
    if not (better > 0 and design_effect >= 1):
        raise ValueError(f"not a plan: {better} times better, design effect {design_effect}")


def _shown(n: int, failures: int, share: float, design_effect: float, confidence: float) -> bool:
    within = max(0, n - failures) / design_effect
    return proportion.shows(within, n / design_effect, share, confidence)


def _at_most(failures: int, mean: float, mean_run: float) -> float:
    """P(at most `failures`) for runs of geometric length `mean_run`, `mean` failures expected.

    m runs together are at most f packets long exactly where f trials of probability 1 / mean_run
    have at least m successes.
    """
    runs = mean / mean_run
    if mean_run == 1 or failures == 0:
        return poisson_cdf(failures, runs)
    from scipy.special import betainc, gammaln

    spread = _FAR * math.sqrt(runs) + _FAR  # no Poisson number of runs worth adding lies beyond
    first, last = max(1, int(runs - spread)), min(failures, int(runs + spread) + 1)
    m = np.arange(first, last + 1, dtype=np.float64)
    weight = np.exp(m * math.log(runs) - runs - gammaln(m + 1))
    together = betainc(m, failures - m + 1, 1 / mean_run)
    return float(min(1.0, math.exp(-runs) + np.sum(weight * together)))


def _simulated(n: int, share: float, failures: float, mean_run: float, confidence: float) -> float:
    """The share of simulated streams that pass, each with the design effect of its own runs."""
    from scipy.special import betainc

    runs = failures / mean_run
    streams = int(min(_STREAMS, max(_FEWEST_STREAMS, _MOST_RUNS / (runs + 1))))
    rng = np.random.default_rng(0)
    number = rng.poisson(runs, streams)
    lengths = rng.geometric(1 / mean_run, (streams, max(1, int(number.max())))).astype(np.float64)
    lengths[np.arange(lengths.shape[1]) >= number[:, None]] = 0
    effect = dependence.design_effects(lengths, mean_run)
    total = n / effect
    within = np.maximum(n - lengths.sum(axis=1), 0) / effect
    risk = betainc(np.maximum(within, 1e-300), total - within + 1, share)
    return float(np.mean(risk <= 1 - confidence))
