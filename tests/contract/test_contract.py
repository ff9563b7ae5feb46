"""What every driver owes to those who use it, the same for all: run against a real endpoint."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from hil.drivers.generator import Generator
from hil.drivers.protocols import (
    Attenuator,
    Device,
    Health,
    Instrument,
    Modem,
    Plc,
    PowerSupply,
    PowerSwitch,
)
from hil.errors import (
    ConnectFailed,
    ConnectionLost,
    DeviceError,
    DriverError,
    DriverTimeout,
    UnsafeOperation,
)

PROTOCOLS: dict[str, type] = {
    "cpe": Modem,
    "plc": Plc,
    "attenuator": Attenuator,
    "switch": PowerSwitch,
    "supply": PowerSupply,
    "instrument": Instrument,
    "generator": Generator,
}


def test_satisfies_its_protocol(bench: Any) -> None:
    assert isinstance(bench.driver, Device)
    assert isinstance(bench.driver, PROTOCOLS[bench.driver.role])
    assert all(isinstance(name, str) for name in bench.driver.capabilities())


def test_nothing_happens_before_open(bench: Any) -> None:
    bench.relay.cut()
    bench.driver.close()
    assert bench.driver.transcript() == ()


def test_a_dead_endpoint_fails_to_open(bench: Any) -> None:
    with pytest.raises(ConnectFailed) as failure:
        bench.dead.open()
    assert failure.value.device == bench.dead.name
    assert bench.dead.health().status is Health.DEAD


def test_a_silent_endpoint_fails_to_open(bench: Any) -> None:
    bench.relay.hold()
    with pytest.raises(ConnectFailed):
        bench.driver.open()


def test_opens_once_it_is_there(bench: Any) -> None:
    bench.relay.cut()
    with pytest.raises(ConnectFailed):
        bench.driver.open()
    bench.relay.mend()
    bench.driver.open()
    bench.driver.open()
    assert bench.driver.health().status is Health.OK
    assert bench.driver.health().latency_ns > 0


def test_close_is_silent_twice_and_after_a_crash(bench: Any) -> None:
    bench.driver.open()
    bench.relay.cut()
    bench.driver.close()
    bench.driver.close()


def test_opens_again_after_close(bench: Any) -> None:
    bench.driver.open()
    first = bench.ask(bench.driver)
    bench.driver.close()
    bench.driver.open()
    assert bench.ask(bench.driver) == first


def test_a_peer_killed_in_the_middle_of_a_call(bench: Any) -> None:
    bench.driver.open()
    expected = bench.ask(bench.driver)
    bench.relay.hold()
    assassin = threading.Timer(0.1, bench.relay.cut)
    assassin.start()
    with pytest.raises(ConnectionLost):
        bench.ask(bench.driver)
    assassin.join()
    bench.relay.release()
    bench.relay.mend()
    assert bench.ask(bench.driver) == expected


def test_health_of_the_dead_is_told_not_raised(bench: Any) -> None:
    bench.driver.open()
    bench.relay.cut()
    report = bench.driver.health()
    assert report.status is Health.DEAD
    assert report.latency_ns is None
    assert report.detail


def test_a_late_answer_poisons_nothing(bench: Any) -> None:
    bench.driver.open()
    answers = [bench.ask(bench.driver), bench.ask_other(bench.driver)]
    assert answers[0] != answers[1]
    bench.relay.hold()
    start = time.monotonic()
    with pytest.raises(DriverTimeout):
        bench.ask(bench.driver)
    assert time.monotonic() - start > 0.4, "gave up before its limit"
    # The late answer comes while the next one is awaited: the worst moment.
    release = threading.Timer(0.1, bench.relay.release)
    release.start()
    for _ in range(3):
        assert bench.ask_other(bench.driver) == answers[1]
        assert bench.ask(bench.driver) == answers[0]


def test_two_time_outs_in_a_row_poison_nothing(bench: Any) -> None:
    bench.driver.open()
    expected = bench.ask_other(bench.driver)
    bench.relay.hold()
    for _ in range(2):
        with pytest.raises(DriverError):
            bench.ask(bench.driver)
    bench.relay.release()
    assert bench.ask_other(bench.driver) == expected


def test_fragments_and_noise_change_no_answer(bench: Any) -> None:
    bench.driver.open()
    expected = [bench.ask(bench.driver), bench.ask_other(bench.driver)]
    bench.relay.fragment = True
    bench.relay.noise = bench.noise
    assert [bench.ask(bench.driver), bench.ask_other(bench.driver)] == expected


def test_a_refusal_carries_code_and_text(bench: Any) -> None:
    bench.driver.open()
    with pytest.raises(DeviceError) as refused:
        bench.refuse(bench.driver)
    assert (refused.value.code, refused.value.text) == bench.refusal
    assert str(refused.value.code) in str(refused.value)
    assert refused.value.transcript
    bench.ask(bench.driver)
    assert bench.driver.health().status is Health.OK, "a refusal left something behind"


def test_two_threads_get_their_own_answers(bench: Any) -> None:
    bench.driver.open()
    expected = [bench.ask(bench.driver), bench.ask_other(bench.driver)]
    wrong: list[object] = []

    def work(question: Any, answer: object) -> None:
        for _ in range(40):
            if (got := question(bench.driver)) != answer:
                wrong.append(got)

    threads = [
        threading.Thread(target=work, args=pair)
        for pair in zip((bench.ask, bench.ask_other), expected, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_transcript_holds_the_dialogue(bench: Any) -> None:
    bench.driver.open()
    before_ns = time.time_ns()
    bench.ask(bench.driver)
    lines = bench.driver.transcript(before_ns)
    assert [line.split()[1] for line in lines][:2] == [">", "<"]
    assert len(bench.driver.transcript()) > len(lines)


def test_restore_leaves_it_as_found(bench: Any) -> None:
    bench.driver.open()
    found = bench.driver.snapshot()
    bench.change(bench.driver)
    assert bench.driver.snapshot() != found
    bench.driver.restore(found)
    assert bench.driver.snapshot() == found


def test_the_safe_state_is_reached_from_a_changed_one(bench: Any) -> None:
    bench.driver.open()
    bench.change(bench.driver)
    bench.driver.safe_state()
    assert bench.safe(bench.driver)


def test_the_guard_refuses_before_anything_is_sent(bench: Any) -> None:
    bench.driver.open()
    found = bench.driver.snapshot()
    for attempt in bench.unsafe:
        before_ns = time.time_ns()
        with pytest.raises(UnsafeOperation):
            attempt(bench.driver)
        assert bench.driver.transcript(before_ns) == ()
    assert bench.driver.snapshot() == found
