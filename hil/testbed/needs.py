"""What a suite needs of a bench, and what of it a bench does not offer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, get_args

from hil.document import nearest
from hil.errors import UsageError
from hil.testbed.models import PathKind, Testbed

ROLES: Final = frozenset(
    {
        "attenuator",
        "callbox",
        "clock",
        "core",
        "cpe",
        "edge",
        "generator",
        "instrument",
        "plc",
        "ran",
        "supply",
        "switch",
        "tap",
    }
)
"""What a device can be to a suite."""


class Roles(Protocol):
    """Who knows the role of a driver."""

    def role(self, driver: str) -> str:
        """The role of the devices of a driver: one of `ROLES`."""


@dataclass(frozen=True, slots=True)
class Needs:
    """How many devices of each role, and which kinds of path, a suite needs."""

    roles: Mapping[str, int] = field(default_factory=dict)
    paths: tuple[str, ...] = ()

    @classmethod
    def of(cls, stated: Mapping[str, Any]) -> Needs:
        """The needs as a mark states them: ``needs(cpe=1, plc=1, paths=["device-edge"])``.

        Raises:
            UsageError: A role or a kind of path that there is not, or a count that is none.
        """
        paths = stated.get("paths", ())
        paths = (paths,) if isinstance(paths, str) else tuple(paths)
        for kind in paths:
            if kind not in get_args(PathKind):
                raise UsageError(
                    f"needs: unknown path {kind!r}; {nearest(kind, get_args(PathKind))}"
                )
        roles = {name: count for name, count in stated.items() if name != "paths"}
        for role, count in roles.items():
            if role not in ROLES:
                raise UsageError(f"needs: unknown role {role!r}; {nearest(role, ROLES)}")
            if type(count) is not int or count < 0:
                raise UsageError(f"needs: {role} wants a whole number, as in 1; got {count!r}")
        return cls(roles, paths)


def unmet(needs: Needs, testbed: Testbed, drivers: Roles) -> list[str]:
    """One sentence for each need that the testbed does not meet; empty where it meets all."""
    offered = Counter(drivers.role(device.driver) for device in testbed.devices.values())
    short = [
        f"needs {count} {role}, testbed {testbed.name!r} has {offered[role]}"
        for role, count in needs.roles.items()
        if offered[role] < count
    ]
    lacking = [
        f"needs a {kind} path, testbed {testbed.name!r} has none"
        for kind in needs.paths
        if not any(testbed.paths.get(known) for known in testbed.paths if known == kind)
    ]
    return short + lacking
