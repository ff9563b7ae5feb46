"""A flow: planned packets bound to two ports and a template."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hil.errors import UsageError
from hil.samples.measurement import Direction
from hil.samples.planned import Planned, planned
from hil.samples.table import PLANNED, Table
from hil.targets.sweep import Sweep
from hil.targets.traffic import Layer, Traffic, smallest_bytes
from hil.traffic.floor import Floor, stored
from hil.traffic.point import Point, Search
from hil.traffic.port import Address, Port, common_version
from hil.wire import ip, probe
from hil.wire.trailer import FORMATS


@dataclass(frozen=True, slots=True, kw_only=True)
class Datagram:
    """The UDP ports of a flow that must have these, and where its packets are sent.

    `source` and `target` are those at its two ports; `towards` is the address and port that stand
    in its packets as it sends them, where a NAT translates them; None: those of its receiver.
    """

    source: int
    target: int
    towards: tuple[Address, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """Planned packets from `tx` to `rx`.

    `planned` are rows of `PLANNED` with ascending offsets, or a plan that makes them
    (`hil.samples.planned`); `plan` is the one or the other as a plan. `template` is a Scapy packet
    whose last payload the probe and the filler take the place of; None makes one from the ports.
    `dscp` is used where `template` is None. `routed` says that an IP router lies between, which
    may change what routers change: hop limit, DSCP and ECN, addresses and ports (NAT), and the
    checksums with them; None decides by whether there is a next hop. `floor` is the stored floor of
    these ports in this direction, None where there is none (`hil.traffic.floor.stored`). `through`
    are points on the way, in the order in which uplink passes them, and `search` says where to look
    for the flow's canary. `stamped` is False for background load: its packets are numbered and
    counted like any other, and the kernel takes no time of their sending.
    `reference` says that it goes over a cable and watches the host (`hil.traffic.reference`).
    `udp` are its UDP ports where they are not to be chosen, `sweep` the fields that change from
    packet to packet. Around packets that take longer than `bound_ns`, or never come, samples and
    frames are kept.
    """

    name: str
    tx: Port
    rx: Port
    planned: Table | Planned
    layer: Layer = "ethernet"
    dscp: int = 0
    template: Any = None
    routed: bool | None = None
    udp: Datagram | None = None
    sweep: Sweep | None = None
    path: str = ""
    direction: Direction = "uplink"
    traffic: Mapping[str, Any] = field(default_factory=dict)
    interval_ns: int | None = None
    floor: Floor | None = None
    bound_ns: int | None = None
    stamped: bool = True
    reference: bool = False
    simulated: bool = False
    through: tuple[Point, ...] = ()
    search: Search | None = None

    @property
    def plan(self) -> Planned:
        """What is offered, to be had a stretch at a time."""
        return planned(self.planned)

    @property
    def version(self) -> ip.Version:
        """The version of IP that its packets are of, whatever its layer.

        Raises: UsageError where its ports have no address of the same version.
        """
        return common_version(self.tx, self.rx)

    @property
    def ends(self) -> tuple[Address, Address]:
        """The addresses of its two ports, in that version. Raises: as `version`."""
        version = self.version
        source, target = self.tx.address_of(version), self.rx.address_of(version)
        assert source is not None
        assert target is not None
        return source.ip, target.ip

    def check(self) -> None:
        """Raises UsageError, one sentence, when the flow cannot be offered on its ports."""
        held = isinstance(self.planned, np.ndarray)
        if not len(self.plan) or (held and self.plan.rows(0, 1).dtype != PLANNED):
            raise UsageError(f"flow {self.name} plans no packet")
        if self.layer == "ethernet" and "raw-ip" in (self.tx.kind, self.rx.kind):
            bare = self.tx if self.tx.kind == "raw-ip" else self.rx
            raise UsageError(
                f"port {bare.name} carries bare IP and no Ethernet frames: use layer udp"
            )
        for port in (self.tx, self.rx):
            if port.vlan is not None and port.kind == "raw-ip":
                raise UsageError(
                    f"port {port.name} carries bare IP, and only an Ethernet frame can have a VLAN "
                    f"tag: leave out `vlan`"
                )
        sizes = self.plan.sizes
        smallest, largest = sizes[0], sizes[-1]
        plain = self.layer == "ethernet" or self.template is not None
        least = smallest_bytes(self.layer, 4 if plain else self.version)
        if smallest < least:
            over = f"layer {self.layer}" + ("" if plain else f" and IPv{self.version}")
            raise UsageError(
                f"flow {self.name}: a packet of {smallest} B has no room for headers and probe "
                f"over {over}; give at least {least} B"
            )
        for port in (self.tx, self.rx):
            room = port.mtu + (probe.ETHERNET_HEADER if self.layer == "ethernet" else 0)
            trailer = FORMATS[port.tap].size if port.tap else 0
            if largest > room - trailer:
                behind = f" before the tap's trailer of {trailer} B" if trailer else ""
                raise UsageError(
                    f"flow {self.name}: a packet of {largest} B does not fit port {port.name}, "
                    f"whose MTU of {port.mtu} B takes at most {room - trailer} B over layer "
                    f"{self.layer}{behind}; give a smaller size or raise the MTU"
                )
        if not self.plan.ascending:
            raise UsageError(f"flow {self.name}: the planned send times must not go backwards")


def periodic(count: int, interval_ns: int, size: int) -> Table:
    """The plan of `count` packets of `size` bytes, one each `interval_ns`, on one phase."""
    planned = np.zeros(count, PLANNED)
    index = np.arange(count, dtype=np.int64)
    planned["seq"] = planned["frame"] = index
    planned["size"] = size
    planned["offset_ns"] = index * interval_ns
    return planned


def offering(name: str, traffic: Traffic, tx: Port, rx: Port, *, seed: int) -> Flow:
    """`traffic` as a flow from `tx` to `rx`, for its own count.

    Raises: ValueError where it cannot be offered over the version of IP that both ports speak.
    """
    version = common_version(tx, rx) if traffic.layer == "udp" else 4
    return Flow(
        name=name,
        tx=tx,
        rx=rx,
        planned=traffic.schedule(seed=seed, ip=version),
        layer=traffic.layer,
        dscp=traffic.dscp,
        sweep=traffic.sweep,
        bound_ns=traffic.keep_beyond_ns,
        traffic=traffic.model_dump(mode="json", by_alias=True, exclude_none=True),
        interval_ns=traffic.interval_ns,
        floor=stored(tx, rx),
    )
