"""`hil virtual`: worlds that are kept for play, looked into, disturbed, and replayed."""

from __future__ import annotations

import contextlib
import json as json_text
import os
import select
import signal
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from hil import _enter
from hil.errors import UsageError
from hil.units import format_duration
from hil.verdict import ExitCode

_END_LIMIT_S: Final = 10.0
_LOOK_S: Final = 1.0


def join_or_enter(testbed: Path) -> None:
    """Be inside a world of a testbed: the one around, a kept one, or one of this command's own.

    Raises:
        UsageError: several are kept, and nobody says which.
    """
    argv = [sys.executable, "-m", "hil", *sys.argv[1:]]
    if _enter.inside() is None and (kept := _enter.kept(testbed.resolve())):
        if len(kept) > 1:
            raise UsageError(
                f"several worlds of this testbed are kept: {', '.join(kept)};"
                " step into one with `hil virtual shell NAME`, and measure there"
            )
        print(f"in the world {kept[0]}", file=sys.stderr)
        _enter.join_running(kept[0], argv)
    _enter.enter(testbed, argv)


def up(testbed: str, seed: int | None) -> int:
    """Keep a world until Ctrl-C, SIGTERM or `hil virtual down`; 10 when it loses a part.

    Raises: ConfigError or UsageError before anything is started.
    """
    from hil.drivers.registry import Registry
    from hil.testbed import load

    bench = load(testbed, Registry())
    if bench.world is None:
        raise UsageError(f"{bench.source}: this testbed has no `world:`")
    if seed is not None and not 0 <= seed < 2**63:
        raise UsageError(f"--seed must lie between 0 and 2^63; got {seed}")
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    world, lifeline = _enter.keep(bench.source, seed)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    print(f"the world {world.name} is up; Ctrl-C ends it")
    print(f"  ttys and logs: {world.run}")
    print("  in a second terminal: hil measure, hil virtual status, hil virtual shell")
    sys.stdout.flush()
    with _process(world.pid) as holder:
        died = None
        while died is None and not select.select([holder, read], [], [], _LOOK_S)[0]:
            died = _world_file(world).get("died")
        os.close(lifeline)
        select.select([holder], [], [], _END_LIMIT_S)
    print(f"the world {world.name} is gone" + (f": it lost a part: {died}" if died else ""))
    return ExitCode.RIG if died else ExitCode.OK


@contextlib.contextmanager
def _process(pid: int) -> Iterator[int]:
    """A descriptor that is readable when a process ends."""
    descriptor = os.pidfd_open(pid)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _world_file(world: _enter.World, name: str = "world.json") -> dict[str, Any]:
    with contextlib.suppress(OSError, ValueError):
        found: dict[str, Any] = json_text.loads((world.run / name).read_text("utf-8"))
        return found
    return {}


def _chosen(name: str | None, *, ours: bool = False) -> _enter.World:
    """The world of that name; without one the world around, the only kept or the only one.

    With `ours` a world that some other command made for itself is met only by its name.

    Raises: UsageError with the names there are.
    """
    running = _enter.worlds()
    around = _enter.inside()
    if name is None and around is not None and around.name in running:
        return running[around.name]
    choices = ([name],) if name else (_enter.kept(), [] if ours else list(running))
    for names in choices:
        if len(names) == 1 and names[0] in running:
            return running[names[0]]
    known = ", ".join(running) or "none: start one with `hil virtual up`"
    raise UsageError(f"which world? running are {known}")


def down(name: str | None) -> int:
    """End a world, in order, and wait until it is gone; 10 when it does not go."""
    world = _chosen(name, ours=True)
    with _process(world.pid) as holder:
        signal.pidfd_send_signal(holder, signal.SIGTERM)
        gone = bool(select.select([holder], [], [], _END_LIMIT_S)[0])
    print(f"the world {world.name} is {'gone' if gone else 'still ending'}")
    return ExitCode.OK if gone else ExitCode.RIG


def shell(name: str | None, command: Sequence[str]) -> int:
    """Become a shell, or a command, inside a world: its ports, ttys and addresses are there."""
    world = _chosen(name)
    words = list(command) or [os.environ.get("SHELL", "/bin/sh")]
    if not command:
        print(f"inside {world.name}; `exit` leaves, the world stays", file=sys.stderr)
    _enter.join_running(world.name, words)
    try:
        os.execvp(words[0], words)
    except OSError as error:
        raise UsageError(f"{words[0]}: {error.strerror}") from None


def fault(name: str | None, parameters: Sequence[str], world: str | None, *, end: bool) -> int:
    """Begin or end a fault in a running world; without a name, print those that there are.

    Raises: UsageError when there is no such fault, or its parameters are wrong.
    """
    from hil.virtual import faults
    from hil.virtual.topology import load, world_of

    chosen = _chosen(world, ours=True)
    if name is None:
        _print_faults(faults.listed(chosen.run), everything=True)
        return ExitCode.OK
    if end:
        open_ = [each for each in faults.listed(chosen.run) if each["open"]]
        found = next((each for each in open_ if each["name"] == name), None)
        if found is None:
            known = ", ".join(each["name"] for each in open_) or "none"
            raise UsageError(f"no fault {name!r} is on in {chosen.name}; on are: {known}")
        _print_faults([faults.close(chosen.run, found)], everything=True)
        return ExitCode.OK
    given = dict(_parameter(each) for each in parameters)
    part = faults.part_of(world_of(load(chosen.testbed)), name)
    entry = faults.begin(chosen.run, part, name, given)
    _print_faults([entry], everything=True)
    return ExitCode.OK


def _parameter(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not equals or not key:
        raise UsageError(f'a parameter is KEY=VALUE, as in by="20 ms"; got {text!r}')
    return key, value


def _print_faults(entries: Sequence[dict[str, Any]], *, everything: bool) -> None:
    now_ns = time.time_ns()
    hidden = ("number", "name", "kind", "start_ns", "end_ns", "touched", "part", "on", "open")
    for each in entries:
        if each["end_ns"] is not None and each["end_ns"] <= now_ns:
            when = f"over after {(each['end_ns'] - each['start_ns']) / 1e9:.1f} s"
        elif each["start_ns"] > now_ns:
            when = f"in {(each['start_ns'] - now_ns) / 1e9:.1f} s"
        else:
            when = f"on for {(now_ns - each['start_ns']) / 1e9:.1f} s"
        if everything or not when.startswith("over"):
            words = " ".join(_word(k, v) for k, v in each.items() if k not in hidden)
            kind = "" if each["kind"] == each["name"] else f"{each['kind']} "
            print(f"fault {each['name']}: {kind}{words}{' ' if words else ''}{when}")


def _word(key: str, value: Any) -> str:
    """A parameter as it is given: ``by="20 ms"``."""
    if key.endswith("_ns"):
        return f'{key.removesuffix("_ns")}="{format_duration(value)}"'
    return f'{key.removesuffix("_db")}="{value:g} dB"' if key.endswith("_db") else f"{key}={value}"


def status(name: str | None, *, json: bool) -> int:
    """Radio, sessions, queues, lateness and faults of a running world, as they are now."""
    from hil.virtual import faults
    from hil.virtual.coupling import Coupling
    from hil.virtual.radio import Radio
    from hil.virtual.topology import load, world_of

    world = _chosen(name)
    settings = world_of(load(world.testbed))
    described = _world_file(world)
    seed = int(described.get("seed", settings.seed))
    coupling = Coupling.open(world.run / "coupling")
    radio = Radio(settings.radio, seed)
    now_ns = time.time_ns() - coupling.epoch_ns
    cpes = []
    for row, link in enumerate(coupling.names):
        state = coupling.rows[row]
        loss_db, traffic_ns = float(state["attenuation_db"]), int(state["traffic_ns"])
        cpes.append(
            {
                "cpe": link,
                "powered": bool(state["powered"]),
                "session": bool(state["session_up"]),
                "attenuation_db": loss_db,
                "rsrp_dbm": round(float(radio.rsrp_dbm(row, now_ns, loss_db)), 1),
                "sinr_db": round(float(radio.sinr_db(row, now_ns, loss_db)), 1),
                "idle_ns": now_ns - traffic_ns if traffic_ns >= 0 else None,
            }
        )
    plane = _world_file(world, "userplane.json")
    plane.pop("faults", None)
    shown = {
        "world": world.name,
        "testbed": str(world.testbed),
        "run": str(world.run),
        "seed": seed,
        "age_ns": now_ns,
        "died": described.get("died"),
        "cpes": cpes,
        "userplane": plane,
        "faults": faults.listed(world.run),
    }
    if json:
        print(json_text.dumps(shown))
    else:
        _print_status(shown)
    return ExitCode.RIG if shown["died"] else ExitCode.OK


def _print_status(shown: dict[str, Any]) -> None:
    print(f"{shown['world']}, seed {shown['seed']}, up for {shown['age_ns'] / 1e9:.0f} s")
    if shown["died"]:
        print(f"it lost a part: {shown['died']}")
    for each in shown["cpes"]:
        idle = (
            "no traffic yet" if each["idle_ns"] is None else f"idle {each['idle_ns'] / 1e9:.1f} s"
        )
        print(
            f"{each['cpe']}: {'on' if each['powered'] else 'off'},"
            f" session {'up' if each['session'] else 'down'}, RSRP {each['rsrp_dbm']:.1f} dBm,"
            f" SINR {each['sinr_db']:.1f} dB, attenuation {each['attenuation_db']:g} dB, {idle}"
        )
    plane = shown["userplane"]
    if plane:
        print(
            f"user plane: {plane['forwarded']:,} forwarded, {plane['dropped']:,} dropped,"
            f" {plane['held']:,} held, {plane['late_in']:,} late in, {plane['overrun']:,} overrun"
        )
        late = plane["lateness_ns"]
        words = (
            f"p50 {late['p50'] / 1e3:.0f} us, p99 {late['p99'] / 1e3:.0f} us,"
            f" max {late['max'] / 1e3:.0f} us of {late['n']:,}"
            if late
            else "nothing was delivered in the last second"
        )
        print(f"lateness of real delivery: {words}")
    _print_faults(shown["faults"], everything=False)


def replay(arrivals: Path | None, testbed: str | None, seed: int | None, out: Path | None) -> int:
    """Put an arrival list through the cell's model; 10 when a truth log says otherwise.

    Raises: UsageError when the list, or what it belongs to, cannot be read.
    """
    from hil.testbed import find
    from hil.virtual import replay as model
    from hil.virtual.topology import load

    path = arrivals if arrivals is not None else _chosen(None).run / "truth"
    is_table = path.suffix == ".csv"
    near, own_seed = (None, None) if is_table else model.seed_beside(path)
    file = find(testbed) if testbed is not None else near or find("virtual")
    bench = load(file)
    given = model.from_table(path, bench) if is_table else model.from_truth(path)
    done = model.replay(bench, given, seed=own_seed if seed is None else seed)
    print(f"{len(given.rows):,} arrivals, sha256 of their releases {done.digest}")
    if not is_table:
        same = done.compared - done.different
        print(f"{same:,} of {done.compared:,} releases of the log are the same to the nanosecond")
    if out is not None:
        model.write(out, given, done)
    return ExitCode.RIG if done.different else ExitCode.OK
