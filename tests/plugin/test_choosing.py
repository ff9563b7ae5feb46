"""Choosing what is run: by requirement, by scenario, by the time there is."""

from collections.abc import Callable
from typing import Any

import pytest

Bench = Callable[..., Any]

SUITE = """
import pytest
from made import measured

@pytest.mark.requirement("SD-1")
def test_cycle(judge):
    judge.expect(measured(), "SD-1")

@pytest.mark.requirement("AR-1")
def test_pose(judge, targets):
    assert targets["AR-1"].traffic.count == 360_000
    judge.expect(measured(), "AR-1")

def test_of_nothing():
    pass
"""


@pytest.mark.parametrize(
    ("options", "ran"),
    [
        (("--requirement", "SD-1"), {"test_cycle"}),
        (("--scenario", "smart_devices"), {"test_cycle"}),
    ],
)
def test_only_what_was_asked_for_is_run(
    bench: Bench, options: tuple[str, ...], ran: set[str]
) -> None:
    done = bench(SUITE, *options)
    assert done.code == 0, done.text
    assert set(done.junit) == ran
    assert "2 deselected" in done.text


def test_what_the_time_does_not_allow_is_said_and_not_run(bench: Bench) -> None:
    """24 min of AR-1 fit into half an hour, 72 min of SD-1, which comes first, do not."""
    done = bench(SUITE, "--budget", "30 min", plan="full")
    assert "budget 30 min: cannot be shown: SD-1" in done.text
    assert done.finish("test_cycle")["outcome"] == "skipped"
    assert "SD-1 takes 72 min of measuring" in str(done.finish("test_cycle")["detail"])
    assert done.junit["test_cycle"] == "skipped"
    assert done.finish("test_pose")["outcome"] != "skipped"


def test_the_plan_alone_starts_no_run(bench: Bench) -> None:
    done = bench(SUITE, "--plan-only", "--budget", "30 min", plan="full")
    assert done.code == 0, done.text
    assert "Cannot be shown in that time: SD-1 (25 min)." in done.text
    assert "AR-1" in done.text
    assert "MV-1" not in done.text, "no test of the suite judges it"
    assert not done.directory.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--requirement", "SD-11"), "has no requirement SD-11; did you mean 'SD-1'?"),
        (("--scenario", "slicin"), "no scenario 'slicin'; did you mean 'slicing'?"),
        (("--budget", "0 s"), "--budget: nothing can be measured in 0 s"),
        (("--requirement", "MO-1", "--plan-only"), "judges what was asked for"),
    ],
)
def test_what_cannot_be_chosen_is_named(bench: Bench, options: tuple[str, ...], said: str) -> None:
    done = bench(SUITE, *options)
    assert done.code == 2
    assert said in done.text
    assert not done.directory.exists()
