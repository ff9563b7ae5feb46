"""The bench of the generators: this engine's own OTG server as the endpoint."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from hil.drivers.generator import GeneratorFlow
from hil.drivers.registry import Registry
from hil.lab.otg import Engine, Server
from hil.traffic import resolve_port
from tests.contract.bench import LIMIT, Bench, TcpRelay, create, free_port


def order(**fields: object) -> GeneratorFlow:
    given = {"name": "f", "tx": "a", "rx": "b", "size": 128, "interval_ns": 1_000_000, "count": 10}
    return GeneratorFlow(**{**given, **fields})  # type: ignore[arg-type]


@pytest.fixture
def generator_otg_bench(registry: Registry, tmp_path: Path) -> Iterator[Bench]:
    server = Server(
        ("127.0.0.1", 0), Engine(resolve_port, lambda flows: None, tmp_path), "of the contract"
    )
    relay = TcpRelay(server.address)

    def make(port: int) -> object:
        return create(
            registry,
            "gen1",
            "generator_otg",
            location=f"http://127.0.0.1:{port}",
            ports={"a": "lo", "b": "lo"},
            limit=LIMIT,
        )

    driver = make(relay.port)
    yield Bench(
        driver=driver,
        relay=relay,
        dead=make(free_port()),  # type: ignore[arg-type]
        ask=lambda device: device.identify(),
        ask_other=lambda device: device.figures(),
        refuse=lambda device: device.apply([order(size=20)]),
        refusal=(
            400,
            "flow f: a packet of 20 B has no room for headers and probe over layer udp and IPv4; "
            "give at least 68 B",
        ),
        change=lambda device: device.apply([order(), order(name="g", interval_ns=3_000_000)]),
        safe=lambda device: not any(each.running for each in device.figures().values()),
    )
    driver.close()  # type: ignore[attr-defined]
    relay.close()
    server.close()
