"""Tools that measure one flow through a relay, and what each says that happened to it.

Each sends a packet of the same size in each interval to the same address. A tool's words are taken
from its own output; what it has no figure for is None, not measured.
"""

from __future__ import annotations

import json
import re
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.lab import peers
from hil.lab.relayed import FAR_ADDRESS
from hil.samples.measurement import Measurement
from hil.samples.table import NOT_TAKEN, difference_ns, taken
from hil.targets.traffic import Layer
from hil.traffic import Flow, Port, periodic, run
from hil.virtual.relay_truth import Truth

#: Bytes of a UDP payload, and of the IP packet that it makes.
PAYLOAD: Final = 200
_PACKET: Final = PAYLOAD + 28
_LONGEST_S: Final = 40.0
_IRTT, _SOCKPERF, _IPERF = 2112, 11111, 5201
_MOST_AWAY_NS: Final = 500_000
_TELLING: Final = 64  # lines of a log that tell by how much its clock is apart
_MOST_EARLY_NS: Final = 300_000
_LOG_BEGINS_NS: Final = (380_000_000, 500_000_000)
_DRAIN_NS: Final = 1_000_000_000

Times = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Offer:
    """What is to be sent: `count` packets, one each `interval_ns`, from `tx` to `rx`."""

    tx: Port
    rx: Port
    count: int
    interval_ns: int = 1_000_000

    @property
    def span(self) -> str:
        """How long that takes, in the words of the tools."""
        return f"{self.count * self.interval_ns / 1e9:g}"

    @property
    def rate(self) -> int:
        """Packets a second."""
        return 10**9 // self.interval_ns


@dataclass(slots=True)
class Sending:
    """The process that sends, once it does."""

    pid: int | None = None


@dataclass(frozen=True, slots=True)
class Said:
    """What a tool says of a run; None is what it does not measure.

    `delay_ns` is by packet number, `NOT_TAKEN` where the tool has none: one way where the tool
    measures that, else the round trip. `sent_late_ns` is for how long, by the tool's own account,
    its sender did not keep to its schedule: the longest lateness, or the slots left out.
    """

    lost: int | None = None
    duplicated: int | None = None
    reordered: int | None = None
    corrupted: int | None = None
    delay_ns: Times | None = None
    sent_late_ns: int | None = None
    further: dict[str, Times] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A tool: how its packets are told (`hil.virtual.relay`), how it is run and read."""

    name: str
    flow: str
    run: Callable[[Offer, Sending], Any]
    read: Callable[[Any, Truth], Said]


def ours(
    offer: Offer, *, layer: Layer = "udp", size: int = _PACKET, drain_ns: int = _DRAIN_NS
) -> Measurement:
    """Our own measurement of the flow; the last packets have `drain_ns` to come."""
    planned = periodic(offer.count, offer.interval_ns, size)
    flow = Flow(
        name="contest",
        tx=offer.tx,
        rx=offer.rx,
        planned=planned,
        interval_ns=offer.interval_ns,
        layer=layer,
    )
    with tempfile.TemporaryDirectory(prefix="hil-contest-") as directory:
        (measured,) = run([flow], directory=Path(directory), drain_ns=drain_ns)
    return measured


def our_sender() -> int | None:
    """The sending process of a run of this process; None while there is none."""
    for task in Path("/proc/self/task").glob("*/children"):
        for child in task.read_text("ascii").split():
            try:
                words = Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"hil.traffic.sender" in words:
                return int(child)
    return None


def read_ours(measured: Measurement, _: Truth) -> Said:
    """What a measurement of ours says."""
    counts, samples = measured.counts, measured.samples
    late = difference_ns(samples["tx_kernel_ns"], samples["intended_ns"])
    late = late[taken(late)]
    return Said(
        lost=counts.lost,
        duplicated=counts.duplicated,
        reordered=counts.reordered,
        corrupted=counts.corrupted,
        delay_ns=measured.delay_ns,
        sent_late_ns=int(late.max()) if late.size else None,
    )


def _talk(namespace: str | None, words: list[str], sending: Sending) -> str:
    """What a tool prints until it ends by itself; its process may be stopped meanwhile.

    Raises: RigError when it fails or does not end.
    """
    with subprocess.Popen(
        peers.within(namespace or "", words),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        sending.pid = process.pid
        try:
            said, complaint = process.communicate(timeout=_LONGEST_S)
        except subprocess.TimeoutExpired:
            process.kill()
            raise RigError(f"{words[0]} did not end within {_LONGEST_S:g} s") from None
        finally:
            sending.pid = None
    if process.returncode:
        last = (complaint or said).strip().splitlines()
        raise RigError(f"{words[0]} failed: {last[-1] if last else process.returncode}")
    return said


def _irtt(timer: str) -> Callable[[Offer, Sending], Any]:
    def irtt(offer: Offer, sending: Sending) -> Any:
        tool = peers.installed("irtt")
        where = f"{FAR_ADDRESS}:{_IRTT}"
        client = [tool, "client", "-i", f"{offer.interval_ns}ns", "-d", f"{offer.span}s"]
        client += [f"--timer={timer}", "-l", str(PAYLOAD), "-Q", "-o", "-", where]
        server = [tool, "server", "-b", where, "-i", "0", "-d", "0", "-l", "0"]
        with peers.serving(offer.rx.namespace or "", server, _IRTT):
            said = _talk(offer.tx.namespace, client, sending)
        return json.loads(said[said.index("{") :]) | {"interval_ns": offer.interval_ns}

    return irtt


def read_irtt(found: Any, _: Truth) -> Said:
    """What irtt says: round trips less its server's time, one way by wall clocks of both ends."""
    stats, trips = found["stats"], found["round_trips"]
    count = max((each["seqno"] for each in trips), default=-1) + 1
    delays = {name: np.full(count, NOT_TAKEN, np.int64) for name in ("rtt", "send")}
    lost = 0
    for each in trips:
        gone = each["lost"] != "false"
        lost += gone
        for name, column in delays.items():
            if not gone and name in each["delay"]:
                column[each["seqno"]] = each["delay"][name]
    return Said(
        lost=lost,
        duplicated=stats["duplicates"],
        reordered=stats["late_packets"],
        delay_ns=delays["rtt"],
        sent_late_ns=stats["timer_misses"] * found["interval_ns"],
        further={"one way": delays["send"]},
    )


def _sockperf(offer: Offer, sending: Sending) -> tuple[str, str]:
    tool = peers.installed("sockperf")
    where = ["-i", FAR_ADDRESS, "-p", str(_SOCKPERF)]
    with tempfile.TemporaryDirectory(prefix="hil-contest-") as directory:
        log = Path(directory) / "log.csv"
        client = [tool, "ul", *where, "-m", str(PAYLOAD), "-t", str(max(1, int(float(offer.span))))]
        client += [
            f"--mps={offer.rate}",
            "--reply-every=1",
            "--full-rtt",
            "--dontwarmup",
        ]
        client += ["--full-log", str(log)]
        with peers.serving(offer.rx.namespace or "", [tool, "sr", *where], _SOCKPERF):
            said = _talk(offer.tx.namespace, client, sending)
        return said, log.read_text("ascii")


def read_sockperf(found: tuple[str, str], truth: Truth) -> Said:
    """What sockperf says: counts without its first 400 ms and last 50 ms, and its log.

    Raises: RigError when a count is missing.
    """
    said, log = found
    counts = {}
    for word in ("dropped", "duplicated", "out-of-order"):
        match = re.search(rf"# {word} messages = (\d+)", said)
        if match is None:
            raise RigError(f"sockperf printed no count of {word} messages")
        counts[word] = int(match[1])
    return Said(
        lost=counts["dropped"],
        duplicated=counts["duplicated"],
        reordered=counts["out-of-order"],
        delay_ns=_by_number(*logged(log), truth),
    )


def logged(log: str) -> tuple[Times, Times]:
    """When each message of a log of sockperf was sent, on its clock, and its round trip, in ns."""
    sent, trips = [], []
    for line in log.splitlines():
        fields = line.split(",")
        if len(fields) == 4 and fields[0].strip().isdecimal():
            sent.append(_nanoseconds(fields[1], 9))
            trips.append(_nanoseconds(fields[3], 3))
    return np.array(sent, np.int64), np.array(trips, np.int64)


def _nanoseconds(text: str, places: int) -> int:
    whole, _, fraction = text.strip().partition(".")
    return int(whole + fraction[:places].ljust(places, "0"))


def _by_number(sent: Times, trips: Times, truth: Truth) -> Times | None:
    """Round trips by packet number: the log has neither numbers nor the first 400 ms.

    The pattern of the sender's own lateness says where the log begins: the relay's stamps have the
    same one. None where it does not say.
    """
    if not sent.size or not truth.packets:
        return None
    since = truth.rx_ns - truth.rx_ns[0]
    begins = np.flatnonzero((since > _LOG_BEGINS_NS[0]) & (since < _LOG_BEGINS_NS[1])).tolist()
    found = [_followed(sent, truth.rx_ns, first) for first in begins]
    away, numbers = min(found, key=lambda each: each[0], default=(_MOST_AWAY_NS, sent))
    if away >= _MOST_AWAY_NS // 5:
        return None
    delays = np.full(truth.packets, NOT_TAKEN, np.int64)
    delays[numbers] = trips
    return delays


def _followed(sent: Times, came: Times, first: int) -> tuple[float, Times]:
    """How well a log fits that begins with packet `first`, and the packet of each of its lines.

    A message is stamped before it is sent, so none can have come earlier than that: where the next
    packet did, the log has left it out.
    """
    few = came[first : first + _TELLING] - sent[:_TELLING][: came.size - first]
    apart = int(np.quantile(few, 0.05))
    due = (sent + apart - _MOST_EARLY_NS).tolist()
    times, number, numbers = came.tolist(), first - 1, []
    last = came.size - 1
    for each in due:
        number += 1
        while number < last and times[number] < each:
            number += 1
        numbers.append(min(number, last))
    place = np.array(numbers, np.int64)
    off = came[place] - sent
    steady = np.minimum(np.abs(off - int(np.median(off))), _MOST_AWAY_NS)
    return float(steady.mean()), place


def _iperf3(offer: Offer, sending: Sending) -> Any:
    tool = peers.installed("iperf3")
    client = [tool, "-c", FAR_ADDRESS, "-p", str(_IPERF), "-u", "-l", str(PAYLOAD), "-J"]
    client += ["-b", str(8 * PAYLOAD * offer.rate), "-t", str(max(1, int(float(offer.span))))]
    client += ["--get-server-output"]
    server = [tool, "-s", "-1", "-B", FAR_ADDRESS, "-p", str(_IPERF), "-J"]
    with peers.serving(offer.rx.namespace or "", server, _IPERF, "tcp"):
        return json.loads(_talk(offer.tx.namespace, client, sending))


def read_iperf3(found: Any, _: Truth) -> Said:
    """What iperf3's server says; it has no delay of a packet and no word on its sender.

    Raises: RigError when its output has no such counts.
    """
    try:
        counts = found["server_output_json"]["end"]["streams"][0]["udp"]
        return Said(lost=int(counts["lost_packets"]), reordered=int(counts["out_of_order"]))
    except (KeyError, IndexError, TypeError):
        raise RigError("iperf3 printed no counts of its server") from None


def irtt(timer: str) -> Contestant:
    """The tool irtt with one of its timers."""
    return Contestant("irtt", f"udp:{_IRTT}:{PAYLOAD}", _irtt(timer), read_irtt)


SOCKPERF: Final = Contestant("sockperf", f"udp:{_SOCKPERF}:{PAYLOAD}", _sockperf, read_sockperf)
IPERF3: Final = Contestant("iperf3", f"udp:{_IPERF}:{PAYLOAD}", _iperf3, read_iperf3)
