"""Exact limits of a rate of events (Poisson), and how many hours they need."""

from __future__ import annotations

import math

from hil.stats._special import check_confidence, gamma_quantile


def _check(events: float, hours: float, confidence: float) -> None:
    check_confidence(confidence)
    if not (events >= 0 and hours >= 0):
        raise ValueError(f"events and hours cannot be negative; got {events} in {hours} h")


def upper(events: float, hours: float, confidence: float = 0.95) -> float:
    """Upper one-sided limit of events per hour after `events` in `hours`.

    Exact (F. Garwood, Biometrika 28, 1936). With no event this is about 3 / hours at 95 %. Of no
    time nothing is known: infinite.

    Raises:
        ValueError: negative events or hours, or not 0 < confidence < 1.
    """
    _check(events, hours, confidence)
    if hours == 0:
        return math.inf
    return gamma_quantile(events + 1, confidence) / hours


def lower(events: float, hours: float, confidence: float = 0.95) -> float:
    """Lower one-sided limit of events per hour after `events` in `hours`; 0 without an event.

    Raises:
        ValueError: negative events or hours, or not 0 < confidence < 1.
    """
    _check(events, hours, confidence)
    if events == 0:
        return 0.0
    if hours == 0:
        return math.inf
    return gamma_quantile(events, 1 - confidence) / hours


def required_hours(limit: float, confidence: float = 0.95, events: int = 0) -> float:
    """The hours after which `events` are few enough to show a rate of at most `limit` per hour.

    Raises:
        ValueError: a limit that is not positive, negative events, or not 0 < confidence < 1.
    """
    _check(events, 0.0, confidence)
    if limit <= 0:
        raise ValueError(f"no number of hours shows a rate of {limit} per hour")
    return gamma_quantile(events + 1, confidence) / limit
