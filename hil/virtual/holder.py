"""The process that a world lives in: ``python -m hil.virtual.holder --testbed FILE``.

It makes the namespaces and the links, starts the user plane and the endpoints, publishes the world
in the registry and prints one JSON line when all is ready: ``{"registry": PATH, ...}``, or
``{"error": "one sentence", "kind": "usage" | "rig"}``. Then it watches. The world ends when the
lifeline pipe (``--lifeline FD``) reaches end of file, or by SIGTERM, SIGINT or SIGHUP; whatever
runs inside is ended with it and nothing stays behind.

When a child dies, ``world.json`` in the run directory says so under `died`, the other child is
ended, and the namespaces stay for as long as the lifeline is held, so that the command inside can
tell what happened and put its results away.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from hil import _enter
from hil.errors import HilError, RigError, UsageError
from hil.virtual import namespaces
from hil.virtual.topology import CELL, TESTER, Topology, load, topology, world_of

_READY_LIMIT_S: Final = 25.0
_END_LIMIT_S: Final = 1.5
_GO: Final = b"go\n"


@dataclass(slots=True)
class _Child:
    """One of the two processes of a world."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path
    said: bytes = b""
    ready: bool = False

    def go(self) -> None:
        """Interfaces and addresses exist: the child may use them."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):
            self.process.stdin.write(_GO)
            self.process.stdin.flush()

    def hear(self) -> None:
        """Take what the child printed; RigError where it says that it cannot serve."""
        assert self.process.stdout is not None
        piece = os.read(self.process.stdout.fileno(), 65536)
        self.said += piece
        while b"\n" in self.said:
            line, _, self.said = self.said.partition(b"\n")
            with suppress(ValueError):
                answer = json.loads(line)
                if isinstance(answer, dict) and "error" in answer:
                    raise RigError(f"the {self.name} of the world: {answer['error']}")
                self.ready |= isinstance(answer, dict) and bool(answer.get("ready"))
        if not piece:
            raise RigError(self.obituary())

    def obituary(self) -> str:
        """One sentence on how the child ended, with the last line of its log."""
        try:
            code = self.process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            return f"the {self.name} process closed its output"
        how = f"exit code {code}" if code >= 0 else signal.Signals(-code).name
        lines = self.log.read_text("utf-8", "replace").strip().splitlines()
        return f"the {self.name} process ended ({how})" + (f": {lines[-1]}" if lines else "")

    def end(self) -> None:
        """SIGTERM, then SIGKILL."""
        self.process.terminate()
        try:
            self.process.wait(_END_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                with suppress(OSError):
                    pipe.close()


@dataclass(slots=True)
class _Wake:
    """What may end the world from outside: a signal or the end of the lifeline."""

    signals: int
    lifeline: int | None

    @property
    def descriptors(self) -> list[int]:
        return [self.signals] if self.lifeline is None else [self.signals, self.lifeline]


@dataclass(slots=True)
class _Holder:
    world: _enter.World
    topology: Topology
    seed: int
    wake: _Wake
    children: list[_Child] = field(default_factory=list)

    def start(self, nets: Mapping[str, int]) -> None:
        """Start both children and bring the network up while they import."""
        arguments = ["--testbed", str(self.world.testbed), "--run", str(self.world.run)]
        arguments += ["--coupling", str(self.world.run / "coupling")]
        inherited = [f"{name}={nets[name]}" for name in self.topology.endpoints]
        netns = [word for each in inherited for word in ("--netns", each)]
        tester = nets[TESTER]
        self._spawn("userplane", nets[CELL], [*arguments, "--tester", str(tester)], [tester])
        keep = [nets[name] for name in self.topology.endpoints]
        self._spawn("endpoints", nets[TESTER], [*arguments, *netns], keep)

    def _spawn(self, name: str, net: int, arguments: Sequence[str], keep: Sequence[int]) -> None:
        log = self.world.run / f"{name}.log"
        script = [sys.executable, "-I", "-S", _enter.__file__, "child", str(os.getpid()), str(net)]
        with log.open("wb") as errors:
            process = subprocess.Popen(
                [*script, "--", sys.executable, "-m", f"hil.virtual.{name}", *arguments],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                pass_fds=[net, *keep],
                env=dict(os.environ)
                | {
                    _enter.WORLD: self.world.marker,
                    _enter.RUN: str(self.world.run),
                    _enter.TESTBED: str(self.world.testbed),
                },
            )
        self.children.append(_Child(name, process, log))

    def await_ready(self) -> None:
        """Say go to each child in turn and wait until it serves; RigError where it does not."""
        limit = time.monotonic() + _READY_LIMIT_S
        for child in self.children:
            child.go()
            while not child.ready:
                awaited = [_fileno(child), *self.wake.descriptors]
                left = max(0.0, limit - time.monotonic())
                readable = select.select(awaited, [], [], left)[0]
                if not readable:
                    raise RigError(f"the {child.name} of the world gave no sign of life")
                if set(readable) & set(self.wake.descriptors):
                    raise RigError("stopped while the world was starting")
                child.hear()

    def publish(self, *, died: str | None = None) -> None:
        """Write ``world.json``: the world, its attachments, and what killed it."""
        attachments = [
            {
                "name": each.name,
                "namespace": each.namespace,
                "interface": each.interface,
                "mac": each.mac,
                "cell_interface": each.cell_interface,
                "side": each.side,
                "cpe": None if each.cpe is None else self.topology.cpes[each.cpe],
            }
            for each in self.topology.attachments
        ]
        status = self.world.to_json() | {
            "seed": self.seed,
            "died": died,
            "attachments": attachments,
            "n3": None if self.topology.n3 is None else self.topology.n3.interface,
        }
        path = self.world.run / "world.json"
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(status, indent=1), "utf-8")
        partial.replace(path)

    def watch(self) -> None:
        """Return when the world is to end."""
        while True:
            outputs = {_fileno(child): child for child in self.children}
            readable = select.select([*outputs, *self.wake.descriptors], [], [])[0]
            if set(readable) & set(self.wake.descriptors):
                return
            try:
                for descriptor in readable:
                    outputs[descriptor].hear()
            except RigError as death:
                self.publish(died=str(death))
                self.end_children()
                if self.wake.lifeline is None:
                    return

    def end_children(self) -> None:
        while self.children:
            self.children.pop().end()

    def end_inhabitants(self) -> None:
        """End whatever else still runs inside: first asked, then not."""
        limit = time.monotonic() + _END_LIMIT_S
        inside = list(_enter.inhabitants(self.world))
        for process in inside:
            with suppress(OSError):
                signal.pidfd_send_signal(process, signal.SIGTERM)
        while inside and time.monotonic() < limit:
            ended = set(select.select(inside, [], [], max(0.0, limit - time.monotonic()))[0])
            for process in ended:
                os.close(process)
            inside = [process for process in inside if process not in ended]
        for process in inside:
            os.close(process)
        _enter.bury(self.world)


def _fileno(child: _Child) -> int:
    assert child.process.stdout is not None
    return child.process.stdout.fileno()


def _wake(lifeline: int | None) -> _Wake:
    read, write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(each, lambda *_: None)
    if lifeline is not None:
        os.set_inheritable(lifeline, False)
    return _Wake(read, lifeline)


@contextmanager
def _registered(world: _enter.World) -> Iterator[Path]:
    """The registry file, locked for as long as this process lives."""
    path = _enter.directory() / f"{world.name}.world"
    partial = path.with_suffix(".partial")
    with partial.open("w", encoding="utf-8") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        json.dump(world.to_json(), file)
        file.flush()
        try:
            os.link(partial, path)  # atomic, and never over a file that is there
        finally:
            partial.unlink()
        yield path


def _hold(testbed: Path, wake: _Wake) -> None:
    bench = load(testbed)
    plan = topology(bench)
    _enter.worlds()  # what dead worlds left is removed on the way
    nets = namespaces.make(plan.namespaces)
    name = f"{bench.name}-{os.getpid()}"
    start = _enter.start_time(os.getpid())
    assert start is not None
    where = {each: (fd, os.fstat(fd).st_ino) for each, fd in nets.items()}
    run = _enter.directory() / name
    world = _enter.World(name, os.getpid(), start, run, testbed, where)
    with _registered(world) as registry:
        run.mkdir(mode=0o700)
        holder = _Holder(world, plan, world_of(bench).seed, wake)
        holder.publish()
        try:
            holder.start(nets)
            _links(plan, nets)
            holder.await_ready()
            _say(registry=str(registry), **world.to_json())
            _detach(run / "holder.log")
            holder.watch()
        finally:
            holder.end_children()
            holder.end_inhabitants()


def _links(plan: Topology, nets: Mapping[str, int]) -> None:
    from hil.virtual import links

    try:
        links.build(plan, nets)
    except OSError as error:
        raise UsageError(
            f"{error.strerror}: this kernel or container cannot make veth links;"
            " load the module veth (modprobe veth) or run where it is available"
        ) from error


def _say(**fields: Any) -> None:
    print(json.dumps(fields), flush=True)


def _detach(log: Path) -> None:
    """Let go of the caller's streams, or a pipe behind the command would never end."""
    for path, stream in ((Path(os.devnull), 1), (log, 2)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        os.dup2(descriptor, stream)
        os.close(descriptor)


def main() -> int:
    """Hold a world until it is to end; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m hil.virtual.holder", description=__doc__)
    parser.add_argument("--testbed", type=Path, required=True)
    parser.add_argument("--lifeline", type=int, metavar="FD", help="end at the end of this pipe")
    arguments = parser.parse_args()
    try:
        _hold(arguments.testbed.resolve(), _wake(arguments.lifeline))
    except HilError as error:
        _say(error=str(error), kind="usage" if isinstance(error, UsageError) else "rig")
        return 2 if isinstance(error, UsageError) else 10
    return 0


if __name__ == "__main__":
    sys.exit(main())
