"""Where the run's part of an IP host stands: what the processes of a run are told of its ports."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hil.traffic.flow import Flow


def stations(flows: Sequence[Flow]) -> list[dict[str, Any]]:
    """What `hil.traffic.stack.Stack` is told: each port that speaks IP, and what to answer for.

    It works beside the receiver, so that a port on another host than that is not served.
    """
    ports = [
        port
        for flow in flows
        if flow.layer == "udp"
        for port in (flow.tx, flow.rx)
        if port.host == flow.rx.host
    ]
    return [
        {
            "name": port.name,
            "interface": port.interface,
            "namespace": port.namespace,
            "mac": port.mac.hex(),
            "vlan": port.vlan,
            "addresses": [
                str(each.ip)
                for each in port.addresses
                if port.kind == "ethernet" and not port.holds(each.ip)
            ],
        }
        for port in dict.fromkeys(ports)
    ]
