"""The command-line options of the plugin, and what was chosen with them."""

from __future__ import annotations

import os

import pytest

#: Options with which pytest only answers a question, as an IDE does on each change of a file.
_ASKING = (
    "help", "version", "collectonly", "showfixtures", "show_fixtures_per_test", "markers",
)  # fmt: skip

#: `hil run` hands its run directory to the pytest it starts through this variable.
RUN_DIRECTORY = "HIL_RUN_DIRECTORY"


def add_options(parser: pytest.Parser) -> None:
    """The option group `hil`."""
    group = parser.getgroup("hil", "bench runs")
    group.addoption(
        "--testbed",
        metavar="NAME",
        help="testbed file, or the name of one in ./testbeds or among the shipped ones",
    )
    group.addoption(
        "--plan",
        choices=("smoke", "full", "soak"),
        default="smoke",
        help="how much to measure: smoke shows plumbing, full shows the targets (default: smoke)",
    )
    group.addoption(
        "--targets",
        metavar="PROFILE",
        default="5gdn",
        help="profile file, or the name of a shipped one (default: 5gdn)",
    )
    group.addoption(
        "--scenario",
        metavar="NAME",
        action="append",
        default=[],
        help="only tests of this scenario of the profile, as in machine_vision; repeatable",
    )
    group.addoption(
        "--requirement",
        metavar="ID",
        action="append",
        default=[],
        help="only tests that judge this requirement, as in SD-1; repeatable",
    )
    group.addoption(
        "--budget",
        metavar="TIME",
        help="measure for no longer than this, as in '2 h'; what is dropped is said",
    )
    group.addoption(
        "--out", metavar="DIR", default="out", help="where run directories go (default: out)"
    )


def chosen_testbed(config: pytest.Config) -> str | None:
    """The testbed to run on; None where there is none, or where nothing is to be run."""
    if any(getattr(config.option, name, False) for name in _ASKING):
        return None
    chosen: str | None = config.getoption("--testbed", None)
    return chosen


def handed_run_directory() -> str | None:
    """The run directory made by `hil run`, None where pytest was started by itself.

    It is for this process: a pytest that a test starts has a run of its own.
    """
    return os.environ.pop(RUN_DIRECTORY, None)
