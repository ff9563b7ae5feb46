"""Schema v1 holds what the judge and the samples say, and says in JSON Schema what it holds."""

import dataclasses
import json
import math

import numpy as np
import pytest
from pydantic import ValidationError

from hil.judge import Judgement
from hil.record import json_schema
from hil.record.schema import KINDS, LINE, EventLine, JudgementLine, PacketCounts
from hil.samples.measurement import Counts


def names_of(kind: type) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def test_a_judgement_line_holds_every_field_of_a_judgement() -> None:
    assert names_of(Judgement) == set(JudgementLine.model_fields) - {"kind", "nodeid", "at_ns"}


def test_packet_counts_are_the_counts_of_a_measurement() -> None:
    assert names_of(Counts) == set(PacketCounts.model_fields)


def test_numpy_values_become_plain_ones_and_no_number_becomes_null() -> None:
    line = EventLine(
        category="note",
        text="x",
        details={"a": np.int64(3), "b": np.float64(math.nan), "c": np.array([1, 2]), "d": math.inf},
    )
    assert line.details == {"a": 3, "b": None, "c": [1, 2], "d": None}
    assert json.loads(line.model_dump_json())["details"]["c"] == [1, 2]


def test_what_json_cannot_say_is_refused() -> None:
    with pytest.raises(ValidationError, match="a complex cannot be written to a record"):
        EventLine(category="note", text="x", details={"a": 1j})


def test_a_reader_passes_over_fields_it_does_not_know() -> None:
    line = LINE.validate_python(
        {"kind": "event", "category": "note", "text": "x", "from_the_future": 1}
    )
    assert isinstance(line, EventLine)
    assert not hasattr(line, "from_the_future")


def test_the_json_schema_tells_the_kinds_apart_and_calls_the_version_schema() -> None:
    schema = json_schema()
    assert set(schema["discriminator"]["mapping"]) == KINDS
    run = schema["$defs"]["RunLine"]["properties"]
    assert run["schema"]["default"] == 1
    assert run["kind"]["const"] == "run"
