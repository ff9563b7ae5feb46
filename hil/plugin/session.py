"""What one bench run knows: its testbed, profile and plan, its record, its lab."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from hil._enter import die_with_parent
from hil.plugin.circumstances import Circumstances
from hil.plugin.options import chosen_testbed, handed_run_directory
from hil.plugin.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from hil.judge import Judgement
    from hil.lab import Lab
    from hil.plugin.journal import Journal
    from hil.record import RunDirectory
    from hil.record.schema import EventCategory
    from hil.samples.autopsy import Autopsy
    from hil.samples.measurement import Measurement
    from hil.targets import Plan, Profile, Requirement
    from hil.targets.campaign import Campaign
    from hil.testbed import Testbed

_HOUR_NS: Final = 3_600_000_000_000

SESSION: pytest.StashKey[Session] = pytest.StashKey()
_TESTBED: pytest.StashKey[Testbed] = pytest.StashKey()


def load_testbed(config: pytest.Config) -> Testbed:
    """The chosen testbed, read once; ConfigError with every fault of the file."""
    if (known := config.stash.get(_TESTBED, None)) is not None:
        return known
    from hil.drivers.registry import Registry
    from hil.testbed import load

    name = chosen_testbed(config)
    assert name is not None
    config.stash[_TESTBED] = load(name, Registry())
    return config.stash[_TESTBED]


@dataclass(slots=True)
class Session:
    """One bench run. `judgements` holds what was judged, by node id of the test."""

    testbed: Testbed
    profile: Profile
    plan: Plan
    #: Ids of the requirements that were asked for.
    chosen: tuple[str, ...]
    campaign: Campaign
    directory: RunDirectory
    journal: Journal
    progress: Progress
    #: True where `hil run` started this pytest and builds the reports itself.
    hosted: bool
    item: pytest.Item | None = None
    judgements: dict[str, list[Judgement]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    circumstances: Circumstances = field(default_factory=Circumstances)
    _lab: Lab | None = None
    _ended: bool = False

    @classmethod
    def start(cls, config: pytest.Config) -> Session:
        """Loads testbed and profile, opens the run directory and its record.

        Raises: ConfigError or UsageError before anything is started.
        """
        from hil.plugin.journal import Journal
        from hil.record import RunDirectory
        from hil.targets import Plan, load_profile
        from hil.targets.campaign import Campaign, budget_ns, chosen

        handed = handed_run_directory()
        if handed:
            # Without `hil run` nobody reads the outcome: come home as after a Ctrl-C.
            die_with_parent(os.getppid(), signal.SIGTERM)
        testbed = load_testbed(config)
        profile = load_profile(config.option.targets)
        plan = Plan(config.option.plan)
        time_ns = budget_ns(config.option.budget)
        asked = chosen(profile, config.option.requirement, config.option.scenario)
        directory = (
            RunDirectory(Path(handed)) if handed else RunDirectory.create(Path(config.option.out))
        )
        journal = Journal(directory)
        journal.begin(
            testbed=testbed,
            profile=profile,
            plan=plan,
            argv=[sys.executable, "-m", "pytest", *config.invocation_params.args],
        )
        return cls(
            testbed=testbed,
            profile=profile,
            plan=plan,
            chosen=asked,
            campaign=Campaign.of(profile, plan, asked, time_ns),
            directory=directory,
            journal=journal,
            progress=Progress.of(config),
            hosted=handed is not None,
        )

    @property
    def nodeid(self) -> str:
        """The running test, empty between tests."""
        return self.item.nodeid if self.item is not None else ""

    @property
    def lab(self) -> Lab:
        """The live testbed; devices open when they are first asked for."""
        if self._lab is None:
            from hil.drivers.registry import Registry
            from hil.lab import Lab

            self._lab = Lab(self.testbed, Registry(), self._device_action, self._fault_injected)
        return self._lab

    def set_out(self, requirements: Sequence[str]) -> None:
        """Plans for the requirements that the collected tests judge: no others get any time."""
        from hil.targets.campaign import Campaign

        known = [name for name in self.profile.names() if name in requirements]
        self.campaign = Campaign.of(self.profile, self.plan, known, self.campaign.budget_ns)

    def planned(self, name: str) -> Requirement:
        """A requirement with the count that is measured of it.

        Raises: UsageError when the profile has none of that id.
        """
        requirement = self.profile[name]
        count = self.campaign.count(name)
        return requirement.planned(self.plan.packets(requirement) if count is None else count)

    def check_budget(self, requirements: Sequence[str]) -> None:
        """Skips a test for one of whose requirements there is no time, saying how much it takes."""
        from hil.judge.wording import lasting

        for name in requirements:
            if self.campaign.count(name) == 0:
                hours = self.campaign.duration_ns(name) / _HOUR_NS
                pytest.skip(
                    f"not executed: {name} takes {lasting(hours)} of measuring, for which the "
                    f"budget has no time left"
                )

    def check_needs(self, item: pytest.Item) -> None:
        """Skips a test whose needs the bench does not meet, saying which.

        Raises: RigError when the bench is not fit to be measured.
        """
        from hil.drivers.registry import Registry
        from hil.testbed import Needs, unmet

        self.lab.check()
        for mark in item.iter_markers("needs"):
            if reasons := unmet(Needs.of(mark.kwargs), self.testbed, Registry()):
                pytest.skip("not executed: " + "; ".join(reasons))

    def keep(self, measurement: Measurement) -> None:
        """Puts a measurement on record, once, with its samples beside it."""
        if measurement.id in self.kept:
            return
        self.kept.add(measurement.id)
        self.circumstances.measured(measurement)
        from hil.samples import floor, store

        file = self.directory.samples / f"{measurement.id}.parquet"
        if not file.exists():
            store.write(file, measurement.samples, floor.packed(measurement.budget.floor_ns))
        self.journal.measurement(self.nodeid, measurement, file)

    def autopsy(self, judgement: Judgement, measurement: Measurement) -> Autopsy | None:
        """Why packets of a judged flow were late; None where none was."""
        return self.circumstances.autopsy(judgement, measurement, self._lab)

    def _device_action(self, device: str, text: str) -> None:
        from hil.record.schema import EventCategory

        self.journal.event(EventCategory.DEVICE, text, nodeid=self.nodeid, device=device)

    def _fault_injected(self, name: str, text: str) -> None:
        from hil.record.schema import EventCategory

        self.circumstances.fault(f"{name}: {text}")
        self._event(EventCategory.FAULT_INJECTED, f"{name}: {text}")

    def rig_fault(self, text: str) -> None:
        """Writes down a fault of the rig that is not how a test ended."""
        from hil.record.schema import EventCategory

        self._event(EventCategory.RIG_FAULT, text)

    def note(self, text: str) -> None:
        """Writes down what explains the rest and changes no verdict."""
        from hil.record.schema import EventCategory

        self._event(EventCategory.NOTE, text)

    def _event(self, category: EventCategory, text: str) -> None:
        from hil.errors import RigError

        try:
            self.journal.event(category, text, nodeid=self.nodeid)
        except RigError as fault:  # a full disk: said at least to whoever looks on
            self.progress.done(f"{text} ({fault})")

    def close_lab(self, *, abnormal: bool) -> None:
        """Restores each device as found, or, after an abnormal end, drives it to its safe state."""
        if self._lab is not None:
            lab, self._lab = self._lab, None
            lab.close(abnormal=abnormal)

    def end(self) -> None:
        """Closes what is open; safe to call twice."""
        if not self._ended:
            self._ended = True
            try:
                self.close_lab(abnormal=True)
            finally:
                self.journal.close()

    def header(self) -> list[str]:
        """The lines at the top of a run."""
        simulated = " (SIMULATED)" if self.testbed.world is not None else ""
        return [
            f"testbed: {self.testbed.name}{simulated}, {self.testbed.source}",
            f"plan: {self.plan.value}; profile: {self.profile.name} {self.profile.version}",
            f"run directory: {self.directory.path}",
        ]

    def prospects(self) -> list[str]:
        """What the budget leaves unproven, known before the first packet; empty without one."""
        from hil.judge.wording import lasting

        if self.campaign.budget_ns is None:
            return []
        left = ", ".join(seen.target for seen in self.campaign.unproven) or "nothing"
        return [f"budget {lasting(self.campaign.budget_ns / _HOUR_NS)}: cannot be shown: {left}"]
