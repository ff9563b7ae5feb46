"""Libraries: tables of the standards, to pick figures for a profile from.

Each figure has a status, as in a profile: read in a public source, or from memory of the standard
and to be checked against its text before a bound is made of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final, Generic, Literal, TypeVar

from pydantic import Field, model_validator

from hil.document import Duration, Model, Share, Size, load
from hil.errors import UsageError
from hil.targets.profile import Source
from hil.targets.target import OpenShare
from hil.targets.traffic import Span

FOLDER: Final = Path(__file__).parent / "libraries"

Read = Literal["found", "memory"]
"""found: read in a public source; memory: from memory of the standard."""

Resource = Literal["GBR", "non-GBR", "delay-critical GBR"]


class Origin(Model):
    """Where one figure comes from, where that is not where its row comes from."""

    status: Read
    """How sure the figure is."""

    source: str
    """Key in `sources` of the library."""


class _Row(Model):
    use: str
    """What it is for, an example of it, or the clause of an annex that says so."""

    status: Read
    """How sure the figures of the row are."""

    source: str
    """Key, in `sources` of the library, of where the row was read or what it is remembered of."""

    others: Mapping[str, Origin] = {}
    """Figures of the row that come from elsewhere, by their key."""

    note: str = ""
    """What else has to be known of it."""

    def origin(self, key: str) -> Origin:
        """Where the figure under a key of the file comes from."""
        return self.others.get(key) or Origin(status=self.status, source=self.source)

    @model_validator(mode="after")
    def _others_are_figures_of_it(self) -> _Row:
        aliases = {field.alias: name for name, field in type(self).model_fields.items()}
        for key in self.others:
            if getattr(self, aliases.get(key, ""), None) is None:
                raise ValueError(f"`others` names {key}, and the row has no such figure")
        return self


class FiveQi(_Row):
    """One standardised 5QI (TS 23.501 Table 5.7.4-1)."""

    fiveqi: Annotated[int, Field(ge=1, le=255)]
    """Its value."""

    resource: Resource
    """What is guaranteed: a rate, nothing, or a rate and the delay of bursts."""

    priority: Annotated[int, Field(ge=1, le=127)]
    """Default priority level; lower goes first."""

    pdb_ns: Span
    """Packet delay budget, from the device to N6 of the UPF."""

    per: OpenShare
    """Packet error rate."""

    mdbv_bytes: Size | None = None
    """Default maximum data burst volume."""

    window_ns: Span | None = None
    """Default averaging window."""

    core_ns: Span | None = None
    """Static delay between UPF and access network, to be taken off the budget."""


class Service(_Row):
    """One row of the service performance requirements of TS 22.104.

    Where the standard gives a range, `…_to` is its other end. A `latency` or `survival` in
    intervals is one that the standard gives as a multiple of the transfer interval.
    """

    id: Annotated[str, Field(pattern=r"^[A-Z]\d\d$")]
    """Its name in this library."""

    table: str
    """Table of the standard."""

    availability: Share | None = None
    """Communication service availability, at least."""

    availability_to: Share | None = None
    """Upper end of the availability."""

    mtbf: str | None = None
    """Communication service reliability: mean time between failures."""

    latency_ns: Span | None = None
    """End-to-end latency, at most."""

    latency_intervals: Annotated[float, Field(gt=0)] | None = None
    """The same in transfer intervals."""

    rate: str | None = None
    """Service bit rate."""

    size_bytes: Size | None = None
    """Message."""

    size_to_bytes: Size | None = None
    """Upper end of the message."""

    interval_ns: Span | None = None
    """Transfer interval, at least."""

    interval_to_ns: Span | None = None
    """Transfer interval, at most."""

    survival_ns: Annotated[Duration, Field(ge=0)] | None = None
    """Survival time."""

    survival_intervals: Annotated[float, Field(ge=0)] | None = None
    """The same in transfer intervals."""

    speed: str | None = None
    """Speed of the device."""

    devices: str | None = None
    """How many of them."""

    area: str | None = None
    """Service area."""


class Automation(_Row):
    """One row of the low-latency and high-reliability scenarios of TS 22.261."""

    id: Annotated[str, Field(pattern=r"^[A-Z]\d\d$")]
    """Its name in this library."""

    latency_ns: Span
    """End-to-end latency, at most."""

    jitter_ns: Span | None = None
    """Jitter, at most."""

    survival_ns: Annotated[Duration, Field(ge=0)] | None = None
    """Survival time."""

    availability: Share
    """Communication service availability, at least."""

    reliability: Share | None = None
    """Share of packets in time, at least."""

    rate: str | None = None
    """User experienced data rate."""


class Clock(_Row):
    """One level of clock synchronisation (TS 22.104 Table 5.6.2-1)."""

    level: str
    """Its name in the standard."""

    devices: str
    """How many devices keep one time."""

    budget_ns: Span
    """What the 5G system may add to the error of synchronisation."""

    area: str
    """Service area."""


R = TypeVar("R", bound=_Row)


class Library(Model, Generic[R]):
    """One table of a standard."""

    schema_version: Annotated[Literal[1], Field(alias="schema")]
    """Version of this file format."""

    title: str
    """The table."""

    sources: Mapping[str, Source]
    """Every source, under the key that rows name."""

    rows: Annotated[tuple[R, ...], Field(min_length=1)]
    """The table itself."""

    @model_validator(mode="after")
    def _sources_are_there(self) -> Library[R]:
        for row in self.rows:
            for origin in (row.origin(""), *row.others.values()):
                known = self.sources.get(origin.source)
                if known is None:
                    raise ValueError(f"no source {origin.source!r} in `sources`")
                if known.status != origin.status:
                    raise ValueError(f"source {origin.source} is {known.status}, and a row is not")
        return self


AnyLibrary = Library[FiveQi] | Library[Service] | Library[Automation] | Library[Clock]

MODELS: Final[Mapping[str, type[AnyLibrary]]] = {
    "5qi": Library[FiveQi],
    "ts22104": Library[Service],
    "ts22104-clock": Library[Clock],
    "ts22261": Library[Automation],
}


def load_library(name: str) -> AnyLibrary:
    """Reads a library.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in MODELS:
        raise UsageError(f"no library {name!r}; there are: {', '.join(MODELS)}")
    return load(where(name), MODELS[name])


def where(name: str) -> Path:
    """The file of a library."""
    return FOLDER / f"{name}.yaml"
