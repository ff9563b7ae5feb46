"""What may be sent, and the way home."""

import threading
from ipaddress import IPv4Interface, IPv4Network
from pathlib import Path

import pytest

from hil.drivers.registry import Registry
from hil.errors import RigError, UnsafeOperation
from hil.lab.safety import Guard, bounded, permit
from hil.testbed import Testbed, load
from hil.testbed.models import Safety
from hil.traffic import Flow, Port, periodic


def bench(tmp_path: Path, safety: Safety) -> Testbed:
    file = tmp_path / "bench.yaml"
    file.write_text("schema: 1\nname: bench\ndevices: {}\nports: {}\npaths: {}\n")
    return load(str(file), Registry()).model_copy(update={"safety": safety})


def port(name: str, address: str) -> Port:
    return Port(
        name=name,
        interface=name,
        namespace=None,
        kind="ethernet",
        mac=b"\x02\0\0\0\0\1",
        mtu=1500,
        addresses=(IPv4Interface(address),),
    )


def flow(interval_ns: int = 1_000_000, count: int = 1000) -> Flow:
    return Flow(
        name="flow",
        tx=port("eth1", "192.0.2.1/24"),
        rx=port("eth2", "198.51.100.1/24"),
        planned=periodic(count, interval_ns, 1250),
        layer="udp",
        interval_ns=interval_ns,
    )


def test_what_no_limit_names_may_be_sent(tmp_path: Path) -> None:
    permit(bench(tmp_path, Safety()), [flow()])


@pytest.mark.parametrize(
    ("safety", "named"),
    [
        (Safety(allow_interfaces=("eth2",)), "allow_interfaces"),
        (Safety(allow_networks=(IPv4Network("192.0.2.0/24"),)), "allow_networks"),
        (Safety(max_rate="9 Mbit/s"), "max_rate"),
    ],
)
def test_what_a_limit_forbids_is_refused_and_named(
    tmp_path: Path, safety: Safety, named: str
) -> None:
    with pytest.raises(UnsafeOperation, match=named):
        permit(bench(tmp_path, safety), [flow()])


def test_flows_on_one_port_count_together(tmp_path: Path) -> None:
    limited = bench(tmp_path, Safety(max_rate="15 Mbit/s"))
    permit(limited, [flow()])  # 1,250 B each millisecond are 10 Mbit/s
    with pytest.raises(UnsafeOperation, match="20 Mbit/s"):
        permit(limited, [flow(), flow()])


class Device:
    name = "att1"

    def set_db(self, channel: int, value_db: float) -> float:
        if value_db > 60:
            raise UnsafeOperation("above 60 dB")
        return value_db

    def get_db(self, channel: int) -> float:
        return 0.0


def test_actions_are_written_down_and_readings_are_not() -> None:
    said: list[tuple[str, str]] = []
    device = Guard(Device(), lambda name, text: said.append((name, text)))
    assert device.get_db(1) == 0
    assert device.set_db(1, 20) == 20
    with pytest.raises(UnsafeOperation):
        device.set_db(1, 99)
    assert said == [
        ("att1", "set_db(1, 20) -> 20"),
        ("att1", "set_db(1, 99) failed: above 60 dB"),
    ]


def test_a_device_that_does_not_come_home_does_not_hold_up_the_rest() -> None:
    never = threading.Event()

    def hang() -> None:
        never.wait(60)

    with pytest.raises(RigError, match="plc1: safe state"):
        bounded(hang, "plc1: safe state", 0.05)
    never.set()


def test_what_a_step_of_the_way_home_raises_is_raised() -> None:
    def refuse() -> None:
        raise UnsafeOperation("no")

    with pytest.raises(UnsafeOperation):
        bounded(refuse, "plc1: safe state", 5)


def test_an_action_that_was_interrupted_is_written_down() -> None:
    class Press:
        name = "press"

        def write(self, value: int) -> None:
            raise KeyboardInterrupt

    said: list[str] = []
    with pytest.raises(KeyboardInterrupt):
        Guard(Press(), lambda device, text: said.append(f"{device}: {text}")).write(1)
    assert said == ["press: write(1) failed: KeyboardInterrupt()"]
