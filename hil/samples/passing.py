"""What points saw of a flow, on disk: beside its samples, as Parquet.

``NAME.observed.arrows`` is the stream while the run lasts and becomes ``NAME.observed.parquet``,
whose key ``hil`` describes the visits (`hil.samples.sightings`).
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.samples.columns import Samples
from hil.samples.sightings import PASSED, Sighting, sightings, visits_from
from hil.samples.table import NOT_TAKEN, OBSERVED, TABLE_VERSION, Table

_KEY: Final = b"hil"


def beside(samples: Path) -> Path:
    """Where what the points saw lies, beside a Parquet file of samples."""
    return samples.with_name(f"{samples.stem}.observed.parquet")


def timed(rows: Table) -> Table:
    """`OBSERVED` rows as rows of `PASSED` without a time."""
    passed = np.zeros(len(rows), PASSED)
    for name in OBSERVED.names or ():
        passed[name] = rows[name]
    passed["time_ns"] = NOT_TAKEN
    return passed


def write(path: Path, rows: Table, metadata: Mapping[str, Any]) -> None:
    """Writes a `PASSED` table as Parquet (zstd), whole or not at all.

    ``visits`` of the metadata describes the visits in order of travel.

    Raises:
        OSError: the file cannot be written; none is then left behind.
    """
    import pyarrow as pa
    from pyarrow import parquet

    about = {"table_version": TABLE_VERSION, "clock_of": {"time_ns": "realtime"}, **metadata}
    columns = {}
    for name in PASSED.names or ():
        values = np.ascontiguousarray(rows[name])
        columns[name] = pa.array(values, mask=values == NOT_TAKEN if name.endswith("_ns") else None)
    table = pa.table(columns).replace_schema_metadata({_KEY: json.dumps(about).encode()})
    partial = path.with_name(f".{path.name}.partial")
    try:
        with partial.open("wb") as file:
            parquet.write_table(table, file, compression="zstd")
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def read(path: Path) -> tuple[Table, dict[str, Any]]:
    """The `PASSED` table of a Parquet file, and what the file says of it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a Parquet file, or not this version of the table.
    """
    import pyarrow as pa
    from pyarrow import parquet

    try:
        table = parquet.read_table(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from error
    about = json.loads((table.schema.metadata or {}).get(_KEY, b"{}"))
    if tuple(table.column_names) != PASSED.names or about.get("table_version") != TABLE_VERSION:
        raise ValueError(f"{path}: not what points saw, as this version writes it")
    rows = np.zeros(table.num_rows, PASSED)
    for name in PASSED.names:
        column = table.column(name)
        rows[name] = column.fill_null(NOT_TAKEN) if column.null_count else column
    return rows, about


def read_sightings(samples_path: Path, samples: Samples) -> tuple[Sighting, ...]:
    """What the points saw of `samples`, from the file beside theirs; nothing without that file.

    Raises:
        ValueError: that file is not of this version.
    """
    path = beside(samples_path)
    if not path.exists():
        return ()
    rows, about = read(path)
    try:
        visits = visits_from(about.get("visits", ()))
    except TypeError as error:
        raise ValueError(f"{path}: no visits of this version: {error}") from error
    return sightings(rows, visits, samples["seq"])


def recover(stream: Path, samples: Path, metadata: Mapping[str, Any]) -> None:
    """Converts the stream of a run that was killed, as far as it goes.

    No tap's clock is mapped any more, so its rows have no times.

    Raises:
        OSError: the Parquet file cannot be written.
    """
    from hil.samples.store import read_stream

    if not stream.exists():
        return
    with contextlib.suppress(ValueError):  # nothing of it can be read
        write(beside(samples), timed(read_stream(stream, OBSERVED).rows), metadata)
