"""An arrival list through the model alone: from a table, from a log, and from a faulty log."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.cli.virtual import replay as command
from hil.errors import UsageError
from hil.testbed import find
from hil.virtual import replay as model
from hil.virtual import userplane_truth as truth
from hil.virtual.topology import load
from hil.virtual.userplane_clock import CellClock


@pytest.fixture(scope="module")
def bench() -> Any:
    return load(find("virtual"))


def table(path: Path, count: int = 400) -> Path:
    """Both directions and a packet between two CPEs."""
    random = np.random.default_rng(3)
    times = np.sort(random.integers(0, 400_000_000, count))
    ways = ["lan_a,mec", "mec,lan_b", "lan_a,lan_b", "cloud,lan_a", "mec,cloud"]
    lines = ["time_ns,from,to,size,class"]
    for number, at_ns in enumerate(times.tolist()):
        lines.append(f"{at_ns},{ways[number % 5]},{100 + number},{number % 3}")
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


def test_the_same_arrivals_have_the_same_releases(bench: Any, tmp_path: Path) -> None:
    arrivals = model.from_table(table(tmp_path / "a.csv"), bench)
    first, again = model.replay(bench, arrivals), model.replay(bench, arrivals)
    assert first.digest == again.digest
    assert sorted(first.outcomes["tag"].tolist()) == list(range(400)), "every packet has a fate"
    assert (first.outcomes["at_ns"] > arrivals.rows["at_ns"]).all()


def test_another_seed_is_another_radio(bench: Any, tmp_path: Path) -> None:
    far = bench.world.radio.model_copy(update={"path_loss_db": 125.0})
    edge = bench.model_copy(update={"world": bench.world.model_copy(update={"radio": far})})
    arrivals = model.from_table(table(tmp_path / "a.csv"), bench)
    digests = {model.replay(edge, arrivals, seed=seed).digest for seed in (5, 5, 6)}
    assert len(digests) == 2


def test_a_log_is_compared_but_for_what_faults_and_the_host_did(bench: Any, tmp_path: Path) -> None:
    arrivals = model.from_table(table(tmp_path / "a.csv"), bench)
    done = model.replay(bench, arrivals)
    rows = np.zeros(400, truth.ROW)
    rows["order"] = np.arange(400)
    rows["ingress_ns"] = arrivals.rows["at_ns"]
    for name in ("source", "to", "size", "kind"):
        rows[name] = arrivals.rows[name]
    rows["at_ns"], rows["reason"] = done.outcomes["at_ns"], done.outcomes["reason"]
    rows["effects"][7], rows["at_ns"][7] = truth.DELAYED, rows["at_ns"][7] + 99
    copy = rows[7:8].copy()
    copy["effects"] |= truth.COPY
    lost = rows[9:10].copy()  # a fault took it, the cell never saw it
    lost["order"], lost["reason"], lost["effects"] = 400, truth.FAULT, truth.LOST
    log = truth.TruthLog.create(tmp_path / "truth", CellClock(0, 3000), rows=1024)
    log.append(np.concatenate([rows[::-1], copy, lost]))
    found = model.replay(bench, model.from_truth(tmp_path / "truth"))
    assert (found.compared, found.different) == (399, 0)
    assert found.digest == done.digest


def test_a_log_that_states_another_release_is_told(
    bench: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrivals = model.from_table(table(tmp_path / "a.csv", 5), bench)
    rows = np.zeros(5, truth.ROW)
    rows["order"], rows["ingress_ns"] = np.arange(5), arrivals.rows["at_ns"]
    for name in ("source", "to", "size", "kind"):
        rows[name] = arrivals.rows[name]
    rows["at_ns"] = model.replay(bench, arrivals).outcomes["at_ns"]
    rows["at_ns"][3] += 1
    log = truth.TruthLog.create(tmp_path / "truth", CellClock(0, 3000), rows=16)
    log.append(rows)
    assert command(tmp_path / "truth", "virtual", None, tmp_path / "out.csv") == 10
    assert "4 of 5 releases of the log are the same" in capsys.readouterr().out
    written = (tmp_path / "out.csv").read_text("utf-8").splitlines()
    assert len(written) == 6
    assert written[0].startswith("arrival_ns,release_ns,delay_ns")


def test_a_log_without_its_first_packets_is_refused(tmp_path: Path) -> None:
    log = truth.TruthLog.create(tmp_path / "truth", CellClock(0, 0), rows=4)
    rows = np.zeros(6, truth.ROW)
    rows["order"] = np.arange(6)
    log.append(rows)
    with pytest.raises(UsageError, match="has lost its first packets"):
        model.from_truth(tmp_path / "truth")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("time_ns,from,to\n", ":1: no column size"),
        ("time_ns,from,to,size\n1,lan_q,mec,100\n", ":2: from: no 'lan_q'; there are lan_a"),
        ("time_ns,from,to,size\nsoon,lan_a,mec,100\n", ":2: time_ns, size and class are whole"),
        ("time_ns,from,to,size\n-1,lan_a,mec,100\n", ":2: a time from 0, a size from 14"),
    ],
)
def test_a_table_that_cannot_be_read_says_where(
    bench: Any, tmp_path: Path, text: str, sentence: str
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(text, "utf-8")
    with pytest.raises(UsageError) as refused:
        model.from_table(path, bench)
    assert sentence in str(refused.value)
