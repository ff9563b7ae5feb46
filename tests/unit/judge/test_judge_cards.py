"""Delays by the stamps of network cards, which are on a clock of their own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from hil.judge.evidence import evidence
from hil.samples.measurement import Measurement, Timing
from hil.samples.table import NOT_TAKEN
from hil.targets import Requirement

MS = 1_000_000
AHEAD_NS = 37_000 * MS


def test_a_packet_without_its_card_s_stamp_stays_among_its_neighbours(
    measure: Callable[..., Measurement], cyclic: Requirement
) -> None:
    run = measure(cyclic.traffic, 1000, 3 * MS)
    for way in ("tx", "rx"):
        run.samples[f"{way}_hardware_ns"] = run.samples[f"{way}_kernel_ns"] + AHEAD_NS
    run.samples["tx_hardware_ns"][500] = NOT_TAKEN
    carded = replace(run, timing=Timing("hardware", "hardware"))
    found = evidence(carded, cyclic.traffic, 10 * MS)
    assert found.bracketed.sum() == 1
    assert (np.diff(found.sent_ns) > 0).all()
    assert abs(int(found.sent_ns[500] - run.samples["tx_kernel_ns"][500]) - AHEAD_NS) < MS
