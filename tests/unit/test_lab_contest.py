"""What other tools print is read as they mean it, and the contest's rows say who was right."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hil.errors import RigError, UsageError
from hil.lab import contest, contestants
from hil.lab.contest import Entry
from hil.lab.contestants import Said
from hil.lab.relayed import Relayed
from hil.samples.table import NOT_TAKEN
from hil.virtual import relay, relay_truth
from hil.virtual.relay_truth import BACK, DID, FORTH, ROW, Truth
from hil.wire import probe

MS = 1_000_000


def rows(*made: tuple[Any, ...]) -> Any:
    return np.array(list(made), ROW)


def through(count: int, delays: dict[int, int] | None = None, way: int = FORTH) -> Truth:
    """Packets each millisecond that took 100 us, or what `delays` says."""
    made = []
    for number in range(count):
        extra = (delays or {}).get(number, 0)
        came = number * MS + (number % 7) * 13_000
        made.append(
            (way, DID["delay"] if extra else 0, 0, number, 242, came, came + 100_000 + extra)
        )
    return relay_truth.truth(rows(*made), way)


def test_truth_follows_the_definitions_of_our_counts() -> None:
    found = relay_truth.truth(
        rows(
            (FORTH, 0, 0, 0, 64, 10, 20),
            (FORTH, DID["drop"], 0, 1, 64, 11, NOT_TAKEN),
            (FORTH, 0, 0, 3, 64, 13, 23),
            (FORTH, DID["swap"], 0, 2, 64, 12, 24),
            (FORTH, DID["duplicate"], 0, 4, 64, 14, 25),
            (FORTH, DID["duplicate"], 1, 4, 64, 14, 26),
            (BACK, 0, 0, 0, 64, 30, 31),
            (FORTH, DID["corrupt"], 0, 5, 64, 15, 27),
        )
    )
    assert (found.packets, found.lost, found.duplicated) == (6, 1, 1)
    assert (found.reordered, found.corrupted) == (1, 1)
    assert found.delay_ns.tolist() == [10, NOT_TAKEN, 12, 10, 11, 12]
    assert found.met("swap").tolist() == [2]


def test_a_file_of_truth_holds_whole_rows(tmp_path: Any) -> None:
    path = tmp_path / "truth"
    path.write_bytes(rows((FORTH, 0, 0, 7, 64, 1, 2)).tobytes() + b"half a row")
    assert relay_truth.read(path)["number"].tolist() == [7]
    assert relay_truth.truth(relay_truth.read(path)[:0]).packets == 0


def test_irtt_is_read_packet_by_packet() -> None:
    said = contestants.read_irtt(
        {
            "interval_ns": MS,
            "stats": {"duplicates": 1, "late_packets": 2, "timer_misses": 50},
            "round_trips": [
                {"seqno": 0, "lost": "false", "delay": {"rtt": 90_000, "send": 40_000}},
                {"seqno": 1, "lost": "true_up", "delay": {}},
                {"seqno": 2, "lost": "false", "delay": {"rtt": 80_000, "send": 30_000}},
            ],
        },
        through(3),
    )
    assert (said.lost, said.duplicated, said.reordered, said.corrupted) == (1, 1, 2, None)
    assert said.delay_ns is not None
    assert said.delay_ns.tolist() == [90_000, NOT_TAKEN, 80_000]
    assert said.further["one way"].tolist() == [40_000, NOT_TAKEN, 30_000]
    assert said.sent_late_ns == 50 * MS


SOCKPERF = (
    "sockperf: \x1b[0;31m# dropped messages = 3; # duplicated messages = 1; "
    "# out-of-order messages = 319\x1b[0m"
)


def log_of(came: Any, numbers: list[int], ppm: int = 0) -> str:
    """What sockperf would log: no numbers, a clock of its own, round trips that name the packet."""
    lines = ["packet, txTime(sec), rxTime(sec), rtt(usec)"]
    for place, number in enumerate(numbers):
        sent = int(came[number]) * (1_000_000 + ppm) // 1_000_000 + 5_000_000_000
        lines.append(f"{place}, {sent // 10**9}.{sent % 10**9:09d}, 0.0, {number}.25")
    return "\n".join(lines)


@pytest.mark.parametrize("seed", range(3))
def test_a_log_of_sockperf_is_put_to_its_packets_by_the_senders_own_lateness(seed: int) -> None:
    random = np.random.default_rng(seed)
    came = np.arange(2_000, dtype=np.int64) * MS + random.integers(0, 20_000, 2_000)
    came[900:950] = came[950] + np.arange(-50, 0) * 4_000  # the sender stood still
    truth = replace(through(2_000), rx_ns=came)
    numbers = [each for each in range(401, 1_950) if each not in (600, 601, 700, *range(800, 880))]
    said = contestants.read_sockperf((SOCKPERF, log_of(came, numbers, ppm=30)), truth)
    assert (said.lost, said.duplicated, said.reordered, said.corrupted) == (3, 1, 319, None)
    assert said.delay_ns is not None
    there = np.flatnonzero(said.delay_ns != NOT_TAKEN)
    assert there.tolist() == numbers
    assert (said.delay_ns[there] == there * 1_000 + 250).all()
    assert said.sent_late_ns is None


def test_a_log_that_fits_nowhere_is_not_measured() -> None:
    random = np.random.default_rng(1)
    truth = replace(through(2_000), rx_ns=np.sort(random.integers(0, 2_000 * MS, 2_000)))
    other = np.sort(random.integers(0, 2_000 * MS, 2_000))
    said = contestants.read_sockperf((SOCKPERF, log_of(other, list(range(401, 1_900)))), truth)
    assert said.delay_ns is None


def test_iperf3_is_read_at_its_server() -> None:
    counts = {"udp": {"lost_packets": 5, "out_of_order": 10}}
    told = json.loads(json.dumps({"server_output_json": {"end": {"streams": [counts]}}}))
    said = contestants.read_iperf3(told, through(1))
    assert (said.lost, said.duplicated, said.reordered, said.corrupted) == (5, None, 10, None)
    assert said.delay_ns is None


@pytest.mark.parametrize("words", [{}, {"server_output_json": {"end": {"streams": []}}}])
def test_words_without_a_count_are_refused(words: Any) -> None:
    with pytest.raises(RigError, match="no counts"):
        contestants.read_iperf3(words, through(1))
    with pytest.raises(RigError, match="no count of dropped"):
        contestants.read_sockperf(("nothing", ""), through(1))


def entered(name: str, said: Said, forth: Truth, back: Truth | None = None) -> Entry:
    return Entry(name, said, Relayed(_truths=(forth, back or through(0, way=BACK))))


def test_a_row_says_who_counted_right_and_who_does_not_measure() -> None:
    forth = through(10)
    table = list(
        contest.counted(
            [
                entered("hil", Said(0, 0, 0, 0, forth.delay_ns, 50 * MS), forth),
                entered("irtt", Said(2, 0, 0, None), forth),
                Entry("iperf3", reason="NOT RUN: iperf3 is not installed (package iperf3)"),
            ]
        )
    )
    lost, _, _, corrupted, *_ = table
    assert (lost.ours, lost.met, lost.bar) == (0.0, True, "0, exactly")
    assert lost.peers["irtt"] == 2.0
    assert "irtt says 2, right is 0" in lost.notes
    assert corrupted.peers["irtt"] == "not measured"
    assert all("NOT RUN" in str(row.peers["iperf3"]) for row in table)


def test_a_count_of_ours_that_is_wrong_or_missing_fails_its_bar() -> None:
    forth = through(10)
    wrong = next(contest.counted([entered("hil", Said(1, 0, 0, 0), forth)]))
    assert (wrong.ours, wrong.met) == (1.0, False)
    missing = next(contest.counted([Entry("hil", reason="the relay did not start")]))
    assert (missing.ours, missing.met, missing.notes) == (None, False, ("the relay did not start",))


def test_an_injected_delay_is_compared_without_what_is_constant() -> None:
    forth = through(100, {50: 20 * MS, 60: 5 * MS})
    said = forth.delay_ns + 300_000
    said[50] += 7_000
    error = contest.recovered_ns(entered("irtt", Said(delay_ns=said), forth))
    assert error is not None
    assert error.tolist() == [7_000, 0]
    gone = said.copy()
    gone[60] = NOT_TAKEN
    found = entered("irtt", Said(delay_ns=gone), forth)
    assert contest.recovered_ns(found) is not None
    table = list(contest.counted([entered("hil", Said(0, 0, 0, 0, forth.delay_ns), forth), found]))
    late = table[4]
    assert (late.ours, late.peers["irtt"]) == (2.0, 1.0)


def test_round_trips_are_compared_as_each_tool_means_them() -> None:
    forth = through(5)
    shifted = rows(*[(BACK, 0, 0, k, 242, k * MS + 300_000, k * MS + 350_000) for k in range(5)])
    back = relay_truth.truth(shifted, BACK)
    ours = entered("hil", Said(delay_ns=forth.delay_ns + 900), forth, back)
    assert contest.error_ns(ours).tolist() == [900] * 5
    both = forth.delay_ns + back.delay_ns
    irtt = entered("irtt", Said(delay_ns=both + 10_000), forth, back)
    assert contest.error_ns(irtt).tolist() == [10_000] * 5
    whole = back.tx_ns - forth.rx_ns
    sockperf = entered("sockperf", Said(delay_ns=whole + 4_000), forth, back)
    assert contest.error_ns(sockperf).tolist() == [4_000] * 5


FRAME = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x11" + bytes(10)


def datagram(source: int, target: int, length: int) -> bytes:
    ports = source.to_bytes(2, "big") + target.to_bytes(2, "big")
    return FRAME + ports + (length + 8).to_bytes(2, "big") + bytes(2 + length)


def test_a_flow_is_told_by_its_port_and_length_on_either_way() -> None:
    belongs = relay.flow("udp:5000:20")
    assert belongs(datagram(9, 5000, 20), FORTH)
    assert belongs(datagram(5000, 9, 20), BACK)
    assert not belongs(datagram(5000, 9, 20), FORTH)
    assert not belongs(datagram(9, 5000, 21), FORTH)
    assert relay.flow("udp:5000")(datagram(9, 5000, 21), FORTH)
    assert not relay.flow("udp:5000")(b"short", FORTH)


def test_probes_are_a_flow_and_those_of_a_warm_up_are_not() -> None:
    belongs = relay.flow("probe")
    seq = np.array([1], np.uint64)
    for head in (bytes(12) + b"\x88\xb5", datagram(1, 2, 0)):
        for flags, counted in ((0, True), (probe.WARM_UP, False)):
            frame = head + probe.encode(1, 0, seq, 0, flags)[0].tobytes()
            assert belongs(frame, FORTH) is counted
    assert not belongs(bytes(100), FORTH)


@pytest.mark.parametrize("word", ["tcp:80", "udp", "udp:", "udp:x", "udp:1:2:3", "probes"])
def test_a_word_that_is_no_flow_is_refused(word: str) -> None:
    with pytest.raises(UsageError, match="write probe, udp:PORT or udp:PORT:BYTES"):
        relay.flow(word)
