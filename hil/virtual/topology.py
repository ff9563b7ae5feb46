"""What is attached to the cell of a world, and with which addresses.

::

    tester                     cell                         plc1
      lan_a  -------- veth ----  p0   LAN of CPE 0   p4 ---- veth -- cell   10.60.0.20/24
      lan_b  -------- veth ----  p1   LAN of CPE 1
      mec    -------- veth ----  p2   behind the UPF
      cloud  -------- veth ----  p3   behind the backhaul
      plc1   ------------------- veth, no radio ------------------- wire   10.61.0.20/24
      n3     <------- veth ----  n3   copies of what crosses N3, while somebody captures them

The LAN of a CPE is a small switch: what is attached to the same CPE is joined without radio, and
everything else is reached through the cell. A networked endpoint so has two interfaces, one for
each of its addresses: `cell`, a host on the LAN of its CPE, and `wire`, a cable to the tester.
MAC addresses are fixed: 02:48:49:4c (the letters HIL), the side, the number of the attachment.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface
from pathlib import Path
from typing import ClassVar, Final, Literal

from pydantic import ConfigDict

from hil._enter import SEED
from hil.document import read
from hil.errors import UsageError
from hil.testbed import DeviceConfig, Testbed
from hil.testbed import load as load_testbed
from hil.testbed.world import ModemEndpoint, PlcEndpoint, World

TESTER: Final = "tester"
CELL: Final = "cell"
CELL_INTERFACE: Final = "cell"
WIRE_INTERFACE: Final = "wire"
_FAR, _NEAR, _WIRE_FAR, _WIRE_NEAR, _N3 = range(5)


def _mac(side: int, number: int) -> str:
    return f"02:48:49:4c:{side:02x}:{number:02x}"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One thing attached to the cell: a port of the tester or a networked endpoint.

    `interface` is its name inside `namespace`; `cpe` the number of the CPE whose LAN it is on,
    None at the edge and in the cloud; `trailers` whether frames to it get a timestamp trailer,
    `stamped` whether the kernel stamps them as they leave the cell (real-time mode).
    """

    number: int
    name: str
    namespace: str
    interface: str
    side: Literal["device", "edge", "cloud"]
    cpe: int | None
    address: IPv4Interface | None
    trailers: bool
    stamped: bool = False

    @property
    def mac(self) -> str:
        """MAC address of `interface`."""
        return _mac(_FAR, self.number)

    @property
    def cell_interface(self) -> str:
        """The other end of the link, in the namespace `CELL`."""
        return f"p{self.number}"

    @property
    def cell_mac(self) -> str:
        """MAC address of the other end, which sends nothing of its own."""
        return _mac(_NEAR, self.number)


@dataclass(frozen=True, slots=True)
class Wire:
    """A cable between the tester and an endpoint that the cell does not see.

    `source` is the tester's own address on that subnet.
    """

    number: int
    endpoint: str
    address: IPv4Interface
    source: IPv4Address

    @property
    def interface(self) -> str:
        """The tester's end."""
        return f"w-{self.endpoint}"[:15]

    @property
    def mac(self) -> str:
        """MAC address of the endpoint's end."""
        return _mac(_WIRE_FAR, self.number)

    @property
    def tester_mac(self) -> str:
        """MAC address of the tester's end."""
        return _mac(_WIRE_NEAR, self.number)


@dataclass(frozen=True, slots=True)
class N3Port:
    """The port of the tester at which the N3 of the cell is seen.

    `trailers` says whether frames to it get a timestamp trailer.
    """

    interface: str
    trailers: bool

    cell_interface: ClassVar[str] = "n3"
    mac: ClassVar[str] = _mac(_N3, 0)
    gnb_mac: ClassVar[str] = _mac(_N3, 1)  #: as in the frames; nothing answers for it
    upf_mac: ClassVar[str] = _mac(_N3, 2)


@dataclass(frozen=True, slots=True)
class Topology:
    """The CPEs of a world by their links, and everything attached to them and to the core."""

    cpes: tuple[str, ...]
    attachments: tuple[Attachment, ...]
    wires: tuple[Wire, ...]
    n3: N3Port | None = None

    @property
    def namespaces(self) -> tuple[str, ...]:
        """Every namespace of the world: tester, cell, and one per networked endpoint."""
        return tuple(dict.fromkeys((TESTER, CELL, *(each.namespace for each in self.attachments))))

    @property
    def endpoints(self) -> tuple[str, ...]:
        """The namespaces of the networked endpoints."""
        return self.namespaces[2:]


def world_of(testbed: Testbed) -> World:
    """The simulated part of a testbed; UsageError for a real bench."""
    if testbed.world is None:
        raise UsageError(f"{testbed.source}: this testbed has no `world:` and needs no holder")
    return testbed.world


def topology(testbed: Testbed) -> Topology:
    """What a testbed attaches to its cell.

    Raises:
        UsageError: a port or an endpoint lies behind something that is no modem of the world, or a
            wire address is on the subnet of no port.
    """
    world = world_of(testbed)
    modems = {n: e for n, e in world.endpoints.items() if isinstance(e, ModemEndpoint)}
    cpes = tuple(modem.link for modem in modems.values())
    row = {name: number for number, name in enumerate(modems)}
    attachments: list[Attachment] = []
    wires: list[Wire] = []
    n3: N3Port | None = None

    def behind(what: str, modem: str | None) -> int:
        if modem not in row:
            raise UsageError(
                f"{testbed.source}: {what}: behind {modem!r}, which is no modem of `world:"
                f" endpoints:`; there are {', '.join(row) or 'none'}"
            )
        return row[modem]

    for name, port in testbed.ports.items():
        if port.namespace is not None:
            continue
        if port.observe:
            n3 = N3Port(port.interface, world.trailers and port.tap is not None)
            continue
        device = port.side == "device"
        attachments.append(
            Attachment(
                number=len(attachments),
                name=name,
                namespace=TESTER,
                interface=port.interface,
                side=port.side,
                cpe=behind(f"ports: {name}", port.behind) if device else None,
                address=port.address if isinstance(port.address, IPv4Interface) else None,
                trailers=world.trailers and port.tap is not None,
                stamped=not world.trailers,
            )
        )
    for name, endpoint in world.endpoints.items():
        if not isinstance(endpoint, PlcEndpoint):
            continue
        if endpoint.wire is not None:
            wires.append(_wire(testbed, name, endpoint.wire, len(wires)))
        attachments.append(
            Attachment(
                number=len(attachments),
                name=name,
                namespace=name,
                interface=CELL_INTERFACE,
                side="device",
                cpe=behind(f"world: endpoints: {name}", endpoint.behind),
                address=endpoint.address,
                trailers=False,
            )
        )
    return Topology(cpes, tuple(attachments), tuple(wires), n3)


def _wire(testbed: Testbed, endpoint: str, address: IPv4Interface, number: int) -> Wire:
    for port in testbed.ports.values():
        own = port.address
        if isinstance(own, IPv4Interface) and address.ip in own.network:
            return Wire(number, endpoint, address, own.ip)
    raise UsageError(
        f"{testbed.source}: world: endpoints: {endpoint}: wire: {address} is on the subnet of no"
        " port; take an address beside that of the port on the same LAN"
    )


class _AnyDriver:
    """A catalogue for those who never open a device: every driver's entry is accepted unread.

    The command that enters the world has read the file with the real catalogue before.
    """

    def __init__(self, path: Path) -> None:
        entries = read(path).plain().get("devices")
        listed = entries.values() if isinstance(entries, dict) else ()
        self._names = {str(each.get("driver")) for each in listed if isinstance(each, dict)}

    def names(self) -> set[str]:
        return self._names

    def config(self, driver: str) -> type[DeviceConfig]:
        return _Unread

    def missing_extra(self, driver: str) -> str | None:
        return None


class _Unread(DeviceConfig):
    model_config = ConfigDict(extra="allow")


def load(path: Path) -> Testbed:
    """The testbed in a file, without any driver being imported; ConfigError as usual.

    In the processes of a world that was started with a seed of its own, that is its seed.
    """
    bench = load_testbed(path, _AnyDriver(path))
    if bench.world is None or SEED not in os.environ:
        return bench
    return bench.model_copy(
        update={"world": bench.world.model_copy(update={"seed": int(os.environ[SEED])})}
    )
