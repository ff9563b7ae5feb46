"""The `hil` command: one small file per verb; here only what they have in common."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from hil.cli.groups import Device, TestbedName, plc_app, targets_app, virtual_app

#: Options of pytest that take no value; every other one takes the word after it or after a `=`.
_ALONE: Final = re.compile(
    r"-[lqsvx]+|-[kmprWo].+"
    r"|--(?:exitfirst|verbose|quiet|showlocals|pdb|trace|stepwise|sw|setup-show|fixtures|markers"
    r"|no-header|no-summary|full-trace|last-failed|lf|failed-first|ff|new-first|nf)"
)

app = typer.Typer(
    name="hil",
    help="Proves that a 5G network keeps a factory's latency and jitter promises.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(plc_app, name="plc")
app.add_typer(targets_app, name="targets")
app.add_typer(virtual_app, name="virtual")


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(
    context: typer.Context,
    paths: Annotated[
        list[str] | None, typer.Argument(help="Suites to run; the shipped ones by default.")
    ] = None,
    testbed: Annotated[str, typer.Option(help="Testbed file or name.")] = "virtual",
    plan: Annotated[str, typer.Option(help="smoke, full or soak.")] = "smoke",
    targets: Annotated[str, typer.Option(help="Profile file or name.")] = "5gdn",
    scenario: Annotated[list[str] | None, typer.Option(help="Only this one; repeatable.")] = None,
    requirement: Annotated[
        list[str] | None, typer.Option(help="Only tests that judge it; repeatable.")
    ] = None,
    budget: Annotated[str | None, typer.Option(help="Time there is, as in '2 h'.")] = None,
    plan_only: Annotated[bool, typer.Option("--plan-only", help="Say it and run nothing.")] = False,
    out: Annotated[Path, typer.Option(help="Where run directories go.")] = Path("out"),
) -> int:
    """Run suites on a testbed and report the verdicts. Options it does not know go to pytest."""
    from hil.cli.run import Options
    from hil.cli.run import run as verb

    suites, options = _divided([*(paths or ()), *context.args])
    return verb(
        Options(
            paths=suites,
            testbed=testbed,
            plan=plan,
            targets=targets,
            scenario=scenario or (),
            requirement=requirement or (),
            budget=budget,
            plan_only=plan_only,
            out=out,
            extra=options,
        )
    )


def _divided(words: list[str]) -> tuple[list[str], list[str]]:
    """Suites, and pytest's options with their values, which may stand between and after them."""
    suites: list[str] = []
    options: list[str] = []
    rest = iter(words)
    for word in rest:
        if not word.startswith("-"):
            suites.append(word)
            continue
        options.append(word)
        if "=" not in word and not _ALONE.fullmatch(word) and (value := next(rest, None)):
            options.append(value)
    return suites, options


@app.command()
def measure(
    tx: Annotated[str, typer.Option(help="Port to send from: PORT, IFACE or NETNS/IFACE.")],
    rx: Annotated[str | None, typer.Option(help="Port to receive on.")] = None,
    reflector: Annotated[
        str | None, typer.Option(help="Instead of --rx: HOST[:PORT] that answers, two-way.")
    ] = None,
    testbed: Annotated[str | None, typer.Option(help="Where named ports are.")] = None,
    size: Annotated[str, typer.Option(help="PDU-session packet, as in '255 B'.")] = "128 B",
    interval: Annotated[str, typer.Option(help="Spacing, as in '10 ms'.")] = "1 ms",
    count: Annotated[int | None, typer.Option(help="Packets; 10000 by default.")] = None,
    duration: Annotated[str | None, typer.Option(help="Instead of --count.")] = None,
    layer: Annotated[str | None, typer.Option(help="ethernet or udp.")] = None,
    traffic: Annotated[
        Path | None, typer.Option(help="File of flows that are offered together.")
    ] = None,
    bound: Annotated[str | None, typer.Option(help="Judge the delay against it.")] = None,
    share: Annotated[float | None, typer.Option(help="Share that must keep the bound.")] = None,
    period: Annotated[str | None, typer.Option(help="Fold delays on it, as in '2.5 ms'.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory that keeps the samples.")] = None,
    observe: Annotated[list[str] | None, typer.Option(help="A port on the way; repeat it.")] = None,
    canary: Annotated[list[str] | None, typer.Option(help="Where to search; repeat it.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> int:
    """Measure once between two ports, or to a reflector and back, without pytest."""
    from hil.cli.measure import Options
    from hil.cli.measure import measure as verb

    return verb(
        Options(
            tx=tx,
            rx=rx,
            reflector=reflector,
            testbed=testbed,
            size=size,
            interval=interval,
            count=count,
            duration=duration,
            layer=layer,
            traffic=traffic,
            period=period,
            bound=bound,
            share=share,
            out=out,
            observe=tuple(observe) if observe else None,
            canary=tuple(canary or ()),
            json=json,
        )
    )


@app.command()
def reflector(
    address: Annotated[str, typer.Option(help="Local address to listen on.")] = "0.0.0.0",
    port: Annotated[int, typer.Option(help="UDP port.")] = 862,
    duration: Annotated[str, typer.Option(help="Ends by itself after that.")] = "24 h",
    rate: Annotated[int, typer.Option(help="Answers per second at most.")] = 20_000,
    stateless: Annotated[
        bool, typer.Option("--stateless", help="Repeat the sender's numbers.")
    ] = False,
) -> int:
    """Answer the test packets (STAMP, TWAMP Light) of a measurement elsewhere."""
    from hil.cli.reflector import reflector as verb

    return verb(address, port, duration, rate, stateless=stateless)


@app.command()
def calibrate(
    tx: Annotated[str, typer.Option(help="Port to send from: PORT, IFACE or NETNS/IFACE.")],
    rx: Annotated[str, typer.Option(help="Port to receive on, joined to it by a wire or a hop.")],
    testbed: Annotated[str | None, typer.Option(help="Where named ports are.")] = None,
    size: Annotated[str, typer.Option(help="Ethernet frame without FCS.")] = "128 B",
    count: Annotated[int, typer.Option(help="Packets, one each millisecond.")] = 10_000,
    after: Annotated[Path | None, typer.Option(help="Check the floor that this run had.")] = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> int:
    """Measure what the instrument itself adds between two ports, and keep it for them."""
    from hil.cli.calibrate import Request
    from hil.cli.calibrate import calibrate as verb

    return verb(Request(tx, rx, testbed, size, count, after), as_json=json)


@app.command()
def bench(
    part: Annotated[str, typer.Argument(help="rates, times, length or contest.")] = "rates",
    json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> int:
    """Measure the instrument beside other people's tools, on the same links."""
    from hil.cli.bench import bench as verb

    return verb(part, as_json=json)


@app.command()
def otg(
    listen: Annotated[str, typer.Option(help="HOST:PORT to serve on.")] = "127.0.0.1:8080",
    testbed: Annotated[str | None, typer.Option(help="Where named ports are.")] = None,
    out: Annotated[Path | None, typer.Option(help="Directory that keeps the samples.")] = None,
) -> int:
    """Serve this engine through the Open Traffic Generator API, for scripts that drive one."""
    from hil.cli.otg import otg as verb

    return verb(listen, testbed, out)


@app.command()
def report(
    directory: Annotated[Path, typer.Argument(help="Run directory.")] = Path("out/latest"),
) -> int:
    """Build the reports of a run again from its record, and print its verdicts."""
    from hil.cli.report import report as verb

    return verb(directory)


@app.command()
def rejudge(
    directory: Annotated[Path, typer.Argument(help="Run directory.")] = Path("out/latest"),
    targets: Annotated[
        str | None, typer.Option(help="Profile file or name; that of the run by default.")
    ] = None,
) -> int:
    """Judge the samples of a run again, and print the verdicts; the run stays as it is."""
    from hil.cli.rejudge import rejudge as verb

    return verb(directory, targets)


@app.command()
def validate(file: Annotated[str, typer.Argument(help="Testbed file or name.")]) -> int:
    """Check a testbed file; every fault is printed as file:line:col."""
    from hil.cli.validate import validate as verb

    return verb(file)


@app.command("validate-method")
def validate_method(
    seeds: Annotated[int | None, typer.Option(help="Secret runs; 200, or 60 if quick.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Less of each: two minutes.")] = False,
    out: Annotated[Path, typer.Option(help="Where the dossier goes.")] = Path("out/validation"),
    json: Annotated[bool, typer.Option("--json", help="One JSON object, nothing else.")] = False,
) -> int:
    """Validate the instrument itself, and write the evidence as a dossier."""
    from hil.cli.validate_method import validate_method as verb

    return verb(seeds, out, quick=quick, as_json=json)


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="testbed, profile or record.")] = "testbed",
) -> int:
    """Print the JSON Schema of a file format, for editors."""
    from hil.cli.schema import schema as verb

    return verb(kind)


@app.command()
def doctor(
    testbed: Annotated[str, typer.Option(help="Testbed file or name.")] = "virtual",
) -> int:
    """Check whether this host and this bench are fit to measure; each trouble with its cure."""
    from hil.cli.doctor import doctor as verb

    return verb(testbed)


@app.command()
def at(
    device: Device,
    command: Annotated[str, typer.Argument(help="As in AT+C5GREG?")],
    testbed: TestbedName = "virtual",
) -> int:
    """One AT command to a modem, through its driver."""
    from hil.cli.word import at as verb

    return verb(device, command, testbed)


@app.command()
def scpi(
    device: Device,
    command: Annotated[str, typer.Argument(help="As in 'SYST:ERR?'")],
    testbed: TestbedName = "virtual",
) -> int:
    """One SCPI message to an instrument, through its driver and its guard."""
    from hil.cli.word import scpi as verb

    return verb(device, command, testbed)


@app.command()
def init(directory: Annotated[Path, typer.Argument(help="Where to make it.")]) -> int:
    """Make a repository for a lab: a testbed, one suite, a CI file."""
    from hil.cli.init import init as verb

    return verb(directory)


def main() -> None:
    """Runs the command; whatever is wrong ends as one clear text and an exit code."""
    from hil.errors import HilError, RigError, UsageError
    from hil.verdict import ExitCode

    code: int = ExitCode.OK
    try:
        code = app(standalone_mode=False) or ExitCode.OK
    except typer.Exit as done:
        code = done.exit_code
    except (typer.Abort, KeyboardInterrupt):
        print("interrupted", file=sys.stderr)
        code = ExitCode.RIG
    except UsageError as error:
        print(error, file=sys.stderr)
        code = ExitCode.USAGE
    except RigError as error:
        print(f"rig: {error}", file=sys.stderr)
        code = ExitCode.RIG
    except HilError as error:
        print(error, file=sys.stderr)
        code = ExitCode.DEFECT
    except BrokenPipeError:
        code = ExitCode.OK
    except Exception as error:
        if (show := getattr(error, "show", None)) is None:
            raise
        show()  # a click usage error: says what is wrong and how it is used
        code = ExitCode.USAGE
    sys.exit(int(code))
