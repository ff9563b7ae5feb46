"""The fixtures: each a noun of the field, each a view of the session or of its lab."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from hil.plugin.session import SESSION, Session

if TYPE_CHECKING:
    from hil.lab import Lab, Paths
    from hil.plugin.judging import Judge, Targets
    from hil.testbed import Testbed


def _session(request: pytest.FixtureRequest) -> Session:
    session = request.config.stash.get(SESSION, None)
    if session is None:
        pytest.skip("needs a testbed: choose one, as in pytest --testbed virtual")
    return session


@pytest.fixture(scope="session")
def testbed(request: pytest.FixtureRequest) -> Testbed:
    """The validated testbed file."""
    return _session(request).testbed


@pytest.fixture(scope="session")
def lab(request: pytest.FixtureRequest) -> Lab:
    """The live testbed: `lab[NAME]` is any device of it."""
    return _session(request).lab


@pytest.fixture(scope="session")
def targets(request: pytest.FixtureRequest) -> Targets:
    """The requirements of the profile by id, their traffic sized by plan and budget."""
    from hil.plugin.judging import Targets

    return Targets(_session(request))


@pytest.fixture
def path(request: pytest.FixtureRequest) -> Paths:
    """`path(KIND)` is a route of the testbed: device-edge, device-device or device-cloud."""
    from hil.plugin.judging import paths_of

    return paths_of(_session(request))


@pytest.fixture
def judge(request: pytest.FixtureRequest) -> Judge:
    """Judges measurements against requirements; what it says cannot get lost."""
    from hil.plugin.judging import Judge

    return Judge(_session(request), request.node)


def _view(role: str, doc: str) -> Any:
    @pytest.fixture(name=role)
    def view(request: pytest.FixtureRequest) -> Any:
        return _session(request).lab.of_role(role)

    view.__doc__ = doc
    return view


cpe = _view("cpe", "The 5G CPE of the testbed.")
plc = _view("plc", "The PLC of the testbed.")
attenuator = _view("attenuator", "The programmable attenuator of the testbed.")
switch = _view("switch", "The power switch of the testbed.")
callbox = _view("callbox", "The callbox of the testbed.")
supply = _view("supply", "The power supply of the testbed.")
generator = _view("generator", "The traffic generator of the testbed.")
core = _view("core", "The 5G core of the testbed.")
ran = _view("ran", "The radio access network of the testbed.")
edge = _view("edge", "The edge host of the testbed.")
clock = _view("clock", "The clock source of the testbed.")
