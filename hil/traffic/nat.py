"""A port behind a NAT: its downlink is opened from inside, before the run and all along it.

Packets from outside find the port only through a binding that a packet from inside has made (RFC
4787). So an *opener* goes from the port to the far one; the address and port that it arrives from
are where the downlink is sent. While the run lasts a *keep-alive* follows now and then, as a flow
of its own: what is offered for the sake of the NAT is planned, stamped and counted like the rest.

Run as a program, this is the process that opens; it gets what capabilities the launcher gives.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import select
import socket
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.clock import Deadline
from hil.errors import RigError, UsageError
from hil.samples.measurement import Measurement
from hil.samples.planned import last_row
from hil.samples.table import PLANNED
from hil.traffic import linux
from hil.traffic.child import serve
from hil.traffic.compile import Template, compile_flow
from hil.traffic.exchange import Lines
from hil.traffic.flow import Datagram, Flow
from hil.traffic.process import Child
from hil.traffic.stack import Stack
from hil.traffic.stations import stations
from hil.wire import ip, probe

#: A binding lives two minutes or more without traffic (RFC 4787 REQ-5), in practice down to 30 s;
#: RFC 8085 3.5 asks for no more than one keep-alive in 15 s.
KEEP_ALIVE_NS: Final = 15_000_000_000
_NEAR_PORT: Final = 50_000
_FAR_PORT: Final = 51_000
_TRIES: Final = 5
_WAIT_NS: Final = 1_000_000_000  # a device that was idle needs a moment to come up


@dataclass(frozen=True, slots=True)
class Opened:
    """The flows of a run with every NAT opened.

    `flows` are those that were given, in their order, and behind them the keep-alives.
    `openings` says of each that was opened, by its number, what was done for it; `keeper` is the
    number of its keep-alive.
    """

    flows: tuple[Flow, ...]
    openings: Mapping[int, dict[str, Any]]


def open_nats(flows: Sequence[Flow], directory: Path, launcher: Sequence[str]) -> Opened:
    """Open the NAT in front of each receiver that has one.

    Raises: RigError where no opener comes through, or a next hop is silent; UsageError where both
    ends of a flow are behind a NAT, or a flow has no UDP port to open.
    """
    behind = {number: flow for number, flow in enumerate(flows) if flow.rx.nat}
    if not behind:
        return Opened(tuple(flows), {})
    made, keepers = list(flows), []
    orders: list[dict[str, Any]] = []
    for number, flow in behind.items():
        keeper = _keeper(flow, number)
        keepers.append(keeper)
        orders.append(_order(keeper))
    path = directory / "nat.json"
    run = secrets.randbits(64)
    parent = None if launcher else os.getpid()
    path.write_text(json.dumps({"parent": parent, "run": run, "openings": orders}))
    child = Child("hil.traffic.nat", path, launcher)
    try:
        answers = child.expect("opened", _TRIES * len(orders) * _WAIT_NS)
    finally:
        child.close()
    openings: dict[int, dict[str, Any]] = {}
    for place, (number, keeper, answer) in enumerate(zip(behind, keepers, answers, strict=True)):
        ports = keeper.udp
        assert ports is not None
        towards = (ip_address(answer["address"]), int(answer["port"]))
        back = Datagram(source=ports.target, target=ports.source, towards=towards)
        made[number] = replace(made[number], udp=back, routed=True)
        openings[number] = {
            "address": answer["address"],
            "port": answer["port"],
            "openers_sent": answer["sent"],
            "keeper": len(flows) + place,
        }
    return Opened((*made, *keepers), openings)


def with_keep_alives(
    measurements: Sequence[Measurement], opened: Opened
) -> tuple[Measurement, ...]:
    """The measurements without those of the keep-alives, which go to the conditions instead."""
    count = len(opened.flows) - len(opened.openings)
    made = list(measurements[:count])
    for number, opening in opened.openings.items():
        told = dict(opening)
        counts = measurements[told.pop("keeper")].counts
        keeper = opened.flows[opening["keeper"]]
        told["keep_alive"] = {
            "interval_ns": KEEP_ALIVE_NS,
            "size": int(keeper.plan.sizes[0]),
            "warmup_sent": counts.warmup_sent,
            "sent": counts.sent,
            "received": counts.received,
        }
        made[number] = replace(made[number], conditions={**made[number].conditions, "nat": told})
    return tuple(made)


def _keeper(flow: Flow, number: int) -> Flow:
    """The keep-alive of a flow: from its receiver to its sender, with its ports the other way."""
    if flow.tx.nat:
        raise UsageError(
            f"flow {flow.name}: {flow.tx.name} and {flow.rx.name} are both behind a NAT, and "
            f"neither can be reached from outside; give one end a port that is not"
        )
    if flow.tx.host != flow.rx.host:
        raise UsageError(
            f"flow {flow.name}: {flow.rx.name} is behind a NAT, which is opened by one host that "
            f"owns both ports; {flow.tx.name} is on another"
        )
    if flow.layer != "udp" or flow.template is not None:
        raise UsageError(
            f"flow {flow.name}: {flow.rx.name} is behind a NAT, which lets in UDP alone, on ports "
            f"that hil chooses: use layer udp without a template"
        )
    span_ns = int(last_row(flow.plan)["offset_ns"][0])
    planned = np.zeros(span_ns // KEEP_ALIVE_NS + 1, PLANNED)
    planned["seq"] = planned["frame"] = np.arange(len(planned))
    planned["size"] = ip.HEADER[flow.version] + ip.UDP_HEADER + probe.SIZE
    # Beside the grid of the flow, not on it.
    planned["offset_ns"] = planned["seq"].astype(np.int64) * KEEP_ALIVE_NS + (
        (flow.interval_ns or 0) // 2
    )
    return Flow(
        name=f"keep-alive of {flow.name}",
        tx=flow.rx,
        rx=flow.tx,
        planned=planned,
        layer="udp",
        routed=True,
        udp=Datagram(source=_NEAR_PORT + number, target=_FAR_PORT + number),
        path=flow.path,
        direction="uplink" if flow.direction == "downlink" else "downlink",
        interval_ns=KEEP_ALIVE_NS,
        simulated=flow.simulated,
    )


def _order(keeper: Flow) -> dict[str, Any]:
    ports = keeper.udp
    assert ports is not None
    template: Template = next(iter(compile_flow(keeper, ports.target).templates.values()))
    source, target = keeper.ends
    near, far = stations([keeper])
    return {
        "near": near | {"address": str(source), "held": keeper.tx.holds(source)},
        "far": far | {"address": str(target), "held": keeper.rx.holds(target)},
        "near_index": keeper.tx.index,
        "far_index": keeper.rx.index,
        "version": keeper.version,
        "source": ports.source,
        "target": ports.target,
        "frame": template.frame.hex(),
        "probe_at": template.probe_at,
    }


# The process.


def _open_all(orders: Mapping[str, Any], lines: Lines) -> None:
    lines.send({"opened": [_open(each, orders["run"]) for each in orders["openings"]]})


def _open(order: Mapping[str, Any], run: int) -> dict[str, Any]:
    """Send openers until one arrives; where it seems to come from, and how many it took."""
    near, far = order["near"], order["far"]
    version: ip.Version = order["version"]
    frame = bytearray.fromhex(order["frame"])
    at = order["probe_at"]
    mark = probe.encode(run, 0, np.zeros(1, np.uint64), 0, probe.WARM_UP)[0].tobytes()
    frame[at : at + probe.SIZE] = mark
    with contextlib.ExitStack() as undo:
        for end, number in ((near, order["source"]), (far, order["target"])):
            if end["held"]:
                index = order["near_index" if end is near else "far_index"]
                where = linux.own_address(ip_address(end["address"]), index, number)
                with linux.inside(end["namespace"]):
                    undo.enter_context(linux.silent_socket(where, end["name"]))
        stack = Stack([near, far])
        undo.callback(stack.close)
        with linux.inside(far["namespace"]):
            arriving = undo.enter_context(linux.packet_socket(far["interface"], linux.ETH_P_ALL))
            arriving.setsockopt(linux.SOL_PACKET, linux.PACKET_IGNORE_OUTGOING, 1)
        with linux.inside(near["namespace"]):
            leaving = undo.enter_context(linux.packet_socket(near["interface"]))
            if not near["mac"]:
                linux.attach_filter(leaving, linux.DROP_ALL)
                leaving.bind((near["interface"], ip.ETHERTYPE[version]))
        for sent in range(1, _TRIES + 1):
            leaving.send(frame)
            if (seen := _arrival(arriving, mark, version)) is not None:
                address, port = seen
                return {"address": address, "port": port, "sent": sent}
    raise RigError(
        f"port {near['name']} is behind a NAT, and none of {_TRIES} openers that it sent to "
        f"{order['far']['address']} arrived at port {far['name']}: is its device attached, and the "
        f"far port reachable from there?"
    )


def _arrival(sock: socket.socket, mark: bytes, version: ip.Version) -> tuple[str, int] | None:
    """Address and port that the opener with this probe arrives from; None when it does not."""
    deadline = Deadline.after(_WAIT_NS)
    while select.select([sock], [], [], deadline.left_s)[0]:
        frame = sock.recv(2048)
        at = frame.find(mark)
        start = at - ip.HEADER[version] - ip.UDP_HEADER
        if start < 0:
            continue
        packet = frame[start:]
        source = packet[12:16] if version == 4 else packet[8:24]
        udp = ip.HEADER[version]
        return str(ip_address(source)), int.from_bytes(packet[udp : udp + 2], "big")
    return None


if __name__ == "__main__":
    sys.exit(serve(_open_all))
