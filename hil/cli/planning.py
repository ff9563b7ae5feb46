"""``hil run --plan-only``: what a run would measure, how long that takes and what it can show."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import pytest

from hil.cli.targets import campaign_words
from hil.drivers.registry import Registry
from hil.errors import UsageError
from hil.targets import Plan, load_profile
from hil.targets.campaign import Campaign, budget_ns, chosen
from hil.testbed import Needs, Testbed, unmet
from hil.verdict import ExitCode

if TYPE_CHECKING:
    from hil.cli.run import Options


class _Collected:
    """Keeps the tests that pytest finds."""

    def __init__(self) -> None:
        self.items: list[pytest.Item] = []

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Takes them over."""
        self.items = list(session.items)


def plan_only(asked: Options, suites: Sequence[str], bench: Testbed) -> int:
    """Prints the campaign of a run and starts nothing, not even the world of the bench.

    Raises: UsageError where a profile, requirement, scenario or budget is none, or where no test
    judges what was asked for.
    """
    profile = load_profile(asked.targets)
    time_ns = budget_ns(asked.budget)
    wanted = set(chosen(profile, asked.requirement, asked.scenario))
    judged: set[str] = set()
    left: list[str] = []
    for item in _collected(suites, asked.extra):
        ids = {str(name) for mark in item.iter_markers("requirement") for name in mark.args}
        if not ids & wanted:
            continue
        stated = [mark.kwargs for mark in item.iter_markers("needs")]
        lacking = [why for each in stated for why in unmet(Needs.of(each), bench, Registry())]
        if lacking:
            left.append(f"not executed here: {item.nodeid}: {'; '.join(lacking)}")
        else:
            judged |= ids
    ids_in_order = [name for name in profile.names() if name in judged]
    if not ids_in_order:
        raise UsageError("no test that this bench can run judges what was asked for")
    within = "" if asked.budget is None else f", within {asked.budget}"
    print(f"profile {profile.name} {profile.version}, plan {asked.plan}{within}, on {bench.name}\n")
    print(campaign_words(Campaign.of(profile, Plan(asked.plan), ids_in_order, time_ns)))
    print("\n".join(left), end="\n" if left else "")
    return ExitCode.OK


def _collected(suites: Sequence[str], extra: Sequence[str]) -> list[pytest.Item]:
    """The tests of the suites, as pytest finds them; none is run."""
    found, said = _Collected(), io.StringIO()
    words = [*suites, "--collect-only", "-q", "-p", "no:cacheprovider", *extra]
    with redirect_stdout(said):
        code = pytest.main(words, plugins=[found])
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.NO_TESTS_COLLECTED):
        print(said.getvalue(), file=sys.stderr)
        raise UsageError("the suites cannot be collected")
    return found.items
