"""`hil calibrate`: what the instrument itself adds between two ports."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from hil.clock import SYSTEM
from hil.drivers.registry import Registry
from hil.errors import RigError, UsageError
from hil.lab import floors, live_port
from hil.lab.safety import permit
from hil.record import floor_checks, read
from hil.samples import floor, store
from hil.samples.floor_check import compare
from hil.samples.metrics import distribution
from hil.testbed import Testbed, load
from hil.traffic import Port, parse_port, resolve_port
from hil.traffic.floor import keep, stored
from hil.units import format_duration, parse_size
from hil.verdict import ExitCode

#: What each floor is, as it is shown.
_WORDS = {
    "artefact": "(a) one veth call: an artefact",
    "round_trip": "(b) round trip of two processes",
    "hop": "(c) these ports: the floor",
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is to be calibrated: two ports, by `size` and `count` of packets.

    `after` is the directory of a run made with the floor of these ports: it is checked, and the
    floor that is kept stays.
    """

    tx: str
    rx: str
    testbed: str | None
    size: str
    count: int
    after: Path | None = None


def calibrate(request: Request, *, as_json: bool) -> int:
    """Measures the three floors, keeps (c) for these ports, and shows them; 0 when it was kept.

    Raises:
        UsageError: there can be no floor between these ports, or no measurement of the run to be
            checked was made with one; nothing was sent.
        RigError: what was measured is no floor; nothing was kept.
    """
    bench = load(request.testbed, Registry()) if request.testbed is not None else None
    if bench is not None and bench.world is not None:
        raise UsageError(
            f"{bench.name} is a simulated world: a cell stands between its ports, and their floor "
            f"is observed in every run"
        )
    try:
        length = parse_size(request.size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    if not 1_000 <= request.count <= 1_000_000:
        raise UsageError(f"--count must lie between 1,000 and 1,000,000; got {request.count:,}")
    near, far = _port(request.tx, bench), _port(request.rx, bench)
    floors.refuse(near, far)
    made = () if request.after is None else _calibrated(request.after, near, far)
    before = stored(near, far)
    flow = floors.hop_flow(near, far, length, request.count)
    flow.check()
    launcher: tuple[str, ...] = ()
    if bench is not None:
        permit(bench, [flow])
        launcher = bench.launcher
    measured = floors.hop(near, far, size=length, count=request.count, launcher=launcher)
    hop = floors.floor_of(measured)
    if request.after is not None:
        return _check(request.after, made, hop, as_json=as_json)
    drift = compare(before.floor_ns, hop) if before is not None and before.floor_ns.size else None
    kept = keep(
        near,
        far,
        hop,
        size=length,
        at_ns=SYSTEM.realtime_ns(),
        source="hardware" if measured.timing.tx == "hardware" else "kernel",
    )
    found: dict[str, NDArray[np.int64] | str] = {"hop": hop}
    try:
        own = floors.own_floors()
        found |= {name: np.array(own[name], np.int64) for name in ("artefact", "round_trip")}
    except RigError as error:
        found |= dict.fromkeys(("artefact", "round_trip"), str(error))
    if as_json:
        since = None if drift is None else drift.drift_ns
        print(json.dumps({**_figures(found), "kept": str(kept), "drift_ns": since}))
    else:
        _show(near, far, found)
        if drift is not None:
            print(f"since the floor before: drift {format_duration(drift.drift_ns)}")
        print(f"kept: {kept}")
    return ExitCode.OK


def _calibrated(directory: Path, tx: Port, rx: Port) -> tuple[tuple[str, NDArray[np.int64]], ...]:
    """The measurements of a run from `tx` to `rx` with a calibrated floor, and that floor.

    Raises: UsageError where there is none.
    """
    run = read(directory)
    found: list[tuple[str, NDArray[np.int64]]] = []
    for line in run.measurements.values():
        ports = line.conditions.get("ports", {})
        here = all(
            (ports.get(role, {}).get("interface"), ports.get(role, {}).get("namespace"))
            == (port.interface, port.namespace)
            for role, port in (("tx", tx), ("rx", rx))
        )
        calibrated = any(floor_checks.CALIBRATED in words for words in line.budget.sources)
        if not (here and calibrated and line.samples is not None):
            continue
        whole = floor.unpacked(store.read_metadata(run.directory.path / line.samples.path))
        if whole is not None and whole.size:
            found.append((line.id, whole))
    if not found:
        raise UsageError(
            f"no measurement of {directory} from {tx.name} to {rx.name} has a calibrated floor: "
            f"calibrate before a run, then check after it"
        )
    return tuple(found)


def _check(
    directory: Path,
    made: Sequence[tuple[str, NDArray[np.int64]]],
    hop: NDArray[np.int64],
    *,
    as_json: bool,
) -> int:
    """Keeps the floor taken after a run beside its record; 10 where it voids that of the run."""
    check = floor_checks.Check(tuple(name for name, _ in made), SYSTEM.realtime_ns(), hop)
    file = floor_checks.add(directory, check)
    outcomes = {name: compare(before, hop) for name, before in made}
    if as_json:
        shown = {name: asdict(each) for name, each in outcomes.items()}
        print(json.dumps({"hop_ns": distribution(hop), "checked": shown, "kept": str(file)}))
    else:
        for name, each in outcomes.items():
            print(f"{name}: {each.words}")
        print(f"kept: {file}; judge the run again with it: hil rejudge {directory}")
    return ExitCode.RIG if any(each.void for each in outcomes.values()) else ExitCode.OK


def _port(text: str, bench: Testbed | None) -> Port:
    if bench is not None and text in bench.ports:
        return live_port(bench, text)
    namespace, interface = parse_port(text)
    return resolve_port(interface, namespace)


def _figures(found: Mapping[str, NDArray[np.int64] | str]) -> dict[str, Any]:
    """Each floor as a distribution, None where it was not measured."""
    return {
        f"{name}_ns": None if isinstance(value, str) else distribution(value)
        for name, value in found.items()
    }


def _show(near: Port, far: Port, found: Mapping[str, NDArray[np.int64] | str]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{near.name} -> {far.name}", markup=False)
    table = Table(box=None, pad_edge=False, header_style="")
    shown = ("n", "min", "p50", "p99", "p99.9", "max")
    table.add_column("", no_wrap=True)
    for title in shown:
        table.add_column(title, justify="right")
    for name, words in _WORDS.items():
        value = found[name]
        if isinstance(value, str):
            table.add_row(words, "not measured")
            console.print(value, markup=False)
            continue
        figures = distribution(value)
        times = [figures[title] for title in shown[1:]]
        table.add_row(
            words,
            f"{value.size:,}",
            *("-" if time is None else format_duration(time) for time in times),
        )
    console.print(table)
    console.print("Only (c) enters an uncertainty; it holds for these ports in this direction.")
