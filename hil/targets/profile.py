"""A profile: the requirements of one acceptance, each figure with its source and its owner."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, PrivateAttr

from hil.document import Document, Fault, Model, read
from hil.errors import ConfigError, UsageError
from hil.targets.requirement import Requirement

SHIPPED: Final = Path(__file__).parent / "profiles"

Status = Literal["found", "memory", "project"]
"""found: read in a public source; memory: from memory of the named standard; project: a choice."""


class Source(Model):
    """Where a figure comes from."""

    title: Annotated[str, Field(min_length=1)]
    """The document, with clause or table."""

    version: Annotated[str, Field(min_length=1)]
    """Its version, or what stands for one: figures change between versions."""

    status: Status
    """How sure the figure is."""

    owner: str | None = None
    """Who answers for a figure that is a choice or was not read in the source itself."""


class Profile(Model):
    """The requirements of one acceptance."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    """Version of this file format."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    """As chosen by --targets."""

    version: Annotated[str, Field(min_length=1)]
    """Version of the figures."""

    title: Annotated[str, Field(min_length=1)]
    """What is accepted by it."""

    sources: Mapping[str, Source]
    """Every source, under the key that targets name."""

    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]
    """What is promised."""

    _origin: Path | None = PrivateAttr(default=None)

    @property
    def origin(self) -> Path | None:
        """The file it was read from."""
        return self._origin

    def get(self, id: str) -> Requirement | None:
        """The requirement of that id, None where there is none."""
        return next((each for each in self.requirements if each.id == id), None)

    def names(self) -> tuple[str, ...]:
        """The ids of all requirements."""
        return tuple(each.id for each in self.requirements)

    def __getitem__(self, id: str) -> Requirement:
        found = self.get(id)
        if found is None:
            raise UsageError(
                f"profile {self.name} has no requirement {id}; it has {', '.join(self.names())}"
            )
        return found


def shipped() -> tuple[str, ...]:
    """Names of the profiles that come with `hil`."""
    return tuple(sorted(path.stem for path in SHIPPED.glob("*.yaml")))


def load_profile(name: str = "5gdn", *, strict: bool = True) -> Profile:
    """Reads a profile.

    Args:
        name: a file, or the name of a shipped profile.
        strict: refuse a figure that is a choice, or was not read in its source, without an owner.

    Raises:
        ConfigError: with every fault of the file.
        UsageError: there is no such profile.
    """
    path = _find(name)
    document = read(path)
    faults: list[Fault] = list(document.faults)
    profile = document.check(Profile, faults, context={"directory": path.parent})
    if profile is not None:
        faults += _cross_faults(profile, document, strict=strict)
    if faults or profile is None:
        raise ConfigError(faults)
    profile._origin = path
    return profile


def _find(name: str) -> Path:
    if name in shipped():
        return SHIPPED / f"{name}.yaml"
    if (path := Path(name)).is_file():
        return path
    raise UsageError(
        f"no profile {name!r}: give a file, or one of the shipped ones: {', '.join(shipped())}"
    )


def _cross_faults(profile: Profile, document: Document, *, strict: bool) -> Sequence[Fault]:
    faults: list[Fault] = []
    seen: set[str] = set()
    for i, requirement in enumerate(profile.requirements):
        if requirement.id in seen:
            faults.append(
                document.fault(("requirements", i, "id"), f"{requirement.id} is there twice")
            )
        seen.add(requirement.id)
        named: list[tuple[tuple[str | int, ...], str | None]] = [
            (("targets", j, "source"), target.source)
            for j, target in enumerate(requirement.targets)
        ]
        for name, traffic in (("traffic", requirement.traffic), ("load", requirement.load)):
            if traffic is not None:
                named.append(((name, "source"), traffic.source))
        for place, key in named:
            if key is not None and key not in profile.sources:
                faults.append(
                    document.fault(
                        ("requirements", i, *place),
                        f"no source {key!r}; `sources` has {', '.join(profile.sources)}",
                    )
                )
    if strict:
        for key, source in profile.sources.items():
            if source.status != "found" and not source.owner:
                faults.append(
                    document.fault(
                        ("sources", key),
                        f"a figure of status {source.status} needs an `owner` who answers for it",
                    )
                )
    return faults
