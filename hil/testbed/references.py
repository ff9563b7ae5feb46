"""What one part of a testbed file says about another: names that must exist, and clashes.

These rules read the plain document, not the models, so that a fault in one device hides none of
them. Each rule is a generator of faults; a value of the wrong type is somebody else's fault.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import IPv4Network, IPv6Network, ip_interface
from typing import Any, Final

from hil.document import Document, Fault, Path, nearest
from hil.testbed.address import DYNAMIC

_ENDS: Final = {
    "device-edge": ("device", "edge"),
    "device-device": ("device", "device"),
    "device-cloud": ("device", "cloud"),
}
_REFERENCE: Final = re.compile(r"\$\{[^{}]*\}?")
RUN: Final = "${run}"


class Names:
    """The parts of a document that its other parts may name."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.devices = mapping(document, ("devices",))
        self.ports = mapping(document, ("ports",))
        self.ports.pop("launcher", None)
        self.paths = mapping(document, ("paths",))
        self.endpoints = mapping(document, ("world", "endpoints"))
        self.modems = {
            name: endpoint
            for name, endpoint in self.endpoints.items()
            if isinstance(endpoint, dict) and endpoint.get("kind") == "modem"
        }
        self.simulated = "world" in document.plain()

    def unknown(
        self, path: Path, name: object, known: dict[str, Any], what: str
    ) -> Iterator[Fault]:
        """A fault where `name` is text and none of those known."""
        if isinstance(name, str) and name not in known:
            say = f"no {what} is called {name!r}; {nearest(name, known)}"
            yield self.document.fault(path, say)


def mapping(document: Document, path: Path) -> dict[str, Any]:
    """The mapping at `path`; empty where there is none."""
    plain = document.plain(path)
    return plain if isinstance(plain, dict) else {}


def check(document: Document) -> Iterator[Fault]:
    """Every fault between the parts of a testbed file."""
    names = Names(document)
    for rule in _RULES:
        yield from rule(names)


def _ports_lie_behind_devices(names: Names) -> Iterator[Fault]:
    for name, port in names.ports.items():
        if isinstance(port, dict):
            path = ("ports", name, "behind")
            yield from names.unknown(path, port.get("behind"), names.devices, "device")


def _ports_have_their_own_interface(names: Names) -> Iterator[Fault]:
    first: dict[str, str] = {}
    for name, port in names.ports.items():
        interface = port.get("interface") if isinstance(port, dict) else None
        if not isinstance(port, dict) or not isinstance(interface, str):
            continue
        place = f"{port.get('host')} {interface} {port.get('vlan')}"
        if first.setdefault(place, name) != name:
            say = (
                f"port {first[place]!r} has this interface already; one port an interface, or one "
                f"for each `vlan` of it"
            )
            yield names.document.fault(("ports", name, "interface"), say)


def _paths_join_ports(names: Names) -> Iterator[Fault]:
    for path, kind, route in _routes(names):
        for index, key in enumerate(("from", "to")):
            yield from names.unknown((*path, key), route.get(key), names.ports, "port")
            yield from _end_fits(names, (*path, key), route.get(key), _ENDS[kind][index])
        if isinstance(route.get("from"), str) and route.get("from") == route.get("to"):
            say = f"the path begins and ends at port {route['to']!r}; name two"
            yield names.document.fault((*path, "to"), say)


def _cables_join_ports(names: Names) -> Iterator[Fault]:
    """A reference joins two ports that are not those of its route."""
    for path, _, route in _routes(names):
        cable = route.get("reference")
        if not isinstance(cable, dict):
            continue
        for key in ("from", "to"):
            place = (*path, "reference", key)
            yield from names.unknown(place, cable.get(key), names.ports, "port")
        if isinstance(cable.get("from"), str) and cable.get("from") == cable.get("to"):
            say = f"the cable begins and ends at port {cable['to']!r}; name two"
            yield names.document.fault((*path, "reference", "to"), say)


def _points_observe(names: Names) -> Iterator[Fault]:
    """What a route passes on its way are ports that observe."""
    for path, _, route in _routes(names):
        through = route.get("through")
        listed = through if isinstance(through, list) else []
        for index, name in enumerate(listed):
            place = (*path, "through", index)
            yield from names.unknown(place, name, names.ports, "port")
            port = names.ports.get(name) if isinstance(name, str) else None
            if isinstance(port, dict) and port.get("observe") is not True:
                say = f"port {name!r} ends paths; write 'observe: true' there to only look on"
                yield names.document.fault(place, say)
            if listed.index(name) < index:
                yield names.document.fault(place, f"{name!r} is listed already; leave one out")


def _only_observers_unwrap(names: Names) -> Iterator[Fault]:
    """A tunnel is looked into, never made."""
    for name, port in names.ports.items():
        if not isinstance(port, dict):
            continue
        if port.get("carries") in ("gtpu", "tunnel") and port.get("observe") is not True:
            kind = "GTP-U" if port["carries"] == "gtpu" else "a tunnel"
            say = f"{kind} is only looked into; write 'observe: true' too"
            yield names.document.fault(("ports", name, "carries"), say)
        if port.get("qfi") and port.get("carries") != "gtpu":
            say = "only GTP-U states a QFI; write 'carries: gtpu' too"
            yield names.document.fault(("ports", name, "qfi"), say)


def _end_fits(names: Names, path: Path, name: object, side: str) -> Iterator[Fault]:
    port = names.ports.get(name) if isinstance(name, str) else None
    if not isinstance(port, dict):
        return
    if isinstance(port.get("side"), str) and port["side"] != side:
        say = f"port {name!r} is on the {port['side']} side; a port of the {side} side is wanted"
        yield names.document.fault(path, say)
    if port.get("observe") is True:
        yield names.document.fault(path, f"port {name!r} only observes; no path may end there")


def _routes(names: Names) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for kind, routes in names.paths.items():
        if kind in _ENDS and isinstance(routes, list):
            for index, route in enumerate(routes):
                if isinstance(route, dict):
                    yield ("paths", kind, index), kind, route


def _routes_are_listed_once(names: Names) -> Iterator[Fault]:
    first: dict[str, Path] = {}
    for path, kind, route in _routes(names):
        ends = repr((kind, route.get("from"), route.get("to")))
        if first.setdefault(ends, path) != path:
            yield names.document.fault(path, "this path is listed already; leave one out")


def _safety_allows_the_ports(names: Names) -> Iterator[Fault]:
    allowed = names.document.plain(("safety", "allow_interfaces"))
    if not isinstance(allowed, list):
        return
    for name, port in names.ports.items():
        interface = port.get("interface") if isinstance(port, dict) else None
        sends = isinstance(port, dict) and port.get("observe") is not True
        if sends and isinstance(interface, str) and interface not in allowed:
            say = (
                f"safety.allow_interfaces does not list {interface!r}; add it there, "
                "or 'observe: true' here"
            )
            yield names.document.fault(("ports", name, "interface"), say)


def _endpoints_find_each_other(names: Names) -> Iterator[Fault]:
    for name, endpoint in names.endpoints.items():
        if not isinstance(endpoint, dict):
            continue
        path = ("world", "endpoints", name)
        yield from names.unknown((*path, "lan"), endpoint.get("lan"), names.ports, "port")
        yield from names.unknown((*path, "behind"), endpoint.get("behind"), names.modems, "modem")
        for key in ("acts_on", "feeds"):
            listed = endpoint.get(key)
            for index, modem in enumerate(listed if isinstance(listed, list) else []):
                yield from names.unknown((*path, key, index), modem, names.modems, "modem")


def _faults_find_what_they_break(names: Names) -> Iterator[Fault]:
    kinds = {n: e.get("kind") for n, e in names.endpoints.items() if isinstance(e, dict)}
    plcs = {name: kind for name, kind in kinds.items() if kind == "plc"}
    tcp = {name: kind for name, kind in kinds.items() if kind in ("plc", "attenuator")}
    for name, fault in mapping(names.document, ("world", "faults")).items():
        if isinstance(fault, dict):
            path = ("world", "faults", name)
            yield from names.unknown((*path, "cpe"), fault.get("cpe"), names.modems, "modem")
            yield from names.unknown((*path, "plc"), fault.get("plc"), plcs, "PLC")
            reached = fault.get("endpoint")
            yield from names.unknown((*path, "endpoint"), reached, tcp, "endpoint with TCP")


def _modems_have_their_lan(names: Names) -> Iterator[Fault]:
    for name, modem in names.modems.items():
        lan = modem.get("lan")
        port = names.ports.get(lan) if isinstance(lan, str) else None
        if isinstance(port, dict) and port.get("behind") != name:
            say = f"port {lan!r} does not lie behind {name!r}; write 'behind: {name}' there"
            yield names.document.fault(("world", "endpoints", name, "lan"), say)


def _world_makes_its_ports(names: Names) -> Iterator[Fault]:
    """Ports of this namespace are made by the world, at their literal addresses."""
    if not names.simulated:
        return
    n3 = ""
    for name, port in names.ports.items():
        if not isinstance(port, dict) or "/" in str(port.get("interface")):
            continue
        path = ("ports", name)
        if port.get("observe") is True:
            if port.get("carries") != "gtpu" or n3:
                say = "a world shows its N3, once: 'carries: gtpu'; leave this port out"
                yield names.document.fault((*path, "observe"), say)
            n3 = name
            continue
        if port.get("side") == "device" and port.get("behind") not in names.modems:
            known = ", ".join(names.modems) or "none"
            say = f"a device-side port lies behind a modem of the world; known: {known}"
            yield names.document.fault((*path, "behind"), say)
        if port.get("address") in (None, DYNAMIC):
            say = "the world makes this port; give its address, as in 192.0.2.2/24"
            yield names.document.fault((*path, "address"), say)


def _cables_end_on_a_lan(names: Names) -> Iterator[Fault]:
    lans = [
        _network(port.get("address")) for port in names.ports.values() if isinstance(port, dict)
    ]
    for name, endpoint in names.endpoints.items():
        wire = _network(endpoint.get("wire")) if isinstance(endpoint, dict) else None
        if wire is not None and wire not in lans:
            say = f"no port lies in {wire}; take an address beside that of the port on the same LAN"
            yield names.document.fault(("world", "endpoints", name, "wire"), say)


def _network(address: object) -> IPv4Network | IPv6Network | None:
    try:
        return ip_interface(str(address)).network if "/" in str(address) else None
    except ValueError:
        return None


def _endpoints_do_not_clash(names: Names) -> Iterator[Fault]:
    for key in ("link", "imsi", "lan", "listen"):
        first: dict[str, str] = {}
        for name, endpoint in names.endpoints.items():
            value = endpoint.get(key) if isinstance(endpoint, dict) else None
            if isinstance(value, str) and first.setdefault(value, name) != name:
                say = f"endpoint {first[value]!r} has this {key} already; each needs its own"
                yield names.document.fault(("world", "endpoints", name, key), say)


def _only_a_world_has_a_run(names: Names) -> Iterator[Fault]:
    if names.simulated:
        return
    for path, text in names.document.scalars():
        if RUN in text:
            say = f"{RUN} is known only to a testbed with a 'world:'; write the path itself"
            yield names.document.fault(path, say)


_RULES: Final[tuple[Callable[[Names], Iterator[Fault]], ...]] = (
    _ports_lie_behind_devices,
    _ports_have_their_own_interface,
    _paths_join_ports,
    _cables_join_ports,
    _points_observe,
    _only_observers_unwrap,
    _routes_are_listed_once,
    _safety_allows_the_ports,
    _endpoints_find_each_other,
    _faults_find_what_they_break,
    _modems_have_their_lan,
    _world_makes_its_ports,
    _cables_end_on_a_lan,
    _endpoints_do_not_clash,
    _only_a_world_has_a_run,
)


def unresolved(document: Document, taken: set[str], unjudged: set[str]) -> Iterator[Fault]:
    """A fault for each ``${…}`` that nothing will ever resolve.

    Args:
        document: The testbed file.
        taken: The texts that a secret field took; elsewhere they would reach the device as they
            are.
        unjudged: Devices of which nobody knows whether a field is a secret.

    Shell commands keep their own.
    """
    for path, text in document.scalars():
        if path[0] == "hooks" or (path[0] == "devices" and path[1:2] and path[1] in unjudged):
            continue
        for found in _REFERENCE.findall(text):
            if found != RUN and text not in taken:
                say = f"{found} means nothing here; {RUN}, or a secret where a secret belongs"
                yield document.fault(path, say)
