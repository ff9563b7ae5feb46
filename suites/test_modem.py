"""The 5G CPE itself: attached as ordered, and its radio readings believable (P-13)."""

import pytest

import hil


@pytest.mark.requirement("MO-1")
@pytest.mark.needs(cpe=1)
def test_cpe_is_registered_on_its_slice(
    cpe: hil.Cpe, targets: hil.Targets, judge: hil.Judge
) -> None:
    """The CPE is registered on 5G standalone, on the ordered slice, with an active PDU session.

    Steps: switch the radio off and on again; wait for the registration event.
    Verify: MO-1: registered within its time; the allowed S-NSSAI and the session are the profile's.
    """
    requirement = targets["MO-1"]
    cpe.radio_on(False)
    with hil.stopwatch() as attach:
        cpe.radio_on(True)
        registration = cpe.wait_registered(timeout_s=60)
    assert registration.registered, f"not registered: {registration}"
    assert [session for session in cpe.sessions() if session.active], "no active PDU session"
    judge.value("MO-1", attach.elapsed_ns, uncertainty=attach.resolution_ns)
    assert requirement.snssai in {str(snssai) for snssai in registration.allowed}


@pytest.mark.requirement("MO-2")
@pytest.mark.needs(cpe=1, attenuator=1)
def test_rsrp_follows_the_attenuator(
    cpe: hil.Cpe, attenuator: hil.Attenuator, targets: hil.Targets, judge: hil.Judge
) -> None:
    """20 dB more attenuation are 20 dB less RSRP, within the modem's stated error.

    Steps: read RSRP at 0 dB, set 20 dB, let the modem's filter settle, read again; set back.
    Verify: MO-2: the shift of the settled RSRP is 20 dB within its tolerance.
    """
    attenuator.set_db(1, 0)
    before = cpe.settled_rsrp()
    attenuator.set_db(1, 20)
    after = cpe.settled_rsrp()
    attenuator.set_db(1, 0)
    judge.value(
        "MO-2", before.dbm - after.dbm, uncertainty=before.uncertainty_db + after.uncertainty_db
    )
