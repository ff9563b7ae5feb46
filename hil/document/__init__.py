"""YAML files read into frozen models, with file:line:col for every fault at once."""

from __future__ import annotations

from hil.document.quantities import (
    Attenuation,
    Drift,
    Duration,
    EventsPerHour,
    Frequency,
    Level,
    Model,
    Rate,
    Share,
    Size,
)

__all__ = [
    "Attenuation",
    "Drift",
    "Duration",
    "EventsPerHour",
    "Frequency",
    "Level",
    "Model",
    "Rate",
    "Share",
    "Size",
]
