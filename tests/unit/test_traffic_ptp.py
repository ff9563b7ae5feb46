"""What ptp4l says of itself through pmc, and when it means that the clock was not kept."""

from __future__ import annotations

from dataclasses import replace

import pytest
from pydantic import ValidationError

from hil.lab.clock import evidence
from hil.samples.measurement import Window
from hil.testbed import Testbed
from hil.testbed.clock import ClockConfig
from hil.traffic.ptp import PtpReading, ask, spoiled

AT = 1_700_000_000_000_000_000
SECOND = 10**9

#: As pmc of linuxptp 3.1.1 prints the answers of a slave.
ANSWER = """\
sending: GET PORT_DATA_SET
sending: GET TIME_STATUS_NP
	eed4cc.fffe.370072-1 seq 0 RESPONSE MANAGEMENT PORT_DATA_SET 
		portIdentity            eed4cc.fffe.370072-1
		portState               SLAVE
		logMinDelayReqInterval  0
		peerMeanPathDelay       0
	eed4cc.fffe.370072-0 seq 1 RESPONSE MANAGEMENT TIME_STATUS_NP 
		master_offset              -37
		ingress_time               1700000000000000000
		cumulativeScaledRateOffset +0.000000000
		gmPresent                  true
		gmIdentity                 72f598.fffe.3e9565
	eed4cc.fffe.370072-0 seq 2 RESPONSE MANAGEMENT CURRENT_DATA_SET 
		stepsRemoved     1
		offsetFromMaster -37.0
		meanPathDelay    1234.5
"""  # noqa: W291 - so it prints


def test_the_answers_of_pmc_are_read() -> None:
    found = PtpReading.of(ANSWER, AT)
    assert found == PtpReading(AT, ("SLAVE",), "72f598.fffe.3e9565", -37, 1234.5)
    assert found.out_of_order(1_000) is None
    assert PtpReading.of("sending: GET PORT_DATA_SET\n", AT) is None


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"states": ("LISTENING",)}, "PTP was LISTENING"),
        ({"states": ("UNCALIBRATED", "FAULTY")}, "UNCALIBRATED, FAULTY"),
        ({"offset_ns": 2_500}, "+2.5 us off its master"),
        ({"offset_ns": -2_500}, "-2.5 us off its master"),
    ],
)
def test_a_clock_that_is_not_kept_is_told(change: dict[str, object], why: str) -> None:
    good = PtpReading(AT, ("SLAVE",), "a", 10, 100.0)
    assert why in str(replace(good, **change).out_of_order(1_000))  # type: ignore[arg-type]


def test_spans_beside_a_bad_reading_and_a_change_of_master_are_spoiled() -> None:
    good = PtpReading(AT, ("SLAVE",), "a", 10, 100.0)
    rows = [replace(good, at_ns=AT + k * SECOND) for k in range(9)]
    rows[2] = replace(rows[2], states=("LISTENING",))
    for k in (6, 7, 8):
        rows[k] = replace(rows[k], grandmaster="b")
    assert spoiled(rows, 1_000) == [
        Window(AT + SECOND, AT + 3 * SECOND, "PTP was LISTENING"),
        Window(AT + 5 * SECOND, AT + 6 * SECOND, "PTP changed from master a to b"),
    ]


def test_a_socket_that_nobody_serves_is_told_with_its_cure() -> None:
    reading, why = ask("/nowhere/ptp4l")
    assert reading is None
    assert why is not None
    assert "linuxptp" in why or "/nowhere/ptp4l" in why


def bench(**clock: object) -> Testbed:
    return Testbed.model_validate({"schema": 1, "name": "b", "clock": {"ptp": "/p", **clock}})


def test_a_declared_check_of_the_asymmetry_is_evidence_and_a_servo_is_none() -> None:
    check = {"apart": "300 ns", "by": "direction swap", "on": "2026-11-20"}
    assert evidence(bench(wired=True, asymmetry=check)).refusal is None
    assert evidence(bench(wired=True, asymmetry=check)).bound_ns == 300
    assert "asymmetry" in str(evidence(bench(wired=True)).refusal)
    assert "wired" in str(evidence(bench(asymmetry=check)).refusal)
    nothing = Testbed.model_validate({"schema": 1, "name": "b"})
    assert "not known" in str(evidence(nothing).refusal)


@pytest.mark.parametrize("wrong", [{"domain": 200}, {"normal": "0 s"}, {"asymmetry": {"by": "x"}}])
def test_what_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        ClockConfig.model_validate({"ptp": "/p", **wrong})
