"""Which ports can have a floor, and which measurement is one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.errors import RigError, UsageError
from hil.lab import floors
from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.table import SAMPLE, blank
from hil.traffic.port import Port

START = 1_700_000_000_000_000_000


def port(name: str, **changes: Any) -> Port:
    fields: dict[str, Any] = {
        "name": name,
        "interface": name,
        "namespace": None,
        "kind": "ethernet",
        "mac": bytes(6),
        "mtu": 1500,
        "addresses": (),
    }
    return Port(**fields | changes)


NIC = port("nic")


@pytest.mark.parametrize(
    ("tx", "rx", "word"),
    [
        (NIC, port("v", driver="veth"), "no interrupt, no coalescing and no wire"),
        (port("v", driver="veth"), NIC, "nic is not: between the stamps of a veth"),
        (
            port("a", driver="veth", index=3, peer=4),
            port("b", driver="veth", index=4, peer=3),
            "an artefact and no floor",
        ),
        (port("modem", kind="raw-ip"), NIC, "modem carries bare IP"),
        (NIC, port("tapped", tap="hil"), "a tap stands before tapped"),
    ],
)
def test_ports_that_can_have_no_floor_are_told_why(tx: Port, rx: Port, word: str) -> None:
    with pytest.raises(UsageError, match=word):
        floors.refuse(tx, rx)


def test_two_physical_ports_and_two_veths_over_a_hop_can() -> None:
    floors.refuse(NIC, port("nic2"))
    floors.refuse(
        port("a", driver="veth", index=3, peer=9), port("b", driver="veth", index=4, peer=8)
    )


def taken(delays: list[int], **changes: Any) -> Measurement:
    samples = blank(SAMPLE, len(delays))
    samples["seq"] = np.arange(len(delays))
    samples["tx_kernel_ns"] = START + np.arange(len(delays)) * 1_000_000
    samples["rx_kernel_ns"] = samples["tx_kernel_ns"] + delays
    samples["copies"] = 1
    n = len(delays)
    measurement = Measurement(
        id="1-0",
        flow="calibrate",
        path="a -> b",
        direction="uplink",
        tx_port="a",
        rx_port="b",
        traffic={},
        interval_ns=1_000_000,
        samples=samples,
        counts=counts(n),
        timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=0, floor_ns=np.array([5_000]), sources=()),
    )
    return replace(measurement, **changes)


def counts(sent: int, **changes: int) -> Counts:
    zero = dict.fromkeys(
        ("warmup_sent", "lost", "duplicated", "reordered", "corrupted", "foreign", "send_failed"), 0
    )
    fields: dict[str, Any] = {**zero, "sent": sent, "received": sent, **changes}
    return Counts(**fields)


def test_the_floor_is_the_whole_delay_as_magnitudes() -> None:
    found = floors.floor_of(taken([9_000, -200, 4_000]))
    assert found.tolist() == [200, 4_000, 9_000]


def test_a_passive_tap_before_a_port_takes_no_floor_away() -> None:
    floors.refuse(NIC, port("tapped", tap="metawatch"))
    measured = taken([9_000, 4_000, 5_000], timing=Timing("kernel", "trailer"))
    measured.samples["rx_trailer_ns"] = measured.samples["rx_kernel_ns"] - 7
    assert floors.floor_of(measured).tolist() == [4_000, 5_000, 9_000]


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"counts": counts(3, lost=1, received=2)}, "1 were lost"),
        ({"counts": counts(3, duplicated=2)}, "2 duplicated"),
        ({"invalid": ("the ring overflowed",)}, "the ring overflowed"),
        ({"timing": Timing("user", "kernel")}, "neither kernel nor card gave stamps"),
        ({"complete": False}, "no floor"),
    ],
)
def test_a_bad_measurement_is_no_floor(changes: Any, word: str) -> None:
    with pytest.raises(RigError, match=word):
        floors.floor_of(taken([4_000] * 3, **changes))


def test_a_network_is_not_mistaken_for_a_hop() -> None:
    with pytest.raises(RigError, match="more than one hop"):
        floors.floor_of(taken([8_000_000] * 100))
