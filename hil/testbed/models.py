"""What a testbed file says, as frozen models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PrivateAttr, SerializeAsAny

from hil.document import Model, Rate, Shape
from hil.testbed.address import DYNAMIC, Host, IPInterface, Network, PortAddress
from hil.testbed.clock import ClockConfig
from hil.testbed.world import World

PathKind = Literal["device-edge", "device-device", "device-cloud"]
"""The kinds of route: between which sides of the network its ends lie."""

Side = Literal["device", "edge", "cloud"]
"""Where a port is attached: behind a CPE, at the edge (MEC, N6), or in the central cloud."""

TapFormat = Literal["hil", "metawatch", "hpt"]
"""The trailers that can be read: that of the simulated cell, and those of taps on the market."""

Name = Annotated[
    str, Shape(r"[A-Za-z_][A-Za-z0-9_.-]*", "letters, digits, '_', '.' and '-', as in 'plc1'")
]

FiveQi = Annotated[int, Field(ge=1, le=255)]
"""5G QoS identifier (TS 23.501 5.7.2.1)."""

Command = Annotated[str, Field(min_length=1)]
"""A line for ``sh -c``."""

_ATTACHMENT = Shape(
    r"([^/\s:]+/)?[^/\s:]{1,15}", "IFACE or NETNS/IFACE, as in 'enp3s0' or 'ue1/uesimtun0'"
)


_HOST = Shape(
    r"(ssh=((?!//).)+|popen)(//[a-z_]+=((?!//).)+)*",
    "ssh=USER@HOST, with //python=PATH where hil is not in its default Python, as in "
    "'ssh=lab@edge1//python=/opt/hil/bin/python'",
)


class DeviceConfig(Model):
    """What every device of a testbed says of itself; each driver's `Config` extends it."""

    driver: str
    """The driver, by the name it is registered under."""


class PortConfig(Model):
    """A place where frames enter or leave: a network interface of this host."""

    name: Name
    """The name of the port: its key under ``ports:``."""

    attachment: Annotated[str, _ATTACHMENT] = Field(alias="interface")
    """Interface, or namespace (as in /run/netns) and interface: ``IFACE`` or ``NETNS/IFACE``."""

    side: Side
    """Where the port is attached: device, edge or cloud."""

    behind: str | None = None
    """The device whose LAN the port is on."""

    addressing: PortAddress = Field(default=None, alias="address")
    """ADDRESS/PREFIX; ``dynamic`` where it changes and is read from the interface when needed."""

    gateway: Host | None = None
    """Next hop towards the other ports; absent: taken from the routes of the host."""

    host: Annotated[str, _HOST] | None = None
    """How to reach the host that the interface is on; absent: the one that hil runs on."""

    tap: TapFormat | None = None
    """Format of the timestamp trailers that a tap leaves on the frames received here."""

    tap_clock: Name | None = None
    """Clock of that tap; ports of one tap name the same. Absent: a clock of its own."""

    vlan: Annotated[int, Field(ge=1, le=4094)] | None = None
    """The VLAN (IEEE 802.1Q) that frames are tagged with, leaving and arriving; absent: no tag."""

    nat: bool = False
    """True: a device between this port and the network, as its CPE, translates its address."""

    observe: bool = False
    """True: frames are only captured here, none is sent and no path ends here."""

    carries: Literal["frames", "gtpu", "tunnel"] = "frames"
    """What is seen here: the frames themselves, user packets inside GTP-U, as on N3, or packets
    inside another tunnel in the clear."""

    qfi: Mapping[FiveQi, Annotated[int, Field(ge=0, le=63)]] = Field(default_factory=dict)
    """QoS flow identifier that the core gives each 5QI, as GTP-U states it here."""

    @property
    def interface(self) -> str:
        """Name of the interface, without its namespace."""
        return self.attachment.rpartition("/")[2]

    @property
    def namespace(self) -> str | None:
        """The named network namespace it lies in; None: the one hil runs in."""
        return self.attachment.rpartition("/")[0] or None

    @property
    def address(self) -> IPInterface | None:
        """The address with its prefix; None: read it from the interface."""
        return None if self.addressing == DYNAMIC else self.addressing

    @property
    def dynamic(self) -> bool:
        """Whether the address may change while the bench runs."""
        return self.addressing == DYNAMIC


class Cable(Model):
    """Two ports that a cable joins, outside the network under test."""

    source: str = Field(alias="from")
    """Port at the end on the device's side."""

    to: str
    """Port at the other end."""


class Route(Model):
    """Two ports between which packets travel; `source` is the device's side."""

    source: str = Field(alias="from")
    """Port on the side of the device: uplink leaves here."""

    to: str
    """Port at the other end: uplink arrives here."""

    through: tuple[str, ...] = ()
    """Ports that observe it on its way, in the order in which uplink passes them."""

    reference: Cable | None = None
    """A cable on which a low-rate twin of each flow runs, to watch the host and its ports."""


class Safety(Model):
    """What a bench may be put through; None leaves a budget open."""

    allow_interfaces: tuple[Annotated[str, _ATTACHMENT], ...] | None = None
    """The only interfaces that frames may be sent on; absent: those of ``ports:``."""

    allow_networks: tuple[Network, ...] | None = None
    """The only networks that packets may be addressed to."""

    max_rate_bps: Rate | None = None
    """Most traffic offered on any port at once."""


class FaultHook(Model):
    """A fault that this bench can make, and how it is ended again."""

    start: Command
    """Shell command that begins the fault."""

    stop: Command
    """Shell command that ends it; also run when a test was interrupted."""


class Hooks(Model):
    """Shell commands by which a bench that hil has no driver for takes part."""

    faults: Mapping[Name, FaultHook] = Field(default_factory=dict)
    """Faults by name."""

    health: Command | None = None
    """Shell command that exits 0 when the bench is fit to be measured."""


class Testbed(Model):
    """A bench: its devices, its ports, the paths between them, and its world if it is simulated."""

    __test__ = False

    version: Literal[1] = Field(alias="schema")
    """Version of the file format."""

    name: Name
    """What the bench is called in reports."""

    devices: Mapping[Name, SerializeAsAny[DeviceConfig]] = Field(default_factory=dict)
    """Devices by name, each as its driver's `Config`."""

    ports: Mapping[Name, PortConfig] = Field(default_factory=dict)
    """Ports by name."""

    paths: Mapping[PathKind, tuple[Route, ...]] = Field(default_factory=dict)
    """Routes by kind."""

    clock: ClockConfig | None = None
    """What keeps the clock of this host; absent: nothing that hil could ask."""

    safety: Safety = Safety()
    """What the bench may be put through."""

    hooks: Hooks = Hooks()
    """Faults and health check as shell commands."""

    world: World | None = None
    """The simulated part; absent: a real bench."""

    _launcher: tuple[str, ...] = PrivateAttr(default=())
    _source: Path = PrivateAttr(default=Path())

    @property
    def launcher(self) -> tuple[str, ...]:
        """Words put before a port process's own to give it its capabilities.

        In the file they are ``launcher`` under ``ports:``.
        """
        return self._launcher

    @property
    def source(self) -> Path:
        """The file this was read from."""
        return self._source
