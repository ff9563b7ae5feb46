"""From a configuration of the Open Traffic Generator API to flows of this engine.

What is taken of the models (https://github.com/open-traffic-generator/models): flows from one port
to one port, of Ethernet (with one VLAN tag) or UDP over IPv4, of a fixed size, at a constant rate,
for a number of packets, a time, or until they are stopped. Everything else is refused by name:
traffic that is not what was asked for would be worse than none.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.errors import UsageError
from hil.samples.table import PLANNED
from hil.traffic import Flow, Port
from hil.traffic.compile import SOURCE_PORT
from hil.wire import probe

_FCS: Final = 4
_PER: Final = {"bps": 1, "kbps": 10**3, "mbps": 10**6, "gbps": 10**9}
#: A continuous flow ends by itself after so long, or so many packets.
LONGEST_S: Final = 3600
_MOST_PACKETS: Final = 5_000_000
_NOWHERE: Final = "00:00:00:00:00:00"
_TARGET_PORT: Final = 49_153


@dataclass(frozen=True, slots=True)
class Wanted:
    """One flow as it was asked for; `delay` where its delays are wanted."""

    flow: Flow
    tx: str
    rx: str
    delay: bool
    frame_size: int  #: with its FCS, as the API counts


def wanted(config: Mapping[str, Any], port: Callable[[str], Port]) -> tuple[Wanted, ...]:
    """The flows of a configuration; `port` finds a port by its location.

    Raises: UsageError naming the flow, the field, and what would do instead.
    """
    for name in ("lags", "devices", "layer1", "captures", "lldp", "stateful_flows"):
        if config.get(name):
            raise UsageError(f"{name}: this server sends flows between ports and nothing else")
    ports = {each["name"]: each.get("location") for each in config.get("ports", ())}
    found = tuple(_wanted(each, ports, port) for each in config.get("flows", ()))
    names = [each.flow.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"flow {name} is there twice")
    return found


def _wanted(
    flow: Mapping[str, Any], ports: Mapping[str, str | None], port: Callable[[str], Port]
) -> Wanted:
    name = str(flow.get("name", ""))
    ends = flow.get("tx_rx", {})
    if ends.get("choice") != "port":
        raise _refused(name, "tx_rx", "give a port to send from and one to receive on")
    ends = ends["port"]
    receivers = ends.get("rx_names") or ([ends["rx_name"]] if ends.get("rx_name") else [])
    if len(receivers) != 1:
        raise _refused(name, "tx_rx.port.rx_names", "give one port")
    tx, rx = (_located(name, end, ports, port) for end in (ends.get("tx_name"), receivers[0]))
    size = _size(name, flow)
    spacing, count = _timing(name, flow, size)
    layer, template, dscp = _packet(name, flow.get("packet", ()), tx, rx)
    planned = np.zeros(count, PLANNED)
    planned["seq"] = planned["frame"] = index = np.arange(count, dtype=np.int64)
    planned["size"] = size - _FCS - (probe.ETHERNET_HEADER if layer == "udp" else 0)
    planned["offset_ns"] = np.rint(index * spacing)
    made = Flow(
        name=name,
        tx=tx,
        rx=rx,
        planned=planned,
        layer=layer,
        dscp=dscp,
        template=template,
        traffic={
            "pattern": "periodic",
            "layer": layer,
            "size": int(planned["size"][0]),
            "interval_ns": round(spacing),
            "count": count,
        },
        interval_ns=round(spacing),
    )
    made.check()
    delay = bool(flow.get("metrics", {}).get("latency", {}).get("enable"))
    return Wanted(made, ends["tx_name"], receivers[0], delay, size)


def _refused(flow: str, field: str, why: str) -> UsageError:
    return UsageError(f"flow {flow}: {field}: {why}")


def _located(
    flow: str, name: str | None, ports: Mapping[str, str | None], port: Callable[[str], Port]
) -> Port:
    if name is None or name not in ports:
        raise _refused(
            flow, "tx_rx.port", f"no port {name!r}; there are {', '.join(ports) or 'none'}"
        )
    location = ports[name]
    if not location:
        raise _refused(flow, f"port {name}", "give its location: PORT, IFACE or NETNS/IFACE")
    return port(location)


def _size(name: str, flow: Mapping[str, Any]) -> int:
    size = flow.get("size", {"choice": "fixed", "fixed": 64})
    if size.get("choice", "fixed") != "fixed":
        raise _refused(name, f"size.{size['choice']}", "this server sends one fixed size")
    return int(size.get("fixed", 64))


def _timing(name: str, flow: Mapping[str, Any], size: int) -> tuple[float, int]:
    """Nanoseconds from packet to packet, and how many there are."""
    rate = flow.get("rate", {"choice": "pps", "pps": 1000})
    kind = rate.get("choice", "pps")
    if kind == "pps":
        pps = float(rate.get("pps", 1000))
    elif kind in _PER:
        pps = float(rate[kind]) * _PER[kind] / (8 * size)
    else:
        raise _refused(name, f"rate.{kind}", f"give one of pps, {', '.join(_PER)}")
    duration = flow.get("duration", {"choice": "continuous"})
    kind = duration.get("choice", "continuous")
    if kind == "fixed_packets":
        count = int(duration["fixed_packets"].get("packets", 1))
    elif kind == "fixed_seconds":
        count = round(float(duration["fixed_seconds"].get("seconds", 1)) * pps)
    elif kind == "continuous":
        count = min(round(LONGEST_S * pps), _MOST_PACKETS)
    else:
        choices = "fixed_packets, fixed_seconds, continuous"
        raise _refused(name, f"duration.{kind}", f"give one of {choices}")
    if not 1 <= count <= _MOST_PACKETS:
        raise _refused(name, "duration", f"{count:,} packets; at most {_MOST_PACKETS:,}")
    return 1e9 / pps, count


def _packet(
    name: str, headers: Sequence[Mapping[str, Any]], tx: Port, rx: Port
) -> tuple[Any, Any, int]:
    """Layer, template (None where addresses are the ports' own) and code point."""
    kinds = [str(each.get("choice", "ethernet")) for each in headers]
    plain = [kind for kind in kinds if kind != "vlan"]
    if plain not in (["ethernet"], ["ethernet", "ipv4", "udp"], []) or kinds[1:].count("vlan") > 1:
        raise _refused(
            name, "packet", f"{' / '.join(kinds)}: give ethernet, or ethernet / ipv4 / udp"
        )
    layer = "udp" if "udp" in kinds else "ethernet"
    fields = {kind: each.get(kind, {}) for kind, each in zip(kinds, headers, strict=True)}
    given = {
        (kind, field): _value(name, f"packet.{kind}.{field}", value)
        for kind, those in fields.items()
        for field, value in those.items()
        if field != "priority"
    }
    known = {
        *(("ethernet", each) for each in ("dst", "src")),
        *(("vlan", each) for each in ("id", "priority")),
        *(("ipv4", each) for each in ("dst", "src")),
        *(("udp", each) for each in ("src_port", "dst_port")),
    }
    priority = fields.get("vlan", {}).get("priority")
    if priority is not None:
        given["vlan", "priority"] = _value(name, "packet.vlan.priority", priority)
    for kind, field in given.keys() - known:
        raise _refused(name, f"packet.{kind}.{field}", "this server leaves it as it must be")
    dscp = _code_point(name, fields.get("ipv4", {}).get("priority"))
    return layer, _template(layer, given, dscp, tx, rx) if given else None, dscp


def _template(
    layer: str, given: Mapping[tuple[str, str], Any], dscp: int, tx: Port, rx: Port
) -> Any:
    from scapy.layers.inet import IP, UDP
    from scapy.layers.l2 import Dot1Q, Ether

    source = given.get(("ethernet", "src"), _NOWHERE)
    target = given.get(("ethernet", "dst"), _NOWHERE)
    packet: Any = Ether(
        src=tx.mac if source == _NOWHERE else source, dst=rx.mac if target == _NOWHERE else target
    )
    if ("vlan", "id") in given:
        packet /= Dot1Q(vlan=int(given["vlan", "id"]), prio=int(given.get(("vlan", "priority"), 0)))
    if layer == "ethernet":
        packet.lastlayer().type = probe.ETHERTYPE
        return packet
    packet /= IP(
        src=given.get(("ipv4", "src"), str(tx.own(4).ip)),
        dst=given.get(("ipv4", "dst"), str(rx.own(4).ip)),
        tos=dscp << 2,
        id=0,
        flags="DF",
    )
    source_port = int(given.get(("udp", "src_port"), SOURCE_PORT))
    return packet / UDP(sport=source_port, dport=int(given.get(("udp", "dst_port"), _TARGET_PORT)))


def _value(flow: str, field: str, pattern: Any) -> Any:
    """The one value of a field; patterns that change it from packet to packet are refused."""
    if not isinstance(pattern, Mapping):
        raise _refused(flow, field, "give a value")
    if pattern.get("choice", "value") not in ("value", "auto"):
        raise _refused(flow, f"{field}.{pattern['choice']}", "this server sends one value")
    return pattern.get("value", pattern.get("auto"))


def _code_point(flow: str, priority: Mapping[str, Any] | None) -> int:
    if priority is None:
        return 0
    if priority.get("choice", "dscp") == "raw":
        return int(_value(flow, "packet.ipv4.priority.raw", priority["raw"])) >> 2
    if priority.get("choice", "dscp") == "dscp":
        phb = priority.get("dscp", {}).get("phb")
        return 0 if phb is None else int(_value(flow, "packet.ipv4.priority.dscp.phb", phb))
    raise _refused(flow, "packet.ipv4.priority.tos", "give dscp, or raw")
