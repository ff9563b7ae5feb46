"""The pytest plugin: options, marks, fixtures, and outcomes in which no verdict gets lost.

It loads with pytest and the standard library alone, and does nothing where no testbed is chosen,
but for skipping the tests that need one.
"""

from __future__ import annotations

import sys

import pytest

from hil.plugin import labels, outcome
from hil.plugin.fixtures import (
    attenuator,
    callbox,
    clock,
    core,
    cpe,
    edge,
    generator,
    judge,
    lab,
    path,
    plc,
    ran,
    supply,
    switch,
    targets,
    testbed,
)
from hil.plugin.options import add_options, chosen_testbed
from hil.plugin.session import SESSION, Session

__all__ = [
    "attenuator",
    "callbox",
    "clock",
    "core",
    "cpe",
    "edge",
    "generator",
    "judge",
    "lab",
    "path",
    "plc",
    "ran",
    "supply",
    "switch",
    "targets",
    "testbed",
]

_MARKS = (
    "requirement(*ids): the requirements of the profile that the test judges",
    "needs(**offers): roles and paths the test needs, as in needs(cpe=1, paths=['device-edge'])",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of a bench run."""
    add_options(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_cmdline_main(config: pytest.Config) -> int | None:
    """Enters the world of a simulated testbed; this process is replaced, once."""
    if chosen_testbed(config) is None:
        return None
    from hil._enter import enter
    from hil.errors import HilError
    from hil.plugin.session import load_testbed

    if getattr(config.option, "numprocesses", None) or getattr(config.option, "tx", None):
        print("hil: one process per testbed: leave out -n and --tx", file=sys.stderr)
        return 2
    try:
        loaded = load_testbed(config)
        if loaded.world is not None:
            enter(loaded.source, [sys.executable, "-m", "pytest", *config.invocation_params.args])
    except HilError as error:
        print(error, file=sys.stderr)
        return 2
    return None


def pytest_configure(config: pytest.Config) -> None:
    """Declares the marks; with a testbed, starts the session's record."""
    for mark in _MARKS:
        config.addinivalue_line("markers", mark)
    if chosen_testbed(config) is None:
        return
    from hil.errors import HilError, UsageError
    from hil.verdict import ExitCode

    try:
        session = Session.start(config)
    except HilError as error:
        usage = isinstance(error, UsageError)
        pytest.exit(str(error), returncode=ExitCode.USAGE if usage else ExitCode.RIG)
    config.stash[SESSION] = session
    config.pluginmanager.register(outcome.Outcomes(session), "hil-outcomes")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Closes what is still open when pytest ends without a session (usage errors)."""
    if session := config.stash.get(SESSION, None):
        session.end()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skips, with one sentence, the tests that need a bench where none is chosen."""
    if SESSION in config.stash:
        return
    reason = "needs a testbed: choose one, as in pytest --testbed virtual"
    for item in items:
        if item.get_closest_marker("requirement") or item.get_closest_marker("needs"):
            item.add_marker(pytest.mark.skip(reason=reason))


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Testbed, plan, profile and run directory, at the top of the run."""
    session = config.stash.get(SESSION, None)
    return session.header() if session else []


def pytest_report_collectionfinish(config: pytest.Config) -> list[str]:
    """What the budget leaves unproven, before the first test."""
    session = config.stash.get(SESSION, None)
    return session.prospects() if session else []


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skips, by name of what is lacking, a test whose needs the bench does not meet."""
    session = item.config.stash.get(SESSION, None)
    if session is not None:
        labels.describe(item)
        session.check_needs(item)
        session.check_budget(labels.requirement_ids(item))
