"""What the modem driver does beyond the contract, on a modem that lives in a radio field."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.protocols import Health, Rat, Reg, SNssai
from hil.errors import ConnectFailed, DeviceError, DriverTimeout
from hil.virtual.coupling import Coupling


@pytest.fixture
def cpe(modem_bench: Any) -> Any:
    modem_bench.driver.open()
    return modem_bench.driver


def test_identity_and_registration(cpe: Any) -> None:
    identity = cpe.identify()
    assert (identity.vendor, identity.model) == ("Quectel", "RM520N-GL")
    assert identity.serial == "860000000000000"
    registration = cpe.registration()
    assert registration.registered
    assert (registration.rat, registration.plmn) == (Rat.NR_SA, "00101")
    assert (registration.tac, registration.cell_id) == (0x1, 0x66C01)
    assert registration.allowed == (SNssai(1),)


def test_the_session_has_its_slice_and_flow(cpe: Any) -> None:
    (session,) = cpe.sessions()
    assert session.active
    assert (session.dnn, session.snssai, session.five_qi) == ("factory", SNssai(1), 82)
    assert session.session_ambr_ul_bps == 500_000_000
    assert session.addresses


def test_a_reading_of_the_serving_cell(cpe: Any) -> None:
    sample = cpe.radio()
    assert sample.rat is Rat.NR_SA
    # 15 dBm less 95 dB of path loss, without shadowing; the modem's stated error is 1 dB.
    assert sample.rsrp_dbm == pytest.approx(-80, abs=1)
    assert sample.sinr_db == pytest.approx(29.6, abs=1.5)
    assert (sample.band, sample.pci) == (78, 1)
    assert (sample.bandwidth_hz, sample.scs_hz) == (100e6, 30e3)


def test_rsrp_follows_the_attenuation(cpe: Any, coupling: Coupling) -> None:
    coupling.set_attenuation(0, 20.0)
    after = cpe.settled_rsrp()
    assert after.dbm == pytest.approx(-100, abs=1)
    assert 0 < after.uncertainty_db < 2


def test_a_level_that_is_unknown_never_settles(cpe: Any) -> None:
    cpe.radio_on(False)
    sample = cpe.radio()
    assert (sample.rsrp_dbm, sample.rsrq_db, sample.sinr_db) == (None, None, None)
    with pytest.raises(DriverTimeout, match="unknown"):
        cpe.settled_rsrp(timeout_s=0.3)


def test_radio_off_and_on_again(cpe: Any) -> None:
    start = time.monotonic_ns()
    cpe.radio_on(False)
    lost = cpe.wait_event("reg", timeout_s=20, since_ns=start)
    assert lost.fields == ("0",)
    registration = cpe.registration()
    assert (registration.stat, registration.rat, registration.allowed) == (Reg.IDLE, Rat.NONE, ())
    assert cpe.health().status is Health.DEGRADED
    cpe.radio_on(True)
    assert cpe.wait_registered(rat=Rat.NR_SA, timeout_s=20).registered
    assert [event.kind for event in cpe.events(since_ns=start)].count("pdn-act") == 1
    with pytest.raises(DriverTimeout, match="after 0"):
        cpe.wait_registered(rat=Rat.LTE, timeout_s=0)


def test_too_much_attenuation_loses_the_cell(cpe: Any, coupling: Coupling) -> None:
    start = time.monotonic_ns()
    coupling.set_attenuation(0, 60.0)
    cpe.wait_event("reg", timeout_s=20, since_ns=start)
    assert cpe.registration().stat is Reg.SEARCHING
    assert not coupling.rows["session_up"][0]
    with pytest.raises(DeviceError) as refused:
        cpe.activate(1)
    assert refused.value.code == 30
    coupling.set_attenuation(0, 0.0)
    assert cpe.wait_registered(timeout_s=20).registered
    assert coupling.rows["session_up"][0] == 1


def test_an_event_is_timed_as_it_comes_in(cpe: Any, modem_bench: Any) -> None:
    before, before_ns = time.monotonic_ns(), time.time_ns()
    speaker = threading.Timer(0.1, modem_bench.relay.say, [b"\r\n+CGEV: NW PDN DEACT 3\r\n"])
    speaker.start()
    event = cpe.wait_event("pdn-deact", timeout_s=20, where=lambda event: event.fields[-1] == "3")
    assert before < event.monotonic_ns < time.monotonic_ns()
    assert before_ns < event.t_ns < time.time_ns()
    assert event.monotonic_ns - before > 90_000_000


def test_an_event_within_an_answer_is_told_apart(cpe: Any, modem_bench: Any) -> None:
    before = time.monotonic_ns()
    modem_bench.relay.noise = b'\r\n+C5GREG: 1,"000002","000066C02",11,1,"02"\r\n'
    registration = cpe.registration()
    modem_bench.relay.noise = b""
    assert registration.tac == 1, "an event was taken for the answer"
    assert {event.kind for event in cpe.events(since_ns=before)} == {"reg"}


def test_an_unknown_event_is_kept(cpe: Any, modem_bench: Any) -> None:
    before = time.monotonic_ns()
    modem_bench.relay.say(b'\r\n+QNEWTHING: 1,"a,b"\r\n')
    event = cpe.wait_event("other", timeout_s=20, since_ns=before)
    assert event.fields == ("1", "a,b")


def test_reboot_hangs_up_and_comes_back(modem_tty: Path, modem_driver: Any) -> None:
    cpe = modem_driver(modem_tty)
    cpe.open()
    start = time.monotonic_ns()
    assert cpe.reboot(timeout_s=30) > 1_000_000_000
    cpe.wait_event("boot", timeout_s=20, since_ns=start)
    assert cpe.registration().stat is Reg.SEARCHING


def test_a_second_opener_is_refused_with_the_cure(cpe: Any, modem_bench: Any) -> None:
    second = type(cpe)("cpe1 again", cpe._config)
    with pytest.raises(ConnectFailed, match="held by another program"):
        second.open()
    assert cpe.registration().registered


def test_half_a_line_left_by_somebody_else_does_no_harm(modem_tty: Path, modem_driver: Any) -> None:
    modem_tty.write_bytes(b"AT+CG")
    cpe = modem_driver(modem_tty)
    cpe.open()
    assert cpe.registration().registered


def test_a_dropped_command_is_no_trouble(cpe: Any, modem_bench: Any) -> None:
    modem_bench.relay.lose = True
    with pytest.raises(DriverTimeout):
        cpe.command("AT+CGMM", timeout_s=0.2)
    modem_bench.relay.lose = False
    assert cpe.command("AT+CGMM") == ["RM520N-GL"]


def test_the_pin_is_given_when_asked_for_and_never_shown(
    locked_tty: Path, modem_driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPE1_PIN", "4711")
    cpe = modem_driver(locked_tty, pin="${env:CPE1_PIN}")
    cpe.open()
    assert cpe.wait_registered(timeout_s=20).registered
    # In an error of the modem's own making, too.
    with pytest.raises(DeviceError) as refused:
        cpe.command("AT+NONSENSE=4711")
    assert "4711" not in "\n".join([*cpe.transcript(), str(refused.value)])


def test_a_wrong_pin_fails_to_open_and_is_not_tried_again(
    locked_tty: Path, modem_driver: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CPE1_PIN", "4712")
    cpe = modem_driver(locked_tty, pin="${env:CPE1_PIN}")
    with pytest.raises(ConnectFailed, match="16 incorrect password"):
        cpe.open()
    with pytest.raises(ConnectFailed, match="before"):
        cpe.open()
    assert sum("AT+CPIN=" in line for line in cpe.transcript()) == 1
    assert "4712" not in "\n".join(cpe.transcript())


def test_answers_owed_to_another_program_meet_nobody(
    modem_bench: Any, modem_driver: Any, tmp_path: Path
) -> None:
    modem_bench.relay.hold()
    with open(tmp_path / "relay", "wb", buffering=0) as other:
        other.write(b"AT+CGMI\rAT+CIMI\rAT+NONSENSE\r")
        release = threading.Timer(0.2, modem_bench.relay.release)
        release.start()
        modem_bench.driver.open()
    assert modem_bench.driver.command("AT+CGMM") == ["RM520N-GL"]
    assert modem_bench.driver.registration().registered


def test_secrets_and_identities_stay_out_of_transcript_and_errors(cpe: Any) -> None:
    with pytest.raises(DeviceError) as refused:
        cpe.command('AT+CPWD="SC","1357","2468"')
    with pytest.raises(DeviceError):
        cpe.command('AT+CGAUTH=1,2,"user","hunter2"')
    assert cpe.command("AT+CIMI") == ["001010000000001"]
    cpe.identify()
    told = "\n".join([*cpe.transcript(), str(refused.value), *refused.value.transcript])
    assert "AT+CPWD=" in told
    for secret in ("1357", "2468", "hunter2", "001010000000001", "860000000000000"):
        assert secret not in told
