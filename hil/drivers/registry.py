"""Finds drivers by the entry point group `hil.drivers`.

Each entry point is a driver's name and its class. The class has `Config`, a subclass of
`hil.testbed.DeviceConfig`, and `role`; it may have `requires`, the modules that `open` will import,
and `extra`, the extra of the distribution that brings them. A driver whose modules are missing is
still known by name, so that a testbed file can be told which extra to install.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Final, cast

from hil.drivers.protocols import Device
from hil.errors import UsageError
from hil.testbed import DeviceConfig

GROUP: Final = "hil.drivers"


class Registry:
    """The drivers installed beside this program.

    Args:
        points: entry points to use instead of those of the environment.
    """

    def __init__(self, points: Iterable[EntryPoint] | None = None) -> None:
        self._given = None if points is None else tuple(points)

    @cached_property
    def _points(self) -> dict[str, EntryPoint]:
        found = entry_points(group=GROUP) if self._given is None else self._given
        return {point.name: point for point in found}

    def names(self) -> tuple[str, ...]:
        """Every driver's name, in alphabetical order."""
        return tuple(sorted(self._points))

    def config(self, driver: str) -> type[DeviceConfig]:
        """The model of a driver's entry in the testbed file.

        Raises:
            UsageError: no such driver, or its modules are missing.
        """
        return cast("type[DeviceConfig]", self._driver(driver).Config)

    def role(self, driver: str) -> str:
        """The role that a driver's devices play; raises as `config` does."""
        return cast("str", self._driver(driver).role)

    def missing_extra(self, driver: str) -> str | None:
        """The extra that must be installed before this driver can work; None when it can.

        Raises:
            UsageError: no such driver.
        """
        point = self._point(driver)
        named = point.extras[0] if point.extras else driver
        try:
            found = point.load()
        except ModuleNotFoundError:
            return named
        lacking = [name for name in getattr(found, "requires", ()) if not _installed(name)]
        return cast("str", getattr(found, "extra", named)) if lacking else None

    def create(self, name: str, config: DeviceConfig) -> Device:
        """A driver for the device `name`, not yet open; raises as `config` does."""
        return cast("Device", self._driver(config.driver)(name, config))

    def _point(self, driver: str) -> EntryPoint:
        try:
            return self._points[driver]
        except KeyError:
            known = ", ".join(self.names()) or "none"
            raise UsageError(f"no driver {driver!r}; installed are {known}") from None

    def _driver(self, driver: str) -> Any:
        if extra := self.missing_extra(driver):
            raise UsageError(f"driver {driver!r} needs pip install 'hil[{extra}]'")
        return self._point(driver).load()


def _installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None
