"""The simulated modem: registration by the radio, V.250 command lines, measured levels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.testbed import ModemEndpoint, RadioConfig, World
from hil.virtual.coupling import Coupling
from hil.virtual.endpoints.at_interpreter import Interpreter, split
from hil.virtual.endpoints.measurement import Receiver
from hil.virtual.endpoints.modem_state import HOME, IDLE, SEARCHING, ModemState
from hil.virtual.radio import Radio

MS = 1_000_000
TICK = 200 * MS


@pytest.fixture
def modem(tmp_path: Path) -> ModemState:
    world = World(radio=RadioConfig.model_validate({"shadowing": "0 dB"}))
    config = ModemEndpoint.model_validate(
        {
            "kind": "modem",
            "link": "cpe1",
            "imsi": "001010000000001",
            "lan": "lan_a",
            "snssai": "2.00000a",
        }
    )
    coupling = Coupling.create(tmp_path / "coupling", ["cpe1"])
    state = ModemState(config, world, coupling, 0)
    state.settle(0)
    return state


def run(modem: ModemState, start_ns: int, span_ns: int) -> tuple[int, list[tuple[int, str]]]:
    """Tick through a span; the time at its end, and what was said when."""
    said = []
    for now_ns in range(start_ns, start_ns + span_ns, TICK):
        said += [(now_ns, line) for line in modem.step(now_ns)]
    return start_ns + span_ns, said


def test_it_begins_registered(modem: ModemState) -> None:
    assert modem.stat == HOME
    assert modem.contexts[1].active
    assert modem.coupling.rows["session_up"][0] == 1


def test_a_lost_cell_is_lost_after_a_while_and_found_with_hysteresis(modem: ModemState) -> None:
    modem.reporting.c5greg, modem.reporting.cgerep = 2, 1
    modem.coupling.set_attenuation(0, 48.0)  # -128 dBm; the cell is lost below -125
    now, said = run(modem, TICK, 5_000 * MS)
    lost_at, line = next(entry for entry in said if "C5GREG" in entry[1])
    assert line == "+C5GREG: 2"
    assert 1_000 * MS <= lost_at <= 2_500 * MS
    assert modem.coupling.rows["session_up"][0] == 0
    assert "+CGEV: ME PDN DEACT 1" in [text for _, text in said]
    modem.coupling.set_attenuation(0, 43.0)  # -123 dBm: above the limit, below its hysteresis
    now, said = run(modem, now, 10_000 * MS)
    assert said == []
    assert modem.stat == SEARCHING
    modem.coupling.set_attenuation(0, 30.0)
    start = now
    now, said = run(modem, now, 5_000 * MS)
    (found_at,) = [at for at, text in said if text.startswith("+C5GREG: 1")]
    assert 1_800 * MS <= found_at - start <= 3_500 * MS
    assert modem.coupling.rows["session_up"][0] == 1


def test_a_short_dip_loses_nothing(modem: ModemState) -> None:
    modem.reporting.c5greg = 2
    modem.coupling.set_attenuation(0, 60.0)
    now, said = run(modem, TICK, 800 * MS)
    modem.coupling.set_attenuation(0, 0.0)
    _, more = run(modem, now, 5_000 * MS)
    assert said + more == []
    assert modem.stat == HOME


def test_flight_mode_and_back(modem: ModemState) -> None:
    modem.set_functionality(4, 0)
    assert (modem.stat, modem.level) == (IDLE, None)
    now, _ = run(modem, 0, 5_000 * MS)
    assert modem.stat == IDLE
    modem.set_functionality(1, now)
    assert modem.stat == SEARCHING
    run(modem, now, 3_000 * MS)
    assert modem.stat == HOME


def test_the_radio_connection_follows_the_traffic(modem: ModemState) -> None:
    modem.reporting.cscon = 1
    now, said = run(modem, TICK, 20_000 * MS)
    assert said == []
    modem.coupling.set_traffic(0, modem.coupling.epoch_ns + now)
    now, said = run(modem, now, 15_000 * MS)
    assert [text for _, text in said] == ["+CSCON: 1", "+CSCON: 0"]
    assert 9_000 * MS < said[1][0] - said[0][0] <= 10_200 * MS


def test_reported_levels_are_within_the_stated_error(modem: ModemState) -> None:
    radio = Radio(modem.world.radio, modem.world.seed)
    for tick in range(10, 500):
        modem.step(tick * TICK)
        assert modem.level is not None
        assert round(modem.level.rsrp_dbm) == pytest.approx(
            float(radio.rsrp_dbm(0, tick * TICK)), abs=1.0
        )


def test_a_step_settles(modem: ModemState) -> None:
    receiver = Receiver(Radio(modem.world.radio, 1), 0, 1, TICK)
    receiver.sample(0, 0.0)
    for tick in range(1, 8):
        level = receiver.sample(tick * TICK, 20.0)
    assert level.rsrp_dbm == pytest.approx(-100, abs=1)
    again = receiver.sample(7 * TICK + 1, 20.0)
    assert again == level, "a second look in the same period measured again"


@pytest.mark.parametrize(
    ("body", "commands"),
    [
        ("", []),
        ("E0V1", ["E0", "V1"]),
        ("E0V1+CMEE=2;+CESQ", ["E0", "V1", "+CMEE=2", "+CESQ"]),
        ('+CGDCONT=1,"IPV4","a;b";+CGACT?', ['+CGDCONT=1,"IPV4","a;b"', "+CGACT?"]),
        ("&F;I", ["&F", "I"]),
    ],
)
def test_command_lines(body: str, commands: list[str]) -> None:
    assert split(body) == commands


@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)))
def test_any_line_ends_with_one_result_or_is_none(text: str) -> None:
    # Only what the line does to the interpreter counts here, so one modem serves all of them.
    answer, result = INTERPRETER[0].execute(f"AT{text}", 0)
    assert result in ("OK", "ERROR") or str(result).startswith("+CME ERROR: ")
    assert all(isinstance(line, str) for line in answer)


INTERPRETER: list[Interpreter] = []


@pytest.fixture(autouse=True)
def _interpreter(modem: ModemState) -> Any:
    INTERPRETER[:] = [Interpreter(modem)]


def test_errors_as_asked(modem: ModemState) -> None:
    interpreter = Interpreter(modem)
    assert interpreter.execute("AT+NONSENSE", 0) == ([], "ERROR")
    interpreter.execute("AT+CMEE=1", 0)
    assert interpreter.execute("AT+NONSENSE", 0) == ([], "+CME ERROR: 4")
    interpreter.execute("AT+CMEE=2", 0)
    assert interpreter.execute("AT+CGACT=1,9", 0) == ([], "+CME ERROR: unspecified GPRS error")


def test_what_is_no_command_gets_no_answer(modem: ModemState) -> None:
    assert Interpreter(modem).execute("RING", 0) == ([], None)


def test_a_slice_with_differentiator(modem: ModemState) -> None:
    interpreter = Interpreter(modem)
    interpreter.execute("AT+C5GREG=2", 0)
    answer, _ = interpreter.execute("AT+C5GREG?;+C5GNSSAIRDP=3", 0)
    assert answer == [
        '+C5GREG: 2,1,"000001","000066C01",11,4,"02.00000A"',
        '+C5GNSSAIRDP: "00101",4,"02.00000A",4,"02.00000A",0,""',
    ]


def test_a_context_of_ones_own(modem: ModemState) -> None:
    interpreter = Interpreter(modem)
    interpreter.execute('AT+CGDCONT=2,"Ethernet","line"', 0)
    assert interpreter.execute("AT+CGACT?", 0)[0] == ["+CGACT: 1,1", "+CGACT: 2,0"]
    assert interpreter.execute("AT+CGACT=1,2;+CGPADDR=2;+C5GQOSRDP=2", 0) == (
        ['+CGPADDR: 2,"10.45.1.2"', "+C5GQOSRDP: 2,82,5000,5000,5000,5000,1000000,500000"],
        "OK",
    )
