"""Other people's tools, run on the links of a stage beside ours; one that is missing is named.

Each function gives the tool's own figure, or that of a referee who is neither the tool nor us: the
counters of the receiving interface, and tcpdump's nanosecond capture.
"""

from __future__ import annotations

import contextlib
import json
import re
import select
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.clock import Deadline
from hil.errors import HilError, RigError
from hil.traffic import Port
from hil.traffic.linux import inside
from hil.wire import probe

#: The Debian package of each tool.
PACKAGES: Final = {
    "trafgen": "netsniff-ng",
    "irtt": "irtt",
    "sockperf": "sockperf",
    "iperf3": "iperf3",
    "tcpdump": "tcpdump",
    "dumpcap": "wireshark-common",
    "cc": "gcc",
}

_LONGEST_S: Final = 20
_START_NS: Final = 5_000_000_000
_LOOK_S: Final = 0.002
_IRTT_SIZE: Final = 200
_IRTT_PORT: Final = 2112
_SOCKPERF_PORT: Final = 11111
_FLUSH_S: Final = 0.3  # dumpcap takes blocks of its ring when they are full or this old
_REFERENCE: Final = Path(__file__).parents[2] / "bench" / "pace.c"
_NANO_PCAP: Final = 0xA1B23C4D


class NotInstalled(HilError):
    """A tool is missing on this host; the text names it and its package."""


def installed(name: str) -> str:
    """The path of a tool.

    Raises: NotInstalled when it is missing.
    """
    path = shutil.which(name, path="/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin")
    if path is None:
        raise NotInstalled(f"NOT RUN: {name} is not installed (package {PACKAGES[name]})")
    return path


def within(namespace: str, argv: Sequence[str]) -> list[str]:
    """The words that run a command in a namespace, as the process that they start."""
    return ["nsenter", f"--net=/run/netns/{namespace}", *argv]


def _finish(namespace: str, argv: Sequence[str], limit_s: float = _LONGEST_S) -> str:
    """The standard output of a tool that ends by itself.

    Raises: RigError when it fails or does not end.
    """
    try:
        done = subprocess.run(
            within(namespace, argv), capture_output=True, text=True, timeout=limit_s, check=False
        )
    except subprocess.TimeoutExpired:
        raise RigError(f"{Path(argv[0]).name} did not end within {limit_s:g} s") from None
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise RigError(f"{Path(argv[0]).name} failed: {said[-1] if said else done.returncode}")
    return done.stdout


@contextlib.contextmanager
def serving(
    namespace: str, argv: Sequence[str], port: int, protocol: str = "udp"
) -> Iterator[None]:
    """A server, from when its port is bound to the end of the block."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(within(namespace, argv), stdout=quiet, stderr=quiet)
    try:
        deadline = Deadline.after(_START_NS)
        with inside(namespace):
            while f":{port:04X} " not in Path(f"/proc/thread-self/net/{protocol}").read_text(
                "ascii"
            ):
                if deadline.passed or process.poll() is not None:
                    raise RigError(f"{Path(argv[0]).name} did not start to serve")
                time.sleep(_LOOK_S)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def _capturing(port: Port, wanted: str, into: Path) -> Iterator[None]:
    """Tcpdump with nanosecond times on what reaches `port`, for the time of the block."""
    words = [installed("tcpdump"), "-i", port.interface, "-Q", "in", "-s", "64", "-B", "32768"]
    words += ["-Z", "root", "--time-stamp-precision=nano", "-w", str(into), wanted]
    process = subprocess.Popen(
        within(port.namespace or "", words), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        deadline = Deadline.after(_START_NS)
        ready = select.select([process.stderr], [], [], deadline.left_s)[0]
        if not ready or "listening" not in (said := process.stderr.readline()):
            raise RigError(f"tcpdump does not capture: {said.strip() if ready else 'no word'}")
        yield
    finally:
        process.terminate()
        process.communicate()


def received_rate(port: Port, send: Callable[[], object]) -> float:
    """Frames a second that reach `port` while `send` runs, by the counter of its interface.

    From the first frame seen to the last; looked at every 2 ms.

    Raises: RigError when nothing comes.
    """
    seen: list[tuple[int, int]] = []
    over = threading.Event()

    def watch() -> None:
        with inside(port.namespace):
            while True:
                last = over.is_set()
                seen.append((_received(port.interface), time.monotonic_ns()))
                if last:
                    return
                over.wait(_LOOK_S)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        send()
    finally:
        over.set()
        watcher.join()
    counts = np.array(seen, np.int64)
    moved = np.flatnonzero(np.diff(counts[:, 0]) > 0) + 1
    if moved.size < 2:
        raise RigError(f"nothing was sent to {port.name}")
    first, last = counts[moved[0]], counts[moved[-1]]
    return float((last[0] - first[0]) / (last[1] - first[1]) * 1e9)


def _received(interface: str) -> int:
    for line in Path("/proc/thread-self/net/dev").read_text("ascii").splitlines():
        name, _, counters = line.partition(":")
        if name.strip() == interface:
            return int(counters.split()[1])
    raise RigError(f"interface {interface} is gone")


def trafgen(tx: Port, rx: Port, size: int, count: int) -> None:
    """Let trafgen send `count` frames of our EtherType, with its transmit ring on one processor."""
    tool = installed("trafgen")
    octets = ",".join(f"0x{octet:02x}" for octet in rx.mac + tx.mac)
    with tempfile.TemporaryDirectory() as directory:
        recipe = Path(directory) / "frame.cfg"
        recipe.write_text(f"{{ {octets}, c16(0x88b5), fill(0x00,{size - 14}) }}\n", "ascii")
        words = [tool, "--dev", tx.interface, "--conf", str(recipe)]
        words += ["--cpus", "1", "--num", str(count)]
        _finish(tx.namespace or "", words)


def dumpcap_captured(rx: Port, send: Callable[[], object]) -> int:
    """How many frames of our EtherType dumpcap captures on `rx` while `send` runs."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as directory:
        words = [installed("dumpcap"), "-q", "-i", rx.interface, "-B", "64", "-s", "96"]
        words += ["-f", f"ether proto {probe.ETHERTYPE:#x}", "-w", f"{directory}/flood.pcapng"]
        process = subprocess.Popen(
            within(rx.namespace or "", words), stderr=subprocess.PIPE, text=True
        )
        assert process.stderr is not None
        try:
            deadline = Deadline.after(_START_NS)
            said = ""
            while "File:" not in said:  # said once it captures
                if not select.select([process.stderr], [], [], deadline.left_s)[0]:
                    raise RigError("dumpcap does not capture: no word")
                if not (line := process.stderr.readline()):
                    raise RigError(f"dumpcap does not capture: {said.strip()}")
                said = line
            send()
            time.sleep(_FLUSH_S)
        finally:
            process.terminate()
            rest = process.communicate()[1]
    found = re.search(r"Packets captured: (\d+)", rest)
    if found is None:
        raise RigError(f"dumpcap did not say how many it captured: {rest.strip()[-200:]}")
    return int(found[1])


def paced_times(
    tx: Port, rx: Port, size: int, count: int, interval_ns: int, spin_ns: int
) -> NDArray[np.int64]:
    """When frames of the reference in C reached `rx`, by tcpdump, in nanoseconds.

    It spins for `spin_ns` before each slot, with a real-time policy where this process may have one
    and the spinning leaves half of the time, as the sender of hil does.

    Raises: NotInstalled without a compiler or the source.
    """
    if not _REFERENCE.is_file():
        raise NotInstalled("NOT RUN: the source of the reference in C is not installed")
    real_time = spin_ns * 2 < interval_ns and may_be_real_time()
    frame = rx.mac + tx.mac + probe.ETHERTYPE.to_bytes(2, "big") + bytes(size - 14)
    with tempfile.TemporaryDirectory() as directory:
        program, capture = Path(directory) / "pace", Path(directory) / "pace.pcap"
        _finish(tx.namespace or "", [installed("cc"), "-O2", "-o", str(program), str(_REFERENCE)])
        words = [str(program), tx.interface, frame.hex(), str(count), str(interval_ns)]
        words += [str(spin_ns), str(int(real_time))]
        with _capturing(rx, f"ether proto {probe.ETHERTYPE:#x}", capture):
            _finish(tx.namespace or "", words)
        return pcap_times(capture.read_bytes())


def may_be_real_time() -> bool:
    """Whether a process started here may have a real-time policy."""
    words = [sys.executable, "-c", "import os; os.sched_setscheduler(0, 1, os.sched_param(1))"]
    return not subprocess.run(words, capture_output=True, check=False).returncode


def scapy_rate(tx: Port, rx: Port, size: int, count: int) -> float:
    """Frames a second of Scapy's `sendp`, as people write it."""
    program = (
        "from scapy.all import Ether, Raw, sendp\n"
        f"frame = Ether(dst='{rx.mac.hex(':')}', src='{tx.mac.hex(':')}', type=0x88b5)\n"
        f"sendp([frame / Raw(bytes({size - 14}))] * {count}, iface='{tx.interface}', verbose=0)\n"
    )
    words = [sys.executable, "-W", "ignore", "-c", program]
    return received_rate(rx, lambda: _finish(tx.namespace or "", words))


def irtt_round_trip(tx: Port, rx: Port, address: str, interval_ns: int, seconds: int) -> float:
    """The median round trip of ``irtt --timer=busy``, in nanoseconds."""
    said = _irtt(tx, rx, address, interval_ns, seconds)
    found: dict[str, Any] = json.loads(said[said.index("{") :])
    return float(found["stats"]["rtt"]["median"])


def irtt_times(
    tx: Port, rx: Port, address: str, interval_ns: int, seconds: int
) -> NDArray[np.int64]:
    """When the packets of ``irtt --timer=busy`` reached `rx`, by tcpdump, in nanoseconds."""
    wanted = f"udp dst port {_IRTT_PORT} and udp[4:2] = {_IRTT_SIZE + 8}"
    with tempfile.TemporaryDirectory() as directory:
        capture = Path(directory) / "irtt.pcap"
        with _capturing(rx, wanted, capture):
            _irtt(tx, rx, address, interval_ns, seconds)
        return pcap_times(capture.read_bytes())


def _irtt(tx: Port, rx: Port, address: str, interval_ns: int, seconds: int) -> str:
    """What the client prints: its log and one JSON object."""
    tool = installed("irtt")
    client = [tool, "client", "-i", f"{interval_ns}ns", "-d", f"{seconds}s", "--timer=busy"]
    client += ["-l", str(_IRTT_SIZE), "-Q", "-o", "-", f"{address}:{_IRTT_PORT}"]
    server = [tool, "server", "-b", f"{address}:{_IRTT_PORT}", "-i", "0", "-d", "0", "-l", "0"]
    with serving(rx.namespace or "", server, _IRTT_PORT):
        return _finish(tx.namespace or "", client)


def pcap_times(content: bytes) -> NDArray[np.int64]:
    """The times of the packets of a nanosecond capture file of this host's byte order.

    Raises: RigError when it is no such file.
    """
    head = np.frombuffer(content[:4], "<u4")
    if not head.size or int(head[0]) != _NANO_PCAP:
        raise RigError("tcpdump wrote no nanosecond capture")
    at, times = 24, []
    while at + 16 <= len(content):
        second, fraction, length, _ = np.frombuffer(content, "<u4", 4, at).tolist()
        times.append(second * 10**9 + fraction)
        at += 16 + length
    return np.array(times, np.int64)


def sockperf_round_trip(tx: Port, rx: Port, address: str, rate: int, seconds: int) -> float:
    """The median round trip of sockperf under load, in nanoseconds."""
    tool = installed("sockperf")
    where = ["-i", address, "-p", str(_SOCKPERF_PORT)]
    client = [tool, "ul", *where, "-m", "64", "-t", str(seconds), f"--mps={rate}"]
    client += ["--reply-every=1", "--full-rtt"]
    with serving(rx.namespace or "", [tool, "sr", *where], _SOCKPERF_PORT):
        return sockperf_median(_finish(tx.namespace or "", client))


def sockperf_median(said: str) -> float:
    """The median in nanoseconds from what sockperf prints.

    Raises: RigError when there is none.
    """
    found = re.search(r"percentile 50\.0+\s*=\s*([\d.]+)", said)
    if found is None:
        raise RigError("sockperf printed no median")
    return float(found[1]) * 1000
