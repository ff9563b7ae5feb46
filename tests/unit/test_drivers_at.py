"""AT lines: what is an answer, what an event, and that nothing a modem sends breaks the reader."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.drivers.at import (
    Expectation,
    Lines,
    Meaning,
    arguments,
    is_final,
    limit_s,
    meaning,
    prefix_of,
    refusal,
)
from hil.drivers.at_dialect import QUECTEL

LINE = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1).map(str.strip)


def told(line: str, command: str) -> Meaning:
    return meaning(line, Expectation.of(command), QUECTEL.unasked)


@given(st.lists(LINE.filter(bool)), st.data())
def test_lines_survive_any_fragmentation(lines: list[str], data: st.DataObject) -> None:
    raw = "".join(f"\r\n{line}\r\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=20)))
    reader, found = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(raw)], strict=True):
        found += reader.feed(raw[start:end])
    assert found == lines


@given(st.binary())
def test_no_bytes_break_the_reader(raw: bytes) -> None:
    for line in Lines().feed(raw + b"\r\n"):
        assert line.strip()
        told(line, "AT+CESQ")
        arguments(line)
        refusal(line) if is_final(line) else None


def test_noise_without_an_end_is_dropped() -> None:
    reader = Lines()
    assert reader.feed(b"\xff" * 100_000) == []
    assert reader.feed(b"\r\nOK\r\n") == ["OK"]


@pytest.mark.parametrize(
    ("line", "fields"),
    [
        ('+CGDCONT: 1,"IPV4V6","a,b"', ("1", "IPV4V6", "a,b")),
        ('+QENG: "servingcell","NOCONN","NR5G-SA","TDD", 515,66', ("servingcell", "NOCONN",
         "NR5G-SA", "TDD", "515", "66")),
        ("+C5GREG: 3,3,,,,,,0,27", ("3", "3", "", "", "", "", "", "0", "27")),
        ('+COPS:0,2,"25001",7', ("0", "2", "25001", "7")),
        ('+X: "never closed, so one', ("never closed, so one",)),
    ],
)  # fmt: skip
def test_arguments(line: str, fields: tuple[str, ...]) -> None:
    assert arguments(line) == fields


@pytest.mark.parametrize(
    ("line", "command", "expected"),
    [
        ("AT+CESQ", "AT+CESQ", Meaning.ECHO),
        ("OK", "AT+CESQ", Meaning.FINAL),
        ("+CME ERROR: 14", "AT+CPIN?", Meaning.FINAL),
        ("+CESQ: 99,99,255,255,255,255,64,72,94", "AT+CESQ", Meaning.ANSWER),
        ("+C5GREG: 2,1", "AT+C5GREG?", Meaning.ANSWER),
        ('+C5GREG: 2,1,"114000","100072000",11,4,"01.010101"', "AT+C5GREG?", Meaning.ANSWER),
        ('+C5GREG: 1,"114000","100072000",11,4,"01.010101"', "AT+C5GREG?", Meaning.EVENT),
        ("+C5GREG: 0", "AT+C5GREG?", Meaning.EVENT),
        ("+C5GREG: 2", "AT+C5GREG=2", Meaning.EVENT),
        ("+CSCON: 1", "AT+CSCON?", Meaning.EVENT),
        ("+CSCON: 1,0", "AT+CSCON?", Meaning.ANSWER),
        ("+CGEV: NW DETACH", "AT+CESQ", Meaning.EVENT),
        ("RDY", "ATI", Meaning.EVENT),
        ("RM520N-GL", "AT+CGMM", Meaning.ANSWER),
        ('+CGMM: "FM350-GL"', "AT+CGMM", Meaning.ANSWER),
        ("Quectel", "ATI", Meaning.ANSWER),
        ("+CPIN: READY", "AT+CPIN?", Meaning.ANSWER),
        ("+CPIN: READY", "AT+CESQ", Meaning.EVENT),
        ("a stray line", "AT+CESQ", Meaning.EVENT),
    ],
)
def test_answer_or_event(line: str, command: str, expected: Meaning) -> None:
    assert told(line, command) is expected


def test_without_a_command_all_but_results_are_events() -> None:
    assert meaning("+CESQ: 1", None, QUECTEL.unasked) is Meaning.EVENT
    assert meaning("OK", None, QUECTEL.unasked) is Meaning.FINAL


@pytest.mark.parametrize(
    ("final", "expected"),
    [
        ("OK", None),
        ("CONNECT 115200", None),
        ("ERROR", (None, "ERROR")),
        ("NO CARRIER", (None, "NO CARRIER")),
        ("+CME ERROR: 14", (14, "SIM busy")),
        ("+CME ERROR: 9999", (9999, "unnamed error")),
        ("+CME ERROR: sim not inserted", (10, "sim not inserted")),
        ("+CME ERROR: something of the maker's", (None, "something of the maker's")),
        ("+CMS ERROR: 500", (500, "unnamed error")),
    ],
)
def test_refusals(final: str, expected: tuple[int | None, str] | None) -> None:
    assert refusal(final) == expected


def test_network_operations_have_their_time() -> None:
    assert limit_s("at+cops=?") == 180
    assert limit_s("AT+CGACT=1,1") == 150
    assert limit_s("AT+CGACT?") == 3


def test_prefixes() -> None:
    assert prefix_of("+CGEV: ME PDN ACT 1") == "+CGEV"
    assert prefix_of("!GSTATUS: ") == "!GSTATUS"
    assert prefix_of("12:34:56") == ""
