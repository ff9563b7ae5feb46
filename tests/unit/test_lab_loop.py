"""What a busy host adds to a loop through the simulated cell is told, so that it can void it."""

from pathlib import Path

import numpy as np

from hil.drivers.protocols import Cycle
from hil.lab.loop import delivery_lateness_ns
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_truth import ROW, TruthLog

EPOCH_NS = 1_700_000_000_000_000_000
MS = 1_000_000


def cycle(seq: int, begin_ms: int, end_ms: int | None) -> Cycle:
    begin_ns = EPOCH_NS + begin_ms * MS
    end_ns = None if end_ms is None else EPOCH_NS + end_ms * MS
    return Cycle(seq, begin_ns, begin_ns, end_ns, 1)


def test_each_loop_bears_the_lateness_of_the_frames_that_left_during_it(tmp_path: Path) -> None:
    clock = CellClock(EPOCH_NS, 0)
    rows = np.zeros(6, ROW)
    released_ms = np.array([1, 5, 15, 25, 26, 60])
    rows["at_ns"] = [clock.of_host(EPOCH_NS + int(at) * MS) for at in released_ms]
    rows["lateness_ns"] = np.array([2, 3, 50, 1, 1, 7]) * MS
    rows["reason"] = [0, 0, 0, 0, 3, 0]  # the fifth was lost by the radio
    TruthLog.create(tmp_path / "truth", clock).append(rows)
    cycles = [cycle(0, 0, 10), cycle(1, 20, 30), cycle(2, 55, None)]
    found = delivery_lateness_ns(cycles, tmp_path / "truth")
    assert (found // MS).tolist() == [5, 1, 57]
