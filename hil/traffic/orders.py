"""What sender and receiver are told: mapped arrays and a JSON file each, in a private directory.

The directory is gone again once both have mapped it, so nothing is left behind however a run ends.
"""

from __future__ import annotations

import errno
import json
import os
import secrets
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import UsageError
from hil.samples.planned import Held
from hil.samples.table import ARRIVED, OBSERVED, PLANNED, SENT
from hil.traffic.compile import Compiled, compile_flow, fixed
from hil.traffic.exchange import RowRing, capacity_for, save_array
from hil.traffic.flow import Flow
from hil.traffic.linux import inside, own_address
from hil.traffic.observation import observer_orders, points_of
from hil.traffic.offloads import refuse_merging
from hil.traffic.point import CANARY_BYTES
from hil.traffic.port import Address, Port
from hil.traffic.schedule import Schedule, write_plan
from hil.traffic.stamping import offered
from hil.traffic.stations import stations
from hil.wire import ip

_SHARED_MEMORY: Final = Path("/dev/shm")
_HELD_S: Final = 20.0  # of rows, should the parent not get to take them
_MOST_HELD: Final = 1 << 22  # rows; of a run that is longer than that, a quarter
_STALL_NS: Final = 500_000_000  # that a receive ring must outlast
_WARM_UP_NS: Final = 5_000_000  # between warm-up frames
WARM_UP_GAP_NS: Final = 60_000_000  # between the last of them and the schedule


@dataclass(frozen=True, slots=True)
class Orders:
    """The files of a run, and the rings that rows come back through."""

    receiver: Path
    sender: Path
    sent: RowRing
    arrived: RowRing
    observed: RowRing | None  #: where points look on
    compiled: tuple[Compiled, ...]
    lead_ns: int  #: the start of the warm-up before that of the schedule
    cards: bool = False  #: whether cards are to stamp what is sent


@contextmanager
def private_directory(room: int) -> Iterator[Path]:
    """A directory that only this user can read; removed at the end.

    It is in memory where that has at least `room` bytes left (a container's may be small).
    """
    base = None
    if os.access(_SHARED_MEMORY, os.W_OK | os.X_OK):
        free = shutil.disk_usage(_SHARED_MEMORY).free
        base = _SHARED_MEMORY if free > room else None
    path = Path(tempfile.mkdtemp(prefix="hil-", dir=base))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def room_for(flows: Sequence[Flow]) -> int:
    """More than the bytes that the files of a run take."""
    rows = min(_MOST_HELD, sum(len(flow.plan) for flow in flows))
    held = sum(len(flow.plan) for flow in flows if isinstance(flow.plan, Held))
    passing = 2 * len(points_of(flows)) * OBSERVED.itemsize
    shared = rows * (2 * SENT.itemsize + 4 * ARRIVED.itemsize + 2 * passing)
    return (8 << 20) + shared + held * (PLANNED.itemsize + np.dtype(np.int64).itemsize)


def write_orders(
    directory: Path,
    flows: Sequence[Flow],
    run: int,
    warm_up: int,
    *,
    launched: bool,
    keep: Path | None = None,
) -> Orders:
    """Compile the flows and write down everything their processes need.

    `launched` says that a launcher stands between this process and its children. `keep` is how the
    names of files begin that keep frames around violations.

    Raises: UsageError where a flow does not fit its ports; RigError where a next hop is silent.
    """
    for port in dict.fromkeys(flow.rx for flow in flows if flow.layer == "udp"):
        if port.host is None:
            refuse_merging(port)
    udp = _udp_ports(flows)
    canary = secrets.token_bytes(CANARY_BYTES)
    compiled = tuple(
        compile_flow(flow, port, canary if flow.search is not None else b"")
        for flow, (port, _) in zip(flows, udp, strict=True)
    )
    templates, places, frames = _frames(compiled)
    variants = [len(made.variants) for made in compiled]
    schedule = Schedule([flow.plan for flow in flows], places, variants)
    save_array(directory / "sending.npy", np.frombuffer(frames, np.uint8))
    lead = warm_up * _WARM_UP_NS + WARM_UP_GAP_NS
    shared: dict[str, Any] = {
        "run": run,
        "directory": str(directory),
        "parent": None if launched else os.getpid(),
    }
    rate = schedule.length * 1e9 / max(schedule.last_ns, 1)
    capacity = capacity_for(schedule.length, _HELD_S, rate)
    if schedule.length > _MOST_HELD:
        capacity = min(capacity, _MOST_HELD >> 2)
    sent = RowRing.create(directory / "sent", SENT, capacity)
    arrived = RowRing.create(directory / "arrived", ARRIVED, 2 * capacity)
    observers = observer_orders(flows, compiled, _slots(flows), canary)
    observed = None
    if observers:
        most = 2 * len(observers) * capacity
        observed = RowRing.create(directory / "observed", OBSERVED, capacity_for(most, 1, most))
    spoken = [
        (flow.tx, made.version, flow.stamped) for flow, made in zip(flows, compiled, strict=True)
    ]
    outlets = list(dict.fromkeys(spoken))
    cards = offered(flows)
    sending = shared | {
        "capacity": sent.capacity,
        "templates": templates,
        "ports": [
            {
                "name": port.name,
                "interface": port.interface,
                "namespace": port.namespace,
                "kind": port.kind,
                "ethertype": ip.ETHERTYPE[version or 4],
                "card": cards[port].transmit,
                "stamped": stamped,
            }
            for port, version, stamped in outlets
        ],
        "outlet_of_flow": [outlets.index(each) for each in spoken],
        "plans": [write_plan(directory, number, flow.plan) for number, flow in enumerate(flows)],
        "templates_of_flow": [list(each.items()) for each in places],
        "variants_of_flow": variants,
        "warm_up": _warm_up(flows, places, warm_up),
    }
    receiving = shared | {
        "capacity": arrived.capacity,
        "stations": stations(flows),
        "ports": _inlets(directory, flows, compiled, [held for _, held in udp]),
        "observers": observers,
        "observed_capacity": observed.capacity if observed is not None else 0,
        "watched": [
            {
                "name": port.name,
                "interface": port.interface,
                "namespace": port.namespace,
                "card": card.clock,
            }
            for port, card in cards.items()
            if port.host == flows[0].rx.host
        ],
    }
    receives = {port.name: card.receive for port, card in cards.items()}
    for place, inlet in enumerate(receiving["ports"]):
        bound = any(each["bound_ns"] for each in inlet["flows"])
        inlet["keep"] = f"{keep}-port{place}.violations.pcap" if keep and bound else None
        inlet["card"] = receives.get(inlet["name"], False)
    for name, orders in (("sender", sending), ("receiver", receiving)):
        (directory / f"{name}.json").write_text(json.dumps(orders))
    return Orders(
        receiver=directory / "receiver.json",
        sender=directory / "sender.json",
        sent=sent,
        arrived=arrived,
        observed=observed,
        compiled=compiled,
        lead_ns=lead,
        cards=any(card.transmit for card in cards.values()),
    )


def _udp_ports(flows: Sequence[Flow]) -> list[tuple[int, bool]]:
    """For each flow a free UDP port at its destination, and whether it can be held there.

    An address that is not the host's own cannot be held, and need not be: no kernel answers there.
    """
    found: list[tuple[int, bool]] = []
    for index, flow in enumerate(flows):
        if flow.layer != "udp" or flow.template is not None:
            found.append((0, False))
            continue
        target, wanted = flow.ends[1], flow.udp.target if flow.udp else 0
        taken = {port for port, held in found if held}
        while (free := free_udp_port(flow.rx, target, wanted)) in taken and not wanted:
            pass  # nothing holds it before the receiver does, so the kernel may name it twice
        found.append((wanted or 49_153 + index, False) if free is None else (free, True))
    return found


def free_udp_port(port: Port, address: Address, wanted: int = 0) -> int | None:
    """A UDP port that is free at an address of `port`; None where the address cannot be held.

    `wanted` is the one that it must be, 0 for any.

    Raises: UsageError where that one is in use.
    """
    if port.host is not None:
        from hil.traffic.remote import connected

        there: int | None = connected(port.host).ask("free_udp_port", port, address, wanted)
        return there
    if not port.holds(address):
        return None
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with inside(port.namespace), socket.socket(family, socket.SOCK_DGRAM) as sock:
        try:
            sock.bind(own_address(address, port.index, wanted))
            return int(sock.getsockname()[1])
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return None
            if error.errno == errno.EADDRINUSE:
                raise UsageError(
                    f"port {port.name}: UDP port {wanted} of {address} is in use: another "
                    f"measurement behind its NAT has to end first"
                ) from None
            raise


def _frames(
    compiled: Sequence[Compiled],
) -> tuple[list[tuple[int, int, int]], list[dict[int, int]], bytes]:
    """Where each template's frame lies; for each flow the first by size; all frames in a row."""
    templates: list[tuple[int, int, int]] = []
    places: list[dict[int, int]] = []
    frames = bytearray()
    for made in compiled:
        places.append({})
        for size in made.templates:
            places[-1][size] = len(templates)
            for template in (each[size] for each in made.variants):
                templates.append((len(frames), len(template.frame), template.probe_at))
                frames += template.frame
    return templates, places, bytes(frames)


def _warm_up(
    flows: Sequence[Flow], places: Sequence[Mapping[int, int]], count: int
) -> list[tuple[int, int, int]]:
    """When (before the start), of which flow and which frame each warm-up frame is.

    It begins with the largest packet of a flow: where that does not fit the path, a router says so
    before the first packet that counts.
    """
    first = [
        place[int(flow.plan.rows(0, 1)["size"][0])]
        for flow, place in zip(flows, places, strict=True)
    ]
    largest = [place[max(place)] for place in places]
    start = -WARM_UP_GAP_NS - count * _WARM_UP_NS
    return [
        (
            start + turn * _WARM_UP_NS + flow * (_WARM_UP_NS // len(flows)),
            flow,
            first[flow] if turn else largest[flow],
        )
        for turn in range(count)
        for flow in range(len(flows))
    ]


def _inlets(
    directory: Path, flows: Sequence[Flow], compiled: Sequence[Compiled], held: Sequence[bool]
) -> list[dict[str, Any]]:
    """The receiver's ports; their frames and masks go to files."""
    payloads, masks = bytearray(), bytearray()
    by_port: dict[Port, list[dict[str, Any]]] = {}
    for number, (flow, made) in enumerate(zip(flows, compiled, strict=True)):
        shapes: list[tuple[int, int, int]] = []
        for size, first in made.templates.items():
            shapes.append((len(first.frame) - first.link, size, len(payloads)))
            for template in (each[size] for each in made.variants):
                payloads += template.frame[template.link :]
                masks += fixed(template, routed=made.routed, version=made.version).tobytes()
        one = next(iter(made.templates.values()))
        offsets: Any = flow.plan.described()
        if offsets is None:
            offsets = f"offsets-{number}.npy"
            save_array(directory / offsets, np.ascontiguousarray(_by_sequence(flow)))
        by_port.setdefault(flow.rx, []).append(
            {
                "flow": number,
                "probe_at": one.probe_at - one.link,
                "ethernet": flow.layer == "ethernet",
                "udp_port": made.udp_port,
                "bound_ns": flow.bound_ns,
                "hold": str(flow.ends[1]) if held[number] else None,
                "version": made.version,
                "vlan": _arrives_in(flow, made),
                "vlans": made.vlans if flow.rx.vlan is None and not made.routed else (),
                "variants": len(made.variants),
                "routed": made.routed,
                "offsets": offsets,
                "shapes": shapes,
            }
        )
    save_array(directory / "frames.npy", np.frombuffer(bytes(payloads), np.uint8))
    save_array(directory / "fixed.npy", np.frombuffer(bytes(masks), np.bool_))
    return [
        {
            "name": port.name,
            "interface": port.interface,
            "namespace": port.namespace,
            "kind": port.kind,
            "tap": port.tap,
            "index": port.index,
            "slots": _slots([flow for flow in flows if flow.rx == port]),
            "flows": told,
        }
        for port, told in by_port.items()
    ]


def _arrives_in(flow: Flow, made: Compiled) -> int:
    """The VLAN that the frames of a flow should arrive in, 0 for none.

    That of the receiving port; where neither port declares one and no router lies between, the one
    that the flow's own template says.
    """
    if flow.rx.vlan is not None:
        return flow.rx.vlan
    return 0 if made.routed or flow.tx.vlan is not None else made.vlan


def _by_sequence(flow: Flow) -> NDArray[np.int64]:
    """The planned offsets, indexed by sequence number."""
    rows = flow.plan.rows(0, len(flow.plan))
    offsets = np.zeros(int(rows["seq"].max()) + 1, np.int64)
    offsets[rows["seq"]] = rows["offset_ns"]
    return offsets


def _slots(flows: Sequence[Flow]) -> int:
    """Frames that can come while nobody takes any, with room for duplicates."""
    return max(4096, 2 * sum(flow.plan.most_within(_STALL_NS) for flow in flows))
