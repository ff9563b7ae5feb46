"""Proves, packet by packet, that a 5G network keeps a factory's latency and jitter promises.

What a suite needs is here and nowhere else. Names are loaded when they are first used (PEP 562),
so that `import hil` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from hil.clock import Stopwatch, stopwatch
    from hil.drivers.generator import Generator, GeneratorFlow
    from hil.drivers.protocols import Attenuator, Cpe, Device, Modem, Plc
    from hil.errors import (
        ConfigError,
        DeviceError,
        DriverError,
        HilError,
        Inconclusive,
        NeedsNotMet,
        RigError,
        TargetMissed,
        UnsafeOperation,
        UsageError,
    )
    from hil.judge import Judgement
    from hil.lab import Lab, Offer, Path, Paths, device_under_test, reaction, together
    from hil.plugin.judging import Judge, Targets
    from hil.samples.measurement import Measurement
    from hil.targets import Requirement, Traffic
    from hil.testbed import Testbed
    from hil.verdict import Verdict

_HOME = {
    "Attenuator": "hil.drivers.protocols",
    "Cpe": "hil.drivers.protocols",
    "Device": "hil.drivers.protocols",
    "Generator": "hil.drivers.generator",
    "GeneratorFlow": "hil.drivers.generator",
    "Modem": "hil.drivers.protocols",
    "Plc": "hil.drivers.protocols",
    "ConfigError": "hil.errors",
    "DeviceError": "hil.errors",
    "DriverError": "hil.errors",
    "HilError": "hil.errors",
    "Inconclusive": "hil.errors",
    "NeedsNotMet": "hil.errors",
    "RigError": "hil.errors",
    "TargetMissed": "hil.errors",
    "UnsafeOperation": "hil.errors",
    "UsageError": "hil.errors",
    "Judgement": "hil.judge",
    "Lab": "hil.lab",
    "Offer": "hil.lab",
    "Path": "hil.lab",
    "Paths": "hil.lab",
    "device_under_test": "hil.lab",
    "reaction": "hil.lab",
    "together": "hil.lab",
    "Judge": "hil.plugin.judging",
    "Targets": "hil.plugin.judging",
    "Measurement": "hil.samples.measurement",
    "Requirement": "hil.targets",
    "Traffic": "hil.targets",
    "Testbed": "hil.testbed",
    "Verdict": "hil.verdict",
    "Stopwatch": "hil.clock",
    "stopwatch": "hil.clock",
}

__all__ = [
    "Attenuator",
    "ConfigError",
    "Cpe",
    "Device",
    "DeviceError",
    "DriverError",
    "Generator",
    "GeneratorFlow",
    "HilError",
    "Inconclusive",
    "Judge",
    "Judgement",
    "Lab",
    "Measurement",
    "Modem",
    "NeedsNotMet",
    "Offer",
    "Path",
    "Paths",
    "Plc",
    "Requirement",
    "RigError",
    "Stopwatch",
    "TargetMissed",
    "Targets",
    "Testbed",
    "Traffic",
    "UnsafeOperation",
    "UsageError",
    "Verdict",
    "__version__",
    "device_under_test",
    "reaction",
    "stopwatch",
    "together",
]


def __getattr__(name: str) -> Any:
    try:
        home = _HOME[name]
    except KeyError:
        raise AttributeError(f"module 'hil' has no attribute {name!r}") from None
    return getattr(importlib.import_module(home), name)


def __dir__() -> list[str]:
    return sorted(__all__)
