"""What the attenuator driver does beyond the contract, on an instrument in an antenna cable."""

from __future__ import annotations

import socket
from typing import Any

import pytest

from hil.drivers.protocols import Health
from hil.errors import DeviceError, UsageError
from hil.virtual.coupling import Coupling


@pytest.fixture
def attenuator(attenuator_bench: Any) -> Any:
    attenuator_bench.driver.open()
    return attenuator_bench.driver


def test_identity(attenuator: Any) -> None:
    identity = attenuator.identify()
    assert (identity.vendor, identity.model, identity.serial) == ("hil", "attenuator", "att1")


def test_what_is_set_is_in_the_cable_of_the_modem(
    attenuator: Any, coupling: Coupling, eventually: Any
) -> None:
    assert attenuator.set_db(1, 20) == 20
    assert attenuator.get_db(1) == 20
    assert eventually(lambda: coupling.rows["attenuation_db"][0] == 20.0)


def test_a_value_that_is_not_applied_is_an_error(attenuator_bench: Any) -> None:
    fine = attenuator_bench.extra["driver"](
        attenuator_bench.extra["address"][1], resolution="0.01 dB"
    )
    fine.open()
    with pytest.raises(DeviceError, match=r"reads back 20 dB, asked were 20\.1 dB") as clipped:
        fine.set_db(1, 20.1)
    assert clipped.value.code is None


def test_an_unknown_channel_is_the_callers_fault(attenuator: Any) -> None:
    with pytest.raises(UsageError, match="channels 1 to 1"):
        attenuator.get_db(2)


def test_errors_left_by_others_are_not_ours(attenuator_bench: Any) -> None:
    with socket.create_connection(attenuator_bench.extra["address"]) as other:
        other.sendall(b"NONSENSE\n*OPC?\n")
        assert other.recv(16) == b"1\n"
    attenuator_bench.driver.open()
    assert attenuator_bench.driver.set_db(1, 5) == 5


def test_errors_in_the_queue_make_it_degraded(attenuator: Any, attenuator_bench: Any) -> None:
    with socket.create_connection(attenuator_bench.extra["address"]) as other:
        other.sendall(b"NONSENSE\n*OPC?\n")
        assert other.recv(16) == b"1\n"
    report = attenuator.health()
    assert report.status is Health.DEGRADED
    assert "-113" in report.detail
    assert attenuator.health().status is Health.OK


def test_its_own_words_can_be_told_in_the_testbed_file(attenuator_bench: Any) -> None:
    words = {
        "set": "SOUR:ATT:CHAN{channel} {value}DB",
        "get": "SOURCE:ATTENUATION:CHANNEL{channel}?",
    }
    driver = attenuator_bench.extra["driver"](attenuator_bench.extra["address"][1], commands=words)
    driver.open()
    assert driver.set_db(1, 12.5) == 12.5
