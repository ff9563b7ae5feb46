"""Drivers enough to read a testbed file with, and a way to read one from text."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Final

import pytest
from pydantic import Field

from hil.document import Attenuation, Duration, Model
from hil.errors import ConfigError
from hil.testbed import DeviceConfig, Secret, Testbed, load


class ModemConfig(DeviceConfig):
    port: str
    """The tty."""

    dialect: str = "quectel"
    pin: Secret | None = None
    timeout_ns: Duration = 3_000_000_000


class TagConfig(Model):
    address: str
    type: str
    writable: bool = False
    min: float | None = None
    max: float | None = None
    safe: float | None = None
    unit: str = ""


class PlcConfig(DeviceConfig):
    host: str
    wire: str | None = None
    port: Annotated[int, Field(ge=1, le=65535)] = 502
    tags: Mapping[str, TagConfig] = Field(default_factory=dict)


class AttenuatorConfig(DeviceConfig):
    resource: str
    channels: int = 1
    max_db: Attenuation
    safe_db: Attenuation


class SwitchConfig(DeviceConfig):
    url: str
    outlets: Mapping[int, Mapping[str, object]]


class Drivers:
    """A catalogue of four drivers that are there and one whose extra is not."""

    configs: Final[dict[str, type[DeviceConfig]]] = {
        "attenuator_scpi": AttenuatorConfig,
        "modem_at": ModemConfig,
        "plc_modbus": PlcConfig,
        "plc_opcua": DeviceConfig,
        "switch_http": SwitchConfig,
    }
    roles: Final = {
        "attenuator_scpi": "attenuator",
        "modem_at": "cpe",
        "plc_modbus": "plc",
        "switch_http": "switch",
    }

    def names(self) -> tuple[str, ...]:
        return tuple(self.configs)

    def config(self, driver: str) -> type[DeviceConfig]:
        return self.configs[driver]

    def missing_extra(self, driver: str) -> str | None:
        return "opcua" if driver == "plc_opcua" else None

    def role(self, driver: str) -> str:
        return self.roles[driver]


@pytest.fixture(scope="session")
def drivers() -> Drivers:
    return Drivers()


@pytest.fixture
def read_bench(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, drivers: Drivers
) -> Callable[[str | bytes], Testbed]:
    """Reads a testbed from text, as the file ``lab.yaml`` of the working directory."""
    monkeypatch.chdir(tmp_path)

    def read(content: str | bytes) -> Testbed:
        raw = content.encode() if isinstance(content, str) else content
        Path("lab.yaml").write_bytes(raw)
        return load("lab.yaml", drivers)

    return read


@pytest.fixture
def faults_of(read_bench: Callable[[str | bytes], Testbed]) -> Callable[[str | bytes], list[str]]:
    """The faults of a testbed given as text, each less the name of the file."""

    def faults(content: str | bytes) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            read_bench(content)
        assert all(fault.startswith("lab.yaml:") for fault in caught.value.faults)
        return [fault.removeprefix("lab.yaml:") for fault in caught.value.faults]

    return faults
