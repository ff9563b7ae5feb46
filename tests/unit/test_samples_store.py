"""Rows on disk: streams that survive their writer, samples that come back as they were."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from hil.samples import accounting, store
from hil.samples.store import Files, StreamWriter
from hil.samples.table import (
    ARRIVED,
    CLOCK_OF,
    NOT_TAKEN,
    PLANNED,
    SAMPLE,
    SENT,
    TABLE_VERSION,
    Table,
    blank,
)

START = 1_700_000_000_000_000_000
FLOW = 3


def noise(dtype: np.dtype[Any], rows: int, seed: int = 1) -> Table:
    """Rows of any bits at all, with some times not taken."""
    rng = np.random.default_rng(seed)
    table = blank(dtype, rows)
    for name in dtype.names or ():
        info = np.iinfo(dtype[name])
        values = rng.integers(info.min, info.max, rows, dtype[name], endpoint=True)
        table[name] = np.where(rng.random(rows) < 0.2, NOT_TAKEN, values) if info.min else values
    return table


def flow_rows(count: int) -> dict[str, Table]:
    planned, sent, arrived = blank(PLANNED, count), blank(SENT, count), blank(ARRIVED, count)
    for rows in (planned, sent, arrived):
        rows["seq"] = np.arange(count)
    sent["flow"] = arrived["flow"] = FLOW
    sent["intended_ns"] = sent["tx_kernel_ns"] = START + np.arange(count) * 1_000_000
    arrived["rx_kernel_ns"] = sent["tx_kernel_ns"] + 5_000_000
    arrived["trailer_ingress_ns"] = sent["tx_kernel_ns"] + 37_000_000_000
    arrived["trailer_release_ns"] = arrived["trailer_ingress_ns"] + 4_000_000
    return {"planned": planned, "sent": sent, "arrived": arrived}


def write_streams(files: Files, rows: dict[str, Table], *, chunk: int = 7) -> None:
    for kind, table in rows.items():
        with StreamWriter(files.stream(kind), table.dtype, {"flow": FLOW}) as writer:
            for start in range(0, table.size, chunk):
                writer.append(table[start : start + chunk])


@pytest.mark.parametrize("dtype", [PLANNED, SENT, ARRIVED])
def test_a_stream_gives_back_every_row(tmp_path: Path, dtype: np.dtype[Any]) -> None:
    rows = noise(dtype, 50)
    with StreamWriter(tmp_path / "x.arrows", dtype, {"flow": FLOW}) as writer:
        for start, end in ((0, 1), (1, 20), (20, 20), (20, 50)):
            writer.append(rows[start:end])
    stream = store.read_stream(tmp_path / "x.arrows", dtype)
    assert stream.rows.tobytes() == rows.tobytes()
    assert not stream.truncated
    assert stream.metadata["flow"] == FLOW


def test_a_stream_can_be_read_while_it_is_written(tmp_path: Path) -> None:
    rows = noise(SENT, 10)
    with StreamWriter(tmp_path / "x.arrows", SENT) as writer:
        for before, written in ((0, 4), (4, 10)):
            writer.append(rows[before:written])
            stream = store.read_stream(tmp_path / "x.arrows", SENT)
            assert stream.rows.tobytes() == rows[:written].tobytes()
            assert stream.truncated


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.floats(0, 1))
def test_a_stream_cut_anywhere_gives_all_whole_chunks(tmp_path: Path, part: float) -> None:
    rows, path = noise(ARRIVED, 30), tmp_path / "whole.arrows"
    ends = []
    with StreamWriter(path, ARRIVED) as writer:
        for start in range(0, 30, 5):
            writer.append(rows[start : start + 5])
            ends.append(path.stat().st_size)
    content = path.read_bytes()
    cut = tmp_path / "cut.arrows"
    length = round(part * len(content))
    cut.write_bytes(content[:length])
    stream = store.read_stream(cut, ARRIVED)
    assert stream.truncated == (length < len(content))
    whole = 5 * sum(end <= length for end in ends)
    assert stream.rows.tobytes() == rows[:whole].tobytes()


def test_rows_that_end_like_a_stream_are_no_end(tmp_path: Path) -> None:
    """The last bytes of a chunk may be those of the end marker."""
    rows = blank(PLANNED, 1)
    rows["offset_ns"] = 0xFFFFFFFF
    path = tmp_path / "x.arrows"
    with StreamWriter(path, PLANNED) as writer:
        writer.append(rows)
        content = path.read_bytes()
    path.write_bytes(content)
    assert content.endswith(b"\xff\xff\xff\xff\x00\x00\x00\x00")
    assert store.read_stream(path, PLANNED).truncated


def test_what_is_no_stream_of_these_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.arrows"
    path.write_text("nothing of the kind")
    with pytest.raises(ValueError, match="not an Arrow stream"):
        store.read_stream(path, SENT)
    with StreamWriter(path, SENT) as writer:
        writer.append(noise(SENT, 1))
    with pytest.raises(ValueError, match="columns"):
        store.read_stream(path, ARRIVED)
    with StreamWriter(path, SENT, {"table_version": TABLE_VERSION + 1}):
        pass
    with pytest.raises(ValueError, match="version"):
        store.read_stream(path, SENT)
    with pytest.raises(FileNotFoundError):
        store.read_stream(tmp_path / "absent", SENT)


def test_a_stream_has_one_writer(tmp_path: Path) -> None:
    rows, path = noise(SENT, 3), tmp_path / "x.arrows"
    with StreamWriter(path, SENT) as writer:
        writer.append(rows)
        with pytest.raises(BlockingIOError):
            StreamWriter(path, SENT)
    assert store.read_stream(path, SENT).rows.tobytes() == rows.tobytes()


def test_samples_come_back_as_they_were(tmp_path: Path) -> None:
    samples, path = noise(SAMPLE, 100), tmp_path / "x.parquet"
    store.write(path, samples, {"truncated": False, "flow": FLOW})
    assert store.read(path).tobytes() == samples.tobytes()
    metadata = store.read_metadata(path)
    assert metadata["table_version"] == TABLE_VERSION
    assert metadata["clock_of"] == CLOCK_OF
    assert (metadata["truncated"], metadata["flow"]) == (False, FLOW)
    store.write(path, samples[:0])
    assert store.read(path).size == 0


def test_a_time_not_taken_is_null_for_any_other_reader(tmp_path: Path) -> None:
    samples = blank(SAMPLE, 2)
    samples["tx_kernel_ns"][1] = START
    store.write(tmp_path / "x.parquet", samples)
    table = parquet.read_table(tmp_path / "x.parquet")
    assert table.column("tx_kernel_ns").to_pylist() == [None, START]
    assert table.column("seq").to_pylist() == [0, 0]


def test_a_parquet_file_that_is_none_of_ours_is_refused(tmp_path: Path) -> None:
    (tmp_path / "cut.parquet").write_bytes(b"PAR1")
    with pytest.raises(ValueError, match="not a Parquet file"):
        store.read(tmp_path / "cut.parquet")
    parquet.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(ValueError, match="version"):
        store.read(tmp_path / "other.parquet")


def test_a_parquet_file_is_whole_or_not_there(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    store.write(path, noise(SAMPLE, 5))
    before = path.read_bytes()
    with pytest.raises(TypeError):
        store.write(path, noise(SAMPLE, 6), {"not JSON": object()})
    with pytest.raises(ValueError, match="no field"):
        store.write(path, noise(SENT, 6))
    assert path.read_bytes() == before
    with pytest.raises(FileNotFoundError):
        store.write(tmp_path / "absent" / "x.parquet", noise(SAMPLE, 1))
    assert [each.name for each in tmp_path.iterdir()] == ["x.parquet"]


def test_recovery_makes_the_samples_that_the_run_would_have_made(tmp_path: Path) -> None:
    files, rows = Files(tmp_path, "cyclic-up"), flow_rows(100)
    write_streams(files, rows)
    (found,) = store.recover(tmp_path)
    assert not found.truncated
    assert found.counts is not None
    assert (found.counts.sent, found.counts.received) == (100, 100)
    samples = store.read(files.parquet)
    assert samples["rx_trailer_ns"].tolist() == (rows["sent"]["tx_kernel_ns"] + 4_000_000).tolist()
    assert store.read_metadata(files.parquet)["truncated"] is False
    assert store.recover(tmp_path) == ()


def test_recovery_of_a_run_cut_short_judges_only_what_was_offered(tmp_path: Path) -> None:
    files, rows = Files(tmp_path, "cyclic-up"), flow_rows(100)
    write_streams(files, {**rows, "sent": rows["sent"][:42], "arrived": rows["arrived"][:35]})
    content = files.arrived.read_bytes()
    files.arrived.write_bytes(content[:-100])  # into the last chunk
    (found,) = store.recover(tmp_path)
    assert found.truncated
    assert found.counts is not None
    assert (found.counts.sent, found.counts.received, found.counts.lost) == (42, 28, 14)
    assert store.read_metadata(files.parquet)["truncated"] is True
    expected, _ = accounting.join(
        rows["planned"][:42], rows["sent"][:42], rows["arrived"][:28], flow=FLOW
    )
    assert store.read(files.parquet)["rx_kernel_ns"].tolist() == expected["rx_kernel_ns"].tolist()


def test_recovery_leaves_running_and_finished_flows_alone(tmp_path: Path) -> None:
    running, done = Files(tmp_path, "running"), Files(tmp_path, "done")
    write_streams(running, flow_rows(5))
    write_streams(done, flow_rows(5))
    store.write(done.parquet, noise(SAMPLE, 1))
    with StreamWriter(running.arrived, ARRIVED):
        assert store.recover(tmp_path) == ()
    assert not running.parquet.exists()
    assert store.read(done.parquet).size == 1


def test_streams_of_which_nothing_can_be_made_are_said_not_hidden(tmp_path: Path) -> None:
    files = Files(tmp_path, "half")
    write_streams(files, {"sent": flow_rows(5)["sent"]})
    (found,) = store.recover(tmp_path)
    assert found.counts is None
    assert found.why is not None
    assert "half.planned.arrows" in found.why
    write_streams(files, flow_rows(5))
    with StreamWriter(files.planned, PLANNED) as writer:
        writer.append(flow_rows(5)["planned"])
    (found,) = store.recover(tmp_path)
    assert found.why is not None
    assert found.why.endswith("names no flow")
