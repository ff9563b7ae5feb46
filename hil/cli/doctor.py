"""`hil doctor`: is this host, is this bench fit to measure? Each trouble comes with its cure."""

from __future__ import annotations

import os
import platform
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final, Literal

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hil._enter import enter
from hil.drivers.registry import Registry
from hil.errors import HilError
from hil.lab import Lab, live_port
from hil.lab.clock import evidence
from hil.report.allure import find_tools
from hil.samples.clock_evidence import ClockEvidence
from hil.testbed import Route, Testbed, load
from hil.testbed.clock import ClockConfig
from hil.traffic.hardware import Capability, capability
from hil.traffic.offloads import cure, merging, settings
from hil.traffic.path_mtu import path_mtu
from hil.traffic.ptp import ask
from hil.verdict import ExitCode

Grade = Literal["good", "note", "bad"]
_FREE_BYTES: Final = 1 << 30
_LAUNCHER: Final = (
    "name a launcher under `ports:` as testbeds/lab-example.yaml does, installed by: sudo install"
    " -D -o root -g hil -m 0750 /usr/bin/setpriv /usr/local/lib/hil/setpriv && sudo setcap"
    " cap_net_raw,cap_net_admin,cap_sys_nice=eip /usr/local/lib/hil/setpriv"
)
_FAIL_SAFE: Final = (
    "no program survives a dead PC: set each PLC's communication watchdog and the power-on state of"
    " switches and attenuators, then pull the tester's cable once and watch"
)
_CAP_NET_RAW: Final = 13


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `cure` says what to do where it is not good."""

    what: str
    grade: Grade
    found: str
    cure: str = ""


def doctor(name: str) -> int:
    """Looks at the host and the bench; 0 when nothing is bad, else 10.

    Raises: ConfigError for a faulty testbed file.
    """
    bench = load(name, Registry())
    if bench.world is not None:
        enter(bench.source, [sys.executable, "-m", "hil", *sys.argv[1:]])
    findings = [*_host(), *_bench(bench)]
    console = Console()
    console.print(table(f"{bench.name}: {bench.source}", findings))
    bad = sum(finding.grade == "bad" for finding in findings)
    console.print("fit to measure" if not bad else f"not fit to measure: {bad} bad findings")
    return ExitCode.RIG if bad else ExitCode.OK


def table(title: str, findings: Sequence[Finding]) -> Table:
    """The findings as text, word for word: a device or a path may say `[anything]`."""
    made = Table(title=Text(title), title_justify="left")
    for column in ("looked at", "", "found", "cure"):
        made.add_column(column, overflow="fold")
    colours = {"good": "green", "note": "yellow", "bad": "red"}
    for finding in findings:
        words = (finding.grade, finding.found, finding.cure)
        made.add_row(Text(finding.what), *map(Text, words, (colours[finding.grade], "", "")))
    return made


def _host() -> Iterator[Finding]:
    yield Finding("Python", "good", platform.python_version())
    yield Finding("kernel", "good", platform.release())
    cores = len(os.sched_getaffinity(0))
    yield Finding(
        "cores",
        "good" if cores > 2 else "note",
        f"{cores} usable",
        "" if cores > 2 else "sender and receiver share them with the rest: expect lateness",
    )
    free = shutil.disk_usage(Path.cwd()).free
    yield Finding(
        "disk",
        "good" if free > _FREE_BYTES else "bad",
        f"{free / 1e9:.1f} GB free here",
        "" if free > _FREE_BYTES else "free some: samples are kept raw",
    )
    memory = Path("/dev/shm")
    usable = os.access(memory, os.W_OK)
    yield Finding(
        "shared memory",
        "good" if usable else "note",
        str(memory) if usable else f"{memory} is not writable",
        "" if usable else "the temporary directory is used instead, which is slower",
    )
    clock = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    source = clock.read_text("utf-8").strip() if clock.exists() else "unknown"
    yield Finding(
        "clock source",
        "good" if source in ("tsc", "arch_sys_counter") else "note",
        source,
        "" if source in ("tsc", "arch_sys_counter") else "reading it is slow: pacing suffers",
    )
    files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    yield Finding("open files", "good" if files >= 256 else "bad", str(files), "ulimit -n 1024")
    tools = find_tools()
    lacking = isinstance(tools, str)
    yield Finding(
        "Allure",
        "note" if lacking else "good",
        tools if isinstance(tools, str) else ", ".join(map(str, tools)),
        "the report itself needs none" if lacking else "",
    )


def _bench(bench: Testbed) -> Iterator[Finding]:
    yield _privileges(bench)
    if bench.world is not None:
        yield Finding("bench", "note", "SIMULATED", "its verdicts say nothing about a real network")
    elif bench.devices:
        yield Finding("fail-safe of the devices", "note", "not seen from here", _FAIL_SAFE)
    if bench.clock is not None:
        yield _clock(bench.clock, evidence(bench))
    for port in bench.ports.values():
        yield from _tried(f"port {port.name}", partial(_port, bench, port.name))
    journal: list[str] = []
    lab = Lab(bench, Registry(), lambda device, text: journal.append(f"{device}: {text}"))
    try:
        if bench.hooks.health is not None:
            yield from _tried("health", partial(_health, lab))
        for name in bench.devices:
            yield from _tried(f"device {name}", partial(_device, lab, name))
        for route in () if bench.world else chain.from_iterable(bench.paths.values()):
            what = f"path {route.source} - {route.to}"
            yield from _tried(what, partial(_route, bench, route))
    finally:
        lab.close(abnormal=False)


def _clock(config: ClockConfig, declared: ClockEvidence) -> Finding:
    """Whether PTP keeps the clock of this host now, and whether one-way delays could rest on it."""
    reading, why = ask(config.ptp, config.domain)
    if reading is None:
        return Finding(
            "clock", "bad", why or "PTP says nothing", "see `man ptp4l`, or take `clock:` out"
        )
    if (why := reading.out_of_order(config.normal_ns)) is not None:
        return Finding("clock", "bad", why, "see the log of ptp4l")
    if (refusal := declared.refusal) is not None:
        cure = f"{refusal}: between two hosts only round trips are judged (`clock:` in the testbed)"
        return Finding("clock", "note", f"PTP is {', '.join(reading.states)}", cure)
    return Finding("clock", "good", f"PTP is {', '.join(reading.states)}; {declared.words}")


def _privileges(bench: Testbed) -> Finding:
    """Whether a process of a port may send and receive frames (capabilities(7))."""
    if not bench.launcher:
        if _may_send(Path("/proc/self/status").read_text("utf-8")):
            return Finding("privileges", "good", "NET_RAW here")
        return Finding("privileges", "bad", "none, and no launcher", _LAUNCHER)
    try:
        started = subprocess.run(
            [*bench.launcher, "cat", "/proc/self/status"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return Finding("privileges", "bad", f"{bench.launcher[0]}: {error}", _LAUNCHER)
    if started.returncode == 0 and _may_send(started.stdout):
        return Finding("privileges", "good", f"NET_RAW by {bench.launcher[0]}")
    said = started.stderr.strip() or "what it starts has no NET_RAW"
    return Finding("privileges", "bad", f"{bench.launcher[0]}: {said}", _LAUNCHER)


def _may_send(status: str) -> bool:
    """Whether a process may send raw frames, from its /proc/PID/status (proc(5))."""
    effective = next(line for line in status.splitlines() if line.startswith("CapEff"))
    return bool(int(effective.split()[1], 16) >> _CAP_NET_RAW & 1)


def _tried(what: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    try:
        yield from look()
    except (HilError, OSError) as error:
        yield Finding(what, "bad", str(error), "mend it, or take it out of the testbed file")


def _health(lab: Lab) -> Iterator[Finding]:
    lab.check()
    yield Finding("health", "good", f"{lab.testbed.hooks.health}")


def _device(lab: Lab, name: str) -> Iterator[Finding]:
    device = lab[name]
    identity = device.identify()
    report = device.health()
    words = [w for w in (identity.vendor, identity.model, identity.firmware) if w]
    healthy = report.status == "ok"
    yield Finding(
        f"device {name}",
        "good" if healthy else "bad",
        f"{' '.join(words)}; {report.detail}",
        "" if healthy else "see the device's own display or log",
    )


def _port(bench: Testbed, name: str) -> Iterator[Finding]:
    found = live_port(bench, name)
    yield Finding(
        f"port {name}",
        "good",
        f"{found.interface}: {found.kind}, {found.mac.hex(':') or 'no MAC'}, MTU {found.mtu}",
        "",
    )
    if found.nat:
        yield Finding(
            f"port {name}", "note", "behind a NAT: its downlink is opened from it, and kept open"
        )
    if found.host is not None:
        return
    if words := merging(found):
        told = f"merges datagrams ({', '.join(words)}), so no flow over UDP can be received"
        yield Finding(f"port {name}", "bad", told, cure(found, words))
    elif settings(found).get("rx-gro"):
        told = "GRO is on: it merges no probe, but stamps of a burst may be taken together"
        yield Finding(f"port {name}", "note", told, cure(found, ["gro"]))
    yield stamps(name, capability(found.interface, found.namespace))


def _route(bench: Testbed, route: Route) -> Iterator[Finding]:
    """How large a packet comes through, each way: a few packets are sent to find out."""
    for near, far in ((route.source, route.to), (route.to, route.source)):
        tx, rx = live_port(bench, near), live_port(bench, far)
        if tx.host or rx.host or not (tx.addresses and rx.addresses):
            continue  # found by a run only, or a bench of frames alone
        found = path_mtu(tx, rx, bench.launcher)
        what, limits = f"path {near} -> {far}", "; ".join(found.limits)
        if found.size is None:
            told = f"no packet came through{f' ({limits})' if limits else ''}"
            advice = "is the device attached, are the gateways of both ports right?"
            yield Finding(what, "bad", told, advice)
            continue
        told = f"packets of up to {found.size} B come through"
        smaller = found.size < min(tx.mtu, rx.mtu)
        if not smaller:
            yield Finding(what, "good", told)
            continue
        advice = "a flow of larger ones is refused: keep the sizes of the profile below"
        yield Finding(what, "note", f"{told} ({limits})", advice)


def stamps(name: str, card: Capability) -> Finding:
    """Which stamps the frames of a port get, as far as its driver says."""
    what = f"stamps at {name}"
    if not (card.transmit or card.receive):
        return Finding(what, "good", "by the kernel; the driver offers none of the card")
    ways = " and ".join(w for w, can in (("TX", card.transmit), ("RX", card.receive)) if can)
    device = Path(f"/dev/ptp{card.clock}")
    said = f"by the kernel, and by the card ({ways}, clock {device}) as its driver says"
    cure = (
        "stamps of cards were not yet run on hardware: each run tries them on its warm-up frames "
        "and holds them against the kernel's"
    )
    if not os.access(device, os.R_OK):
        cure += f"; {device} cannot be read here, so two cards cannot be compared: chmod a+r it"
    return Finding(what, "note", said, cure)
