"""Flows of a route that are offered together, each drawn by itself."""

from __future__ import annotations

from ipaddress import IPv4Interface
from pathlib import Path as FilePath
from typing import Any

import numpy as np

from hil.drivers.registry import Registry
from hil.lab.path import Bench, Path
from hil.targets.traffic import Poisson
from hil.testbed import load
from hil.traffic import Port


class OnPaper(Bench):
    """A bench whose ports are not looked at."""

    def port(self, name: str) -> Port:
        return Port(
            name=name, interface=name, namespace=None, kind="ethernet", mac=bytes(6), mtu=1500,
            addresses=(IPv4Interface("10.0.0.1/24"),),
        )  # fmt: skip

    def points(self, names: Any) -> tuple[()]:
        return ()


class Silent:
    def show(self, text: str) -> None: ...


def test_what_comes_at_random_does_not_come_at_random_together() -> None:
    world = load("virtual", Registry())
    bench = OnPaper(world, FilePath(), 7, lambda _: None, Silent())
    path = Path(bench, "device-edge", world.paths["device-edge"][0])
    calls = Poisson(size="128 B", interval="5 ms", count=50)
    offer = path.uplink().offer(calls)
    alone, first, second, again = (
        flow.plan.offsets(np.arange(50))
        for flow in (offer.flow("a"), offer.flow("b", 1), offer.flow("c", 2), offer.flow("d", 1))
    )
    assert not np.array_equal(alone, first)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, again)
