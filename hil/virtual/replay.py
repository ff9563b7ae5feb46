"""Open loop: an arrival list through the model of the cell alone, without a world and its host.

The releases are a function of the arrivals, the testbed and the seed: the same on an idle host and
on a loaded one, to the last bit. Arrivals are taken from a truth log, whose own releases are then
compared, or from a table of them (CSV).
"""

from __future__ import annotations

import csv
import hashlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import UsageError
from hil.testbed import Testbed
from hil.virtual import userplane_truth as truth
from hil.virtual.cell import OUTCOME, Cell, Site
from hil.virtual.cell_channel import BLOCK_SLOTS
from hil.virtual.cell_link import CLASSES
from hil.virtual.coupling import Coupling
from hil.virtual.radio import Radio
from hil.virtual.topology import Topology, topology, world_of
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_signal import WorldSignal, read_steps

_WINDOW_NS: Final = 50_000_000
_PATIENCE_NS: Final = 1_000_000_000
_MOST_WAITS: Final = 120
_MOST: Final = 4_000_000
_COLUMNS: Final = ("time_ns", "from", "to", "size")

#: One packet as it enters, times on the cell's clock, ports by number; `expected` is the release
#: that a truth log states, -1 where there is none to compare.
ARRIVAL: Final = np.dtype(
    [
        ("at_ns", "<i8"),
        ("source", "<i8"),
        ("to", "<i8"),
        ("size", "<i8"),
        ("kind", "<i8"),
        ("expected", "<i8"),
    ]
)

#: What the host or a fault did, and not the model.
_NOT_OFFERED: Final = (5, truth.FAULT)
_NOT_COMPARED: Final = (5, 6, truth.FAULT)


@dataclass(frozen=True, slots=True)
class Arrivals:
    """An arrival list, in order of time, and the world it belongs to."""

    rows: NDArray[Any]
    clock: CellClock
    steps: list[list[float]]  #: what the endpoints did to the radio; empty: sessions up


@dataclass(frozen=True, slots=True)
class Replayed:
    """The releases of an arrival list: rows of `OUTCOME`, whose `tag` is the arrival's number."""

    outcomes: NDArray[Any]
    compared: int
    different: int

    @property
    def digest(self) -> str:
        """SHA-256 of all of it: equal where every release is."""
        return hashlib.sha256(self.outcomes.tobytes()).hexdigest()


def from_truth(path: Path) -> Arrivals:
    """The arrivals in a truth log; the file `steps` beside it says what the endpoints did.

    Raises: UsageError when it is no truth log, or has lost its beginning.
    """
    try:
        rows, clock = truth.read(path)
    except (OSError, ValueError) as error:
        raise UsageError(f"{path}: {error}") from None
    rows = rows[rows["effects"] & truth.COPY == 0]
    rows = rows[rows["order"].argsort(kind="stable")]
    if len(rows) and rows["order"][0]:
        raise UsageError(f"{path} has lost its first packets: replay a younger world")
    rows = rows[~np.isin(rows["reason"], _NOT_OFFERED)]
    rows = rows[np.argsort(rows["ingress_ns"], kind="stable")]
    found = np.zeros(len(rows), ARRIVAL)
    found["at_ns"] = rows["ingress_ns"]
    for name in ("source", "to", "size", "kind"):
        found[name] = rows[name]
    ours = np.isin(rows["reason"], _NOT_COMPARED) | (rows["flags"] & truth.LATE_IN > 0)
    ours |= rows["effects"] & (truth.DELAYED | truth.HELD_BACK | truth.JITTERED) > 0
    found["expected"] = np.where(ours, -1, rows["at_ns"])
    return Arrivals(found, clock, read_steps(path.with_name("steps")))


def from_table(path: Path, bench: Testbed) -> Arrivals:
    """The arrivals in a CSV file with the columns time_ns, from, to, size and, if wanted, class.

    Times are from the start of the world; `from` and `to` are names of ports or endpoints; class
    is 0 (urgent), 1 (video) or 2 (ordinary, the default).

    Raises: UsageError with the line that is wrong.
    """
    names = {each.name: each.number for each in topology(bench).attachments}
    clock = CellClock(0, round(world_of(bench).cell.clock_drift_ppm * 1000))
    found: list[tuple[int, ...]] = []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            missing = [each for each in _COLUMNS if each not in (reader.fieldnames or ())]
            if missing:
                raise UsageError(f"{path}:1: no column {', '.join(missing)}")
            for row in reader:
                found.append(_arrival(row, names, f"{path}:{reader.line_num}"))
                if len(found) > _MOST:
                    raise UsageError(f"{path}: more than {_MOST:,} arrivals")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: {error}") from None
    rows = np.zeros(len(found), ARRIVAL)
    for number, name in enumerate(("at_ns", "source", "to", "size", "kind")):
        rows[name] = [each[number] for each in found]
    rows["at_ns"] = clock.of_host(rows["at_ns"])
    rows["expected"] = -1
    return Arrivals(rows[rows["at_ns"].argsort(kind="stable")], clock, [])


def _arrival(row: dict[str, str], names: dict[str, int], where: str) -> tuple[int, ...]:
    for key in ("from", "to"):
        if row[key] not in names:
            raise UsageError(f"{where}: {key}: no {row[key]!r}; there are {', '.join(names)}")
    try:
        at_ns, size, kind = int(row["time_ns"]), int(row["size"]), int(row.get("class") or 2)
    except (ValueError, TypeError):
        raise UsageError(f"{where}: time_ns, size and class are whole numbers") from None
    if at_ns < 0 or not 14 <= size <= 2048 or not 0 <= kind < CLASSES:
        raise UsageError(f"{where}: a time from 0, a size from 14 to 2048 and a class from 0 to 2")
    return at_ns, names[row["from"]], names[row["to"]], size, kind


def replay(bench: Testbed, arrivals: Arrivals, *, seed: int | None = None) -> Replayed:
    """The releases of an arrival list in the cell of a testbed."""
    world, plan = world_of(bench), topology(bench)
    seed = world.seed if seed is None else seed
    rows = arrivals.rows
    with tempfile.TemporaryDirectory() as directory:
        signal = _signal(bench, plan, arrivals, seed, Path(directory))
        sites = [Site(each.cpe, each.side == "cloud") for each in plan.attachments]
        cell = Cell(world.cell, signal, sites, seed=seed, capacity=max(1, len(rows)))
        outcomes = np.zeros(len(rows), OUTCOME)
        outcomes["tag"] = -1
        for done in _advanced(cell, rows):
            outcomes[done["tag"]] = done
    expected, at_ns = rows["expected"], outcomes["at_ns"]
    compared = expected >= 0
    different = compared & (at_ns != expected)
    return Replayed(outcomes, int(compared.sum()), int(different.sum()))


def _signal(
    bench: Testbed, plan: Topology, arrivals: Arrivals, seed: int, directory: Path
) -> WorldSignal:
    world, clock = world_of(bench), arrivals.clock
    coupled = Coupling.create(directory / "coupling", plan.cpes, epoch_ns=clock.epoch_ns)
    if not arrivals.steps:
        for row in range(len(plan.cpes)):
            coupled.set_session(row, True)
    step_ns = BLOCK_SLOTS * world.cell.slot_ns // 2
    radio = Radio(world.radio, seed)
    signal = WorldSignal(radio, world.radio.noise_figure_db, coupled, clock, step_ns)
    signal.play(arrivals.steps)
    return signal


def _advanced(cell: Cell, rows: NDArray[Any]) -> Any:
    """Parts of the outcomes as the cell decides them."""
    times = rows["at_ns"]
    first, known_ns = 0, int(times[0]) - 1 if len(times) else 0
    while first < len(rows):
        known_ns = max(known_ns, int(times[first])) + _WINDOW_NS
        last = int(times.searchsorted(known_ns, "right"))
        tags = np.arange(first, last, dtype=np.int64)
        for source in np.unique(rows["source"][tags]).tolist():
            mine = tags[rows["source"][tags] == source]
            cell.offer(
                source,
                rows["to"][mine],
                at_ns=times[mine],
                size=rows["size"][mine],
                kind=rows["kind"][mine],
                tags=mine,
            )
        yield cell.advance(known_ns)
        first = last
    for _ in range(_MOST_WAITS):
        if not cell.busy:
            return
        known_ns += _PATIENCE_NS
        yield cell.advance(known_ns)


def seed_beside(path: Path) -> tuple[Path | None, int | None]:
    """The testbed and the seed of the world that a truth log lies in, as far as it says."""
    try:
        said = json.loads(path.with_name("world.json").read_text("utf-8"))
        return Path(said["testbed"]), int(said["seed"])
    except (OSError, ValueError, KeyError):
        return None, None


def write(path: Path, arrivals: Arrivals, done: Replayed) -> None:
    """The releases as a table: one line an arrival, times on the cell's clock.

    Raises: UsageError when the file cannot be written.
    """
    try:
        with path.open("w", encoding="utf-8", newline="") as file:
            table = csv.writer(file)
            table.writerow(("arrival_ns", "release_ns", "delay_ns", "slot", "sent", "reason"))
            for row, one in zip(arrivals.rows, done.outcomes, strict=True):
                at_ns, release_ns = int(row["at_ns"]), int(one["at_ns"])
                rest = (int(one[name]) for name in ("slot", "transmissions", "reason"))
                table.writerow((at_ns, release_ns, release_ns - at_ns, *rest))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
