"""The record of a run: one append-only file of JSON lines; every report is a view of it.

`schema` says what a line may hold, `directory` where things lie, `writer` and `reader` write and
read, `redaction` keeps secrets and subscriber identities out of both.
"""

from __future__ import annotations

from hil.record.directory import RunDirectory, new_run_id, sha256_of
from hil.record.reader import NotRun, Run, State, TestHistory, read
from hil.record.redaction import redact, redact_tree, register
from hil.record.schema import json_schema
from hil.record.writer import Record

__all__ = [
    "NotRun",
    "Record",
    "Run",
    "RunDirectory",
    "State",
    "TestHistory",
    "json_schema",
    "new_run_id",
    "read",
    "redact",
    "redact_tree",
    "register",
    "sha256_of",
]
