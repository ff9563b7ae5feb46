"""Checks of verdicts: known delays, losses, brackets and phases in, the rule's answer out."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.errors import UsageError
from hil.judge import Judgement, judge_bound
from hil.judge.event import Events, judge_events
from hil.judge.offered import offered
from hil.lab import floors
from hil.lab.validation.checks import Wrong, same
from hil.samples.accounting import join
from hil.samples.measurement import Budget, Measurement, Timing, Window
from hil.samples.table import ARRIVED, SENT, SPOILED, blank
from hil.stats import proportion, rate
from hil.targets import EventTarget, Periodic
from hil.traffic import floor
from hil.traffic.flow import periodic
from hil.traffic.port import Port
from hil.traffic.sources import spoil_missing
from hil.verdict import Verdict

_MS: Final = 1_000_000
_LIMIT: Final = 10 * _MS
_COMMON: Final = 20_000
_FLOOR: Final = 30_000
_START: Final = 1_790_000_000 * 10**9


def _measured(
    delay_ns: Any,
    *,
    lost: Iterable[int] = (),
    late_ns: Any = 0,
    stratum: Any = 0,
    spoiled: Iterable[int] = (),
) -> Measurement:
    """A measurement of one packet each 10 ms with known delays and an uncertainty to go with it."""
    delays = np.asarray(delay_ns, np.int64)
    planned = periodic(len(delays), 10 * _MS, 128)
    planned["stratum"] = stratum
    sent = blank(SENT, len(planned))
    sent["flow"], sent["flags"], sent["seq"] = 1, 0, planned["seq"]
    sent["intended_ns"] = _START + planned["offset_ns"]
    sent["tx_kernel_ns"] = sent["intended_ns"] + late_ns
    arrived = blank(ARRIVED, len(planned))
    arrived["flow"], arrived["flags"], arrived["seq"] = 1, 0, planned["seq"]
    arrived["rx_kernel_ns"] = sent["tx_kernel_ns"] + delays
    arrived["rx_user_ns"] = arrived["rx_kernel_ns"] + 40 * _MS
    arrived = np.delete(arrived, list(lost))
    arrived = arrived[np.argsort(arrived["rx_kernel_ns"], kind="stable")]
    samples, counts = join(planned, sent, arrived, flow=1)
    samples["flags"][list(spoiled)] |= SPOILED
    return Measurement(
        id="known-0",
        flow="known",
        path="device-edge",
        direction="uplink",
        tx_port="lan_a",
        rx_port="mec",
        traffic={},
        interval_ns=10 * _MS,
        samples=samples,
        counts=counts,
        timing=Timing("kernel", "kernel"),
        budget=Budget(
            common_mode_ns=_COMMON, floor_ns=np.array([_FLOOR], np.int64), sources=("stated",)
        ),
    )


def _judged(measured: Measurement, share: float, burst: int = 1) -> Judgement:
    return judge_bound(measured, _LIMIT, share, burst=burst)


def guard_bands_at_the_limit() -> None:
    """Uncertainty works against PASS and for the network at FAIL, to the nanosecond."""
    edges = {
        _LIMIT - _COMMON: Verdict.PASS,
        _LIMIT - _COMMON + 1: Verdict.INCONCLUSIVE,
        _LIMIT + _COMMON + _FLOOR: Verdict.INCONCLUSIVE,
        _LIMIT + _COMMON + _FLOOR + 1: Verdict.FAIL,
    }
    for delay, known in edges.items():
        found = _judged(_measured(np.full(600, delay)), 0.99).verdict
        same(f"verdict at a delay of {delay} ns", str(found), str(known))


def losses_are_not_in_time() -> None:
    """A network that loses one packet in ten misses 99 %, however fast the others are."""
    found = _judged(_measured(np.full(1000, 3 * _MS), lost=range(0, 1000, 10)), 0.99)
    same("verdict with 10 % lost", str(found.verdict), "FAIL")
    same("packets outside", found.exceeding, 100)


def bursts_count_as_what_they_are() -> None:
    """Twelve losses in three bursts say less than twelve by themselves."""
    alone, together = range(0, 3000, 250), [k + j for k in (500, 1500, 2500) for j in range(4)]
    delays = np.full(3000, 3 * _MS)
    same(
        "verdict on single losses",
        str(_judged(_measured(delays, lost=alone), 0.99).verdict),
        "PASS",
    )
    found = _judged(_measured(delays, lost=together), 0.99, burst=4).verdict
    same("verdict on bursts", str(found), "INCONCLUSIVE")


def brackets_help_neither_side() -> None:
    """Packets without a trustworthy time are late for PASS and in time for FAIL."""
    some = range(100, 3100, 150)
    found = _judged(_measured(np.full(3100, 3 * _MS), spoiled=some), 0.999)
    same("verdict with 20 spoiled packets in time", str(found.verdict), "INCONCLUSIVE")
    late = np.full(3100, 3 * _MS)
    late[list(some)] = 20 * _MS
    found = _judged(_measured(late, spoiled=some), 0.999)
    same("verdict with 20 spoiled packets late", str(found.verdict), "INCONCLUSIVE")


def one_phase_that_misses_is_seen() -> None:
    """A pool that keeps the promise does not hide one phase in ten that breaks it."""
    stratum = np.arange(5000) * 10 // 5000
    delays = np.full(5000, 3 * _MS)
    delays[1500:1600] = 20 * _MS
    found = _judged(_measured(delays, stratum=stratum), 0.95, burst=1)
    if found.verdict is Verdict.PASS:
        raise Wrong("one phase in ten is late for a fifth of its packets and the verdict is PASS")
    same("worst phase", found.details.get("worst_phase", {}).get("stratum"), 3)


def packets_off_their_grid_are_no_promise() -> None:
    """What left too late was not what the network promised for."""
    late = np.zeros(1000, np.int64)
    late[::200] = 4 * _MS
    traffic = Periodic.model_validate({"pattern": "periodic", "size": "128 B", "interval": "10 ms"})
    measured = _measured(np.full(1000, 3 * _MS), late_ns=late)
    found = offered(measured, measured.samples, traffic)
    same("packets off their grid", int(found.off_grid.sum()), 5)


def limits_of_shares_and_rates_are_exact() -> None:
    """At its own limit a count is as rare as the confidence says (binomial and Poisson, summed)."""
    from scipy.stats import binom, poisson

    for k, n in ((95, 100), (999, 1000)):
        low = proportion.lower(k, n)
        same(f"P(at least {k} of {n})", round(float(binom.sf(k - 1, n, low)), 9), 0.05)
        high = proportion.upper(k, n)
        same(f"P(at most {k} of {n})", round(float(binom.cdf(k, n, high)), 9), 0.05)
    for events in (0, 3):
        high = rate.upper(events, 2.0)
        same(f"P(at most {events} events)", round(float(poisson.cdf(events, 2 * high)), 9), 0.05)


def no_event_is_no_proof_of_none() -> None:
    """Without a declared rate nothing is shown by having seen nothing."""
    target = EventTarget.model_validate(
        {"id": "AA-1", "metric": "reception_gap", "limit": "30 ms", "source": "choice"}
    )
    found = judge_events(target, Events(0, 0, 1000.0, "", {}), 10 * _MS)
    same("met without a declared rate", found.met, False)


def _port(name: str, driver: str) -> Port:
    return Port(
        name=name,
        interface="lo",
        namespace=None,
        kind="ethernet",
        mac=bytes(6),
        mtu=65_536,
        addresses=(),
        driver=driver,
    )


def losses_of_the_instrument_are_its_own() -> None:
    """What is missing while this host was losing frames is not known to be the network's loss."""
    measured = _measured(np.full(100, 3 * _MS), lost=range(40, 44))
    samples = measured.samples
    assert isinstance(samples, np.ndarray)
    begin = int(samples["intended_ns"][35])
    spoil_missing(samples, [Window(begin, begin + 200 * _MS, "the receive ring overflowed")])
    spoilt = np.flatnonzero(samples["flags"] & SPOILED).tolist()
    same("packets that this host may have lost", spoilt, [40, 41, 42, 43])


def a_floor_is_of_its_own_ports() -> None:
    """What was calibrated on a veth says nothing of another kind of port."""
    veth, other = _port("tx", "veth"), _port("rx", "e1000")
    try:
        floors.refuse(veth, replace(other, interface="eth9"))
    except UsageError:
        pass
    else:
        raise Wrong("a floor between a veth and another port was not refused")
    with tempfile.TemporaryDirectory() as state:
        before = os.environ.get("XDG_STATE_HOME")
        os.environ["XDG_STATE_HOME"] = state
        try:
            path = floor.keep(other, other, np.array([900]), size=128, at_ns=_START)
            text = path.read_text("utf-8").replace('"driver": "e1000"', '"driver": "veth"')
            Path(path).write_text(text, "utf-8")
            found = floor.stored(other, other)
        finally:
            if before is None:
                del os.environ["XDG_STATE_HOME"]
            else:
                os.environ["XDG_STATE_HOME"] = before
    same("values of a veth's floor on another port", 0 if found is None else found.floor_ns.size, 0)


#: By name, as the bugs name them.
CHECKS: Final[dict[str, Callable[[], None]]] = {
    each.__name__: each
    for each in (
        guard_bands_at_the_limit,
        losses_are_not_in_time,
        bursts_count_as_what_they_are,
        brackets_help_neither_side,
        one_phase_that_misses_is_seen,
        packets_off_their_grid_are_no_promise,
        limits_of_shares_and_rates_are_exact,
        no_event_is_no_proof_of_none,
        losses_of_the_instrument_are_its_own,
        a_floor_is_of_its_own_ports,
    )
}
