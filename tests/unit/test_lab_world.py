"""What the lab hears from the world around it."""

import json
from pathlib import Path

import pytest

from hil.lab import world


def say(directory: Path, **fields: object) -> None:
    (directory / "userplane.json").write_text(json.dumps(fields))


def test_outside_of_any_world_nothing_overran(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HIL_RUN", raising=False)
    assert world.overrun() == 0


def test_frames_that_the_world_had_no_room_for_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIL_RUN", str(tmp_path))
    say(tmp_path, at_ns=100, overrun=7)
    assert world.overrun(100) == 7


def test_a_word_that_is_too_old_is_waited_for_and_then_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIL_RUN", str(tmp_path))
    monkeypatch.setattr(world, "_STATUS_NS", 40)
    say(tmp_path, at_ns=100, overrun=7)
    assert world.overrun(101) == 7
