"""YAML files read into frozen models, with file:line:col for every fault at once."""

from __future__ import annotations

from hil.document.fault import Fault, Mark, Path
from hil.document.quantities import (
    Attenuation,
    Current,
    Drift,
    Duration,
    EventsPerHour,
    Frequency,
    Level,
    Model,
    Rate,
    Shape,
    Share,
    Size,
    Voltage,
)
from hil.document.reading import Document, load, read, refusal
from hil.document.wording import nearest

__all__ = [
    "Attenuation",
    "Current",
    "Document",
    "Drift",
    "Duration",
    "EventsPerHour",
    "Fault",
    "Frequency",
    "Level",
    "Mark",
    "Model",
    "Path",
    "Rate",
    "Shape",
    "Share",
    "Size",
    "Voltage",
    "load",
    "nearest",
    "read",
    "refusal",
]
