"""Measurements made of schedules, delays and faults, joined by the real accounting."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import ArrayLike

from hil.samples.accounting import join
from hil.samples.measurement import Budget, Direction, Measurement, Timing
from hil.samples.table import ARRIVED, SENT, SPOILED, Table, blank
from hil.targets import Burst, Periodic, Profile, Requirement, Video, load_profile

START_NS = 1_700_000_000_000_000_000
MS = 1_000_000

Measure = Callable[..., Measurement]


@pytest.fixture(scope="session")
def profile() -> Profile:
    return load_profile()


@pytest.fixture(scope="session")
def cyclic(profile: Profile) -> Requirement:
    return profile["SD-1"]


def _rows(planned: Table, delay: Any, late: Any, copies: dict[int, int]) -> tuple[Table, Table]:
    sent, n = blank(SENT, len(planned)), len(planned)
    sent["seq"], sent["flow"], sent["flags"] = planned["seq"], 1, 0
    sent["intended_ns"] = START_NS + planned["offset_ns"]
    sent["tx_kernel_ns"] = sent["intended_ns"] + np.broadcast_to(late, n)
    sent["tx_user_ns"] = sent["tx_kernel_ns"] - 5_000
    repeat = np.array([copies.get(i, 1) for i in range(n)])
    arrived = blank(ARRIVED, int(repeat.sum()))
    of = np.repeat(np.arange(n), repeat)
    arrived["seq"], arrived["size"] = planned["seq"][of], planned["size"][of]
    arrived["flow"], arrived["flags"] = 1, 0
    arrived["rx_kernel_ns"] = (sent["tx_kernel_ns"] + np.broadcast_to(delay, n))[of]
    arrived["rx_user_ns"] = arrived["rx_kernel_ns"] + 20_000
    return sent, arrived[np.argsort(arrived["rx_kernel_ns"], kind="stable")]


@pytest.fixture(scope="session")
def measure() -> Measure:
    """Makes a measurement: delays, lost sequences, further copies, lateness of sending, ..."""

    def made(
        traffic: Periodic | Burst | Video,
        count: int,
        delay_ns: ArrayLike = 3 * MS,
        *,
        lost: Iterable[int] = (),
        copies: dict[int, int] | None = None,
        late_ns: ArrayLike = 0,
        spoiled: Iterable[int] = (),
        untimed: Iterable[int] = (),
        common_ns: int = 0,
        floor_ns: int = 0,
        direction: Direction = "uplink",
        **fields: Any,
    ) -> Measurement:
        planned = traffic.schedule(count)
        repeats = dict(copies or {}) | dict.fromkeys(lost, 0)
        sent, arrived = _rows(planned, delay_ns, late_ns, repeats)
        samples, counts = join(planned, sent, arrived, flow=1)
        samples["flags"][list(spoiled)] |= SPOILED
        samples["rx_kernel_ns"][list(untimed)] = np.iinfo(np.int64).min
        measurement = Measurement(
            id="m-1",
            flow="control",
            path="device-edge",
            direction=direction,
            tx_port="lan_a",
            rx_port="mec",
            traffic=traffic.model_dump(mode="json", by_alias=True, exclude_none=True),
            interval_ns=traffic.interval_ns,
            samples=samples,
            counts=counts,
            timing=Timing("kernel", "kernel"),
            budget=Budget(
                common_mode_ns=common_ns, floor_ns=np.array([floor_ns]), sources=("stated",)
            ),
        )
        return replace(measurement, **fields)

    return made
