"""`hil measure`: one measurement between two ports, without pytest."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hil.cli import far_end, measured, observing
from hil.errors import RigError, UsageError
from hil.units import parse_duration, parse_size
from hil.verdict import ExitCode, exit_code

if TYPE_CHECKING:
    from hil.samples.measurement import Measurement
    from hil.targets import Traffic
    from hil.testbed import Testbed
    from hil.traffic import Flow, Port, Progress

_DEFAULT_TESTBED: Final = "virtual"
_DEFAULT_COUNT: Final = 10_000
_DEFAULT_SHARE: Final = 0.999
_LEAST_DRAIN_NS: Final = 2_000_000_000
_MOST_PACKETS: Final = 200_000_000
_TEMPORARY: Final = "hil-measure-"
_DEFAULT_DURATION: Final = "10 s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The command line: texts with units, as given; None where not given.

    `tx` and `rx` are ports of the testbed, ``IFACE``, or ``NETNS/IFACE``; `reflector` stands in
    place of `rx`. `out` is a directory that keeps the samples. `observe` are points on the way and
    `canary` places to search (`hil.cli.observing`). `traffic` is a file of flows that are offered
    together, in place of `size` and `interval`; `period` is what delays are folded on.
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
    traffic: Path | None = None
    period: str | None = None
    observe: tuple[str, ...] | None = None
    canary: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Request:
    """The options, understood."""

    size: int
    interval_ns: int
    count: int
    asked: measured.Asked
    mix: Mapping[str, Traffic] | None


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
    flows = _flows(options, request, bench)
    beside = _references(bench, options, flows)
    _permit(bench, (*flows, *beside))
    with _samples(options.out) as directory:  # what is too much for memory is read from there
        try:
            taken, interrupted = _run(options, request, (flows, beside), bench, directory)
        except RigError as error:
            if not options.json:
                raise
            nothing = measured.nothing(error)
            each = [{"flow": flow.name} | nothing for flow in flows]
            measured.print_object(nothing if request.mix is None else {"flows": each})
            return ExitCode.RIG
        return _told(options, request, taken, interrupted=interrupted)


def _told(
    options: Options, request: _Request, taken: Sequence[Measurement], *, interrupted: bool
) -> int:
    """Judge and print what was measured; returns the exit code."""
    said = [
        measured.concluded(each, request.asked, [other for other in taken if other is not each])
        for each in taken
    ]
    if options.json and request.mix is None:
        measured.print_object(said[0].summary)
    elif options.json:
        measured.print_object({"flows": [each.summary for each in said]})
    else:
        for each in said:
            measured.print_table(each, options.out)
    if request.asked.bound_ns is None:
        valid = all(each.valid for each in said) and not interrupted
        return ExitCode.OK if valid else ExitCode.RIG
    verdicts = [each.judgement.verdict for each in said if each.judgement is not None]
    return exit_code(verdicts, interrupted=interrupted)


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
    period_ns = None
    if options.period is not None:
        with _naming("--period"):
            period_ns = parse_duration(options.period)
            if period_ns < 1000:
                raise ValueError(f"must be at least 1 us, as in '2.5 ms'; got {options.period!r}")
    if options.layer not in (None, "ethernet", "udp"):
        raise UsageError(f"--layer is ethernet or udp; got {options.layer!r}")
    far_end.one_end(options.rx, options.reflector, options.layer)
    asked = measured.Asked(bound_ns=bound_ns, share=share, period_ns=period_ns)
    if options.traffic is None:
        return _Request(size, interval_ns, _count(options, interval_ns), asked, None)
    return _Request(size, interval_ns, 0, asked, _mixed(options))


def _mixed(options: Options) -> Mapping[str, Traffic]:
    """The flows of ``--traffic``, each with a count: its own, or what the duration has room for."""
    from hil.targets.mix import load_mix

    assert options.traffic is not None
    defaults = Options(tx="")
    for name in ("size", "interval", "count", "layer", "reflector"):
        if getattr(options, name) != getattr(defaults, name):
            raise UsageError(f"--{name} goes without --traffic: its file says what is offered")
    with _naming("--duration"):
        lasts_ns = parse_duration(options.duration or _DEFAULT_DURATION)
    found: dict[str, Traffic] = {}
    for name, traffic in load_mix(options.traffic).items():
        count = traffic.count
        if options.duration is not None or count is None:
            count = traffic.count_in(lasts_ns)
        if count > _MOST_PACKETS:
            raise UsageError(f"--traffic: flow {name} has {count:,} packets; give less --duration")
        found[name] = traffic.model_copy(update={"count": count})
    return found


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


def _flows(options: Options, request: _Request, bench: Testbed | None) -> tuple[Flow, ...]:
    """What is offered, all at once."""
    if request.mix is None:
        flows = [_flow(options, request, bench)]
    else:
        each = [(name, way) for name, mixed in request.mix.items() for way in mixed.directions]
        flows = [
            _flow_of(options, request, bench, name, way, seed)
            for seed, (name, way) in enumerate(each)
        ]
    return tuple(flows)


def _flow_of(
    options: Options, request: _Request, bench: Testbed | None, name: str, way: str, seed: int
) -> Flow:
    """One flow of a mix; its downlink is sent from the port to receive on.

    Each has a seed of its own: what comes at random must not come at random together.
    """
    from hil.traffic.flow import offering

    assert request.mix is not None
    traffic, ends = request.mix[name], (options.tx, options.rx or "")
    named = name if len(traffic.directions) == 1 else f"{name} {way}"
    if way == "downlink":
        ends = ends[::-1]
    tx, rx = (_port(end, bench) for end in ends)
    beyond_ns = request.asked.bound_ns or traffic.keep_beyond_ns
    with _naming(f"--traffic: flow {named}"):
        flow = offering(named, traffic, tx, rx, seed=seed)
    return replace(
        flow,
        direction=_way(way, options.tx, bench),
        bound_ns=beyond_ns if options.out is not None else None,
        simulated=bench is not None and bench.world is not None,
        through=observing.points(bench, (options.tx, options.rx), options.observe),
        search=observing.search(bench, options.rx, options.canary),
    )


def _flow(options: Options, request: _Request, bench: Testbed | None) -> Flow:
    from hil.samples.planned import Regular
    from hil.traffic import Flow
    from hil.traffic.floor import stored

    tx, far = _port(options.tx, bench), options.reflector
    rx = _port(options.rx or "", bench) if far is None else far_end.far_port(far, tx)
    layer: Any = options.layer or ("udp" if "raw-ip" in (tx.kind, rx.kind) else "ethernet")
    return Flow(
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
        bound_ns=request.asked.bound_ns if options.out is not None else None,
        simulated=bench is not None and bench.world is not None,
        through=observing.points(bench, (options.tx, options.rx), options.observe),
        search=observing.search(bench, options.rx, options.canary),
    )


def _direction(tx: str, bench: Testbed | None) -> Any:
    """Away from the device is uplink; so are two plain interfaces, for want of a better word."""
    if bench is None or tx not in bench.ports or bench.ports[tx].side == "device":
        return "uplink"
    return "downlink"


def _way(way: str, tx: str, bench: Testbed | None) -> Any:
    """As `_direction`, of a flow of a mix: its uplink leaves the port to send from."""
    away = _direction(tx, bench) == "uplink"
    return "uplink" if away == (way == "uplink") else "downlink"


def _run(
    options: Options,
    request: _Request,
    offered: tuple[Sequence[Flow], Sequence[Flow]],
    bench: Testbed | None,
    directory: Path,
) -> tuple[tuple[Measurement, ...], bool]:
    """The measurements, and whether they were interrupted; `offered` are flows and their twins."""
    flows, beside = offered
    from hil.lab.clock import watched
    from hil.traffic import RunInterrupted, run

    drain_ns = max(_LEAST_DRAIN_NS, 10 * (request.asked.bound_ns or 0))
    launcher = bench.launcher if bench is not None else ()
    with _lease(bench), watched(bench) as told:
        try:
            if (far := options.reflector) is not None:
                taken: tuple[Measurement, ...] = (
                    far_end.run(flows[0], far, directory, launcher, drain_ns, _progress()),
                )
            else:
                taken = run(
                    [*flows, *beside],
                    directory=directory,
                    progress=_progress(),
                    launcher=launcher,
                    drain_ns=drain_ns,
                )
        except RunInterrupted as stop:
            print(f"\n{stop}", file=sys.stderr)
            return tuple(map(told, stop.measurements[: len(flows)])), True
        finally:
            if sys.stderr.isatty():
                print(file=sys.stderr)
    return tuple(map(told, taken[: len(flows)])), False


def _references(bench: Testbed | None, options: Options, flows: Sequence[Flow]) -> list[Flow]:
    """Twins of the flows over a cable, where the route between the ports has one."""
    if bench is None or options.rx is None:
        return []
    from hil.lab.path import route_between, twins

    route = route_between(bench, options.tx, options.rx)
    return [] if route is None else twins(bench, route, flows)


def _permit(bench: Testbed | None, flows: Sequence[Flow]) -> None:
    """The bench lets pass what is offered, all at once."""
    if bench is not None:
        from hil.lab.safety import permit

        permit(bench, flows)


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
    _remove_left()
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


def _remove_left() -> None:
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
