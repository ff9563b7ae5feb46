"""A testbed file, found, read and checked against the drivers there are."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final, Protocol

from hil.document import Document, Fault, nearest, read, refusal
from hil.errors import UsageError
from hil.testbed import references, shipped
from hil.testbed.models import DeviceConfig, Testbed

_SUFFIXES: Final = (".yaml", ".yml")


class Catalogue(Protocol):
    """The drivers there are, as a testbed file needs to know them."""

    def names(self) -> Iterable[str]:
        """The name of every registered driver."""

    def config(self, driver: str) -> type[DeviceConfig]:
        """The model of a driver's entry under ``devices:``."""

    def missing_extra(self, driver: str) -> str | None:
        """The extra of hil that this driver needs and that is not installed; else None."""


def find(name: str) -> Path:
    """The file of a testbed.

    `name` is a path if it ends in .yaml or .yml or holds a slash; else a file of that name in
    ./testbeds, or, failing that, among the shipped ones.

    Raises:
        UsageError: There is no testbed of that name; the text lists those there are.
    """
    if name.endswith(_SUFFIXES) or "/" in name:
        return Path(name)
    folders = (Path("testbeds"), shipped.testbeds())
    for folder in folders:
        for suffix in _SUFFIXES:
            if (path := folder / f"{name}{suffix}").is_file():
                return path
    known = {
        path.stem
        for folder in folders
        for path in folder.glob("*.y*ml")
        if path.suffix in _SUFFIXES
    }
    raise UsageError(f"no testbed is called {name!r}; {nearest(name, known)}")


def load(name_or_path: str | Path, drivers: Catalogue) -> Testbed:
    """A testbed, by name or path (see `find`).

    Raises:
        ConfigError: Every fault of the file at once.
        UsageError: There is no testbed of that name.
    """
    path = name_or_path if isinstance(name_or_path, Path) else find(name_or_path)
    document = read(path)
    faults = list(document.faults)
    testbed = _Reading(document, drivers, faults).testbed()
    faults.extend(references.check(document))
    if testbed is None or faults:
        raise refusal(faults)
    testbed._source = path.absolute()
    return testbed


class _Reading:
    """One file on its way to a `Testbed`; `faults` grows."""

    def __init__(self, document: Document, drivers: Catalogue, faults: list[Fault]) -> None:
        self._document = document
        self._drivers = drivers
        self._faults = faults
        self._taken: set[str] = set()
        self._context = {"references": self._taken}
        self._unjudged: set[str] = set()

    def testbed(self) -> Testbed | None:
        """The testbed, None where a fault stands against it."""
        plain = self._document.plain()
        launcher = self._launcher(plain)
        devices = self._devices(plain)
        self._name_ports(plain)
        frame = self._document.check(Testbed, self._faults, value=plain, context=self._context)
        self._faults.extend(references.unresolved(self._document, self._taken, self._unjudged))
        if frame is None or launcher is None or len(devices) != len(frame.devices):
            return None
        testbed = frame.model_copy(update={"devices": devices})
        testbed._launcher = launcher
        return testbed

    def _launcher(self, plain: dict[str, Any]) -> tuple[str, ...] | None:
        """Takes ``ports: launcher:`` out of the plain values."""
        if plain.pop("launcher", ...) is not ...:
            say = "unknown key; write 'launcher:' under 'ports:'"
            self._faults.append(self._document.fault(("launcher",), say, "key"))
        ports = plain.get("ports")
        if not isinstance(ports, dict) or "launcher" not in ports:
            return ()
        words = ports.pop("launcher")
        return self._document.check(
            tuple[str, ...], self._faults, path=("ports", "launcher"), value=words
        )

    def _name_ports(self, plain: dict[str, Any]) -> None:
        """Each port learns its name, which the file states as its key."""
        ports = plain.get("ports")
        for name, port in ports.items() if isinstance(ports, dict) else ():
            if isinstance(port, dict):
                if "name" in port:
                    say = f"unknown key; the port is called {name!r} already"
                    self._faults.append(self._document.fault(("ports", name, "name"), say, "key"))
                port["name"] = name

    def _devices(self, plain: dict[str, Any]) -> dict[str, DeviceConfig]:
        """Those devices that are right by their driver's own model.

        In the plain values each entry keeps its ``driver`` alone: all that the frame looks at.
        """
        entries = plain.get("devices")
        devices: dict[str, DeviceConfig] = {}
        if not isinstance(entries, dict):
            return devices
        for name, entry in entries.items():
            self._unjudged.add(name)
            if not isinstance(entry, dict):
                continue
            entries[name] = {key: entry[key] for key in ("driver",) if key in entry}
            if isinstance(entry.get("driver"), str):
                config = self._device(name, entry["driver"], entry)
                if config is not None:
                    devices[name] = config
        return devices

    def _device(self, name: str, driver: str, entry: dict[str, Any]) -> DeviceConfig | None:
        path = ("devices", name)
        known = sorted(self._drivers.names())
        if driver not in known:
            say = f"unknown driver {driver!r}; {nearest(driver, known)}"
            listed = f" known: {', '.join(known)}" if say.endswith("?") else ""
            self._faults.append(self._document.fault((*path, "driver"), say + listed))
            return None
        if extra := self._drivers.missing_extra(driver):
            say = f"driver {driver!r} needs pip install 'hil[{extra}]'"
            self._faults.append(self._document.fault((*path, "driver"), say))
            return None
        self._unjudged.discard(name)
        kind = self._drivers.config(driver)
        return self._document.check(
            kind, self._faults, path=path, value=entry, context=self._context
        )
