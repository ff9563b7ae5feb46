"""What power switches do beyond the contract: budgets, times, and a CPE that really goes dark."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.outlets import OutletSwitch
from hil.drivers.protocols import Health, Reg
from hil.drivers.registry import Registry
from hil.errors import ConnectFailed, ConnectionLost, DeviceError, UnsafeOperation, UsageError
from hil.testbed import ModemEndpoint, SwitchEndpoint, World
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.modem import Modem
from hil.virtual.endpoints.outlets import serve_switch
from tests.contract.bench import create


@pytest.fixture(params=["http", "snmp"])
def switch_bench(request: pytest.FixtureRequest) -> Any:
    bench = request.getfixturevalue(f"switch_{request.param}_bench")
    bench.driver.open()
    return bench


def test_an_outlet_is_on_again_only_after_its_time(switch_bench: Any) -> None:
    switch = switch_bench.driver
    switch.set(4, False)
    with pytest.raises(
        UnsafeOperation, match=r"outlet 4 must stay off for another .*min_off 3600 s"
    ):
        switch.set(4, True)
    assert switch.get(4) is False


def test_the_budget_ends_the_cycling(switch_bench: Any) -> None:
    switch = switch_bench.driver
    switch.set(4, False)
    switch_bench.extra["outlets"].set(4, True)
    with pytest.raises(UnsafeOperation, match="switched off 1 times, its budget is 1"):
        switch.set(4, False)
    assert switch.get(4) is True


def test_switching_to_what_it_is_costs_nothing(switch_bench: Any) -> None:
    for _ in range(20):
        switch_bench.driver.set(1, True)
    assert switch_bench.extra["powered"] == []


def test_a_cycle_lasts_as_long_as_asked(switch_bench: Any) -> None:
    start = time.monotonic()
    switch_bench.driver.cycle(1, off_s=0.3)
    assert time.monotonic() - start >= 0.3
    assert switch_bench.extra["powered"] == [False, True]


def test_found_off_counts_as_just_switched_off(switch_bench: Any) -> None:
    switch_bench.extra["outlets"].set(4, False)
    late = switch_bench.extra["make"](switch_bench.relay.port)
    late.open()
    with pytest.raises(UnsafeOperation, match="must stay off"):
        late.set(4, True)


def test_an_outlet_that_does_not_follow_is_an_error(
    switch_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = switch_bench.extra["make"](switch_bench.relay.port, settle="200 ms")
    slow.open()
    monkeypatch.setattr(switch_bench.extra["outlets"], "set", lambda outlet, on: None)
    with pytest.raises(DeviceError, match="outlet 1 reads back as on 200 ms after"):
        slow.set(1, False)


def test_an_unknown_outlet_is_the_callers_fault(switch_bench: Any) -> None:
    with pytest.raises(UsageError, match="has outlets 1, 2, 3, 4; no 9"):
        switch_bench.driver.get(9)


def test_the_agent_says_who_it_is(switch_snmp_bench: Any) -> None:
    switch_snmp_bench.driver.open()
    identity = switch_snmp_bench.driver.identify()
    assert identity.model.startswith("hil power switch")
    assert identity.extra["object"] == "1.3.6.1.4.1.318.1.3.4.6"


@pytest.mark.parametrize("version", ["1", "2c"])
def test_both_versions_of_snmp(switch_snmp_bench: Any, version: str) -> None:
    switch = switch_snmp_bench.extra["make"](switch_snmp_bench.relay.port, version=version)
    switch.open()
    switch.set(1, False)
    assert switch.get(1) is False
    refused = {"1": "noSuchName", "2c": "notWritable"}[version]
    with pytest.raises(DeviceError, match=refused):
        switch.set(2, False)


def test_a_wrong_community_is_met_with_silence_and_never_printed(
    switch_snmp_bench: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HIL_TEST_COMMUNITY", "w1nter-garden")
    switch = switch_snmp_bench.extra["make"](
        switch_snmp_bench.relay.port, community="${env:HIL_TEST_COMMUNITY}"
    )
    with pytest.raises(ConnectFailed, match="no answer") as failed:
        switch.open()
    assert "w1nter" not in "".join((*failed.value.transcript, *switch.transcript()))


def test_a_lost_datagram_is_sent_again(switch_snmp_bench: Any) -> None:
    relay, switch = switch_snmp_bench.relay, switch_snmp_bench.driver
    switch.open()
    relay.lose = True
    found = threading.Timer(0.15, setattr, (relay, "lose", False))
    found.start()
    assert switch.get(1) is True
    found.join()


def test_a_dead_host_is_told_from_a_silent_one(switch_snmp_bench: Any) -> None:
    switch_snmp_bench.driver.open()
    switch_snmp_bench.relay.cut()
    with pytest.raises(ConnectionLost):
        switch_snmp_bench.driver.get(1)


def test_without_power_a_modem_is_gone_and_comes_back_registered(
    registry: Registry,
    world: World,
    coupling: Coupling,
    stack: ExitStack,
    modem_driver: Callable[..., Any],
    tmp_path: Path,
    eventually: Callable[[Callable[[], bool]], bool],
) -> None:
    endpoint = world.endpoints["cpe1"]
    assert isinstance(endpoint, ModemEndpoint)
    modem = Modem(endpoint, world, coupling, tmp_path)
    stack.callback(modem.close)
    config = SwitchEndpoint.model_validate(
        {"kind": "switch", "listen": "127.0.0.1:1", "feeds": ["cpe1"]}
    )
    free = config.model_copy(update={"listen": "127.0.0.1:0"})
    served = serve_switch("pdu1", free, Mains({"cpe1": modem.power}))
    stack.callback(served.close)
    url = f"http://127.0.0.1:{served.address[1]}"
    guards = {"1": {"min_off": "0 ms"}}
    switch: OutletSwitch = create(registry, "pdu1", "switch_http", url=url, outlets=guards)
    switch.open()
    cpe = modem_driver(tmp_path / "cpe1")
    cpe.open()
    assert cpe.registration().registered
    assert coupling.rows["session_up"][0] == 1
    switch.set(1, False)
    with pytest.raises((ConnectionLost, ConnectFailed)):
        cpe.registration()
    assert not (tmp_path / "cpe1").exists()
    assert coupling.rows["powered"][0] == 0
    assert coupling.rows["session_up"][0] == 0
    switch.set(1, True)
    assert eventually(lambda: cpe.health().status is Health.OK)
    assert cpe.wait_registered(timeout_s=30).stat is Reg.HOME
    assert coupling.rows["session_up"][0] == 1
