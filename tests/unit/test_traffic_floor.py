"""A stored floor is used for exactly the ports, kernel and settings it was taken with."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.traffic import floor
from hil.traffic.port import Port

LOOPBACK = Port(
    name="here",
    interface="lo",
    namespace=None,
    kind="ethernet",
    mac=bytes(6),
    mtu=65_536,
    addresses=(),
)
THERE = replace(LOOPBACK, name="there")
AT_NS = 1_764_000_000_000_000_000


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return floor.keep(LOOPBACK, THERE, np.array([900, 700, 800]), size=128, at_ns=AT_NS)


def test_a_floor_is_found_again_sorted_with_its_history(kept: Path, tmp_path: Path) -> None:
    assert kept.is_relative_to(tmp_path / "hil" / "floors")
    found = floor.stored(LOOPBACK, THERE)
    assert found is not None
    assert found.floor_ns.tolist() == [700, 800, 900]
    for word in ("these very ports", "2025-11-24", "128 B", "3 packets", "800 ns"):
        assert word in found.words


@pytest.mark.usefixtures("kept")
def test_other_ports_have_no_floor() -> None:
    assert floor.stored(LOOPBACK, replace(LOOPBACK, interface="eth7")) is None


def _set(*path: str, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(fields: dict[str, Any]) -> None:
        for key in path[:-1]:
            fields = fields[key]
        fields[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (_set("tx", "kernel", to="5.10.0"), "kernel of here was 5.10.0"),
        (_set("rx", "mac", to="02:00:00:00:00:01"), "mac of there"),
        (_set("rx", "mtu", to=9000), "mtu of there was 9000 and is 65536"),
        (_set("tx", "rx_usecs", to=3), "rx_usecs of here"),
        (_set("tx", "offloads", "gro", to=7), "offload gro of here"),
        (_set("rx", "driver", to="veth"), "no interrupt, no coalescing and no wire"),
        (_set("schema", to=99), "cannot be read (schema 99)"),
        (_set("floor_ns", to=[]), "no magnitudes"),
        (_set("floor_ns", to=["fast"]), "cannot be read"),
        (_set("tx", to=None), "cannot be read"),
    ],
)
def test_what_changed_since_refuses_it_and_is_named(
    kept: Path, change: Callable[[dict[str, Any]], None], word: str
) -> None:
    fields = json.loads(kept.read_text())
    change(fields)
    kept.write_text(json.dumps(fields))
    found = floor.stored(LOOPBACK, THERE)
    assert found is not None
    assert found.floor_ns.size == 0
    assert "refused" in found.words
    assert word in found.words


def test_a_torn_file_is_refused(kept: Path) -> None:
    kept.write_text(kept.read_text()[:40])
    found = floor.stored(LOOPBACK, THERE)
    assert found is not None
    assert "cannot be read" in found.words
