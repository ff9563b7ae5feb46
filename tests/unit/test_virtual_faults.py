"""Faults of packets by arithmetic and by seed; faults by name, from when to when."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import ConfigError, UsageError
from hil.testbed import World, find
from hil.testbed.faults import FAULTS, fault
from hil.virtual import userplane_truth as truth
from hil.virtual.endpoints.conveyor import Conveyor, Register
from hil.virtual.faults.ledger import USERPLANE, Ledger
from hil.virtual.faults.packets import PacketFaults
from hil.virtual.topology import load
from hil.virtual.userplane_clock import CellClock
from hil.virtual.userplane_store import Store

EPOCH = 1_795_000_000_000_000_000
CLOCK = CellClock(EPOCH, 3000)
LAN_A, LAN_B, MEC, PLC = range(4)  # attachments: two CPEs, the edge, and a host on the first LAN
SITES = (0, 1, -1, 0)
ENDPOINTS = {
    "cpe1": {"kind": "modem", "link": "cpe1", "imsi": "001010000000001", "lan": "lan_a"},
    "cpe2": {"kind": "modem", "link": "cpe2", "imsi": "001010000000002", "lan": "lan_b"},
    "plc1": {"kind": "plc", "behind": "cpe1", "address": "10.60.0.20/24"},
}


class Bench:
    """A user plane's faults, its store and its table of truth, without the user plane."""

    def __init__(self, faults: dict[str, object] | None = None, capacity: int = 4096) -> None:
        world = World.model_validate({"endpoints": ENDPOINTS, "faults": faults or {}})
        self.ledger = Ledger.of(world, USERPLANE, EPOCH)
        self.faults = PacketFaults(
            self.ledger,
            CLOCK,
            modems=("cpe1", "cpe2"),
            sites=SITES,
            seed=5,
            capacity=capacity,
        )
        self.store = Store(capacity)
        self.rows = np.zeros(capacity, truth.ROW)

    def begin(self, kind: str, at_ns: int = 0, **parameters: object) -> str:
        return self.ledger.begin(kind, parameters, EPOCH + at_ns).name

    def send(self, source: int, to: int, at_ns: list[int]) -> tuple[np.ndarray, np.ndarray]:
        """The tags of packets that entered at host times since the epoch, and which are lost."""
        tags = self.store.take(len(at_ns))
        self.store.rows[tags] = 7
        self.store.set_size(tags, np.full(len(tags), 100))
        self.rows[tags] = np.zeros(1, truth.ROW)
        self.rows["order"][tags] = np.arange(len(tags))
        times = CLOCK.of_host(EPOCH + np.array(at_ns, np.int64))
        ways = np.full(len(tags), to, np.int64)
        return tags, self.faults.meet(source, ways, times, tags, self.rows)

    def release(self, tags: np.ndarray, at_ns: int = 10**9) -> tuple[np.ndarray, np.ndarray]:
        times = at_ns + np.arange(len(tags), dtype=np.int64)
        self.rows["at_ns"][tags] = times
        return self.faults.release(tags, times, self.store, self.rows)


def test_an_outage_takes_exactly_what_enters_while_it_lasts() -> None:
    bench = Bench()
    name = bench.begin("outage", at_ns=1000, cpe="cpe1")
    bench.ledger.end(name, EPOCH + 3000)
    tags, lost = bench.send(LAN_A, MEC, [900, 1000, 2000, 2999, 3000])
    assert lost.tolist() == [False, True, True, True, False]
    assert bench.rows["effects"][tags].tolist() == [0, *[truth.NO_LINK] * 3, 0]
    assert bench.rows["fault"][tags].tolist() == [0, 1, 1, 1, 0]
    assert bench.ledger.entries[0].touched == 3


@pytest.mark.parametrize(
    ("direction", "met"),
    [
        ("uplink", [True, False, True, False, False]),
        ("downlink", [False, True, False, False, True]),
        ("both", [True, True, True, False, True]),
    ],
)
def test_a_fault_meets_what_crosses_the_radio_of_its_modem(direction: str, met: list[bool]) -> None:
    bench = Bench()
    bench.begin("outage", cpe="cpe1", direction=direction)
    ways = [(LAN_A, MEC), (MEC, LAN_A), (LAN_A, LAN_B), (LAN_A, PLC), (LAN_B, PLC)]
    assert [bool(bench.send(*way, [10])[1][0]) for way in ways] == met


def test_a_delay_step_moves_the_release_and_says_so() -> None:
    bench = Bench()
    bench.begin("delay", by="5 ms")
    tags, lost = bench.send(MEC, LAN_A, [10, 20])
    assert not lost.any()
    assert not bench.rows["effects"][tags].any(), "nothing is done before the model has released it"
    _, at_ns = bench.release(tags)
    assert at_ns.tolist() == [10**9 + 5_000_000, 10**9 + 5_000_001]
    assert bench.rows["at_ns"][tags].tolist() == at_ns.tolist()
    assert set(bench.rows["effects"][tags].tolist()) == {truth.DELAYED}


def test_jitter_spreads_the_releases_and_keeps_their_order() -> None:
    bench = Bench()
    bench.begin("jitter", by="8 ms")
    tags, _ = bench.send(LAN_A, MEC, list(range(1000)))
    times = []
    for part in (tags[:400], tags[400:]):
        _, at_ns = bench.release(part, 10**9 + int(part[0] - tags[0]) * 10**6)
        times += at_ns.tolist()
    assert times == sorted(times)
    assert set(bench.rows["effects"][tags].tolist()) == {truth.JITTERED}
    alone, delays = Bench(), list[int]()
    alone.begin("jitter", by="8 ms")
    for number in range(300):
        tag, _ = alone.send(LAN_A, MEC, [number])
        base = 10**12 * (number + 1)
        delays.append(int(alone.release(tag, base)[1][0]) - base)
    assert 0 <= min(delays) < 500_000
    assert 7_500_000 < max(delays) < 8_000_000


def test_duplicates_are_packets_of_their_own_with_the_bytes_of_the_first() -> None:
    bench = Bench()
    bench.begin("duplication", share=0.5)
    tags, _ = bench.send(LAN_A, MEC, list(range(1000)))
    out, at_ns = bench.release(tags)
    copies = out[len(tags) :]
    assert 400 < len(copies) < 600
    assert len(set(out.tolist())) == len(out)
    effects = bench.rows["effects"]
    assert (effects[copies] & truth.COPY > 0).all()
    first = tags[effects[tags] & truth.DUPLICATED > 0]
    assert bench.rows["order"][first].tolist() == bench.rows["order"][copies].tolist()
    assert (bench.store.rows[copies] == bench.store.rows[first]).all()
    assert (at_ns[len(tags) :] - at_ns[first - tags[0]] == 1000).all()


def test_corruption_is_one_bit() -> None:
    bench = Bench()
    bench.begin("corruption", share=0.25)
    tags, _ = bench.send(LAN_A, MEC, list(range(400)))
    bench.release(tags)
    wrong = np.bitwise_count(bench.store.rows[tags, :100] ^ 7).sum(axis=1)
    assert (
        wrong.tolist() == (bench.rows["effects"][tags] & truth.CORRUPTED > 0).astype(int).tolist()
    )
    assert 60 < wrong.sum() < 140


def test_a_packet_that_several_faults_met_says_all_of_it() -> None:
    bench = Bench()
    bench.begin("delay", by="1 ms")
    bench.begin("delay", by="2 ms")
    bench.begin("corruption", share=1)
    tags, _ = bench.send(LAN_A, MEC, [1])
    _, at_ns = bench.release(tags)
    assert at_ns.tolist() == [10**9 + 3_000_000]
    assert int(bench.rows["effects"][tags[0]]) == truth.DELAYED | truth.CORRUPTED
    assert int(bench.rows["fault"][tags[0]]) == 3


def test_a_row_that_is_used_again_forgets_the_fault_of_the_packet_before() -> None:
    bench = Bench(capacity=4)
    name = bench.begin("delay", by="5 ms", at_ns=0)
    tags, _ = bench.send(LAN_A, MEC, [1, 2, 3, 4])
    bench.store.give(tags)  # the cell lost them
    bench.ledger.end(name, EPOCH + 10)
    again, _ = bench.send(LAN_A, MEC, [11, 12, 13, 14])
    assert bench.release(again)[1].tolist() == [10**9 + k for k in range(4)]


@given(st.lists(st.integers(1, 60), min_size=1, max_size=20), st.integers(1, 10))
def test_losses_do_not_depend_on_batches(lengths: list[int], burst: int) -> None:
    count = sum(lengths)
    whole, parts = Bench(), Bench()
    for bench in (whole, parts):
        bench.begin("burst_loss", share=0.3, burst=burst)
    _, expected = whole.send(LAN_A, MEC, list(range(count)))
    found, start = [], 0
    for length in lengths:
        parts.send(MEC, LAN_A, [start])  # another port in between changes nothing
        found += parts.send(LAN_A, MEC, list(range(start, start + length)))[1].tolist()
        start += length
    assert found == expected.tolist()


@pytest.mark.parametrize(("share", "burst"), [(0.05, 1.0), (0.2, 8.0), (0.5, 3.0)])
def test_burst_loss_has_its_share_and_its_mean_run(share: float, burst: float) -> None:
    bench = Bench(capacity=1 << 16)
    bench.begin("burst_loss", share=share, burst=burst)
    _, lost = bench.send(LAN_A, MEC, list(range(60_000)))
    assert lost.mean() == pytest.approx(share, rel=0.15)
    runs = np.count_nonzero(np.diff(lost.astype(int)) == 1)
    assert lost.sum() / runs == pytest.approx(burst, rel=0.1)


def test_faults_of_the_file_come_at_their_time_or_when_called() -> None:
    bench = Bench(
        {
            "gap": {"kind": "outage", "start": "2 s", "duration": "500 ms"},
            "slow": {"kind": "delay", "by": "20 ms", "duration": "1 s"},
            "dark": {"kind": "cell_off", "start": "1 s"},
        }
    )
    assert [each.name for each in bench.ledger.entries] == ["gap"], "the cell is another's"
    gap = bench.ledger.entries[0]
    assert (gap.start_ns, gap.end_ns) == (EPOCH + 2 * 10**9, EPOCH + 25 * 10**8)
    slow = bench.ledger.begin("slow", {}, EPOCH + 77)
    assert (slow.start_ns, slow.end_ns) == (EPOCH + 77, EPOCH + 77 + 10**9)
    with pytest.raises(UsageError, match="no fault 'slow' is on; on are: none"):
        bench.ledger.end("slow", EPOCH + 3 * 10**9)


def test_a_fault_of_the_file_takes_no_other_parameters() -> None:
    bench = Bench({"slow": {"kind": "delay", "by": "20 ms"}})
    with pytest.raises(UsageError, match="fault slow: its parameters are those of the testbed"):
        bench.ledger.begin("slow", {"by": "5 ms"}, EPOCH)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("{kind: outage, cpe: cpe9}", "world.faults.x.cpe: no modem is called 'cpe9'"),
        ("{kind: plc_stop, plc: cpe1}", "world.faults.x.plc: no PLC is called 'cpe1'"),
        ("{kind: reset, endpoint: cpe1}", "x.endpoint: no endpoint with TCP is called 'cpe1'"),
        ("{kind: delay}", "world.faults.x.by"),
        ("{kind: storm}", "world.faults.x"),
    ],
)
def test_a_fault_that_cannot_be_is_a_fault_of_the_file(
    tmp_path: Path, line: str, sentence: str
) -> None:
    text = find("virtual").read_text("utf-8")
    place = tmp_path / "wrong.yaml"
    place.write_text(text.replace("\nworld:\n", f"\nworld:\n  faults:\n    x: {line}\n"), "utf-8")
    with pytest.raises(ConfigError) as wrong:
        load(place)
    assert sentence in str(wrong.value)
    assert len(wrong.value.faults) == 1


def test_two_faults_of_one_kind_have_names_of_their_own() -> None:
    bench = Bench()
    names = [bench.begin("outage", cpe=cpe) for cpe in ("cpe1", "cpe2")]
    assert names == ["outage", "outage-2"]
    bench.ledger.end("outage", EPOCH + 10)
    assert bench.send(LAN_A, MEC, [20])[1].tolist() == [False]
    assert bench.send(LAN_B, MEC, [20])[1].tolist() == [True]


@pytest.mark.parametrize(
    ("kind", "parameters", "sentence"),
    [
        ("storm", {}, "no fault is called 'storm'; there are outage, burst_loss"),
        ("delay", {}, "fault delay: by: Field required; it takes start, duration, cpe"),
        ("delay", {"by": 5}, "a duration needs a number and a unit"),
        ("outage", {"cpe": "cpe9"}, "no cpe is called 'cpe9' here; there are cpe1, cpe2"),
        ("burst_loss", {"share": 0.9}, "cannot lose more than 0.833"),
    ],
)
def test_what_cannot_be_says_what_can(
    kind: str, parameters: dict[str, object], sentence: str
) -> None:
    with pytest.raises(UsageError) as refused:
        Bench().ledger.begin(kind, parameters, EPOCH)
    assert sentence in str(refused.value)


def test_every_kind_has_a_way_to_be_called(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("schema: 1\n")
    least = {
        "share": 0.1,
        "plc": "plc1",
        "cpe": "cpe1",
        "endpoint": "plc1",
        "file": str(path),
    }
    for kind, model in FAULTS.items():
        fields = [str(f.alias or n) for n, f in model.model_fields.items() if f.is_required()]
        given = {n: least[n] for n in fields if n not in ("kind", "by")}
        if "by" in fields:
            given["by"] = "3 dB" if kind == "attenuation" else "3 ms"
        assert fault(kind, given).kind == kind


def test_a_stopped_controller_scans_no_more_and_its_belt_runs_out() -> None:
    conveyor = Conveyor(5_000_000, 100, 0)
    conveyor.write(Register.OUTPUT, 1000, 0)
    conveyor.advance(2 * 10**9)
    assert conveyor.speed > 1.9
    conveyor.stop(2 * 10**9)
    scans = conveyor.scan_count
    conveyor.advance(4 * 10**9)
    assert (conveyor.scan_count, conveyor.running) == (scans, False)
    assert conveyor.speed < 0.01
    conveyor.start(4 * 10**9)
    conveyor.advance(4 * 10**9 + 50_000_000)
    assert conveyor.running
    assert conveyor.scan_count == scans + 10
    assert conveyor.registers[Register.OUTPUT] == 0, "whoever started it drives it again"


LIST = """
schema: 1
delay: 1 ms
faults:
  - {packet: 1, do: drop}
  - {packet: 2, do: duplicate}
  - {packet: 4, do: delay, by: 7 ms}
  - {packet: 5, do: corrupt, byte: 20}
"""


def test_a_list_meets_the_probes_of_each_port_by_their_number(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(LIST)
    bench = Bench()
    bench.begin("list", file=str(path))
    tags = bench.store.take(9)
    bench.store.rows[tags] = 7
    bench.store.set_size(tags, np.full(9, 100))
    # Two of a warm-up, then judged ones, with something that is no probe between them.
    bench.rows["flags"][tags] = [truth.PROBE | truth.WARM_UP] * 2 + [truth.PROBE] * 7
    bench.rows["flags"][tags[5]] = 0
    times = CLOCK.of_host(EPOCH + np.arange(9))
    ways = np.full(9, MEC, np.int64)
    lost = np.concatenate(
        [
            bench.faults.meet(LAN_A, ways[part], times[part], tags[part], bench.rows)
            for part in (slice(0, 4), slice(4, 9))
        ]
    )
    assert np.flatnonzero(lost).tolist() == [3]
    assert bench.rows["effects"][tags[3]] == truth.LOST
    left = tags[~lost]
    out, at_ns = bench.release(left, 0)
    assert len(out) == 9, "one lost, one double"
    by_tag = dict(zip(out.tolist(), at_ns.tolist(), strict=True))
    assert [by_tag[tag] // 1_000_000 for tag in left.tolist()] == [0, 0, 1, 1, 0, 1, 8, 1]
    assert bench.store.rows[tags[8], 20] == 7 ^ 0xFF
    assert (bench.store.rows[tags[8], :20] == 7).all()
    _, lost = bench.send(LAN_B, MEC, [10])
    assert not lost.any(), "what is no probe is not counted"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("schema: 1\nfaults: [{packet: 1, do: swap}]\n", "a cell does not swap"),
        ("schema: 1\nfaults: [{packet: 1, do: stall, by: 1 ms}]\n", "a cell does not stall"),
        ("schema: 1\nfaults: [{packet: 1, do: lose}]\n", "list.yaml:2"),
        (None, "cannot be read"),
    ],
)
def test_a_list_that_a_cell_cannot_follow_is_refused(
    tmp_path: Path, text: str | None, says: str
) -> None:
    path = tmp_path / "list.yaml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(UsageError, match=says):
        Bench().begin("list", file=str(path))
    with pytest.raises(UsageError, match="absolute path"):
        Bench().begin("list", file="list.yaml")
