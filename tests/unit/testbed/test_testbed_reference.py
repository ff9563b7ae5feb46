"""The reference page of the testbed file: its examples run, its tables are complete and true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from hil.document.scalars import resolve
from hil.drivers.registry import Registry
from hil.errors import ConfigError
from hil.testbed import (
    AttenuatorEndpoint,
    CellConfig,
    FaultHook,
    Hooks,
    ModemEndpoint,
    PlcEndpoint,
    PortConfig,
    RadioConfig,
    Route,
    Safety,
    Testbed,
    World,
    load,
)
from hil.testbed.clock import Asymmetry, ClockConfig

_PAGE: Final = Path(__file__).parents[3] / "docs" / "reference" / "testbed-file.md"
_TEXT: Final = _PAGE.read_text("utf-8")
_FENCE: Final = re.compile(r"^```(\w[^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ROW: Final = re.compile(r"^\| `(\w+)` \| (?:`([^`|]+)`|\w*) \|", re.MULTILINE)


def _blocks(kind: str) -> list[str]:
    return [body for found, body in _FENCE.findall(_TEXT) if found == kind]


@pytest.fixture
def lab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return Path("lab.yaml")


@pytest.mark.parametrize("text", _blocks("yaml"))
def test_every_example_is_a_testbed(lab: Path, text: str) -> None:
    lab.write_text(text, "utf-8")
    assert load(lab, Registry()).name in text


def test_the_wrong_example_is_refused_with_the_words_on_the_page(lab: Path) -> None:
    (wrong,), (said,) = _blocks("yaml wrong"), _blocks("text")
    lab.write_text(wrong, "utf-8")
    with pytest.raises(ConfigError) as caught:
        load(lab, Registry())
    assert str(caught.value) == said.rstrip("\n")


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        yield field.alias or name, field


def _keys(model: type[BaseModel]) -> set[str]:
    return {key for key, _ in _fields(model)}


@pytest.mark.parametrize(
    "model", [Testbed, PortConfig, Route, ClockConfig, Asymmetry, Safety, Hooks, FaultHook, World]
)
def test_every_key_is_on_the_page(model: type[BaseModel]) -> None:
    known = set(re.findall(r"`([a-z_]+)`", _TEXT))
    assert _keys(model) - {"name"} <= known


@pytest.mark.parametrize(
    ("heading", "model", "needed"),
    [
        ("### world.cell", CellConfig, {}),
        ("### world.radio", RadioConfig, {}),
        ("`modem`:", ModemEndpoint, {"kind": "modem", "link": "a", "imsi": "0" * 15, "lan": "b"}),
        ("`plc`:", PlcEndpoint, {"kind": "plc", "behind": "a", "address": "192.0.2.1/24"}),
        (
            "`attenuator`:",
            AttenuatorEndpoint,
            {"kind": "attenuator", "listen": "127.0.0.1:1", "acts_on": ("a",)},
        ),
    ],
)
def test_tables_name_every_key_with_its_default(
    heading: str, model: type[BaseModel], needed: dict[str, Any]
) -> None:
    section = _TEXT.split(f"\n{heading}", 1)[1]
    rows = dict(_ROW.findall(re.split(r"\n#|\n`", section, maxsplit=1)[0]))
    assert set(rows) == _keys(model) - {"kind"}
    written = {
        key: text.strip('"') if text.startswith('"') else resolve(text)
        for key, text in rows.items()
        if text
    }
    assert model.model_validate(needed | written) == model.model_validate(needed)
    optional = {key for key, field in _fields(model) if field.default is not None}
    assert set(written) == optional - set(needed)
