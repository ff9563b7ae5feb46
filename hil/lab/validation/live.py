"""Real traffic through a world, in real-time mode against the kernel's stamps inside the cell.

The cell leaves no trailers; the tester has its own stamps and nothing else. The truth is what the
user plane's sockets were told by the kernel: when each frame came in, and when it went out.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.clock import SYSTEM, Deadline
from hil.drivers.registry import Registry
from hil.errors import RigError
from hil.lab.path import live_port
from hil.lab.validation.item import Figure, Item, all_hold, coverage, exact
from hil.lab.validation.truth import NAMES, FlowTruth, differences, of_measurement
from hil.samples.measurement import Direction, Measurement
from hil.samples.table import PLANNED, Table, difference_ns, taken
from hil.stats import quantile
from hil.testbed import Testbed, load
from hil.traffic import Flow, run
from hil.virtual import faults
from hil.virtual.coupling import Coupling
from hil.virtual.faults.ledger import USERPLANE

INTERVAL_NS: Final = 1_000_000
SIZE: Final = 128
DRAIN_NS: Final = 400_000_000
SOURCE: Final = "kernel stamps at both ends, against the kernel's stamps inside the cell"
_URGENT: Final = 46  # DSCP EF
_PATIENCE_NS: Final = 20_000_000_000
_LOOK_NS: Final = 20_000_000

#: A way through the cell: name, sending and receiving port, modem whose radio it crosses.
Way = tuple[str, str, str, str]
WAYS: Final[tuple[Way, ...]] = (
    ("uplink of cpe1", "lan_a", "mec", "cpe1"),
    ("downlink of cpe1", "mec", "lan_a", "cpe1"),
    ("uplink of cpe2", "lan_b", "mec", "cpe2"),
    ("downlink of cpe2", "mec", "lan_b", "cpe2"),
)


def direction(way: Way) -> Direction:
    """Away from the device, or towards it."""
    return "uplink" if way[1].startswith("lan") else "downlink"


@dataclass(frozen=True, slots=True)
class Bench:
    """The world around this process."""

    testbed: Testbed
    run: Path

    @property
    def truth(self) -> Path:
        """Its truth log."""
        return self.run / "truth"

    def flow(self, way: Way, planned: Table, size: int = SIZE) -> Flow:
        """A flow on a way through the cell."""
        name, tx, rx, _ = way
        return Flow(
            name=name,
            tx=live_port(self.testbed, tx),
            rx=live_port(self.testbed, rx),
            planned=planned,
            layer="udp",
            dscp=_URGENT,
            direction=direction(way),
            interval_ns=INTERVAL_NS,
            traffic={"pattern": "periodic", "size": size, "phase": "drawn for each packet"},
            simulated=True,
        )


def around(*, trailers: bool) -> Bench:
    """The world around this process, when the sessions of its modems are up.

    What it was made of is not read: the ports are those of the default testbed, in real-time mode
    without `trailers`.

    Raises: RigError when the sessions do not come up.
    """
    path = Path(os.environ["HIL_RUN"])
    bench = load("virtual", Registry())
    assert bench.world is not None
    bench = bench.model_copy(
        update={"world": bench.world.model_copy(update={"trailers": trailers})}
    )
    rows = Coupling.open(path / "coupling").rows
    patience = Deadline.after(_PATIENCE_NS)
    while not rows["session_up"].all():
        if patience.passed:
            raise RigError("the modems of the world found no session in time")
        SYSTEM.sleep_ns(_LOOK_NS)
    return Bench(bench, path)


def spread(random: np.random.Generator, count: int, size: int = SIZE) -> Table:
    """One packet each millisecond at a phase of its own, so that all phases of a slot are met."""
    planned = np.zeros(count, PLANNED)
    planned["seq"] = planned["frame"] = np.arange(count)
    planned["size"] = size
    phase = random.integers(0, INTERVAL_NS, count)
    planned["offset_ns"] = np.arange(count, dtype=np.int64) * INTERVAL_NS + phase
    return planned


def offer(flows: Sequence[Flow], **options: Any) -> tuple[Measurement, ...]:
    """Measure flows together; the samples are in memory. Options are those of `run`."""
    options = {"drain_ns": DRAIN_NS} | options
    with tempfile.TemporaryDirectory(prefix="hil-validate-") as directory:
        measured = run(flows, directory=Path(directory), **options)
    reasons = [reason for each in measured for reason in each.invalid]
    if reasons:
        raise RigError(f"no comparison with the truth: {'; '.join(reasons)}")
    return measured


@dataclass(frozen=True, slots=True)
class Error:
    """How far the instrument is from the truth, packet by packet, in nanoseconds.

    `delay` is of the delay, `sent` of the send stamp against the cell's stamp of entry, `received`
    of the receive stamp against the kernel's stamp as the frame left the cell.
    """

    delay: NDArray[np.int64]
    sent: NDArray[np.int64]
    received: NDArray[np.int64]
    untimed: int

    @classmethod
    def of(cls, measured: Measurement, true: FlowTruth) -> Error:
        """The errors of a measurement's own send and receive times."""
        samples, timing = measured.samples, measured.timing
        left, came = samples[timing.tx_column], samples[timing.rx_column]
        sent = difference_ns(left, true.entered_ns)
        received = difference_ns(came, true.left_ns)
        delay = difference_ns(received, sent)
        known = taken(delay)
        untimed = int((taken(true.left_ns) & ~known).sum())
        return cls(delay[known], sent[known], received[known], untimed)

    def within(self, bound_ns: int) -> int:
        """Packets whose delay is right within a bound."""
        return int((np.abs(self.delay) <= bound_ns).sum())


def stated_ns(measured: Measurement) -> int:
    """The uncertainty that the instrument states for one delay (k = 2)."""
    return int(measured.budget.common_mode_ns) + measured.budget.floor_quantile_ns(0.95)


def complaint(measured: Measurement, true: FlowTruth) -> str | None:
    """What is wrong with a measurement, in one clause; None where it agrees with the truth.

    Counts must be exact, no packet may be without a time, and at least 95 % of delays right within
    the stated uncertainty.
    """
    if wrong := differences(measured.counts, true.counts):
        return "; ".join(wrong)
    error = Error.of(measured, true)
    if error.untimed:
        return f"{error.untimed} packets that came have no delay"
    bound = stated_ns(measured)
    right = error.within(bound)
    if error.delay.size and right < 0.95 * error.delay.size:
        typical = int(np.median(np.abs(error.delay)))
        return (
            f"{error.delay.size - right:,} of {error.delay.size:,} delays are off by more than "
            f"{bound} ns, half of them by {typical} ns or more"
        )
    return None


#: What goes wrong in a world while the instrument must stay right.
FAULTS: Final[Sequence[tuple[str, dict[str, Any]]]] = (
    ("burst_loss", {"share": 0.03, "burst": 2.0}),
    ("duplication", {"share": 0.06}),
    ("corruption", {"share": 0.02}),
    ("reordering", {"share": 0.15, "by": "6 ms"}),
)


@contextmanager
def faulty(bench: Bench, given: Sequence[tuple[str, dict[str, Any]]] = FAULTS) -> Iterator[None]:
    """Within it those faults are on."""
    entries = [faults.begin(bench.run, USERPLANE, kind, each) for kind, each in given]
    try:
        yield
    finally:
        for entry in entries:
            faults.close(bench.run, entry)


def realtime(bench: Bench, count: int) -> Item:
    """Every way through the cell at once, undisturbed and under faults, against the truth."""
    random = np.random.default_rng()
    measured = list(offer([bench.flow(way, spread(random, count)) for way in WAYS]))
    with faulty(bench):
        measured += offer([bench.flow(way, spread(random, count)) for way in WAYS])
    return compared(
        "realtime",
        "Real-time mode: own stamps against the cell's",
        [(each, of_measurement(bench.truth, each)) for each in measured],
    )


def compared(id: str, title: str, pairs: Sequence[tuple[Measurement, FlowTruth]]) -> Item:
    """Measurements against the truth, packet by packet."""
    errors = [Error.of(measured, true) for measured, true in pairs]
    delay = np.concatenate([each.delay for each in errors])
    sent = np.concatenate([each.sent for each in errors])
    received = np.concatenate([each.received for each in errors])
    bound = max(stated_ns(measured) for measured, _ in pairs)
    right = sum(
        error.within(stated_ns(measured))
        for error, (measured, _) in zip(errors, pairs, strict=True)
    )
    figures = [
        coverage("delays right within the uncertainty stated", right, delay.size, source=SOURCE),
        *distribution("error of a delay", np.abs(delay)),
        *distribution("send stamp before the cell's own", -sent),
        *distribution("receive stamp after the cell's own", received),
        Figure(
            what="uncertainty stated for one delay (k = 2)",
            value=float(bound),
            unit="ns",
            source="; ".join(pairs[0][0].budget.sources),
        ),
        exact(
            "receive stamps not before the frame left",
            int((received >= 0).sum()),
            received.size,
            unit_of="packets",
            source=SOURCE,
        ),
        *(
            exact(
                f"packets {name}",
                sum(
                    getattr(measured.counts, name) == getattr(true.counts, name)
                    for measured, true in pairs
                ),
                len(pairs),
                unit_of="flows",
                source="the truth log",
            )
            for name in NAMES
        ),
        exact(
            "packets that came and have a delay",
            int(delay.size),
            int(delay.size) + sum(each.untimed for each in errors),
            unit_of="packets",
            source=SOURCE,
        ),
    ]
    worst = quantile.nearest_rank(np.sort(np.abs(delay)), 0.999) if delay.size else None
    median = quantile.nearest_rank(np.sort(np.abs(delay)), 0.5) if delay.size else None
    unstamped = sum(true.unstamped for _, true in pairs)
    return Item(
        id=id,
        title=title,
        holds=all_hold(figures) and bool(delay.size),
        sentence=(
            f"{delay.size:,} packets of {len(pairs)} flows: delay off by {_us(median)} (p50) and "
            f"{_us(worst)} (p99.9), {right:,} within the {_us(bound)} stated"
        ),
        figures=tuple(figures),
        notes=(f"{unstamped:,} frames left the cell without a stamp",) if unstamped else (),
    )


def distribution(what: str, values: NDArray[np.int64]) -> list[Figure]:
    """Percentiles of some errors, shown and not judged."""
    ordered = np.sort(values)
    return [
        Figure(
            what=f"{what}, {name}",
            value=_figure(ordered, share),
            unit="ns",
            n=int(ordered.size),
            of="packets",
            source=SOURCE,
        )
        for name, share in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999), ("max", 1.0))
    ]


def _figure(ordered: NDArray[np.int64], share: float) -> float | None:
    supported = ordered.size and (share == 1.0 or quantile.supported(ordered.size, share))
    found = quantile.nearest_rank(ordered, share) if supported else None
    return None if found is None else float(found)


def _us(value_ns: float | None) -> str:
    return "not measured" if value_ns is None else f"{value_ns / 1000:.2f} us"


def repeated(bench: Bench, runs: int, count: int) -> Item:
    """Repeatability and reproducibility of a delay: the same again, and on other pairs of ports.

    What is repeated is the median error of a run against the truth, because the network's own delay
    is not the same twice. ISO 5725-2: s_r within a pair of ports, s_R between them too.
    """
    random = np.random.default_rng()
    medians: dict[str, list[float]] = {way[0]: [] for way in WAYS}
    bound = 0
    for _ in range(runs):
        measured = offer([bench.flow(way, spread(random, count)) for way in WAYS])
        for way, each in zip(WAYS, measured, strict=True):
            error = Error.of(each, of_measurement(bench.truth, each))
            medians[way[0]].append(float(np.median(error.delay)))
            bound = max(bound, stated_ns(each))
    table = np.array(list(medians.values()))
    within = float(table.var(axis=1, ddof=1).mean())
    between = max(0.0, float(table.mean(axis=1).var(ddof=1)) - within / runs)
    repeat, reproduce = within**0.5, (within + between) ** 0.5
    figures = [
        _deviation("repeatability standard deviation s_r", repeat, bound, table.size, "runs"),
        _deviation("reproducibility standard deviation s_R", reproduce, bound, table.size, "runs"),
        *(
            Figure(
                what=f"median error on the {name}, mean of the runs",
                value=float(np.mean(values)),
                unit="ns",
                n=len(values),
                of="runs",
                source=SOURCE,
            )
            for name, values in medians.items()
        ),
    ]
    return Item(
        id="repeatability",
        title="Repeatability and reproducibility",
        holds=all_hold(figures),
        sentence=(
            f"median error of {runs} runs on each of {len(WAYS)} pairs of ports: s_r "
            f"{repeat:,.0f} ns, s_R {reproduce:,.0f} ns"
        ),
        figures=tuple(figures),
    )


def _deviation(what: str, value: float, bound: int, n: int, of: str) -> Figure:
    return Figure(
        what=what,
        value=value,
        unit="ns",
        n=n,
        of=of,
        expected=f"twice it at most the {bound} ns stated",
        source=SOURCE,
        holds=2 * value <= bound,
    )
