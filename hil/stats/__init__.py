"""Statistics for verdicts: numbers in, numbers out; nothing here knows what a packet is.

Every limit is one-sided at the confidence given, unless its docstring says otherwise.

- `proportion`: exact limits of a share, the sample size they need, the difference of two shares.
- `rate`: exact limits of events per hour.
- `quantile`: nearest rank and order-statistic limits.
- `dependence`: the design effect of bursts.
- `sequence`: limits that hold at every look.
- `power`: the probability to pass, and the sample size for a wanted one.
- `trend`: a slope that outliers do not move.
"""

from __future__ import annotations

from hil.stats import dependence, power, proportion, quantile, rate, sequence, trend

__all__ = ["dependence", "power", "proportion", "quantile", "rate", "sequence", "trend"]
