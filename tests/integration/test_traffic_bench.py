"""Real frames between real interfaces: exact counts, kernel stamps, faults, ends by force.

Everything runs in user and network namespaces that unshare(1) makes, hence without privilege.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hil.samples import store
from hil.samples.table import ARRIVED, SENT
from tests.integration.staging import UNSHARE, environment, said

BENCH = Path(__file__).with_name("traffic_bench.py")


def command(scenario: str, order: dict[str, Any]) -> list[str]:
    return [*UNSHARE, sys.executable, str(BENCH), scenario, json.dumps(order)]


def on_bench(scenario: str, **order: Any) -> Any:
    return said(command(scenario, order), PYTHONWARNINGS="error")


@contextmanager
def running(scenario: str, word: str = "running", **order: Any) -> Iterator[subprocess.Popen[str]]:
    """The scenario as a process of its own, from the moment it says that packets flow."""
    process = subprocess.Popen(
        command(scenario, order),
        env=environment(PYTHONWARNINGS="error"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            if word in line and " 0 of" not in line:
                break
        else:
            pytest.fail("it never ran")
        yield process
    finally:
        process.kill()
        process.communicate()


def children(pid: int) -> list[int]:
    """Process ids below `pid`."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, task.read_text().split()):
            found += [child, *children(child)]
    return found


def ended(pid: int) -> bool:
    """Waits until a process, which is not a child of this one, has ended."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    import select

    try:
        return bool(select.select([handle], [], [], 10)[0])
    finally:
        os.close(handle)


@pytest.fixture(scope="module")
def both_ways() -> Any:
    return on_bench("both_ways", count=1000)


def test_counts_are_exact_in_both_directions_and_layers_at_once(both_ways: Any) -> None:
    names = ("sent", "received", "lost", "duplicated", "corrupted", "reordered", "foreign")
    for measured in both_ways["measured"]:
        assert [measured[name] for name in names] == [1000, 1000, 0, 0, 0, 0, 0]
        assert measured["send_failed"] == 0
        assert measured["warmup_sent"] == 20
        assert measured["invalid"] == []
        assert measured["conditions"]["offered"]["directions"] == "both at once"
        assert len(measured["conditions"]["offered"]["together"]) == 3
    assert both_ways["stored"] == [1000, 1000, 1000]
    assert len(both_ways["files"]) == 3, "the streams are gone once the samples are written"


def test_kernel_stamps_are_used_on_both_sides_and_none_is_missing(both_ways: Any) -> None:
    for measured in both_ways["measured"]:
        for side in ("tx", "rx"):
            assert measured["stamps"][side]["source"] == "kernel"
            assert measured["stamps"][side]["missing"] == 0
        # Both stamps of a veth pair are taken in one call; stamps of a process are 100 times apart.
        assert 0 < measured["delay_ns"]["min"] < 5_000
        assert measured["delay_ns"]["p50"] < 20_000
        assert measured["send_lateness_ns"]["min"] > -1_000


@pytest.mark.parametrize(
    ("layer", "size", "header"), [("ethernet", 128, 14), ("udp", 255, 14 + 28)]
)
def test_each_fault_is_counted_as_what_it_is(layer: str, size: int, header: int) -> None:
    last_byte = header + size - 28 - 1 if layer == "udp" else size - 1
    seen = on_bench(
        "faulty",
        count=400,
        layer=layer,
        size=size,
        faults={
            "drop": [0, 50, 51, 52, 399],
            "duplicate": [100, 150],
            "swap": [200],
            "corrupt": {
                250: last_byte,  # filler
                260: header + 20,  # a byte of the sequence number
                270: header + 33,  # the CRC
                280: 14 + 8,  # time to live, or a byte of the run id
            },
            "foreign": [300, 301],
            "stranger": [310],
        },
    )
    assert seen["sent"] == 400
    assert seen["lost"] == 5
    assert seen["corrupted"] == 4
    assert seen["received"] == 400 - 5 - 4
    assert seen["duplicated"] == 2
    assert seen["reordered"] == 1
    # A frame of our EtherType that is no probe is foreign; one that is no IP is nobody's.
    assert seen["foreign"] == (3 if layer == "ethernet" else 2)
    assert set(seen["gone"]) == {0, 50, 51, 52, 399, 250, 260, 270, 280}
    assert {250, 270} <= set(seen["damaged"])
    assert 260 not in seen["damaged"], "a damaged sequence number is not believed"


def test_tagged_routed_and_bare_ip_paths_are_measured_like_any_other() -> None:
    tun = os.access("/dev/net/tun", os.R_OK | os.W_OK)
    measured = on_bench("kinds", count=300, tun=tun)
    for each in measured:
        assert (each["sent"], each["received"], each["corrupted"]) == (300, 300, 0), each["flow"]
        assert each["stamps"]["rx"]["missing"] == each["stamps"]["tx"]["missing"] == 0
    tagged, routed, *bare = measured
    assert tagged["conditions"]["frame"]["header"][24:36] == "8100c0050800"
    assert tagged["conditions"]["frame"]["on_wire"] == 300 + 18 + 4
    assert routed["conditions"]["frame"]["routed"]
    assert [each["conditions"]["ports"]["tx"]["kind"] for each in bare] == ["raw-ip"] * tun


def test_refused_sends_are_lost_and_leave_the_other_stamps_in_place() -> None:
    seen = on_bench("link_down", count=1200, port="tx/d0")
    assert seen["states"] == ["down", "up"]
    assert seen["sent"] == 1200
    assert 0 < seen["send_failed"] <= seen["lost"]
    assert seen["conditions"]["sender"]["refused"] == {"Network is down": seen["send_failed"]}
    assert seen["stamps"]["tx"]["missing"] <= seen["lost"] - seen["send_failed"]
    # A stamp put to the wrong packet would lie milliseconds off: before its own send, or far after.
    assert seen["most_early_ns"] < 0
    assert seen["slowest_ns"] < 1_000_000


def test_a_receiving_port_that_was_taken_down_is_noticed_once_and_voids_the_loss() -> None:
    seen = on_bench("link_down", count=1200, port="rx/d1")
    assert seen["states"] == ["down", "up"]
    assert 0 < seen["lost"] < 1200
    assert seen["conditions"]["receiver"]["went_down"] == 1
    assert any("rx/d1 was taken down" in reason for reason in seen["invalid"])


def test_a_port_that_is_gone_in_the_middle_is_a_fault_of_the_rig() -> None:
    said = on_bench("unplugged", count=3000)
    assert said == "RigError: port tx/d0 cannot send any more: No such device"


def test_frames_of_others_to_the_same_port_are_foreign_and_change_nothing() -> None:
    seen = on_bench("crowded", count=200)
    assert seen["complete"]
    assert seen["received"] == 200
    assert seen["foreign"] > 200


def test_a_signal_ends_a_run_in_order_with_what_was_taken(tmp_path: Path) -> None:
    with running("stopped", count=100_000, directory=str(tmp_path)) as process:
        inner = [process.pid, *children(process.pid)]
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        seen = json.loads(process.stdout.read())
        assert process.wait() == 0
    assert all(ended(pid) for pid in inner)
    assert "SIGINT" in seen["text"]
    (measured,) = seen["measured"]
    check_cut_short(measured)
    assert len(store.read(tmp_path / f"{measured['id']}.parquet")) == measured["sent"]


def check_cut_short(measured: dict[str, Any]) -> None:
    assert not measured["complete"]
    assert 0 < measured["sent"] < 100_000
    assert measured["received"] == measured["sent"]
    assert measured["lost"] == measured["corrupted"] == 0


def test_a_terminated_command_still_prints_its_object(tmp_path: Path) -> None:
    options = {"tx": "tx/d0", "rx": "rx/d1", "count": 99_999, "json": True, "out": str(tmp_path)}
    with running("measure", "received", **options) as process:
        process.terminate()
        assert process.stdout is not None
        check_cut_short(json.loads(process.stdout.read()))
        assert process.wait() == 10
    assert [each.suffix for each in tmp_path.iterdir()] == [".parquet"]


def test_a_killed_run_leaves_readable_streams_and_no_process(tmp_path: Path) -> None:
    before = set(Path("/dev/shm").glob("hil-*"))
    with running("stopped", count=100_000, directory=str(tmp_path)) as process:
        inner = children(process.pid)
        assert len(inner) == 2, "a sender and a receiver"
        process.kill()
        process.wait()
        assert all(ended(pid) for pid in inner)
    assert set(Path("/dev/shm").glob("hil-*")) <= before
    (recovered,) = store.recover(tmp_path)
    assert recovered.truncated
    assert recovered.counts is not None
    assert recovered.counts.received > 0
    sent = store.read_stream(recovered.files.sent, SENT)
    arrived = store.read_stream(recovered.files.arrived, ARRIVED)
    assert sent.truncated
    assert arrived.truncated
    assert len(arrived.rows) > 0


def measure(**options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command("measure", options),
        env=environment(PYTHONWARNINGS="error"),
        capture_output=True,
        text=True,
        check=False,
    )


def test_measure_prints_one_object_and_nothing_else() -> None:
    done = measure(tx="tx/d0", rx="rx/d1", count=300, json=True)
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen["sent"], seen["received"], seen["warmup_sent"]) == (300, 300, 20)
    assert seen["valid"] is True
    assert seen["invalid_reasons"] == []
    assert seen["verdict"] is None
    assert seen["late"] is None
    assert seen["delay_ns"]["p99"] is not None
    assert seen["delay_ns"]["p99.9"] is None, "300 packets cannot support it"
    assert seen["uncertainty_ns"] > 0
    assert any("artefact" in each for each in seen["uncertainty"]["sources"])
    assert set(seen["stamps"]) == {"tx", "rx"}
    assert "received" in done.stderr, "progress goes to standard error"


def test_measure_says_what_it_found_in_words() -> None:
    done = measure(tx="tx/d0", rx="rx/d1", count=300, layer="udp", bound="10 ms", share=0.95)
    assert done.returncode == 0, done.stderr
    assert "300 sent, 300 received, 0 lost" in done.stdout
    assert "PASS" in done.stdout
    assert "kernel at sending" in done.stdout


def test_a_disk_that_fills_up_ends_in_an_object_that_says_so(tmp_path: Path) -> None:
    done = measure(tx="tx/d0", rx="rx/d1", count=2_000, json=True, out=str(tmp_path), disk=150_000)
    assert done.returncode == 10
    seen = json.loads(done.stdout)
    assert (seen["valid"], seen["verdict"], seen["complete"]) == (False, "INVALID", False)
    (reason,) = seen["invalid_reasons"]
    assert "No space left on device" in reason
    assert seen["sent"] is seen["delay_ns"] is None, "not measured is not 0"


def test_processes_that_cannot_start_or_lack_a_capability_say_so() -> None:
    weak = ["setpriv", "--inh-caps=-net_raw", "--bounding-set=-net_raw"]
    seen = on_bench("powerless", launchers=[["/nowhere/launcher"], ["false"], weak])
    absent, ended_early, refused = seen["said"]
    assert absent == "UsageError: cannot start /nowhere/launcher: No such file or directory"
    assert ended_early.startswith("RigError: the receiver process ended early")
    assert refused.startswith("UsageError: raw frames on d1 need CAP_NET_RAW: ")
    assert seen["left"] == [], "a run that did not begin leaves nothing to recover"


def test_measure_refuses_before_anything_is_sent() -> None:
    done = measure(tx="tx/d9", rx="rx/d1", json=True)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1


WRONG: list[tuple[dict[str, Any], list[str]]] = [
    ({"tx": "tx/d9"}, ["tx/d9", "did you mean", "d0"]),
    ({"tx": "nowhere/d0"}, ["nowhere", "mid, rx, tx"]),
    ({"rx": "mid/"}, ["'mid/'", "NETNS/IFACE"]),
    ({"rx": "mid/lo"}, ["mid/lo", "is down", "ip link set lo up"]),
    ({"rx": "mid/m0", "layer": "udp"}, ["mid/m0", "no IP address", "ip address add"]),
    ({"size": "1600 B"}, ["1600 B", "1514 B", "MTU"]),
    ({"size": "20 B"}, ["20 B", "60 B"]),
    ({"size": "60 B", "layer": "udp"}, ["60 B", "68 B"]),
    ({"size": "many"}, ["--size", "255 B"]),
    ({"interval": "0 ms"}, ["--interval", "1 ms"]),
    ({"count": 5, "duration": "1 s"}, ["--count", "--duration"]),
    ({"count": 0}, ["--count"]),
    ({"duration": "1 us"}, ["--duration", "1 us"]),
    ({"share": 0.9}, ["--share", "--bound"]),
    ({"bound": "10 ms", "share": 1.5}, ["--share", "0.999"]),
    ({"bound": "-1 ms"}, ["--bound", "10 ms"]),
    ({"layer": "tcp"}, ["--layer", "ethernet or udp"]),
]


def test_measure_says_what_is_wrong_in_one_sentence_and_what_would_be_right() -> None:
    said = on_bench(
        "refused", options=[{"tx": "tx/d0", "rx": "rx/d1"} | wrong for wrong, _ in WRONG]
    )
    for sentence, (wrong, words) in zip(said, WRONG, strict=True):
        assert sentence is not None, f"{wrong} was accepted"
        assert "\n" not in sentence
        assert all(word in sentence for word in words), sentence
