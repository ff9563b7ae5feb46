"""Drivers are found by entry point; one whose modules are missing is still known by name."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from hil.drivers.modem_at import ModemAt
from hil.drivers.registry import GROUP, Registry
from hil.errors import UsageError

ROOT = Path(__file__).parents[2]


def registry(*points: tuple[str, str]) -> Registry:
    return Registry([EntryPoint(name, value, GROUP) for name, value in points])


MODEM = ("modem_at", "hil.drivers.modem_at:ModemAt")


def test_finds_and_creates_a_driver() -> None:
    found = registry(MODEM)
    assert found.names() == ("modem_at",)
    assert found.role("modem_at") == "cpe"
    assert found.missing_extra("modem_at") is None
    config = found.config("modem_at").model_validate({"driver": "modem_at", "port": "/dev/x"})
    device = found.create("cpe1", config)
    assert isinstance(device, ModemAt)
    assert device.name == "cpe1"


def test_an_unknown_driver_is_told_with_those_there_are() -> None:
    with pytest.raises(UsageError, match="no driver 'modem'; installed are modem_at"):
        registry(MODEM).config("modem")


def test_a_driver_that_cannot_be_imported_names_its_extra() -> None:
    found = registry(("plc_s7", "no.such.module:Plc [s7]"), MODEM)
    assert found.names() == ("modem_at", "plc_s7")
    assert found.missing_extra("plc_s7") == "s7"
    with pytest.raises(UsageError, match=r"needs pip install 'hil\[s7\]'"):
        found.config("plc_s7")


def test_a_driver_whose_library_is_missing_names_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = "class Driver:\n    requires = ('no_such_library',)\n    extra = 'lab'\n"
    (tmp_path / "driver_of_a_test.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    found = registry(("third", "driver_of_a_test:Driver"))
    assert found.missing_extra("third") == "lab"
    del sys.modules["driver_of_a_test"]


def test_reading_a_testbed_imports_no_device_library() -> None:
    import subprocess

    script = (
        "import sys, tomllib\n"
        "from importlib import import_module\n"
        "project = tomllib.load(open('pyproject.toml', 'rb'))['project']\n"
        "for each in project['entry-points']['hil.drivers'].values():\n"
        "    import_module(each.partition(':')[0])\n"
        "libraries = {'serial', 'pymodbus', 'pyvisa', 'snap7', 'pysnmp', 'numpy'}\n"
        "print(libraries & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "set()"
