"""What a bench is: devices, ports, paths, secrets, and the simulated world; all from one file."""

from __future__ import annotations

from hil.testbed.loading import Catalogue, find, load
from hil.testbed.models import (
    DeviceConfig,
    FaultHook,
    Hooks,
    Name,
    PathKind,
    PortConfig,
    Route,
    Safety,
    Side,
    Testbed,
)
from hil.testbed.needs import ROLES, Needs, Roles, unmet
from hil.testbed.schema import json_schema
from hil.testbed.secret import Secret, revealed
from hil.testbed.world import (
    AttenuatorEndpoint,
    CellConfig,
    Endpoint,
    ModemEndpoint,
    PlcEndpoint,
    RadioConfig,
    SupplyEndpoint,
    SwitchEndpoint,
    World,
)

__all__ = [
    "ROLES",
    "AttenuatorEndpoint",
    "Catalogue",
    "CellConfig",
    "DeviceConfig",
    "Endpoint",
    "FaultHook",
    "Hooks",
    "ModemEndpoint",
    "Name",
    "Needs",
    "PathKind",
    "PlcEndpoint",
    "PortConfig",
    "RadioConfig",
    "Roles",
    "Route",
    "Safety",
    "Secret",
    "Side",
    "SupplyEndpoint",
    "SwitchEndpoint",
    "Testbed",
    "World",
    "find",
    "json_schema",
    "load",
    "revealed",
    "unmet",
]
