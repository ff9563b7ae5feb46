"""The UDP ports that a run chooses at its receivers."""

from __future__ import annotations

import socket
from ipaddress import IPv4Interface
from typing import Any

import pytest

from hil.errors import UsageError
from hil.traffic import orders
from hil.traffic.flow import Flow, periodic
from hil.traffic.port import Port

HERE = IPv4Interface("127.0.0.1/8")


def lo(**changes: Any) -> Port:
    fields: dict[str, Any] = {
        "name": "lo", "interface": "lo", "namespace": None, "kind": "ethernet", "mac": bytes(6),
        "mtu": 65536, "addresses": (HERE,), "held": (HERE.ip,), "index": 1,
    }  # fmt: skip
    return Port(**(fields | changes))


def test_two_flows_to_one_address_have_two_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    named = iter([50_000, 50_000, 50_001])
    monkeypatch.setattr(orders, "free_udp_port", lambda *_: next(named))
    flow = Flow(name="f", tx=lo(name="a"), rx=lo(), planned=periodic(1, 1, 128), layer="udp")
    assert orders._udp_ports([flow, flow]) == [(50_000, True), (50_001, True)]


def test_a_port_that_must_be_and_is_in_use_is_named() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        used = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"UDP port {used} of 127.0.0.1 is in use"):
            orders.free_udp_port(lo(), HERE.ip, used)
