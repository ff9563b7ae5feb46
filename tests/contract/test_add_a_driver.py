"""The driver of docs/how-to/add-a-driver.md, installed as a package of its own and held to it."""

from __future__ import annotations

import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.attenuator_scpi import AttenuatorConfig, Commands
from hil.drivers.modbus_tags import TagConfig
from hil.drivers.modem_at import ModemConfig
from hil.drivers.plc_modbus import PlcConfig
from hil.drivers.protocols import Attenuator, Health
from hil.drivers.registry import GROUP, Registry
from hil.errors import ConnectFailed, ConnectionLost, DeviceError, DriverTimeout, UnsafeOperation
from hil.testbed import load

DOCS = Path(__file__).parents[2] / "docs"
PAGE = (DOCS / "how-to" / "add-a-driver.md").read_text("utf-8")


def block(language: str) -> str:
    found = re.findall(rf"```{language}\n(.*?)```", PAGE, re.S)
    assert len(found) == 1
    return str(found[0])


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Registry]:
    """The page's package, as an installer would leave it on the path."""
    points = tomllib.loads(block("toml"))["project"]["entry-points"][GROUP]
    (tmp_path / "attenuator_plain.py").write_text(block("python"))
    metadata = tmp_path / "attenuator_plain-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: attenuator-plain\nVersion: 1\n"
    )
    lines = [f"[{GROUP}]", *(f"{name} = {value}" for name, value in points.items())]
    (metadata / "entry_points.txt").write_text("\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield Registry()
    sys.modules.pop("attenuator_plain", None)


def test_the_pages_testbed_is_valid(installed: Registry, tmp_path: Path) -> None:
    path = tmp_path / "lab.yaml"
    path.write_text(f"schema: 1\nname: lab\n{block('yaml')}")
    config: Any = load(path, installed).devices["att1"]
    assert (config.host, config.port, config.max_db) == ("192.0.2.7", 5025, 60)
    assert installed.role("attenuator_plain") == "attenuator"


def test_the_pages_driver_keeps_the_contract(installed: Registry, attenuator_bench: Any) -> None:
    relay = attenuator_bench.relay
    fields = {"host": "127.0.0.1", "port": relay.port, "max": "90 dB", "limit": "500 ms"}
    model = installed.config("attenuator_plain")
    driver: Any = installed.create(
        "att1", model.model_validate({"driver": "attenuator_plain", **fields})
    )
    assert isinstance(driver, Attenuator)
    relay.hold()
    with pytest.raises(ConnectFailed):
        driver.open()
    relay.release()
    driver.open()
    assert driver.set_db(1, 20) == 20
    with pytest.raises(UnsafeOperation):
        driver.set_db(1, 91)
    with pytest.raises(DeviceError) as refused:
        driver.set_db(1, 75)
    assert (refused.value.code, refused.value.text) == (-222, "Data out of range")
    relay.hold()
    with pytest.raises(DriverTimeout):
        driver.identify()
    relay.release()
    assert driver.get_db(1) == 20, "a late answer was taken for this one"
    relay.cut()
    with pytest.raises(ConnectionLost):
        driver.get_db(1)
    assert driver.health().status is Health.DEAD
    relay.mend()
    driver.restore({"1": 5.0})
    assert driver.snapshot() == {"1": 5.0}
    driver.close()
    driver.close()


@pytest.mark.parametrize(
    ("model", "heading"),
    [
        (ModemConfig, "key"),
        (PlcConfig, "key"),
        (TagConfig, "key of a tag"),
        (AttenuatorConfig, "key"),
        (Commands, "key of `commands`"),
    ],
)
def test_the_reference_lists_every_key(model: Any, heading: str) -> None:
    page = (DOCS / "reference" / "drivers.md").read_text("utf-8")
    tables = re.findall(rf"^\| {re.escape(heading)} \|.*\n\|[-|]+\n((?:\|.*\n)+)", page, re.M)
    listed = [re.findall(r"^\| `(\w+)` \|", table, re.M) for table in tables]
    keys = [field.alias or name for name, field in model.model_fields.items() if name != "driver"]
    assert sorted(keys) in [sorted(table) for table in listed]
