"""`hil measure`: one measurement between two ports, without pytest."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hil.cli import far_end, observing
from hil.errors import HilError, RigError, UsageError
from hil.units import format_duration, format_share, format_size, parse_duration, parse_size
from hil.verdict import ExitCode, Verdict, exit_code

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.samples.measurement import Measurement
    from hil.testbed import Testbed
    from hil.traffic import Flow, Port, Progress

_DEFAULT_TESTBED: Final = "virtual"
_DEFAULT_COUNT: Final = 10_000
_DEFAULT_SHARE: Final = 0.999
_LEAST_DRAIN_NS: Final = 2_000_000_000
_MOST_PACKETS: Final = 50_000_000
_TEMPORARY: Final = "hil-measure-"
_CONFIDENCE: Final = 0.95

#: Figures that are null where a measurement was not even begun.
_FIGURES: Final = (
    "sent",
    "received",
    "lost",
    "late",
    "duplicated",
    "reordered",
    "corrupted",
    "delay_ns",
    "pdv_ns",
    "ipdv_ns",
    "send_lateness_ns",
    "stamps",
    "uncertainty_ns",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line: texts with units, as given; None where not given.

    `tx` and `rx` are ports of the testbed, ``IFACE``, or ``NETNS/IFACE``; `reflector` stands in
    place of `rx`. `out` is a directory that keeps the samples. `observe` are points on the way and
    `canary` places to search (`hil.cli.observing`).
    """

    tx: str
    rx: str | None = None
    reflector: str | None = None
    testbed: str | None = None
    size: str = "128 B"
    interval: str = "1 ms"
    count: int | None = None
    duration: str | None = None
    layer: str | None = None
    bound: str | None = None
    share: float | None = None
    json: bool = False
    out: Path | None = None
    observe: tuple[str, ...] | None = None
    canary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    """The options, understood."""

    size: int
    interval_ns: int
    count: int
    bound_ns: int | None
    share: float


def measure(options: Options) -> int:
    """Measure once and print the figures; returns the exit code.

    Without a bound 0 is valid and 10 INVALID; with one the verdict decides. With ``json`` standard
    output holds one object and nothing else, also when the measurement is INVALID, was interrupted,
    or could not be made because of the rig.

    Raises:
        UsageError: something asked for cannot be; nothing was sent.
        RigError: without ``json``, when the rig failed before there was anything to show.
    """
    request = _understood(options)
    bench = _bench(options)
    if bench is not None and bench.world is not None:
        from hil.cli.virtual import join_or_enter

        join_or_enter(bench.source)
    flow = _flow(options, request, bench)
    try:
        measurement, interrupted = _run(options, request, flow, bench)
    except RigError as error:
        if not options.json:
            raise
        nothing = dict.fromkeys(_FIGURES)
        _print_object(nothing | _conclusion([str(error)], None) | {"complete": False})
        return ExitCode.RIG
    return _conclude(options, request, measurement, interrupted=interrupted)


def _understood(options: Options) -> _Request:
    """The options as numbers.

    Raises: UsageError, one sentence, naming the option.
    """
    with _naming("--size"):
        size = parse_size(options.size)
    with _naming("--interval"):
        interval_ns = parse_duration(options.interval)
        if interval_ns <= 0:
            raise ValueError(f"must be longer than nothing, as in '1 ms'; got {options.interval!r}")
    bound_ns = None
    if options.bound is not None:
        with _naming("--bound"):
            bound_ns = parse_duration(options.bound)
            if bound_ns <= 0:
                raise ValueError(f"must be above 0, as in '10 ms'; got {options.bound!r}")
    elif options.share is not None:
        raise UsageError("--share says how many packets must keep a --bound: give that too")
    share = _DEFAULT_SHARE if options.share is None else options.share
    if not 0 < share < 1:
        raise UsageError(f"--share must lie between 0 and 1, as in 0.999; got {share:g}")
    if options.layer not in (None, "ethernet", "udp"):
        raise UsageError(f"--layer is ethernet or udp; got {options.layer!r}")
    far_end.one_end(options.rx, options.reflector, options.layer)
    count = _count(options, interval_ns)
    return _Request(size, interval_ns, count, bound_ns, share)


def _count(options: Options, interval_ns: int) -> int:
    count = options.count
    if options.duration is not None:
        if count is not None:
            raise UsageError("--count and --duration both say how long: give one of them")
        with _naming("--duration"):
            count = parse_duration(options.duration) // interval_ns
            if count < 1:
                raise ValueError(
                    f"{options.duration!r} has no room for one packet each {options.interval!r}"
                )
    count = _DEFAULT_COUNT if count is None else count
    if not 1 <= count <= _MOST_PACKETS:
        raise UsageError(f"--count must lie between 1 and {_MOST_PACKETS:,}; got {count:,}")
    return count


@contextlib.contextmanager
def _naming(option: str) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def _bench(options: Options) -> Testbed | None:
    """The testbed that the ports are looked up in; None where both are plain interfaces."""
    from hil._enter import inside

    name = options.testbed
    if name is None and (world := inside()) is not None:
        name = str(world.testbed)
    if name is None:
        if all("/" in text or _is_interface(text) for text in _ports(options)):
            return None
        name = _DEFAULT_TESTBED
    from hil.drivers.registry import Registry
    from hil.testbed import load

    bench = load(name, Registry())
    if options.testbed is None and not _ports(options) & set(bench.ports):
        return None  # neither is known there: say so of the interfaces
    return bench


def _ports(options: Options) -> set[str]:
    return {options.tx} if options.rx is None else {options.tx, options.rx}


def _is_interface(name: str) -> bool:
    import socket

    return any(name == known for _, known in socket.if_nameindex())


def _port(text: str, bench: Testbed | None) -> Port:
    """The port a text names, looked at now.

    Raises: UsageError, with what there is instead.
    """
    from hil.traffic import parse_port, resolve_port

    if bench is not None and text in bench.ports:
        from hil.lab.path import live_port

        return live_port(bench, text)
    namespace, interface = parse_port(text)
    try:
        return resolve_port(interface, namespace)
    except UsageError as error:
        if bench is None or namespace is not None:
            raise
        known = ", ".join(bench.ports)
        raise UsageError(f"{error}; ports of testbed {bench.name}: {known}") from None


def _flow(options: Options, request: _Request, bench: Testbed | None) -> Flow:
    from hil.samples.planned import Regular
    from hil.traffic import Flow
    from hil.traffic.floor import stored

    tx, far = _port(options.tx, bench), options.reflector
    rx = _port(options.rx or "", bench) if far is None else far_end.far_port(far, tx)
    layer: Any = options.layer or ("udp" if "raw-ip" in (tx.kind, rx.kind) else "ethernet")
    flow = Flow(
        name="measure",
        tx=tx,
        rx=rx,
        planned=Regular(request.count, request.interval_ns, request.size),
        layer=layer,
        direction=_direction(options.tx, bench) if far is None else "loop",
        traffic={
            "pattern": "periodic",
            "layer": layer,
            "size": request.size,
            "interval_ns": request.interval_ns,
            "count": request.count,
        },
        interval_ns=request.interval_ns,
        floor=stored(tx, rx) if far is None else None,
        simulated=bench is not None and bench.world is not None,
        through=observing.points(bench, (options.tx, options.rx), options.observe),
        search=observing.search(bench, options.rx, options.canary),
    )
    if bench is not None:
        from hil.lab.safety import permit

        permit(bench, [flow])
    return flow


def _direction(tx: str, bench: Testbed | None) -> Any:
    """Away from the device is uplink; so are two plain interfaces, for want of a better word."""
    if bench is None or tx not in bench.ports or bench.ports[tx].side == "device":
        return "uplink"
    return "downlink"


def _run(
    options: Options, request: _Request, flow: Flow, bench: Testbed | None
) -> tuple[Measurement, bool]:
    """The measurement, and whether it was interrupted."""
    from hil.lab.clock import watched
    from hil.traffic import RunInterrupted, run

    drain_ns = max(_LEAST_DRAIN_NS, 10 * (request.bound_ns or 0))
    launcher = bench.launcher if bench is not None else ()
    with _lease(bench), _samples(options.out) as directory, watched(bench) as told:
        try:
            if (far := options.reflector) is not None:
                measurement = far_end.run(flow, far, directory, launcher, drain_ns, _progress())
            else:
                (measurement,) = run(
                    [flow],
                    directory=directory,
                    progress=_progress(),
                    launcher=launcher,
                    drain_ns=drain_ns,
                )
        except RunInterrupted as stop:
            print(f"\n{stop}", file=sys.stderr)
            return told(stop.measurements[0]), True
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)
    return told(measurement), False


def _lease(bench: Testbed | None) -> contextlib.AbstractContextManager[object]:
    """A real bench for this measurement alone: its traffic would spoil that of another run."""
    if bench is None or bench.world is not None:
        return contextlib.nullcontext()
    from hil.lab.lease import Lease

    return Lease(bench.name)


@contextlib.contextmanager
def _samples(out: Path | None) -> Iterator[Path]:
    """Where the samples go: kept in `out`, else in a directory that is gone at the end."""
    if out is not None:
        try:
            out.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--out {out}: {error.strerror}") from None
        yield out
        return
    _sweep()
    try:
        path = Path(tempfile.mkdtemp(prefix=f"{_TEMPORARY}{os.getpid()}-"))
    except OSError as error:
        raise UsageError(
            f"no directory for temporary files ({error.strerror}): give one with --out or TMPDIR"
        ) from None
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _sweep() -> None:
    """Remove what a killed `hil measure` of this user left; what one still uses stays."""
    for path in Path(tempfile.gettempdir()).glob(f"{_TEMPORARY}*-*"):
        owner = re.fullmatch(rf"{_TEMPORARY}(\d+)-\w+", path.name)
        with contextlib.suppress(OSError):
            dead = owner is not None and not Path(f"/proc/{owner[1]}").exists()
            if dead and path.lstat().st_uid == os.geteuid() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)


def _progress() -> Any:
    """Prints the state to standard error: in place on a terminal, else now and then a line."""
    terminal = sys.stderr.isatty()
    said = 0

    def show(state: Progress) -> None:
        nonlocal said
        said += 1
        if terminal:
            print(f"\r\x1b[K{state}", end="", file=sys.stderr, flush=True)
        elif said % 4 == 1:
            print(state, file=sys.stderr, flush=True)

    return show


def _conclude(
    options: Options, request: _Request, measurement: Measurement, *, interrupted: bool
) -> int:
    """Judge, print, and turn it into an exit code."""
    from hil.judge.offered import off_grid_share
    from hil.samples.summarise import summarise

    judgement: Judgement | None = None
    reasons = _invalid_reasons(measurement, request.bound_ns)
    if request.bound_ns is not None:
        from hil.judge import judge_bound

        judgement = judge_bound(measurement, request.bound_ns, request.share, _CONFIDENCE)
        if judgement.verdict is Verdict.INVALID and not reasons:
            reasons = [judgement.sentence]
    summary = summarise(measurement, bound_ns=request.bound_ns)
    summary |= _conclusion(reasons, judgement)
    summary["off_grid_share"] = off_grid_share(measurement)
    summary["conditions"] = dict(measurement.conditions)
    if options.json:
        _print_object(summary)
    else:
        _print_table(options, request, measurement, summary)
    if judgement is None:
        return ExitCode.RIG if reasons or interrupted else ExitCode.OK
    return exit_code([judgement.verdict], interrupted=interrupted)


def _invalid_reasons(measurement: Measurement, bound_ns: int | None) -> list[str]:
    """Why there is no claim at all, one sentence each."""
    from hil.judge.evidence import MOST_BRACKETED, evidence, implausible, preconditions

    seen = evidence(measurement, None, bound_ns or 0)
    reasons = [*measurement.invalid, *implausible(measurement, seen), *preconditions(measurement)]
    if not seen.n:
        reasons.append("nothing was measured")
    elif float(seen.bracketed.mean()) > MOST_BRACKETED:
        share = format_share(float(seen.bracketed.mean()))
        reasons.append(
            f"{share} of packets have no trustworthy time ({seen.bracketed_words()}), more than "
            f"{format_share(MOST_BRACKETED)}"
        )
    return reasons


def _conclusion(reasons: list[str], judgement: Judgement | None) -> dict[str, Any]:
    verdict = judgement.verdict.value if judgement is not None else None
    if reasons and judgement is None:
        verdict = Verdict.INVALID.value
    return {
        "valid": not reasons,
        "invalid_reasons": reasons,
        "verdict": verdict,
        "judgement": judgement.to_json() if judgement is not None else None,
    }


def _print_object(fields: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(fields, allow_nan=False, default=_plain) + "\n")
    sys.stdout.flush()


def _plain(value: Any) -> Any:
    """What the standard encoder does not know: numpy numbers and dataclasses."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if hasattr(value, "item"):
        return value.item()
    raise HilError(f"cannot print {type(value).__name__} as JSON")


def _print_table(
    options: Options, request: _Request, measurement: Measurement, summary: dict[str, Any]
) -> None:
    from rich.console import Console
    from rich.table import Table as Grid

    console = Console(highlight=False, soft_wrap=True)
    console.print(
        f"{measurement.tx_port} -> {measurement.rx_port}, "
        f"{format_size(request.size)} each {format_duration(request.interval_ns)}, "
        f"layer {measurement.traffic['layer']}"
        f"{', SIMULATED' if measurement.simulated else ''}"
        f"{'' if measurement.complete else ', cut short'}"
    )
    counts = ("sent", "received", "lost", "late", "duplicated", "reordered", "corrupted", "foreign")
    shown = [f"{summary[name]:,} {name}" for name in counts if summary[name] is not None]
    console.print(", ".join(shown) + f" (and {summary['warmup_sent']} for warm-up)")
    grid = Grid(box=None, pad_edge=False, header_style="")
    grid.add_column("")
    columns = ("delay_ns", "pdv_ns", "ipdv_ns", "send_lateness_ns")
    for title in ("delay", f"{format_share(_CONFIDENCE)} interval", "PDV", "IPDV", "send lateness"):
        grid.add_column(title, justify="right")
    limits = _limits(measurement)
    for name in summary["delay_ns"]:
        values = [observing.time_words(summary[column][name]) for column in columns]
        grid.add_row(name, values[0], limits.get(name, ""), *values[1:])
    console.print(grid)
    observing.show(console, summary)
    stamps = summary["stamps"]
    console.print(
        f"n = {summary['received']:,}; times: {stamps['tx']['source']} at sending "
        f"({stamps['tx']['missing']} missing), {stamps['rx']['source']} at receipt "
        f"({stamps['rx']['missing']} missing); uncertainty "
        f"{observing.time_words(summary['uncertainty_ns'])} (k = 2)"
    )
    said = [f"  {each}" for each in summary["uncertainty"]["sources"]]
    for each in (*said, *far_end.ways_words(summary["conditions"])):
        console.print(each, markup=False)
    warned = summary["judgement"] is not None and summary["valid"]  # by the judgement's sentence
    if summary["off_grid_share"] and not warned:
        console.print(
            f"offered traffic: {summary['off_grid_share'] * 100:.2g} % of packets left more than a "
            f"quarter of the interval off their grid"
        )
    judged = summary["judgement"]["sentence"] if summary["judgement"] is not None else None
    for reason in summary["invalid_reasons"]:
        if reason != judged:
            console.print(f"INVALID: {reason}", markup=False)
    if judged is not None:
        console.print(f"{summary['verdict']}: {judged}", markup=False)
    elif summary["valid"]:
        console.print("valid; no bound was given, so there is no verdict")
    if options.out is not None:
        console.print(f"samples: {options.out / measurement.id}.parquet", markup=False)


def _limits(measurement: Measurement) -> dict[str, str]:
    """The confidence interval of each percentile of the delay, by order statistics."""
    import numpy as np

    from hil.samples import metrics
    from hil.samples.table import taken
    from hil.stats import quantile

    delay = metrics.delay_ns(measurement.samples, measurement.timing)
    known = np.sort(delay[taken(delay)])
    found: dict[str, str] = {}
    for name, share in metrics.PERCENTILES.items():
        if known.size and quantile.supported(known.size, share):
            low, high = quantile.interval(known, share, _CONFIDENCE)
            found[name] = f"{observing.time_words(low)} to {observing.time_words(high)}"
    return found
