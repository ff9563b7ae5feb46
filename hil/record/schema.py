"""Record schema, version 1: what each line of ``record.jsonl`` may hold.

A record is an append-only file of JSON objects, one per line, told apart by ``kind``: ``run``
first, ``collected`` once, then ``test``, ``measurement``, ``judgement`` and ``event`` as they
happen, ``end`` last. A record without ``end`` is that of a run that was cut short or still runs.

Within a version, fields may be added when they have a default; a reader passes over fields it
does not know. Whatever changes the meaning of a field raises `SCHEMA`, and a reader refuses a
version above its own. Times are integer nanoseconds, ``at_ns`` and ``*_ed_ns`` since the epoch on
the host's realtime clock. null is "not measured" and never stands for 0.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping
from pathlib import PurePath
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from hil.clock import SYSTEM
from hil.record.redaction import redact_argv
from hil.verdict import Verdict

SCHEMA: Final = 1


def _plain(value: Any) -> Any:
    """`value` as JSON knows it; a number that is none (NaN, infinity) becomes null."""
    if isinstance(value, enum.Enum):
        value = value.value
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_plain(item) for item in value]
    if isinstance(value, PurePath):
        return str(value)
    if (scalar := getattr(value, "tolist", None)) is not None:
        return _plain(scalar())
    raise ValueError(f"a {type(value).__name__} cannot be written to a record")


JsonObject = Annotated[dict[str, Any], BeforeValidator(_plain)]
Arguments = Annotated[tuple[str, ...], BeforeValidator(redact_argv)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class Line(_Part):
    """What every line has: when it was written."""

    at_ns: int = Field(default_factory=SYSTEM.realtime_ns)


class Source(_Part):
    """A file that decided something: which one, and exactly what was in it."""

    name: str
    version: str | None = None
    path: str | None = None
    sha256: str | None = None


class RequirementTitle(_Part):
    """One requirement of the profile, so that a report needs no profile to name it."""

    id: str
    title: str
    scenario: str | None = None


class RunLine(Line):
    """The first line: what was run, on what, by which software."""

    kind: Literal["run"] = "run"
    schema_version: int = Field(default=SCHEMA, alias="schema")
    run_id: str
    testbed: Source
    profile: Source
    requirements: tuple[RequirementTitle, ...] = ()
    plan: str
    simulated: bool
    seed: int | None = None
    hil: str
    git_commit: str | None = None
    git_dirty: bool | None = None
    host: str
    kernel: str
    python: str
    argv: Arguments
    started_ns: int


class CollectedTest(_Part):
    """One test that was chosen to run, and the requirements that it is to judge."""

    nodeid: str
    requirements: tuple[str, ...] = ()
    scenario: str | None = None
    title: str | None = None
    steps: str | None = None
    verify: str | None = None
    needs: JsonObject = Field(default_factory=dict)


class CollectedLine(Line):
    """Every test of the run, known before the first one starts: nothing can go missing unseen."""

    kind: Literal["collected"] = "collected"
    tests: tuple[CollectedTest, ...]


class Outcome(enum.StrEnum):
    """How a test ended; the words are those of Allure."""

    PASSED = "passed"
    FAILED = "failed"
    BROKEN = "broken"
    SKIPPED = "skipped"


class Cause(enum.StrEnum):
    """Why a test did not pass: who has to look at it."""

    TARGET_MISSED = "target missed"
    INCONCLUSIVE = "inconclusive"
    INVALID = "invalid"
    RIG = "rig"
    DEFECT = "defect"
    INTERRUPTED = "interrupted"
    TIMEOUT = "timeout"
    NEEDS = "needs"


class TestLine(Line):
    """A test starts, or finishes. One that has a start and no finish was running at the end."""

    __test__ = False  # not a test class, whatever its name begins with

    kind: Literal["test"] = "test"
    nodeid: str
    phase: Literal["start", "finish"]
    outcome: Outcome | None = None
    cause: Cause | None = None
    detail: str | None = None
    requirements: tuple[str, ...] = ()
    duration_ns: int | None = None
    title: str | None = None
    steps: str | None = None
    verify: str | None = None


class PacketCounts(_Part):
    """`hil.samples.measurement.Counts` on paper."""

    sent: int
    warmup_sent: int
    received: int
    lost: int
    duplicated: int
    reordered: int
    corrupted: int
    foreign: int
    send_failed: int
    damaged_frames: int = 0
    tx_missing: dict[str, int] = Field(default_factory=dict)
    rx_missing: dict[str, int] = Field(default_factory=dict)


class UncertaintyBudget(_Part):
    """`hil.samples.measurement.Budget` on paper; the floor as points (share within, error)."""

    common_mode_ns: int
    floor: tuple[tuple[float, int], ...] = ()
    sources: tuple[str, ...] = ()


class SpoiledWindow(_Part):
    """A span that the host or clock watch calls spoiled, and why."""

    start_ns: int
    end_ns: int
    why: str


class TimeSources(_Part):
    """Which stamps a delay is the difference of."""

    tx: str
    rx: str


class SamplesFile(_Part):
    """The raw samples: a path inside the run directory, and what was in it when it was judged."""

    path: str
    sha256: str
    rows: int


class MeasurementLine(Line):
    """One measurement, but for its samples, which lie beside the record."""

    kind: Literal["measurement"] = "measurement"
    id: str
    nodeid: str | None = None
    flow: str
    path: str
    direction: Literal["uplink", "downlink", "loop"]
    tx_port: str
    rx_port: str
    traffic: JsonObject
    interval_ns: int | None
    timing: TimeSources
    counts: PacketCounts
    summary: JsonObject = Field(default_factory=dict)
    budget: UncertaintyBudget
    conditions: JsonObject = Field(default_factory=dict)
    spoiled: tuple[SpoiledWindow, ...] = ()
    invalid: tuple[str, ...] = ()
    samples: SamplesFile | None = None
    complete: bool = True
    simulated: bool = False


class JudgementLine(Line):
    """One judgement with all its numbers; the fields are those of `hil.judge.Judgement`."""

    kind: Literal["judgement"] = "judgement"
    nodeid: str | None = None
    requirement: str
    target: str
    measurement: str
    direction: str
    metric: str
    statistic: str
    verdict: Verdict
    reason: str
    sentence: str
    n: int
    exceeding: float | None = None
    bracketed: int = 0
    figure: float | None = None
    figure_low: float | None = None
    figure_high: float | None = None
    unit: str
    limit: float | None = None
    share: float | None = None
    confidence: float
    common_mode_ns: int
    floor_ns: int
    demonstrated: float | None = None
    burst_length: float
    design_effect: float
    required_packets: int | None = None
    plan: str
    simulated: bool
    details: JsonObject = Field(default_factory=dict)


class EventCategory(enum.StrEnum):
    """What an event is about."""

    RIG_FAULT = "rig fault"
    DEVICE = "device"
    SAFETY = "safety"
    FAULT_INJECTED = "fault injected"
    PROGRESS = "progress"
    NOTE = "note"


class EventLine(Line):
    """Something that happened and explains the rest: a rig fault, an action on a device, a note."""

    kind: Literal["event"] = "event"
    category: EventCategory
    level: Literal["info", "warning", "error"] = "info"
    text: str
    nodeid: str | None = None
    device: str | None = None
    details: JsonObject = Field(default_factory=dict)


class EndLine(Line):
    """The last line: the run came to an end by itself, orderly, if not always happily."""

    kind: Literal["end"] = "end"
    exit_code: int
    interrupted: bool
    finished_ns: int


AnyLine = Annotated[
    RunLine | CollectedLine | TestLine | MeasurementLine | JudgementLine | EventLine | EndLine,
    Field(discriminator="kind"),
]
LINE: Final[TypeAdapter[AnyLine]] = TypeAdapter(AnyLine)
KINDS: Final = frozenset(("run", "collected", "test", "measurement", "judgement", "event", "end"))


def json_schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of one line of a record."""
    schema = LINE.json_schema(mode="serialization")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"One line of a hil record, schema {SCHEMA}",
        **schema,
    }
