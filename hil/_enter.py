"""The one door into a world: start its holder, join its `tester` namespace, run the command there.

A world's namespaces are anonymous; they live in the descriptors of the world's holder process
(`hil.virtual.holder`). Whoever wants in opens ``/proc/HOLDER/ns/user`` and ``/proc/HOLDER/fd/N``,
calls setns(2) on both and replaces itself by the command. A user namespace can only be joined by a
process with a single thread, so the joining is done by a fresh interpreter that runs this file as
a script; the process id stays that of the command, and so do its signals and its exit code.

The write end of a *lifeline* pipe stays open in the command. The holder ends the world when the
pipe reaches end of file, which happens however the command ends.

Standard library only, and started before numpy could start a thread.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import signal
import struct
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NoReturn

CLONE_NEWUSER: Final = 0x1000_0000
CLONE_NEWNET: Final = 0x4000_0000
_PR_SET_PDEATHSIG: Final = 1
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_RAISE: Final = 2
_CAPABILITY_VERSION_3: Final = 0x2008_0522

#: Environment of every process inside a world. `WORLD` is name:pid:start time of the holder and
#: marks what belongs to the world; `RUN` is the world's run directory, `TESTBED` its file.
WORLD: Final = "HIL_WORLD"
RUN: Final = "HIL_RUN"
TESTBED: Final = "HIL_TESTBED"
_LIFELINE: Final = "HIL_LIFELINE"
#: Set for a world that takes this seed in place of that of its file.
SEED: Final = "HIL_SEED"
#: A file in the run directory of a world that `hil virtual up` keeps: others may join it.
_KEPT: Final = "kept"

_READY_LIMIT_S: Final = 30.0


@dataclass(frozen=True, slots=True)
class World:
    """A world as its registry file describes it.

    `start` is the holder's start time in clock ticks since boot, which tells a recycled process
    id; `namespaces` maps a namespace (`tester`, `cell`, one per networked endpoint) to the
    descriptor number it has in the holder and its inode.
    """

    name: str
    pid: int
    start: int
    run: Path
    testbed: Path
    namespaces: Mapping[str, tuple[int, int]]

    @property
    def marker(self) -> str:
        """What every process inside carries in its environment as `WORLD`."""
        return f"{self.name}:{self.pid}:{self.start}"

    @property
    def alive(self) -> bool:
        """Whether the holder still runs."""
        return start_time(self.pid) == self.start

    def namespace(self, name: str) -> Path:
        """A path that setns(2) accepts once opened; KeyError where there is no such namespace."""
        return Path(f"/proc/{self.pid}/fd/{self.namespaces[name][0]}")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "name": self.name,
            "pid": self.pid,
            "start": self.start,
            "run": str(self.run),
            "testbed": str(self.testbed),
            "namespaces": {name: list(where) for name, where in self.namespaces.items()},
        }

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> World:
        """The world that `to_json` described."""
        return cls(
            name=fields["name"],
            pid=fields["pid"],
            start=fields["start"],
            run=Path(fields["run"]),
            testbed=Path(fields["testbed"]),
            namespaces={name: (fd, inode) for name, (fd, inode) in fields["namespaces"].items()},
        )


def enter(testbed: Path, argv: Sequence[str] | None = None) -> None:
    """Make sure that this command runs inside a world of `testbed`.

    Returns at once where it already does. Otherwise it does not return: it starts a world and
    replaces this process by `argv` (default: the command line of this interpreter) inside it.
    Nothing that must be closed may be open by then; standard streams are flushed.

    Raises:
        UsageError: the file is no testbed with a world, or namespaces are refused here.
        RigError: the world did not come up, or the one this process is inside of has died.
    """
    from hil.errors import RigError

    world = inside()
    if world is not None and world.testbed == testbed.resolve():
        if not world.alive:
            raise RigError(f"the world {world.name} around this process has ended")
        _keep_lifeline_private()
        return
    registry, lifeline = _start(testbed.resolve())
    _replace(registry, lifeline, argv)


def join_running(name: str | None, argv: Sequence[str] | None = None) -> None:
    """Make sure that this command runs inside the running world `name`, or the only one.

    Returns at once where it already does; otherwise it replaces this process as `enter` does. The
    world does not end with the command.

    Raises:
        UsageError: no such world, or several and no name.
    """
    from hil.errors import UsageError

    running = worlds()
    if name is None and len(running) == 1:
        name = next(iter(running))
    if name not in running:
        known = ", ".join(running) or "none"
        wanted = "a world" if name is None else f"the world {name!r}"
        raise UsageError(f"cannot tell {wanted}: running are {known}")
    here = inside()
    if here is None or here.marker != running[name].marker:
        _replace(directory() / f"{name}.world", None, argv)


def keep(testbed: Path, seed: int | None = None) -> tuple[World, int]:
    """Start a world that others may join; it ends when the returned descriptor is closed.

    Raises: as `enter`.
    """
    registry, lifeline = _start(testbed.resolve(), seed)
    world = World.from_json(json.loads(registry.read_text("utf-8")))
    (world.run / _KEPT).touch()
    return world, lifeline


def kept(testbed: Path | None = None) -> list[str]:
    """The names of the worlds that are kept for others to join, of one testbed or of all."""
    return [
        name
        for name, world in worlds().items()
        if (world.run / _KEPT).exists() and testbed in (None, world.testbed)
    ]


def inside() -> World | None:
    """The world around this process, None where there is none; it may have died since."""
    if WORLD not in os.environ:
        return None
    run = Path(os.environ[RUN])
    name, pid, start = os.environ[WORLD].rsplit(":", 2)
    with suppress(OSError, ValueError, KeyError):
        return World.from_json(json.loads((run / "world.json").read_text("utf-8")))
    return World(name, int(pid), int(start), run, Path(os.environ[TESTBED]), {})


def _start(testbed: Path, seed: int | None = None) -> tuple[Path, int]:
    """Start a holder; the path of its registry file and the lifeline to keep open."""
    import subprocess
    import tempfile

    from hil.errors import RigError, UsageError

    read, write = os.pipe()
    # By way of env(1): debuggers inject threads into children whose first word is a Python.
    command = ["env", sys.executable, "-m", "hil.virtual.holder"]
    command += ["--testbed", str(testbed), "--lifeline", str(read)]
    ours = (WORLD, RUN, TESTBED, SEED, _LIFELINE)
    clean = {k: v for k, v in os.environ.items() if k not in ours}
    if seed is not None:
        clean[SEED] = str(seed)
    with tempfile.TemporaryFile() as errors:
        holder = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=errors,
            pass_fds=[read],
            start_new_session=True,
            env=clean,
        )
        os.close(read)
        try:
            answer = _answer(holder)
        except BaseException:
            os.close(write)
            holder.wait()
            raise
        if "registry" in answer:
            return Path(answer["registry"]), write
        os.close(write)
        code = holder.wait()
        errors.seek(0)
        said = errors.read().decode(errors="replace").strip().rpartition("\n")[2]
    default = f"the world did not start: {said or f'its holder ended with {code}'}"
    kind = UsageError if answer.get("kind") == "usage" else RigError
    raise kind(answer.get("error", default))


def _answer(holder: Any) -> dict[str, Any]:
    """The holder's one line; empty where it ended without a word."""
    import select
    import time

    from hil.errors import RigError

    limit = time.monotonic() + _READY_LIMIT_S
    line = b""
    while not line.endswith(b"\n"):
        if not select.select([holder.stdout], [], [], max(0.0, limit - time.monotonic()))[0]:
            raise RigError(f"the world was not ready within {_READY_LIMIT_S:.0f} s")
        if not (piece := os.read(holder.stdout.fileno(), 65536)):
            return {}
        line += piece
    answer = json.loads(line)
    assert isinstance(answer, dict)
    return answer


def _replace(registry: Path, lifeline: int | None, argv: Sequence[str] | None) -> NoReturn:
    """Become a fresh interpreter that joins the world and executes `argv` there."""
    if lifeline is not None:
        os.set_inheritable(lifeline, True)
    words = [sys.executable, *sys.orig_argv[1:]] if argv is None else list(argv)
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    held = "-" if lifeline is None else str(lifeline)
    script = [sys.executable, "-I", "-S", os.path.abspath(__file__), "join", str(registry), held]
    os.execv(sys.executable, [*script, "--", *words])


def _keep_lifeline_private() -> None:
    """Whatever this process starts from now on does not hold the world open."""
    if (held := os.environ.pop(_LIFELINE, None)) is not None:
        with suppress(OSError, ValueError):
            os.set_inheritable(int(held), False)


# What the holder and the other processes of a world share with the door.


def directory() -> Path:
    """The private directory of registry files and run directories, made where it is missing.

    It is ``$XDG_RUNTIME_DIR/hil``, for root ``/run/hil``, else ``hil-UID`` in the directory for
    temporary files. UsageError where none of them can be made private.
    """
    import tempfile

    from hil.errors import UsageError

    uid = os.geteuid()
    places = [Path("/run/hil")] if uid == 0 else []
    if uid != 0 and (runtime := os.environ.get("XDG_RUNTIME_DIR")):
        places.append(Path(runtime) / "hil")
    places.append(Path(tempfile.gettempdir()) / f"hil-{uid}")
    for place in places:
        with suppress(OSError):
            place.mkdir(mode=0o700, exist_ok=True)
            found = place.lstat()
            if found.st_uid == uid and not found.st_mode & 0o022 and os.access(place, os.W_OK):
                return place
    raise UsageError(f"{places[-1]} is not a private, writable directory of this user: remove it")


def worlds() -> dict[str, World]:
    """The running worlds of this user by name; what dead ones left behind is removed."""
    running = {}
    for path in sorted(directory().glob("*.world")):
        with suppress(OSError, ValueError, KeyError), path.open("r", encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # refused while the holder lives
            except BlockingIOError:
                world = World.from_json(json.load(file))
                running[world.name] = world
            else:
                bury(World.from_json(json.load(file)))
    return running


def bury(world: World) -> None:
    """Remove what a dead world left: processes inside it, its run directory, its registry file."""
    import shutil

    for process in inhabitants(world):
        with suppress(OSError):
            signal.pidfd_send_signal(process, signal.SIGKILL)
        os.close(process)
    shutil.rmtree(world.run, ignore_errors=True)
    world.run.with_name(f"{world.name}.world").unlink(missing_ok=True)


def inhabitants(world: World) -> Iterator[int]:
    """A pidfd, to be closed by the caller, of each other process that carries the marker."""
    mark = f"{WORLD}={world.marker}".encode()
    for entry in Path("/proc").glob("[0-9]*"):
        pid = int(entry.name)
        if pid in (os.getpid(), world.pid):
            continue
        with suppress(OSError):
            process = os.pidfd_open(pid)  # before looking: a process id may be recycled
            with suppress(OSError):
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield process
                    continue
            os.close(process)


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot (proc(5), field 22); None if it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else int(fields[19])


_libc = ctypes.CDLL(None, use_errno=True)


def call(name: str, *arguments: Any) -> None:
    """A function of the C library that returns -1 on failure; OSError then."""
    if getattr(_libc, name)(*arguments) < 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{name}: {os.strerror(number)}")


def die_with_parent(parent: int, how: signal.Signals = signal.SIGKILL) -> None:
    """End this process by a signal when its parent ends (prctl(2), PR_SET_PDEATHSIG).

    ProcessLookupError where the parent had ended before the call.
    """
    call("prctl", _PR_SET_PDEATHSIG, int(how), 0, 0, 0)
    if os.getppid() != parent:
        raise ProcessLookupError(f"the parent process {parent} is gone")


def keep_capabilities() -> None:
    """Let the capabilities held now survive execve(2) although the uid is not 0 (ambient set)."""
    header = struct.pack("Ii", _CAPABILITY_VERSION_3, 0)
    buffer = ctypes.create_string_buffer(24)
    call("capget", header, buffer)
    low, permitted_low, _, high, permitted_high, _ = struct.unpack("6I", buffer.raw)
    sets = (low, permitted_low, permitted_low, high, permitted_high, permitted_high)
    call("capset", header, struct.pack("6I", *sets))
    permitted = permitted_low | permitted_high << 32
    for capability in range(64):
        if permitted >> capability & 1:
            call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_RAISE, capability, 0, 0)


def refusal(error: OSError) -> str:
    """One sentence: why the kernel refuses a namespace here, and the cure."""

    def switch(name: str) -> str:
        with suppress(OSError):
            return Path("/proc/sys", name).read_text("utf-8").strip()
        return ""

    if len(os.listdir("/proc/self/task")) > 1:
        return "a process with several threads cannot make a user namespace; start it on its own"
    if switch("kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor forbids unprivileged user namespaces here (the default since Ubuntu 23.10):"
            " run with sudo, or `sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0`"
        )
    if "0" in (switch("user/max_user_namespaces"), switch("kernel/unprivileged_userns_clone")):
        return (
            "user namespaces are switched off here: run with sudo, or let the administrator set"
            " user.max_user_namespaces=10000 (Debian: also kernel.unprivileged_userns_clone=1)"
        )
    with suppress(OSError):
        if "Seccomp:\t2" in Path("/proc/self/status").read_text("utf-8"):
            return (
                "the container's seccomp filter forbids namespaces: start it with"
                " `--cap-add SYS_ADMIN --cap-add NET_ADMIN` or `--security-opt seccomp=unconfined`"
            )
    return (
        f"the kernel refuses a new network namespace ({error.strerror}): run as root, or allow"
        " unprivileged user namespaces"
    )


# The script: `join REGISTRY LIFELINE -- COMMAND...` and `child PARENT NAMESPACE -- COMMAND...`.


def _join(registry: str, lifeline: str) -> None:
    """Move this process into the world's user and tester namespace and set its environment."""
    world = World.from_json(json.loads(Path(registry).read_text("utf-8")))
    user = os.open(f"/proc/{world.pid}/ns/user", os.O_RDONLY | os.O_CLOEXEC)
    net = os.open(world.namespace("tester"), os.O_RDONLY | os.O_CLOEXEC)
    if not world.alive or os.fstat(net).st_ino != world.namespaces["tester"][1]:
        raise ProcessLookupError("its holder is gone")
    if os.fstat(user).st_ino != os.stat("/proc/self/ns/user").st_ino:
        call("setns", user, CLONE_NEWUSER)
        keep_capabilities()
    call("setns", net, CLONE_NEWNET)
    os.environ.update({WORLD: world.marker, RUN: str(world.run), TESTBED: str(world.testbed)})
    if lifeline != "-":
        os.environ[_LIFELINE] = lifeline
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and execve(2) keeps that


def _child(parent: str, namespace: str) -> None:
    """Become a child of a holder: in a network namespace, ended with the holder."""
    call("setns", int(namespace), CLONE_NEWNET)
    os.close(int(namespace))
    die_with_parent(int(parent))


def _main(arguments: Sequence[str]) -> NoReturn:
    verb, first, second, _, *command = arguments
    try:
        {"join": _join, "child": _child}[verb](first, second)
        os.execvp(command[0], command)
    except (OSError, ValueError, KeyError) as error:
        sys.stderr.write(f"cannot {verb} the world for {command[0]}: {error}\n")
        sys.exit(10)


if __name__ == "__main__":
    _main(sys.argv[1:])
