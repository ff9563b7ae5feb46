"""A modem's answers read into records; the lines marked R are from public logs of real modules."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.drivers import at_records
from hil.drivers.at_dialect import QUECTEL
from hil.drivers.protocols import Rat, Reg, SNssai

TEXT = st.text(st.characters(min_codepoint=32, max_codepoint=126))


def test_serving_cell_on_standalone() -> None:
    line = (  # R
        '+QENG: "servingcell","NOCONN","NR5G-SA","TDD", 515,66,100072000,538,114000,620640,78,12,'
        "-109,-12,14,1,-"
    )
    sample = at_records.serving_cell([line], QUECTEL, 7)
    assert sample is not None
    assert (sample.t_ns, sample.rat) == (7, Rat.NR_SA)
    assert (sample.rsrp_dbm, sample.rsrq_db, sample.sinr_db) == (-109, -12, 14)
    assert (sample.band, sample.arfcn, sample.pci) == (78, 620640, 538)
    assert (sample.bandwidth_hz, sample.scs_hz) == (100e6, 30e3)


def test_serving_cell_on_endc_is_that_of_nr() -> None:
    lines = [  # R
        '+QENG: "servingcell","NOCONN"',
        '+QENG: "LTE","FDD",515,03,3359966,1,150,1,5,5,4AA3,-89,-13,-58,16,15,20,-',
        '+QENG:"NR5G-NSA",515,03,832,-76,21,-11,528030,41,8,1',
    ]
    sample = at_records.serving_cell(lines, QUECTEL, 0)
    assert sample is not None
    assert sample.rat is Rat.ENDC
    assert (sample.rsrp_dbm, sample.rsrq_db, sample.sinr_db) == (-76, -11, 21)
    assert (sample.arfcn, sample.band, sample.pci) == (528030, 41, 832)


def test_what_a_modem_does_not_know_is_none() -> None:
    line = '+QENG: "servingcell","LIMSRV","NR5G-SA","TDD",262,99,-,0,1,640320,77,-,-,-32768,,-,-'
    sample = at_records.serving_cell([line], QUECTEL, 0)
    assert sample is not None
    assert (sample.rsrp_dbm, sample.rsrq_db, sample.sinr_db) == (None, None, None)
    assert (sample.bandwidth_hz, sample.scs_hz) == (None, None)
    assert at_records.serving_cell(['+QENG: "servingcell","SEARCH"'], QUECTEL, 0) is None


def test_signal_quality_by_index() -> None:
    sample = at_records.signal_quality(["+CESQ: 99,99,255,255,255,255,64,72,94"], 0)
    assert sample is not None
    assert (sample.rsrp_dbm, sample.rsrq_db, sample.sinr_db) == (-84, -11, 24)
    unknown = at_records.signal_quality(["+CESQ: 99,99,255,255,255,255,255,255,255"], 0)
    assert unknown is not None
    assert (unknown.rat, unknown.rsrp_dbm) == (Rat.NONE, None)
    assert at_records.signal_quality(["+CESQ: 99,99,255,255,20,50"], 0) is None


def test_registration() -> None:
    line = '+C5GREG: 2,1,"114000","100072000",11,4,"01.010101"'  # R
    found = at_records.registration(line, "51566")
    assert found is not None
    assert (found.stat, found.rat, found.plmn) == (Reg.HOME, Rat.NR_SA, "51566")
    assert (found.tac, found.cell_id) == (0x114000, 0x100072000)
    assert found.allowed == (SNssai(1, 0x010101),)
    assert str(found.allowed[0]) == "1.010101"


def test_a_denied_registration_has_its_cause() -> None:
    found = at_records.registration("+C5GREG: 3,3,,,,,,0,27", None)
    assert found is not None
    assert (found.stat, found.registered, found.reject_cause) == (Reg.DENIED, False, 27)
    assert (found.rat, found.tac, found.allowed) == (Rat.NONE, None, ())


def test_slices() -> None:
    text = "01;02:01.000001:02.0000FF;01.000001:nonsense"
    assert at_records.snssais(text) == (SNssai(1), SNssai(1, 1), SNssai(2, 255))


def test_sessions() -> None:
    contexts = [
        '+CGDCONT: 1,"IPV4V6","","0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0",0,0,0,0,,,,,,,,,"",,,,0',  # R
        '+CGDCONT: 2,"Ethernet","data1","",0,0,0,0,,,,,,,,,,"01.000001",,,,0',
    ]
    found = at_records.sessions(
        contexts,
        ["+CGACT: 1,1", "+CGACT: 2,0"],
        ['+CGPADDR: 1,"10.45.0.2"'],
        {1: "+C5GQOSRDP: 1,9,,,,,1000000,500000"},
    )
    assert [(one.cid, one.active, one.pdu_type) for one in found] == [
        (1, True, "ipv4v6"),
        (2, False, "ethernet"),
    ]
    assert (found[0].five_qi, found[0].session_ambr_dl_bps) == (9, 10**9)
    assert (found[0].addresses, found[0].snssai) == (("10.45.0.2",), None)
    assert (found[1].five_qi, found[1].snssai) == (None, SNssai(1, 1))


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("+C5GREG: 0", "reg"),
        ("+CGEV: ME PDN ACT 1", "pdn-act"),
        ("+CGEV: NW PDN DEACT 1", "pdn-deact"),
        ("+CGEV: NW DETACH", "detach"),
        ("+CGEV: NW MODIFY 1,4,0", "other"),
        ("+CSCON: 1", "rrc"),
        ("RDY", "boot"),
        ("+QIND: SMS DONE", "other"),
    ],
)
def test_events(line: str, kind: str) -> None:
    event = at_records.event(line, 1, 2)
    assert (event.kind, event.raw, event.t_ns, event.monotonic_ns) == (kind, line, 1, 2)


@given(st.lists(TEXT))
def test_no_text_breaks_a_reader(lines: list[str]) -> None:
    at_records.sessions(lines, lines, lines, dict(enumerate(lines)))
    at_records.signal_quality([f"+CESQ: {line}" for line in lines], 0)
    at_records.serving_cell([f'+QENG: "NR5G-SA",{line}' for line in lines], QUECTEL, 0)
    at_records.operator([f"+COPS: {line}" for line in lines])
    for line in lines:
        at_records.registration(f"+C5GREG: {line}", None)
        at_records.event(line, 0, 0)


@given(st.floats(-200, 200))
def test_nothing_unbelievable_is_believed(level: float) -> None:
    line = f'+QENG: "servingcell","NOCONN","NR5G-SA","TDD",1,1,1,1,1,1,78,12,{level},-12,14,1,-'
    sample = at_records.serving_cell([line], QUECTEL, 0)
    assert sample is not None
    assert sample.rsrp_dbm is None or -156 <= sample.rsrp_dbm <= -31
