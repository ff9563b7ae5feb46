"""The 5G CPE itself: attached as ordered, and its radio readings believable (P-12, P-13)."""

import pytest

import hil


@pytest.mark.requirement("MO-1")
@pytest.mark.needs(cpe=1)
def test_cpe_registers_on_its_slice(cpe: hil.Cpe, judge: hil.Judge) -> None:
    """The CPE registers on 5G within its time and has its session on an allowed slice.

    Steps: switch the radio off and on again; wait for the registration event.
    Verify: MO-1; an active PDU session; its slice is one that the network allows.
    """
    cpe.radio_on(False)
    with hil.stopwatch() as attach:
        cpe.radio_on(True)
        registration = cpe.wait_registered(timeout_s=60)
    answer_ns = cpe.health().latency_ns
    assert answer_ns is not None, "the modem does not answer"
    judge.value("MO-1", attach.elapsed_ns, uncertainty=answer_ns)
    session = cpe.activate(1)
    assert session.active, f"no active PDU session: {session}"
    assert session.snssai in registration.allowed, f"{session.snssai} is not allowed here"


@pytest.mark.requirement("MO-2")
@pytest.mark.needs(cpe=1, attenuator=1)
def test_rsrp_follows_the_attenuator(
    cpe: hil.Cpe, attenuator: hil.Attenuator, judge: hil.Judge
) -> None:
    """20 dB more attenuation are 20 dB less RSRP, within the accuracy asked of a modem.

    Steps: read the settled RSRP at 0 dB, then at 20 dB; set the attenuator back.
    Verify: MO-2: the RSRP fell by 20 dB within its tolerance.
    """
    attenuator.set_db(1, 0)
    before = cpe.settled_rsrp()
    try:
        attenuator.set_db(1, 20)
        after = cpe.settled_rsrp()
    finally:
        attenuator.set_db(1, 0)  # whatever happened: the next test wants its signal
    shift_db = before.dbm - after.dbm
    judge.value("MO-2", shift_db - 20, uncertainty=before.uncertainty_db + after.uncertainty_db)
