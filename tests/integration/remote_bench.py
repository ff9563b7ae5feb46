"""A bench whose far port is on another host, run as a program in namespaces of its own.

``remote_bench.py SCENARIO`` is started under unshare(1) with new user, network and mount
namespaces. The other host is an interpreter that execnet starts in a network namespace, with a
private /proc entry where it has to be another kernel's::

    near/e0 --- far/e1
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute, netns

from hil.samples import store
from hil.traffic.linux import inside

BOOT = "/proc/sys/kernel/random/boot_id"
HERE = Path(__file__)


def make_bench() -> None:
    """Two namespaces, named in a private /run, and a veth between them."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None):
        raise OSError(ctypes.get_errno(), "mounting a private /run")
    for name in ("near", "far"):
        netns.create(name)
    with inside("near"), IPRoute() as netlink:
        far = {"ifname": "e1", "net_ns_fd": "far"}
        netlink.link("add", ifname="e0", kind="veth", peer=far)
    for place, interface, address in (("near", "e0", "10.9.0.1"), ("far", "e1", "10.9.0.2")):
        with inside(place), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.addr("add", index=index, address=address, prefixlen=24)
            netlink.link("set", index=index, state="up")


def described(directory: Path, *, other_kernel: bool = False, other_hil: bool = False) -> Path:
    """The file that describes it; a script stands for the far host's Python."""
    far = directory / "far-python"
    lines = ["#!/bin/sh"]
    if other_kernel:
        (directory / "boot_id").write_text("another-boot\n")
        lines.append(f"mount --bind {directory}/boot_id {BOOT}")
    if other_hil:
        (directory / "hil").symlink_to(HERE.parents[2] / "hil", target_is_directory=True)
        old = directory / "hil-0.0.1.dist-info"
        old.mkdir()
        (old / "METADATA").write_text("Metadata-Version: 2.1\nName: hil\nVersion: 0.0.1\n")
        lines.append(f"export PYTHONPATH={directory}")
    lines.append(f'exec nsenter --net=/run/netns/far {sys.executable} "$@"')
    far.write_text("\n".join(lines) + "\n")
    far.chmod(0o755)
    python = f"unshare --mount {far}"
    file = directory / "bench.yaml"
    file.write_text(
        f"schema: 1\nname: {directory.name}\nports:\n"
        "  near: {interface: near/e0, side: device}\n"
        f'  far: {{interface: e1, side: edge, host: "popen//python={python}"}}\n'
        "paths:\n  device-edge: [{from: near, to: far}]\n"
    )
    return file


def command(file: Path, *options: str) -> list[str]:
    where = ["--testbed", str(file), "--json"]
    return [sys.executable, "-m", "hil", "measure", *where, *options]


def measured(file: Path, *options: str) -> dict[str, Any]:
    """The object that `hil measure --json` prints, its exit code with it."""
    done = subprocess.run(command(file, *options), capture_output=True, text=True, check=False)
    found = json.loads(done.stdout) if done.stdout else {}
    return found | {"code": done.returncode, "said": done.stderr}


def running(file: Path, *options: str) -> subprocess.Popen[str]:
    """The command, once packets flow."""
    process = subprocess.Popen(
        command(file, *options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    for line in process.stderr:
        if " 0 of" not in line and "received" in line:
            break
    return process


def far_processes() -> list[int]:
    """Processes in the far namespace."""
    wanted = os.stat("/run/netns/far").st_ino
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            if os.stat(path / "ns" / "net").st_ino == wanted:
                found.append(int(path.name))
        except OSError:
            continue
    return sorted(found)


def ended(pids: list[int], within_s: float = 15) -> bool:
    """Waits until all of some processes are gone."""
    until = time.monotonic() + within_s
    while any(pid in far_processes() for pid in pids):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


# Scenarios: each prints one JSON value.


def declared(directory: Path) -> Any:
    """Another kernel, whose clock is declared to be kept by a PTP that nobody finds."""
    file = described(directory, other_kernel=True)
    with file.open("a") as more:
        more.write(
            "clock:\n  ptp: /run/no-ptp4l\n  wired: true\n"
            '  asymmetry: {apart: 300 ns, by: 1pps, on: "2026-11-20"}\n'
        )
    options = ("--count", "200", "--interval", "2 ms", "--layer", "udp")
    return measured(file, "--tx", "near", "--rx", "far", *options)


def back(directory: Path) -> Any:
    """The sender is far, on another kernel."""
    file = described(directory, other_kernel=True)
    options = ("--tx", "far", "--rx", "near", "--count", "200", "--interval", "2 ms")
    return measured(file, *options)


def both(directory: Path) -> Any:
    """Both directions at once, through the engine."""
    from hil.drivers.registry import Registry
    from hil.lab.path import live_port
    from hil.samples.planned import Regular
    from hil.samples.summarise import summarise
    from hil.testbed import load
    from hil.traffic import Flow, run

    bench = load(str(described(directory)), Registry())
    near, far = live_port(bench, "near"), live_port(bench, "far")
    plan = Regular(200, 2_000_000, 128)
    flows = [
        Flow(name="up", tx=near, rx=far, planned=plan, layer="udp"),
        Flow(name="down", tx=far, rx=near, planned=plan, layer="udp", direction="downlink"),
    ]
    return [
        summarise(each) | each.conditions["offered"] for each in run(flows, directory=directory)
    ]


def killed(directory: Path) -> Any:
    """The far interpreter is killed in the middle of a run."""
    out = directory / "out"
    file = described(directory)
    process = running(
        file, "--tx", "near", "--rx", "far", "--count", "5000", "--interval", "2 ms",
        "--out", str(out),
    )  # fmt: skip
    pids = far_processes()
    os.kill(pids[0], signal.SIGKILL)
    stdout, _ = process.communicate()
    found = json.loads(stdout) | {"code": process.returncode, "gone": ended(pids)}
    kept = [each.counts.received for each in store.recover(out) if each.counts is not None]
    return found | {"kept": kept}


def orphaned(directory: Path) -> Any:
    """The near command is killed: nothing stays behind there."""
    file = described(directory)
    process = running(file, "--tx", "near", "--rx", "far", "--count", "50000", "--interval", "2 ms")
    pids = far_processes()
    process.kill()
    process.communicate()
    return {"there": len(pids), "gone": ended(pids)}


def other(directory: Path) -> Any:
    file = described(directory, other_hil=True)
    return measured(file, "--tx", "near", "--rx", "far", "--count", "100")


@contextlib.contextmanager
def sshd(directory: Path) -> Iterator[Path]:
    """An SSH server in the far namespace; the client's configuration that leads to it."""
    with inside("far"), IPRoute() as netlink:
        netlink.link("set", index=netlink.link_lookup(ifname="lo")[0], state="up")
    with IPRoute() as netlink:
        far = {"ifname": "f0", "net_ns_fd": "far"}
        netlink.link("add", ifname="r0", kind="veth", peer=far)
    for place, interface, address in ((None, "r0", "10.8.0.1"), ("far", "f0", "10.8.0.2")):
        with inside(place), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=interface)[0]
            netlink.addr("add", index=index, address=address, prefixlen=24)
            netlink.link("set", index=index, state="up")
    for key in ("host", "user"):
        words = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(directory / key)]
        subprocess.run(words, check=True)
    Path("/run/sshd").mkdir()
    client = directory / "ssh_config"
    client.write_text(
        f"Host edge1\n HostName 10.8.0.2\n User root\n IdentityFile {directory}/user\n"
        " StrictHostKeyChecking no\n UserKnownHostsFile /dev/null\n LogLevel ERROR\n"
    )
    server = directory / "sshd_config"
    server.write_text(
        f"ListenAddress 10.8.0.2\nHostKey {directory}/host\nUsePAM no\nStrictModes no\n"
        f"PermitRootLogin prohibit-password\nAuthorizedKeysFile {directory}/user.pub\n"
        "PidFile none\nClientAliveInterval 5\nClientAliveCountMax 2\n"
    )
    with inside("far"):
        running = subprocess.Popen(
            ["/usr/sbin/sshd", "-D", "-e", "-f", str(server)], stderr=subprocess.PIPE, text=True
        )
    assert running.stderr is not None
    try:
        for line in running.stderr:
            if "listening" in line:
                break
        yield client
    finally:  # its sessions hold the pipe; they end with the namespace of processes
        running.kill()
        running.wait()
        running.stderr.close()


def over_ssh(directory: Path) -> Any:
    """A run to a port behind a real SSH server, and one whose cable is pulled."""
    with sshd(directory) as client:
        file = described(directory)
        text = file.read_text("utf-8")
        start = text.index("popen//")
        end = text.index('"', start)
        host = f"ssh=edge1//ssh_config={client}//python={sys.executable}"
        file.write_text(text[:start] + host + text[end:])
        options = ("--tx", "near", "--rx", "far", "--interval", "2 ms", "--count")
        whole = measured(file, *options, "300")
        process = running(file, *options, "20000")
        pids = far_processes()
        with inside("far"), IPRoute() as netlink:
            netlink.link("set", index=netlink.link_lookup(ifname="f0")[0], state="down")
        stdout, _ = process.communicate()
        cut = json.loads(stdout) | {"code": process.returncode}
        return [whole, cut | {"gone": ended([p for p in pids if _is_python(p)], 40)}]


def _is_python(pid: int) -> bool:
    try:
        return "python" in Path(f"/proc/{pid}/comm").read_text()
    except OSError:
        return False


SCENARIOS = {
    each.__name__: each for each in (declared, back, both, killed, orphaned, other, over_ssh)
}


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="hosts-") as name:
        os.environ["HOME"] = name
        make_bench()
        print(json.dumps(SCENARIOS[sys.argv[1]](Path(name)), default=str))
