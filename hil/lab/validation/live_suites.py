"""The shipped suites in real-time mode: each measurement they make against the truth.

The suites run as ever, by `hil run` in the world around this process; only that their packets carry
no trailer. What they filed is then compared, packet by packet, with the cell's own stamps. Their
verdicts are not: real delivery is as late as this host is.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from hil.errors import RigError
from hil.lab.validation.item import Figure, Item, all_hold, coverage, exact
from hil.lab.validation.live import SOURCE, Bench, distribution
from hil.lab.validation.truth import NAMES, flow_truth
from hil.record import read
from hil.record.schema import MeasurementLine
from hil.samples import floor, store
from hil.samples.table import difference_ns, taken
from hil.stats import quantile
from hil.virtual import userplane_truth as log

_LONGEST_S = 900.0
_COVERAGE = 0.95


def compared(bench: Bench, directory: Path) -> Item:
    """Runs the suites (plan smoke) and compares every measurement between ports."""
    out = directory / "suites"
    words = [sys.executable, "-m", "hil", "run", "suites", "--testbed", os.environ["HIL_TESTBED"]]
    try:
        done = subprocess.run(
            [*words, "--plan", "smoke", "--out", str(out)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_LONGEST_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"the suites took longer than {_LONGEST_S:.0f} s") from None
    last = out / "latest"
    if not last.exists():
        said = (done.stderr or done.stdout).strip().rpartition("\n")[2]
        raise RigError(f"the suites left no record: {said}")
    pairs = list(_pairs(bench, last.resolve()))
    if not pairs:
        raise RigError("the suites measured nothing between ports")
    delay = np.concatenate([each.delay for each in pairs])
    right = sum(each.right for each in pairs)
    figures = [
        coverage("delays right within the uncertainty stated", right, delay.size, source=SOURCE),
        *distribution("error of a delay", np.abs(delay)),
        *(
            exact(
                f"packets {name}",
                sum(each.counts[name] for each in pairs),
                len(pairs),
                unit_of="measurements",
                source="the truth log",
            )
            for name in NAMES
        ),
        Figure(
            what="exit code of the suites",
            value=float(done.returncode),
            unit="runs",
            expected="shown, not judged: delivery is as late as this host is",
        ),
    ]
    median = quantile.nearest_rank(np.sort(np.abs(delay)), 0.5)
    return Item(
        id="suites",
        title="The suites in real-time mode",
        holds=all_hold(figures),
        sentence=(
            f"{len(pairs)} measurements of the suites, {delay.size:,} packets: delay off by "
            f"{(median or 0) / 1000:.2f} us (p50), {right:,} within the uncertainty stated"
        ),
        figures=tuple(figures),
        notes=tuple(each.note for each in pairs if each.note),
    )


class _Pair:
    """One measurement of the suites beside the truth."""

    def __init__(self, line: MeasurementLine, samples: Path, truth: Path) -> None:
        run, _, flow = line.id.partition("-")
        rows, clock = log.read(truth)
        mine = rows[(rows["run"] == int(run, 16)) & (rows["flow"] == int(flow))]
        true = flow_truth(mine, clock, line.counts.sent)
        table = store.read(samples)
        sent = difference_ns(table[f"tx_{line.timing.tx}_ns"], true.entered_ns)
        came = difference_ns(table[f"rx_{line.timing.rx}_ns"], true.left_ns)
        delay = difference_ns(came, sent)
        self.delay = delay[taken(delay)]
        floor_ns = floor.unpacked(store.read_metadata(samples))
        stated = line.budget.common_mode_ns
        if floor_ns is not None and floor_ns.size:
            stated += int(floor_ns[quantile.rank(floor_ns.size, _COVERAGE) - 1])
        self.right = int((np.abs(self.delay) <= stated).sum())
        self.counts = {
            name: getattr(line.counts, name) == getattr(true.counts, name) for name in NAMES
        }
        wrong = [name for name, right in self.counts.items() if not right]
        self.note = f"{line.flow} {line.direction}: {', '.join(wrong)} not exact" if wrong else ""


def _pairs(bench: Bench, record: Path) -> Iterator[_Pair]:
    """The measurements whose packets are in the truth log."""
    for line in read(record).measurements.values():
        if line.direction == "loop" or line.samples is None or not line.complete:
            continue
        yield _Pair(line, record / line.samples.path, bench.truth)
