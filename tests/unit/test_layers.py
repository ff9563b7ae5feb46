"""The rooms of the house and the direction of its imports."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (
    {"errors"},
    {"units", "clock", "verdict", "_enter"},
    {"stats", "document"},
    {"samples"},
    {"targets"},
    {"judge"},
    {"testbed", "wire", "record"},
    {"traffic", "drivers", "virtual"},
    {"lab", "report"},
    {"plugin", "cli"},
)
LEVEL = {room: level for level, rooms in enumerate(LINES) for room in rooms}
STDLIB_ONLY = LINES[0] | LINES[1]


def imported(path: Path) -> set[str]:
    """The dotted names a file imports, inside functions and under TYPE_CHECKING too."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute here"
            assert node.module is not None
            if node.module == "hil":
                names |= {f"hil.{alias.name}" for alias in node.names if alias.name in LEVEL}
            else:
                names.add(node.module)
    return names


def room_of(path: Path) -> str:
    parts = path.relative_to(ROOT / "hil").parts
    room = parts[0].removesuffix(".py")
    return "cli" if room == "__main__" else room


MODULES = sorted((ROOT / "hil").rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_down_only(path: Path) -> None:
    room = room_of(path)
    if room == "__init__":
        return
    for name in imported(path):
        if not name.startswith("hil."):
            continue
        other = name.split(".")[1]
        assert other == room or LEVEL[other] < LEVEL[room], f"{room} may not import {name}"


def test_every_room_has_its_place() -> None:
    assert {room_of(path) for path in MODULES} - {"__init__"} == set(LEVEL)


@pytest.mark.parametrize("room", sorted(STDLIB_ONLY))
def test_the_lowest_line_needs_the_standard_library_alone(room: str) -> None:
    import sys

    path = ROOT / "hil" / f"{room}.py"
    foreign = {
        name
        for name in imported(path)
        if name.split(".")[0] not in sys.stdlib_module_names and not name.startswith("hil")
    }
    assert not foreign


@pytest.mark.parametrize("path", sorted((ROOT / "suites").rglob("*.py")), ids=lambda p: p.name)
def test_suites_import_only_hil(path: Path) -> None:
    ours = {name for name in imported(path) if name.startswith("hil.")}
    assert not ours, "a suite imports `hil` itself, none of its rooms"


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_no_room_grows_into_a_hall(path: Path) -> None:
    assert len(path.read_text("utf-8").splitlines()) <= 500
