"""`hil calibrate`: what the instrument itself adds between two ports."""

from __future__ import annotations

import json
from collections.abc import Mapping
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
from hil.samples.metrics import distribution
from hil.testbed import Testbed, load
from hil.traffic import Port, parse_port, resolve_port
from hil.traffic.floor import keep
from hil.units import format_duration, parse_size
from hil.verdict import ExitCode

#: What each floor is, as it is shown.
_WORDS = {
    "artefact": "(a) one veth call: an artefact",
    "round_trip": "(b) round trip of two processes",
    "hop": "(c) these ports: the floor",
}


def calibrate(
    tx: str, rx: str, testbed: str | None, size: str, count: int, *, as_json: bool
) -> int:
    """Measures the three floors, keeps (c) for these ports, and shows them; 0 when it was kept.

    Raises:
        UsageError: there can be no floor between these ports; nothing was sent.
        RigError: what was measured is no floor; nothing was kept.
    """
    bench = load(testbed, Registry()) if testbed is not None else None
    if bench is not None and bench.world is not None:
        raise UsageError(
            f"{bench.name} is a simulated world: a cell stands between its ports, and their floor "
            f"is observed in every run"
        )
    try:
        length = parse_size(size)
    except ValueError as error:
        raise UsageError(f"--size: {error}") from None
    if not 1_000 <= count <= 1_000_000:
        raise UsageError(f"--count must lie between 1,000 and 1,000,000; got {count:,}")
    near, far = _port(tx, bench), _port(rx, bench)
    floors.refuse(near, far)
    flow = floors.hop_flow(near, far, length, count)
    flow.check()
    launcher: tuple[str, ...] = ()
    if bench is not None:
        permit(bench, [flow])
        launcher = bench.launcher
    measured = floors.hop(near, far, size=length, count=count, launcher=launcher)
    hop = floors.floor_of(measured)
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
        print(json.dumps({**_figures(found), "kept": str(kept)}))
    else:
        _show(near, far, found)
        print(f"kept: {kept}")
    return ExitCode.OK


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
