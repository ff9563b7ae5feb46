"""The libraries: figures as in the standards, each saying how sure it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.cli.library import library
from hil.document import load
from hil.errors import ConfigError, UsageError
from hil.targets import WithinTarget, load_profile
from hil.targets.library import MODELS, FiveQi, Service, load_library, where


def five_qi(value: int) -> FiveQi:
    rows = {row.fiveqi: row for row in load_library("5qi").rows if isinstance(row, FiveQi)}
    return rows[value]


def service(id: str) -> Service:
    rows = {row.id: row for row in load_library("ts22104").rows if isinstance(row, Service)}
    return rows[id]


def test_the_5qi_table_is_whole() -> None:
    rows = [row for row in load_library("5qi").rows if isinstance(row, FiveQi)]
    values = [row.fiveqi for row in rows]
    assert len(values) == len(set(values))
    guaranteed = {*range(1, 5), 65, 66, 67, *range(71, 77)}
    rest = {*range(5, 11), 69, 70, 79, 80}
    critical = {*range(82, 91)}
    assert set(values) == guaranteed | rest | critical
    for row in rows:
        assert (row.resource == "GBR") == (row.fiveqi in guaranteed)
        assert (row.mdbv_bytes is not None) == (row.fiveqi in critical)
        assert (row.window_ns is None) == (row.fiveqi in rest)


def test_known_figures_of_discrete_automation() -> None:
    row = five_qi(82)
    assert (row.pdb_ns, row.per, row.mdbv_bytes, row.priority) == (10_000_000, 1e-4, 255, 19)
    assert row.origin("pdb").status == "found"
    assert row.origin("core").status == "memory"


def test_the_profile_keeps_to_the_library() -> None:
    """The bound of cyclic control is that of its 5QI, its access budget that less the core's."""
    requirement, row = load_profile()["SD-1"], five_qi(82)
    target = requirement.targets[0]
    assert isinstance(target, WithinTarget)
    assert target.limit_ns == row.pdb_ns
    assert target.share == pytest.approx(1 - row.per)
    assert requirement.traffic is not None
    qos = requirement.traffic.qos
    assert qos is not None
    assert (qos.fiveqi, qos.an_pdb_ns) == (82, row.pdb_ns - (row.core_ns or 0))


def test_the_tables_of_ts_22_104_are_there() -> None:
    ids = {row.id for row in load_library("ts22104").rows if isinstance(row, Service)}
    assert ids >= {f"P{i:02}" for i in range(1, 24)} | {f"A{i:02}" for i in range(1, 9)}
    panel, reality = service("P07"), service("A05")
    assert (panel.interval_ns, panel.interval_to_ns) == (4_000_000, 8_000_000)
    assert (panel.size_bytes, panel.size_to_bytes) == (40, 250)
    assert panel.availability_to == pytest.approx(0.99999999)
    assert (reality.availability, reality.latency_ns) == (0.999, 10_000_000)
    assert (panel.status, reality.status) == ("memory", "found")
    assert service("P01").origin("interval").status == "found"


@pytest.mark.parametrize("name", MODELS)
def test_every_library_prints_each_row_with_its_status(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert library(name) == 0
    text = capsys.readouterr().out
    loaded = load_library(name)
    table = text.split("\n\n")[1].splitlines()
    assert len(table) == 1 + len(loaded.rows)
    for line, row in zip(table[1:], loaded.rows, strict=True):
        assert f"{row.status}  " in line
        assert line.endswith(row.use)
    assert "memory: from memory of the standard" in text


def test_all_libraries_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert library(None) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == list(MODELS)
    with pytest.raises(UsageError, match="no library 'ts22105'"):
        library("ts22105")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("    source: satellite\n", "    source: stars\n", "no source 'stars'"),
        ("    source: satellite\n", "    source: core\n", "source core is memory"),
        ("    core: 1 ms\n", "", "the row has no such figure"),
        ("    pdb: 10 ms\n", "    pdb: 10\n", "needs a number and a unit"),
        ("    status: found\n    source: table\n", "    status: sure\n", "status"),
    ],
)
def test_a_figure_without_a_sound_source_is_refused(
    tmp_path: Path, old: str, new: str, says: str
) -> None:
    text = where("5qi").read_text("utf-8")
    assert old in text
    mine = tmp_path / "5qi.yaml"
    mine.write_text(text.replace(old, new, 1), "utf-8")
    with pytest.raises(ConfigError) as refused:
        load(mine, MODELS["5qi"])
    assert any(says in fault for fault in refused.value.faults), refused.value.faults
