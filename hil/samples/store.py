"""Rows on disk: Arrow streams as they come, a Parquet file of samples for good.

An Arrow IPC stream is whole up to its last batch at every moment, so a killed process leaves all
rows but its last chunk; a Parquet file has its index at the end and is worth nothing until closed.
So rows are streamed while a run lasts and converted once, at its end or by whoever comes next
(`recover`).

Three streams belong to one flow, ``NAME.planned.arrows``, ``NAME.sent.arrows`` and
``NAME.arrived.arrows``; they become ``NAME.parquet``. In a stream a time that was not taken is
`NOT_TAKEN`, in a Parquet file it is null. Where points look on, what they saw is a fourth
(`hil.samples.passing`).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from hil.samples import passing, trailer_clock
from hil.samples.columns import Columns, Lately, Samples
from hil.samples.measurement import Counts
from hil.samples.planned import Held, from_description
from hil.samples.table import (
    ARRIVED,
    CLOCK_OF,
    NOT_TAKEN,
    PLANNED,
    SAMPLE,
    SENT,
    TABLE_VERSION,
    Table,
)

_KEY: Final = b"hil"
_CONTINUES: Final = b"\xff\xff\xff\xff"  # Arrow columnar format, "Encapsulated message format"
_END: Final = _CONTINUES + bytes(4)  # "IPC streaming format": the end-of-stream marker
_MOST_ROWS: Final = 1 << 16  # of a chunk
_GROUP: Final = 1 << 17  # rows of a row group, at the least
_REPEATED: Final = ("stratum", "size", "copies", "damaged", "flags")  # columns of few values
MOST_IN_MEMORY: Final = 1 << 20  #: samples; of more the columns are read when they are needed
_KINDS: Final = {"planned": PLANNED, "sent": SENT, "arrived": ARRIVED}
_OBSERVED: Final = "observed"


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one flow: its streams while it runs and its samples when it is done."""

    directory: Path
    name: str

    @property
    def planned(self) -> Path:
        """The stream of `PLANNED` rows, written before the first packet."""
        return self.stream("planned")

    @property
    def sent(self) -> Path:
        """The stream of `SENT` rows."""
        return self.stream("sent")

    @property
    def arrived(self) -> Path:
        """The stream of `ARRIVED` rows."""
        return self.stream("arrived")

    @property
    def observed(self) -> Path:
        """The stream of `OBSERVED` rows, only there where points look on."""
        return self.stream(_OBSERVED)

    @property
    def parquet(self) -> Path:
        """The `SAMPLE` table."""
        return self.directory / f"{self.name}.parquet"

    def stream(self, kind: str) -> Path:
        """The stream of one kind of rows."""
        return self.directory / f"{self.name}.{kind}.arrows"

    def unlink_streams(self) -> None:
        """Remove the streams, as far as they are there."""
        for kind in (*_KINDS, _OBSERVED):
            self.stream(kind).unlink(missing_ok=True)


class StreamWriter:
    """Appends rows of one kind to an Arrow stream; each chunk is with the kernel when it returns.

    The file is locked while the writer lives, so that `recover` in another process leaves it alone;
    the kernel drops the lock with the process. `metadata` are plain JSON values kept in the stream:
    ``flow``, the flow's number on the wire, is what a recovery needs.

    Raises:
        OSError: the file cannot be made or written, or is being written by another process. After a
            failed `append` the stream is readable up to the chunk before and takes no more.
    """

    def __init__(
        self, path: Path, dtype: np.dtype[Any], metadata: Mapping[str, Any] | None = None
    ) -> None:
        import pyarrow as pa

        self.path = path
        self._dtype = dtype
        self._schema = _schema(dtype, {"table_version": TABLE_VERSION, **(metadata or {})})
        self._broken = False
        self._file = path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._file.truncate(0)
            self._stream = pa.ipc.new_stream(self._file, self._schema)
            self._file.flush()
        except BaseException:
            self._file.close()
            raise

    def append(self, rows: Table) -> None:
        """Writes rows, in chunks that a reader can take in; none at all write nothing."""
        import pyarrow as pa

        if self._broken:
            raise OSError(f"{self.path}: a chunk before could not be written")
        try:
            for first in range(0, rows.size, _MOST_ROWS):
                part = rows[first : first + _MOST_ROWS]
                columns = [np.ascontiguousarray(part[name]) for name in _names(self._dtype)]
                self._stream.write_batch(pa.record_batch(columns, schema=self._schema))
            self._file.flush()
        except BaseException:
            self._broken = True
            raise

    def close(self) -> None:
        """Ends the stream properly, unless a chunk could not be written; may be called twice."""
        if self._file.closed:
            return
        try:
            if not self._broken:
                self._stream.close()
        finally:
            with contextlib.suppress(OSError) if self._broken else contextlib.nullcontext():
                self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Stream:
    """What a stream holds. `truncated`: its writer never ended it, so later rows may be missing."""

    rows: Table
    truncated: bool
    metadata: Mapping[str, Any]


def read_stream(path: Path, dtype: np.dtype[Any]) -> Stream:
    """All whole chunks of a stream, up to where its writer was cut off.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not an Arrow stream, or of other rows or another version of the table.
    """
    from hil.samples.pages import Pages

    pages = Pages(path, dtype)
    rows = np.concatenate([np.zeros(0, dtype), *pages])
    return Stream(rows, pages.truncated, pages.metadata)


def open_stream(path: Path, dtype: np.dtype[Any]) -> tuple[Any, Mapping[str, Any], int]:
    """The schema of a stream, what it says of itself, and where its first chunk begins.

    The schema is None where its writer was cut off before it was written.

    Raises: as `read_stream`.
    """
    import pyarrow as pa

    with path.open("rb") as file:
        start = file.read(len(_CONTINUES))
    if start != _CONTINUES[: len(start)]:
        raise ValueError(f"{path}: not an Arrow stream")
    with pa.OSFile(str(path), "rb") as source:
        try:
            schema = pa.ipc.open_stream(source).schema
        except (pa.ArrowInvalid, OSError):
            return None, {}, 0
        metadata = _metadata(schema)
        _check(path, schema, metadata, dtype)
        return schema, metadata, source.tell()


def write(path: Path, samples: Samples, metadata: Mapping[str, Any] | None = None) -> None:
    """Writes a `SAMPLE` table as `SamplesWriter` does, with `metadata` beside.

    Raises:
        OSError: the file cannot be written; none is then left behind.
    """
    with SamplesWriter(path) as file:
        for first in range(0, len(samples), _GROUP):
            file.append(samples[first : first + _GROUP])
        file.about(metadata or {})


class SamplesWriter:
    """Writes `SAMPLE` rows as Parquet (zstd), a part at a time; whole or not at all.

    The file's key ``hil`` holds JSON: ``table_version``, ``clock_of`` and what `about` adds. The
    file is there at the end of the ``with`` block, and not if that ends by an exception.

    Raises:
        OSError: the file cannot be written; none is then left behind.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._partial = path.with_name(f".{path.name}.partial")
        self._waiting: list[Any] = []  # record batches of the next row group
        self._about: dict[str, Any] = {"table_version": TABLE_VERSION, "clock_of": CLOCK_OF}

    def __enter__(self) -> Self:
        from pyarrow import parquet

        self._file = self._partial.open("wb")
        # Times and numbers that rise steadily are small as differences, and read fast.
        steady = [name for name in _names(SAMPLE) if name not in _REPEATED]
        self._writer = parquet.ParquetWriter(
            self._file,
            _schema(SAMPLE, {}).remove_metadata(),
            compression="zstd",
            use_dictionary=list(_REPEATED),
            column_encoding=dict.fromkeys(steady, "DELTA_BINARY_PACKED"),
        )
        return self

    def append(self, samples: Samples) -> None:
        """Takes the next rows; they are written a row group at a time."""
        import pyarrow as pa

        if not len(samples):
            return
        columns = []
        for name in _names(SAMPLE):
            values = np.ascontiguousarray(samples[name])
            mask = values == NOT_TAKEN if name.endswith("_ns") else None
            columns.append(pa.array(values, mask=mask))
        self._waiting.append(pa.record_batch(columns, names=list(_names(SAMPLE))))
        if sum(batch.num_rows for batch in self._waiting) >= _GROUP:
            self._write_group()

    def _write_group(self) -> None:
        import pyarrow as pa

        if self._waiting:
            self._writer.write_table(
                pa.Table.from_batches(self._waiting), row_group_size=2 * _GROUP
            )
            self._waiting.clear()

    def about(self, metadata: Mapping[str, Any]) -> None:
        """What the file shall say of itself, beside what it always says."""
        self._about |= metadata

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if error is None:
                self._write_group()
                self._writer.add_key_value_metadata({_KEY: json.dumps(self._about).encode()})
                self._writer.close()
                self._file.flush()
                os.fsync(self._file.fileno())
                self._partial.replace(self._path)
        finally:
            with contextlib.suppress(OSError):
                self._writer.close()
            with contextlib.suppress(OSError):
                self._file.close()
            self._partial.unlink(missing_ok=True)


def read(path: Path) -> Table:
    """The `SAMPLE` table of a Parquet file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a Parquet file, or not this version of the table.
    """
    return _columns(path).table()


def load(path: Path) -> Samples:
    """The samples of a Parquet file: a table, or `Columns` of the file where they are many.

    Raises: as `read`.
    """
    columns = _columns(path)
    return columns.table() if len(columns) <= MOST_IN_MEMORY else columns


def row_groups(path: Path) -> Iterator[Table]:
    """The samples of a Parquet file, a row group at a time.

    Raises: as `read`.
    """
    from pyarrow import parquet

    _columns(path)  # refuses a file of another kind
    with parquet.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            columns = file.read_row_group(group)
            samples = np.zeros(columns.num_rows, SAMPLE)
            for name in _names(SAMPLE):
                column = columns.column(name)
                samples[name] = column.fill_null(NOT_TAKEN) if column.null_count else column
            yield samples


def _columns(path: Path) -> Columns:
    from pyarrow import parquet

    footer = _footer(path)
    _check(path, footer.schema.to_arrow_schema(), _metadata(footer), SAMPLE)
    size = footer.num_rows

    def read_column(name: str) -> NDArray[Any]:
        values = np.empty(size, SAMPLE[name])
        filled = 0
        with parquet.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                column = file.read_row_group(group, columns=[name], use_threads=False).column(0)
                column = column.fill_null(NOT_TAKEN) if column.null_count else column
                for chunk in column.chunks:
                    values[filled : filled + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
                    filled += len(chunk)
        return values

    return Columns(Lately(read_column), size)


def read_metadata(path: Path) -> dict[str, Any]:
    """What a Parquet file of samples says of itself.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a Parquet file.
    """
    return _metadata(_footer(path))


@dataclass(frozen=True, slots=True)
class Recovered:
    """What became of the streams of one flow that nobody converted.

    `counts` is None, and `why` says so, where nothing could be made of them.
    """

    files: Files
    truncated: bool
    counts: Counts | None
    why: str | None = None


def recover(directory: Path) -> tuple[Recovered, ...]:
    """Converts every set of streams without a Parquet file, and says what it found.

    Only what the sender saw is taken as offered. Probes that were on their way when the run was cut
    off count as lost: such a file is flagged ``truncated`` and is evidence, not a basis of a
    verdict. Streams that a process is still writing are passed over.

    Raises:
        OSError: the directory cannot be read or a Parquet file not be written.
    """
    ending = ".sent.arrows"
    names = sorted(path.name.removesuffix(ending) for path in directory.glob(f"*{ending}"))
    left = [Files(directory, name) for name in names]
    return tuple(
        _recovered(files) for files in left if not files.parquet.exists() and not _in_use(files)
    )


def _recovered(files: Files) -> Recovered:
    from hil.samples.streaming import StreamedJoin

    try:
        planned = read_stream(files.planned, PLANNED)
        flow = planned.metadata.get("flow")
        if not isinstance(flow, int):
            return Recovered(files, True, None, f"{files.planned}: names no flow")
        described = planned.metadata.get("planned")
        plan = from_description(described) if described is not None else Held(planned.rows)
        join = StreamedJoin(plan, files.sent, files.arrived, flow=flow, cut_short=True)
    except (FileNotFoundError, ValueError) as error:
        return Recovered(files, True, None, str(error))
    truncated = planned.truncated or join.truncated
    clock_map = trailer_clock.fit_trailer_map(*join.some_rows(), flow=flow)
    counts = join.counts(clock_map)
    with SamplesWriter(files.parquet) as file:
        for block in join.blocks(clock_map):
            file.append(block)
        file.about({**planned.metadata, "truncated": truncated, "recovered": True})
    about = {"flow": flow, "truncated": truncated, "recovered": True}
    passing.recover(files.observed, files.parquet, about)
    return Recovered(files, truncated, counts)


def _in_use(files: Files) -> bool:
    """True where a living writer holds one of the streams."""
    for kind in _KINDS:
        try:
            with files.stream(kind).open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            continue
        except BlockingIOError:
            return True
    return False


def _names(dtype: np.dtype[Any]) -> tuple[str, ...]:
    return dtype.names or ()


def _schema(dtype: np.dtype[Any], metadata: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    fields = [(name, pa.from_numpy_dtype(dtype[name])) for name in _names(dtype)]
    return pa.schema(fields, metadata={_KEY: json.dumps(metadata).encode()})


def _metadata(described: Any) -> dict[str, Any]:
    """What a schema, or the footer of a Parquet file, says of the rows."""
    found = json.loads((described.metadata or {}).get(_KEY, b"{}"))
    return found if isinstance(found, dict) else {}


def _check(path: Path, schema: Any, metadata: Mapping[str, Any], dtype: np.dtype[Any]) -> None:
    version = metadata.get("table_version")
    if version != TABLE_VERSION:
        raise ValueError(f"{path}: table version {version}; this program reads {TABLE_VERSION}")
    if tuple(schema.names) != _names(dtype):
        wanted = ", ".join(_names(dtype))
        raise ValueError(f"{path}: columns {', '.join(schema.names)}; expected {wanted}")


def _footer(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        return parquet.read_metadata(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: not a Parquet file: {error}") from error


def end_at(path: Path, position: int) -> bool:
    """True where the end-of-stream marker stands at `position` of a stream."""
    with path.open("rb") as file:
        file.seek(position)
        return file.read(len(_END)) == _END
