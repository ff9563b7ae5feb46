"""What two hosts tell each other of ports, as values that any channel carries."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import fields, replace
from importlib import metadata
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv6Address,
    IPv6Interface,
    ip_address,
    ip_interface,
)
from pathlib import Path
from typing import Any, Final

from hil.traffic.port import Port

BOOT: Final = Path("/proc/sys/kernel/random/boot_id")
SILENT_NS: Final = 20_000_000_000  #: after which either side takes the other for gone
TICK_NS: Final = 1_000_000_000  #: between two signs of life

_ROOMS: Final = ("samples", "traffic", "wire")


def identity() -> tuple[str, str, str]:
    """Version of hil, a digest of what measures, and which boot of which kernel this is."""
    digest = hashlib.sha256()
    home = Path(__file__).parents[1]
    for room in _ROOMS:
        for path in sorted((home / room).glob("*.py")):
            digest.update(path.read_bytes())
    return metadata.version("hil"), digest.hexdigest()[:16], boot()


def boot() -> str:
    """Which boot of which kernel this is: two that are equal have one clock."""
    return BOOT.read_text("ascii").strip()


def packed(value: Any) -> Any:
    """A value of a port, or a port, as plain values."""
    if isinstance(value, Port):
        here = replace(value, host=None, clocks=None)
        return {"port": {f.name: packed(getattr(here, f.name)) for f in fields(Port)}}
    if isinstance(value, IPv4Interface | IPv6Interface):
        return {"interface": str(value)}
    if isinstance(value, IPv4Address | IPv6Address):
        return {"address": str(value)}
    if isinstance(value, tuple | list):
        return [packed(each) for each in value]
    if isinstance(value, Mapping):
        return {"names": {name: packed(each) for name, each in value.items()}}
    return value


def unpacked(value: Any) -> Any:
    """What `packed` made, as it was; a list is a tuple."""
    if isinstance(value, list | tuple):
        return tuple(unpacked(each) for each in value)
    if not isinstance(value, dict):
        return value
    ((kind, inside),) = value.items()
    if kind == "port":
        return Port(**{name: unpacked(each) for name, each in inside.items()})
    if kind == "names":
        return {name: unpacked(each) for name, each in inside.items()}
    return (ip_interface if kind == "interface" else ip_address)(inside)
