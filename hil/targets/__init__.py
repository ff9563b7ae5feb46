"""What is promised: profile, requirements, targets, the traffic they are tried with, and plans."""

from __future__ import annotations

from hil.targets.plan import Forecast, Plan, forecast, power_of_all
from hil.targets.profile import Profile, Source, load_profile, shipped
from hil.targets.requirement import Loop, Requirement
from hil.targets.target import (
    EventTarget,
    GoodputTarget,
    LevelTarget,
    ShiftTarget,
    SpanTarget,
    Target,
    ValueTarget,
    WithinTarget,
)
from hil.targets.traffic import (
    Burst,
    OnOff,
    PathKind,
    Periodic,
    Poisson,
    QosFlow,
    Replay,
    Traffic,
    Video,
)

__all__ = [
    "Burst",
    "EventTarget",
    "Forecast",
    "GoodputTarget",
    "LevelTarget",
    "Loop",
    "OnOff",
    "PathKind",
    "Periodic",
    "Plan",
    "Poisson",
    "Profile",
    "QosFlow",
    "Replay",
    "Requirement",
    "ShiftTarget",
    "Source",
    "SpanTarget",
    "Target",
    "Traffic",
    "ValueTarget",
    "Video",
    "WithinTarget",
    "forecast",
    "load_profile",
    "power_of_all",
    "shipped",
]
