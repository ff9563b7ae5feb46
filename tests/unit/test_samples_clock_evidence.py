"""Which clocks a one-way delay may be taken between."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hil.samples.clock_evidence import ONE_HOST, ClockEvidence

PTP = ClockEvidence(
    kind="ptp", bound_ns=300, check="direction swap", at_ns=1_700_000_000 * 10**9, wired=True
)


def test_one_host_and_a_checked_wired_path_allow_one_way_delays() -> None:
    assert ONE_HOST.refusal is None
    assert PTP.refusal is None
    assert "300 ns" in PTP.words
    assert "direction swap" in PTP.words
    assert replace(PTP, check="1pps").refusal is None


@pytest.mark.parametrize(
    ("evidence", "why"),
    [
        (ClockEvidence(kind="none"), "not known to agree"),
        (replace(PTP, wired=False), "not over a wired path"),
        (replace(PTP, check=None), "asymmetry"),
        (replace(PTP, bound_ns=None), "asymmetry"),
    ],
)
def test_without_a_check_of_the_asymmetry_there_is_no_one_way_delay(
    evidence: ClockEvidence, why: str
) -> None:
    assert evidence.refusal is not None
    assert why in evidence.refusal
    assert evidence.words == evidence.refusal
