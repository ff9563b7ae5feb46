"""The packets of a sweep, made once each: the headers of a flow with the fields that change."""

from __future__ import annotations

from typing import Any, Final

from hil.errors import UsageError
from hil.traffic.flow import Flow

_MOST_FRAMES: Final = 1 << 14  # made beforehand, one for each packet of the round and each size


def swept(flow: Flow, packet: Any) -> list[tuple[Any, int]]:
    """The headers of each packet of the round, as Scapy packets, and where its filler begins.

    Raises: UsageError where a field is none of the flow's, where a NAT would lose its way, or where
    there are too many.
    """
    if flow.sweep is None:
        return [(packet, 0)]
    if flow.tx.nat or flow.rx.nat:
        raise UsageError(f"flow {flow.name}: what is swept cannot be found again behind a NAT")
    frames = flow.sweep.count * len(flow.plan.sizes)
    if frames > _MOST_FRAMES:
        raise UsageError(
            f"flow {flow.name}: {flow.sweep.count:,} swept packets in {len(flow.plan.sizes):,} "
            f"sizes are {frames:,} frames, and at most {_MOST_FRAMES:,} are held ready: sweep less"
        )
    made = []
    for number in range(flow.sweep.count):
        values = dict(flow.sweep.packet(number))
        start = values.pop("payload")
        changed = packet.copy()
        for name, value in values.items():
            _set(flow, changed, name, value)
        made.append((changed, start))
    return made


def _set(flow: Flow, packet: Any, name: str, value: Any) -> None:
    if name == "vlan":
        packet["Dot1Q" if packet.haslayer("Dot1Q") else _missing(flow, name, "a tag")].vlan = value
    elif name == "source_port":
        packet["UDP" if packet.haslayer("UDP") else _missing(flow, name, "UDP")].sport = value
    elif packet.haslayer("IP") and (name == "dscp" or value.version == 4):
        if name == "dscp":
            packet["IP"].tos = value << 2
        else:
            packet["IP"].src = str(value)
    elif packet.haslayer("IPv6") and (name == "dscp" or value.version == 6):
        if name == "dscp":
            packet["IPv6"].tc = value << 2
        else:
            packet["IPv6"].src = str(value)
    else:
        _missing(flow, name, "IP of that version")


def _missing(flow: Flow, name: str, what: str) -> str:
    raise UsageError(f"flow {flow.name}: sweep of {name}: its packets have not {what}")
