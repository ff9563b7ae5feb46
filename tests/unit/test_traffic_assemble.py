"""From rows to a measurement: which stamps it rests on, what is spoiled, what voids it."""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hil.samples import floor, pages, store, streaming
from hil.samples.measurement import Measurement
from hil.samples.table import ARRIVED, NOT_TAKEN, SENT, SPOILED, TRAILER_BAD, blank
from hil.traffic.assemble import Taken, assemble
from hil.traffic.compile import Compiled, Template
from hil.traffic.flow import Flow, periodic
from hil.traffic.long_run import assemble_long, thinned
from hil.traffic.port import Port

START = 1_700_000_000_000_000_000
COUNT = 200
DELAY = 3_000_000
TAI = 37_000_000_000  #: the tap's clock is that of another epoch


def port(name: str, tap: str | None = None, driver: str | None = "veth") -> Port:
    return Port(
        name=name,
        interface=name,
        namespace=None,
        kind="ethernet",
        mac=bytes(6),
        mtu=1500,
        addresses=(),
        tap=tap,
        driver=driver,
    )


def sent() -> Any:
    rows = blank(SENT, COUNT)
    rows["seq"] = np.arange(COUNT)
    rows["intended_ns"] = START + np.arange(COUNT) * 1_000_000
    rows["tx_user_ns"] = rows["intended_ns"] + 2_000
    rows["tx_kernel_ns"] = rows["intended_ns"] + 4_000
    return rows


def arrived(trailers: bool = False) -> Any:
    rows = blank(ARRIVED, COUNT)
    rows["seq"] = np.arange(COUNT)
    left = START + np.arange(COUNT) * 1_000_000 + 4_000
    rows["rx_user_ns"] = left + DELAY + 90_000
    rows["rx_kernel_ns"] = left + DELAY + 5_000
    if trailers:
        rows["trailer_ingress_ns"] = left + TAI
        rows["trailer_release_ns"] = left + TAI + DELAY
        rows["trailer_lateness_ns"] = 5_000
    return rows


def home(**changes: Any) -> Taken:
    port_report = {
        "frames": COUNT,
        "foreign": 3,
        "warm_up": 20,
        "warm_stamped": 0,
        "ring_drops": 0,
        "went_down": 0,
        "lost_here": [],
    }
    port_report |= {"checksum_pending": 0, "other_vlan": 0}
    fields: dict[str, Any] = {
        "run": 5,
        "complete": True,
        "sender": {
            "warm_up_sent": [20],
            "refused": {},
            "overrun": 0,
            "unreadable_stamps": 0,
            "repeated_stamps": 0,
            "granted": {},
            "warm_stamped": {"tx": 0},
        },
        "receiver": {
            "ports": {"rx": port_report},
            "overrun": 0,
            "complaints": {},
            "neighbours_answered": 0,
            "clock": {"steps": [], "rate_ppm": 0.0},
            "stalls": {"max_ns": None},
            "lost_on_the_way_out": {"tx": []},
            "backlog": [],
            "host": {},
            "cards": {
                "clock_of": {},
                "refused": {},
                "clocks": {"readings": {}, "refused": {}},
            },
        },
        "host": {},
    }
    return Taken(**(fields | changes))


def made() -> Compiled:
    template = Template(frame=bytes(128), link=14, probe_at=14, size=128)
    return Compiled(templates={128: template}, udp_port=None, routed=False)


def measured(
    sent_rows: Any, arrived_rows: Any, *, tap: str | None = None, run: Taken | None = None
) -> Measurement:
    flow = Flow(
        name="f",
        tx=port("tx"),
        rx=port("rx", tap),
        planned=periodic(COUNT, 1_000_000, 128),
        interval_ns=1_000_000,
    )
    run = run or home()
    found = assemble(flow, 0, made(), sent_rows, arrived_rows, run)
    assert_same(found, measured_long(flow, sent_rows, arrived_rows, run))
    return found


def measured_long(flow: Flow, sent_rows: Any, arrived_rows: Any, run: Taken) -> Measurement:
    """The same, from streams on disk and in blocks of 64."""
    with tempfile.TemporaryDirectory() as directory, pytest.MonkeyPatch.context() as patch:
        patch.setattr(streaming, "BLOCK", 64)
        patch.setattr(pages, "_ROWS", 50)
        files = store.Files(Path(directory), "f")
        for kind, rows in (("sent", sent_rows), ("arrived", arrived_rows)):
            with store.StreamWriter(files.stream(kind), rows.dtype) as stream:
                for part in np.array_split(rows, 9):
                    stream.append(part)
        found = assemble_long(flow, 0, made(), files, run, {"name": "f"})
        kept = floor.unpacked(store.read_metadata(files.parquet))
        assert kept is not None
        assert np.array_equal(kept, found.budget.floor_ns)
    return found


def assert_same(one: Measurement, other: Measurement) -> None:
    assert isinstance(one.samples, np.ndarray)
    assert isinstance(other.samples, np.ndarray)
    assert np.array_equal(one.samples, other.samples)
    assert np.array_equal(one.budget.floor_ns, other.budget.floor_ns)
    plain = replace(one.budget, floor_ns=np.zeros(0, np.int64))
    assert replace(other.budget, floor_ns=plain.floor_ns).common_mode_ns == plain.common_mode_ns
    assert other.budget.sources == plain.sources
    for name in ("counts", "timing", "spoiled", "invalid", "complete", "conditions"):
        assert getattr(other, name) == getattr(one, name), name


def test_kernel_stamps_are_used_where_there_is_no_tap() -> None:
    found = measured(sent(), arrived())
    assert (found.timing.tx, found.timing.rx) == ("kernel", "kernel")
    assert set(found.delay_ns.tolist()) == {DELAY + 5_000}
    assert found.counts.foreign == 3
    assert found.counts.warmup_sent == 20
    assert found.invalid == ()
    assert "assumed" in " ".join(found.budget.sources)
    assert found.budget.floor_quantile_ns(0.999) > 0


def test_a_taps_times_are_mapped_to_the_host_and_used() -> None:
    found = measured(sent(), arrived(trailers=True), tap="hil")
    assert (found.timing.tx, found.timing.rx) == ("kernel", "trailer")
    assert set(found.delay_ns.tolist()) == {DELAY}
    assert found.budget.floor_ns.size == COUNT
    assert "tap" in " ".join(found.budget.sources)


def test_trailers_on_a_port_without_a_declared_tap_are_not_trusted() -> None:
    assert measured(sent(), arrived(trailers=True)).timing.rx == "kernel"


def test_a_tap_that_is_mostly_silent_is_no_source() -> None:
    rows = arrived(trailers=True)
    rows["flags"][: COUNT - 50] = TRAILER_BAD
    found = measured(sent(), rows, tap="hil")
    assert found.timing.rx == "kernel"
    assert found.counts.rx_missing["trailer"] == COUNT - 50


def test_user_stamps_are_the_last_resort_and_cost_uncertainty() -> None:
    sent_rows, arrived_rows = sent(), arrived()
    sent_rows["tx_kernel_ns"] = NOT_TAKEN
    arrived_rows["rx_kernel_ns"] = NOT_TAKEN
    run = home()
    run.receiver["stalls"]["max_ns"] = 7_000_000
    found = measured(sent_rows, arrived_rows, run=run)
    assert (found.timing.tx, found.timing.rx) == ("user", "user")
    assert found.budget.floor_quantile_ns(0.999) >= 7_000_000


def test_a_frame_held_up_before_the_tap_is_spoiled_and_not_in_the_floor() -> None:
    rows = arrived(trailers=True)
    rows["trailer_ingress_ns"][7] += 2_000_000
    rows["trailer_release_ns"][7] += 2_000_000
    found = measured(sent(), rows, tap="hil")
    assert np.flatnonzero(found.samples["flags"] & SPOILED).tolist() == [7]
    assert found.budget.floor_ns.size == COUNT - 1
    assert found.budget.floor_ns.max() < 100_000


def passive() -> Any:
    """What a tap in front of the receiving port leaves: when each frame passed, nothing else."""
    rows = arrived()
    jitter = np.random.default_rng(3).integers(0, 8_000, COUNT)
    rows["trailer_release_ns"] = rows["rx_kernel_ns"] + TAI
    rows["rx_kernel_ns"] += 6_000 + jitter
    return rows


def test_a_passive_tap_takes_the_hosts_jitter_away_and_its_latency_is_an_uncertainty() -> None:
    found = measured(sent(), passive(), tap="metawatch")
    assert (found.timing.tx, found.timing.rx) == ("kernel", "trailer")
    assert np.ptp(found.delay_ns) < 200, "of 8 us of jitter at the kernel"
    off = abs(float(np.median(found.delay_ns)) - (DELAY + 5_000))
    assert 4_000 < off < 12_000, "the median latency of the host is in the map"
    assert found.budget.common_mode_ns > 5_000
    assert "median time from the tap" in " ".join(found.budget.sources)


def test_a_trailer_that_is_not_of_its_frame_is_spoiled() -> None:
    rows = passive()
    rows["trailer_release_ns"][9] = rows["trailer_release_ns"][3]
    found = measured(sent(), rows, tap="hpt")
    assert np.flatnonzero(found.samples["flags"] & SPOILED).tolist() == [9]


def test_a_frame_cannot_arrive_before_the_tap_let_it_go() -> None:
    rows = arrived(trailers=True)
    rows["trailer_release_ns"][5] += 4_000_000
    found = measured(sent(), rows, tap="hil")
    assert np.flatnonzero(found.samples["flags"] & SPOILED).tolist() == [5]


def test_late_processes_spoil_nothing() -> None:
    run = home()
    run.receiver["stalls"].update(max_ns=50_000_000, count=40)
    assert not (measured(sent(), arrived(), run=run).samples["flags"] & SPOILED).any()


def test_a_clock_step_spoils_the_packets_that_lie_across_it() -> None:
    run = home()
    step = {"start_ns": START + 50_000_000, "end_ns": START + 60_000_000, "why": "stepped"}
    run.receiver["clock"]["steps"] = [step]
    found = measured(sent(), arrived(), run=run)
    spoiled = np.flatnonzero(found.samples["flags"] & SPOILED)
    assert (spoiled.min(), spoiled.max()) == (47, 59)
    assert found.spoiled[0].why == "stepped"


LOSING = {"start_ns": START + 20_000_000, "end_ns": START + 30_000_000, "why": "dropped 4 frames"}


@pytest.mark.parametrize(
    "change",
    [
        lambda run: run.receiver["ports"]["rx"].update(lost_here=[LOSING]),
        lambda run: run.receiver["lost_on_the_way_out"].update(tx=[LOSING]),
        lambda run: run.receiver.update(backlog=[LOSING]),
    ],
)
def test_a_loss_while_the_host_lost_frames_is_bracketed_and_nothing_else_is(change: Any) -> None:
    run = home()
    change(run)
    found = measured(sent(), np.delete(arrived(), [2, 25, 90]), run=run)
    assert np.flatnonzero(found.samples["flags"] & SPOILED).tolist() == [25]
    assert found.counts.lost == 3
    assert [each.why for each in found.spoiled] == ["dropped 4 frames"]
    assert found.invalid == ()


def test_a_port_that_was_taken_down_voids_a_loss_and_nothing_else() -> None:
    run = home()
    run.receiver["ports"]["rx"].update(went_down=1)
    assert measured(sent(), arrived(), run=run).invalid == ()
    (reason,) = measured(sent(), arrived()[1:], run=run).invalid
    assert "rx was taken down" in reason


def test_rows_that_were_not_taken_in_time_void_the_measurement() -> None:
    run = home()
    late = replace(run, sender={**run.sender, "overrun": 9})
    (reason,) = measured(sent(), arrived(), run=late).invalid
    assert "9 sent" in reason


def test_a_run_cut_short_holds_what_was_offered() -> None:
    run = replace(home(), complete=False)
    found = measured(sent()[:80], arrived()[:79], run=run)
    assert not found.complete
    assert (found.counts.sent, found.counts.received, found.counts.lost) == (80, 79, 1)
    assert len(found.samples) == 80


def test_a_run_in_which_nothing_came_is_a_measurement_of_loss() -> None:
    found = measured(sent(), arrived()[:0], tap="hil")
    assert found.counts.lost == COUNT
    assert (found.timing.tx, found.timing.rx) == ("kernel", "kernel")


# Stamps of network cards: rows as a run on two of them would bring them home.

CARD_A, CARD_B = 12_345_000_000, -98_765_000_000  #: the cards' clocks less the host's
SKEW = 20e-6  #: how much faster the second one runs


def card_b(host_ns: Any) -> Any:
    gained = np.rint(SKEW * (host_ns - START)).astype(np.int64)
    return host_ns + CARD_B + gained


def carded(clock_of: dict[str, int], **changes: Any) -> Taken:
    """A run both of whose ports have stamping cards; each clock was read before, during, after."""
    run = home()
    at = [START - 10**9, START + 10**8, START + 10**9]
    readings = {
        "0": [[t + CARD_A, t, 800] for t in at],
        "1": [[int(card_b(np.int64(t))), t, 800] for t in at],
    }
    run.receiver["cards"].update(
        {"clock_of": clock_of, "clocks": {"readings": readings, "refused": {}}} | changes
    )
    run.receiver["ports"]["rx"]["warm_stamped"] = 20
    run.sender["warm_stamped"]["tx"] = 20
    return run


def card_rows(same: bool) -> tuple[Any, Any]:
    """On the wire 400 ns after the kernel's stamp of sending, and 6 us before that of arrival."""
    left, came = sent(), arrived()
    left["tx_hardware_ns"] = left["tx_kernel_ns"] + 400 + CARD_A
    on_the_host = came["rx_kernel_ns"] - 6_000
    came["rx_hardware_ns"] = on_the_host + CARD_A if same else card_b(on_the_host)
    return left, came


def test_two_ports_of_one_card_need_no_map() -> None:
    run = carded({"tx": 0, "rx": 0})
    run.receiver["cards"]["clocks"]["readings"] = {}
    found = measured(*card_rows(same=True), run=run)
    assert (found.timing.tx, found.timing.rx) == ("hardware", "hardware")
    assert set(found.delay_ns.tolist()) == {DELAY - 1_400}
    assert found.counts.tx_missing == {"kernel": 0, "hardware": 0}
    assert "one clock of a network card" in " ".join(found.budget.sources)


def test_two_cards_are_mapped_and_the_map_is_an_uncertainty() -> None:
    found = measured(*card_rows(same=False), run=carded({"tx": 0, "rx": 1}))
    assert (found.timing.tx, found.timing.rx) == ("hardware", "hardware")
    assert np.abs(found.delay_ns - (DELAY - 1_400)).max() <= 2
    assert found.budget.common_mode_ns >= 800
    assert found.invalid == ()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda run: run.receiver["ports"]["rx"].update(warm_stamped=0), "no warm-up frame"),
        (lambda run: run.sender["warm_stamped"].update(tx=0), "no warm-up frame"),
        (
            lambda run: run.receiver["cards"]["clocks"]["readings"].pop("1"),
            "could not be compared",
        ),
        (lambda run: run.receiver["cards"]["clock_of"].pop("rx"), "offer no stamps"),
    ],
)
def test_cards_that_cannot_be_trusted_leave_the_kernels_stamps(change: Any, why: str) -> None:
    run = carded({"tx": 0, "rx": 1})
    change(run)
    left, came = card_rows(same=False)
    if "no warm-up" in why or "offer" in why:
        left["tx_hardware_ns"] = came["rx_hardware_ns"] = NOT_TAKEN
    found = measured(left, came, run=run)
    assert (found.timing.tx, found.timing.rx) == ("kernel", "kernel")
    assert why in found.conditions["cards"]["unused"]


def test_a_card_that_stamps_only_some_frames_is_counted_and_not_used() -> None:
    left, came = card_rows(same=True)
    left["tx_hardware_ns"][::20] = NOT_TAKEN
    found = measured(left, came, run=carded({"tx": 0, "rx": 0}))
    assert found.timing.tx == "kernel"
    assert found.counts.tx_missing == {"kernel": 0, "hardware": COUNT // 20}


def test_sources_that_disagree_on_an_instant_void_the_run() -> None:
    left, came = card_rows(same=True)
    left["tx_hardware_ns"] += 300_000
    (reason,) = measured(left, came, run=carded({"tx": 0, "rx": 0})).invalid
    assert "sending" in reason
    assert "apart" in reason


def test_a_frame_on_the_wire_before_it_was_sent_is_spoiled() -> None:
    left, came = card_rows(same=True)
    left["tx_hardware_ns"][7] -= 500_000
    found = measured(left, came, run=carded({"tx": 0, "rx": 0}))
    assert np.flatnonzero(found.samples["flags"] & SPOILED).tolist() == [7]
    assert found.invalid == ()


def test_a_floor_of_too_many_values_is_told_by_the_largest_of_each_part() -> None:
    values, counts = np.array([1, 2, 7]), np.array([50, 49, 1])
    assert np.array_equal(thinned(values, counts), np.repeat(values, counts))
    few = thinned(values, counts, most=10)
    assert few.tolist() == [1, 1, 1, 1, 1, 2, 2, 2, 2, 7]
