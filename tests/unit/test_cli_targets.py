"""`hil targets`: figures that a planner relies on, as they are printed."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.cli import targets
from hil.errors import UsageError
from hil.targets import load_profile

Capture = pytest.CaptureFixture[str]


def lines(captured: Capture) -> list[str]:
    out, err = captured.readouterr()
    assert not err
    return out.splitlines()


def test_the_list_has_every_requirement_with_its_times(capsys: Capture) -> None:
    assert targets.listed("5gdn") == 0
    found = {line.split()[0]: line for line in lines(capsys) if line[:1].isupper()}
    for requirement in load_profile().requirements:
        assert found[requirement.id].endswith(requirement.title)
    assert "10 s    72 min" in found["SD-1"]


def test_all_that_is_said_of_a_requirement_is_shown(capsys: Capture) -> None:
    assert targets.show("SD-2", "5gdn") == 0
    text = "\n".join(lines(capsys))
    requirement = load_profile()["SD-2"]
    for target in requirement.targets:
        assert target.id in text
        assert target.note in text
    assert "255 B each 10 ms (204 kbit/s each way), device-edge, uplink and downlink" in text
    assert "Release 17; memory" in text
    assert "owner     hil profile" in text


def test_a_target_is_explained_with_its_rule_and_its_prospects(capsys: Capture) -> None:
    assert targets.explain("SD-1", "5gdn") == 0
    text = "\n".join(lines(capsys))
    assert "counts are divided by at least 5" in text
    assert "smoke: 1,000 packets, 10 s; if nothing fails it shows 98.5 %" in text
    assert "the target itself needs 149,780 packets (25 min)" in text
    targets.explain("SD-2d", "5gdn")
    assert "SD-2a" not in capsys.readouterr().out


@pytest.mark.parametrize("id", [r.id for r in load_profile().requirements])
def test_every_requirement_can_be_shown_and_explained(id: str, capsys: Capture) -> None:
    assert targets.show(id, "5gdn") == 0
    assert targets.explain(id, "5gdn") == 0
    text = capsys.readouterr().out
    assert "None" not in text
    assert text.count("PASS: ") == len(load_profile()[id].targets)


def test_the_plan_says_what_a_night_cannot_show(capsys: Capture) -> None:
    assert targets.plan([], "5gdn", "full", "2 h") == 0
    *_, last = lines(capsys)
    assert last.startswith("Cannot be shown in that time: ")
    assert "MV-1 (74.9 min)" in last
    assert "SD-1" not in last
    assert targets.plan(["SD-1", "SD-2"], "5gdn", "full", "2 h") == 0
    assert lines(capsys)[-1] == "Cannot be shown in that time: nothing."


def test_a_profile_of_ones_own_is_read(tmp_path: Path, capsys: Capture) -> None:
    origin = load_profile().origin
    assert origin is not None
    mine = tmp_path / "mine.yaml"
    mine.write_text(origin.read_text("utf-8").replace("share: 0.9999\n", "share: 0.99\n", 1))
    assert targets.explain("SD-1", str(mine)) == 0
    assert "SD-1  at least 99 % within 10 ms" in capsys.readouterr().out


def test_what_is_not_there_is_named() -> None:
    with pytest.raises(UsageError, match="has no target SD-1b; it has SD-1"):
        targets.explain("SD-1b", "5gdn")
    with pytest.raises(UsageError, match="choose one of smoke, full, soak"):
        targets.plan([], "5gdn", "long", None)
    with pytest.raises(UsageError, match="--budget: a duration needs a number and a unit"):
        targets.plan([], "5gdn", "full", "2")
