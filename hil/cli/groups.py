"""The verbs that stand together under one word: `hil plc`, `hil targets`, `hil virtual`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Device = Annotated[str, typer.Argument(help="Device of the testbed.")]
TestbedName = Annotated[str, typer.Option("--testbed", help="Testbed file or name.")]

plc_app = typer.Typer(help="Tags of a controller, within their ranges.", no_args_is_help=True)


@plc_app.command("read")
def plc_read(
    device: Device,
    tags: Annotated[list[str] | None, typer.Argument(help="Tags; all by default.")] = None,
    testbed: TestbedName = "virtual",
) -> int:
    """Read tags of a controller."""
    from hil.cli.word import plc_read as verb

    return verb(device, tags or [], testbed)


@plc_app.command("write")
def plc_write(
    device: Device,
    tag: Annotated[str, typer.Argument(help="Tag.")],
    value: Annotated[str, typer.Argument(help="A number, true or false.")],
    testbed: TestbedName = "virtual",
) -> int:
    """Write a tag within its range, and read it back; it stays."""
    from hil.cli.word import plc_write as verb

    return verb(device, tag, value, testbed)


targets_app = typer.Typer(
    help="What a profile promises, how it is decided, and what a night can prove.",
    no_args_is_help=True,
)
ProfileName = Annotated[str, typer.Option("--targets", help="Profile file or name.")]


@targets_app.command("list")
def targets_list(targets: ProfileName = "5gdn") -> int:
    """One line for each requirement."""
    from hil.cli.targets import listed as verb

    return verb(targets)


@targets_app.command("show")
def targets_show(
    id: Annotated[str, typer.Argument(help="Requirement.")], targets: ProfileName = "5gdn"
) -> int:
    """Everything that the profile says of a requirement."""
    from hil.cli.targets import show as verb

    return verb(id, targets)


@targets_app.command("explain")
def targets_explain(
    id: Annotated[str, typer.Argument(help="Requirement or target.")],
    targets: ProfileName = "5gdn",
) -> int:
    """How a target is decided, how much that takes, and what each plan can say."""
    from hil.cli.targets import explain as verb

    return verb(id, targets)


@targets_app.command("plan")
def targets_plan(
    ids: Annotated[list[str] | None, typer.Argument(help="Requirements; all by default.")] = None,
    targets: ProfileName = "5gdn",
    plan: Annotated[str, typer.Option(help="smoke, full or soak.")] = "full",
    budget: Annotated[str | None, typer.Option(help="Time there is, as in '2 h'.")] = None,
) -> int:
    """The runs of a plan: packets, minutes, power, and what they can show."""
    from hil.cli.targets import plan as verb

    return verb(ids or [], targets, plan, budget)


@targets_app.command("library")
def targets_library(
    name: Annotated[str | None, typer.Argument(help="Which; names them if left out.")] = None,
) -> int:
    """Tables of the standards to pick figures from: 5qi, ts22104 and more."""
    from hil.cli.library import library as verb

    return verb(name)


virtual_app = typer.Typer(
    help="Worlds for play: kept, looked into, disturbed, replayed.", no_args_is_help=True
)
WorldName = Annotated[str | None, typer.Argument(help="World; needless where there is one.")]


@virtual_app.command("up")
def virtual_up(
    testbed: Annotated[str, typer.Option(help="Testbed file or name.")] = "virtual",
    seed: Annotated[int | None, typer.Option(help="Instead of that of the testbed.")] = None,
) -> int:
    """Keep a world until Ctrl-C or `hil virtual down`; `hil measure` joins it."""
    from hil.cli.virtual import up as verb

    return verb(testbed, seed)


@virtual_app.command("status")
def virtual_status(
    name: WorldName = None,
    json: Annotated[bool, typer.Option("--json", help="One JSON object.")] = False,
) -> int:
    """Radio, sessions, queues, lateness and faults of a running world."""
    from hil.cli.virtual import status as verb

    return verb(name, json=json)


@virtual_app.command("shell", context_settings={"ignore_unknown_options": True})
def virtual_shell(
    name: WorldName = None,
    command: Annotated[list[str] | None, typer.Argument(help="Instead of a shell.")] = None,
) -> int:
    """Step inside a world, or run a command there: its ports and addresses are there."""
    from hil.cli.virtual import shell as verb

    return verb(name, command or [])


@virtual_app.command("down")
def virtual_down(name: WorldName = None) -> int:
    """End a world."""
    from hil.cli.virtual import down as verb

    return verb(name)


@virtual_app.command("fault")
def virtual_fault(
    name: Annotated[
        str | None, typer.Argument(help="A kind, or a fault of the testbed; lists if left out.")
    ] = None,
    parameters: Annotated[
        list[str] | None, typer.Argument(help='KEY=VALUE, as in by="20 ms" duration="5 s".')
    ] = None,
    world: Annotated[str | None, typer.Option(help="Which world.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End it instead.")] = False,
) -> int:
    """Begin a fault in a running world, end one, or list them."""
    from hil.cli.virtual import fault as verb

    return verb(name, parameters or [], world, end=end)


@virtual_app.command("replay")
def virtual_replay(
    arrivals: Annotated[
        Path | None, typer.Argument(help="Truth log or CSV; the running world's log if left out.")
    ] = None,
    testbed: Annotated[str | None, typer.Option(help="Instead of that of the log.")] = None,
    seed: Annotated[int | None, typer.Option(help="Instead of that of the log.")] = None,
    out: Annotated[Path | None, typer.Option(help="Write the releases here, as CSV.")] = None,
) -> int:
    """An arrival list through the model of the cell alone: the same on every host, to the bit."""
    from hil.cli.virtual import replay as verb

    return verb(arrivals, testbed, seed, out)
