"""Runs too long for memory, violations kept with what lies around them, and ends by SIGKILL."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from hil.samples import store

HERE = Path(__file__).parent
DROPPED = (700, 701, 702, 1500)
COUNT = 2000


def test_a_long_run_is_counted_judged_and_kept_by_block(tmp_path: Path) -> None:
    words = [sys.executable, str(HERE / "long_run_bench.py"), str(tmp_path), str(COUNT)]
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--net", "--mount", *words, *map(str, DROPPED)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["by_column"]
    counts = found["counts"]
    assert (counts["sent"], counts["received"], counts["lost"]) == (COUNT, COUNT - 4, 4)
    assert counts["delay_ns"]["p50"] > 0
    assert found["verdict"] == "PASS"

    around = [*range(600, 803), *range(1400, 1601)]
    assert found["violations"]["packets"] == len(DROPPED)
    assert set(around) <= set(found["around"])
    assert set(around) - set(DROPPED) <= set(found["frames"])
    assert found["violations"]["frames_left_out"] == 0
    assert sorted(each.suffix for each in tmp_path.iterdir()) == [".parquet", ".parquet", ".pcap"]

    seen = found["seen"]
    assert (seen["sent"], seen["received"]) == (COUNT, COUNT - 4)
    assert seen["delay_ns"]["n"] == COUNT - 4
    assert (
        abs(seen["delay_ns"]["p50"] - counts["delay_ns"]["p50"])
        <= 1 + 0.0005 * seen["delay_ns"]["p50"]
    ), "the histogram is as good as it says"
    assert {"at_ms", "parent", "sender", "receiver", "most"} == set(found["memory"])
    assert found["memory"]["most"] > 10 << 20


@pytest.mark.parametrize(
    ("stage", "received", "truncated"),
    [
        ("opened", 0, True),
        ("half", 600, True),
        ("sent", 1000, True),
        ("ended", 1000, False),
        ("joining", 1000, False),
    ],
)
def test_whatever_a_killed_process_left_is_found_by_the_next(
    tmp_path: Path, stage: str, received: int, truncated: bool
) -> None:
    killed_at(tmp_path, stage)
    (found,) = store.recover(tmp_path)
    assert found.counts is not None, found.why
    assert (found.counts.sent, found.counts.received, found.counts.lost) == (received, received, 0)
    assert found.truncated is truncated
    about = store.read_metadata(found.files.parquet)
    assert (about["truncated"], about["recovered"]) == (truncated, True)
    assert len(store.read(found.files.parquet)) == received
    assert store.recover(tmp_path) == (), "once"


@pytest.mark.parametrize(("stage", "files"), [("planned", 0), ("joined", 1), ("over", 1)])
def test_before_the_first_row_and_after_the_last_there_is_nothing_to_recover(
    tmp_path: Path, stage: str, files: int
) -> None:
    killed_at(tmp_path, stage)
    assert store.recover(tmp_path) == ()
    whole = list(tmp_path.glob("*.parquet"))
    assert len(whole) == files
    assert all(len(store.read(path)) == 1000 for path in whole)


def killed_at(directory: Path, stage: str) -> None:
    process = subprocess.Popen(
        [sys.executable, str(HERE / "killed_inside.py"), str(directory), stage],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdin is not None
    assert process.stdout.readline() == "here\n"
    process.kill()
    process.wait()
    process.stdout.close()
    process.stdin.close()
