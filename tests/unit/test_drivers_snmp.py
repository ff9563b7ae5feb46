"""SNMP messages at both ends: nothing that comes in by UDP ends the agent or fools the driver."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyasn1.codec.ber import encoder
from pysnmp.proto import api

from hil.drivers.snmp import SnmpLink
from hil.drivers.transcript import Transcript
from hil.testbed import SwitchEndpoint
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.outlets import Outlets
from hil.virtual.endpoints.switch_snmp import CONTROL, SnmpSwitch

MODULE: Any = api.PROTOCOL_MODULES[api.SNMP_VERSION_2C]


@pytest.fixture(scope="module")
def agent() -> Iterator[SnmpSwitch]:
    config = SwitchEndpoint.model_validate({"kind": "switch", "listen": "127.0.0.1:1"})
    served = SnmpSwitch(("127.0.0.1", 0), Outlets("pdu1", config, Mains({})))
    yield served
    served.close()


def message(number: int, pdu: Any, community: str = "private") -> bytes:
    MODULE.apiPDU.set_defaults(pdu)
    MODULE.apiPDU.set_request_id(pdu, number)
    MODULE.apiPDU.set_varbinds(pdu, [((*CONTROL, 1), MODULE.Integer(1))])
    whole = MODULE.Message()
    MODULE.apiMessage.set_defaults(whole)
    MODULE.apiMessage.set_community(whole, community)
    MODULE.apiMessage.set_pdu(whole, pdu)
    return bytes(encoder.encode(whole))


GOOD = message(7, MODULE.SetRequestPDU())


@st.composite
def damaged(draw: st.DrawFn, whole: bytes) -> bytes:
    """A message with some bytes changed, or its end missing."""
    data = bytearray(whole[: draw(st.integers(0, len(whole)))])
    for _ in range(draw(st.integers(0, 4))):
        if data:
            data[draw(st.integers(0, len(data) - 1))] = draw(st.integers(0, 255))
    return bytes(data)


@given(data=st.binary(max_size=80) | damaged(GOOD))
def test_nothing_ends_the_agent(agent: SnmpSwitch, data: bytes) -> None:
    answer = agent.answer(data)
    assert answer is None or isinstance(answer, bytes)


def link() -> SnmpLink:
    made = SnmpLink("pdu1", "127.0.0.1", port=1, version="2c", limit_s=1.0, transcript=Transcript())
    made._number = 7
    return made


@given(data=st.binary(max_size=80) | damaged(message(7, MODULE.ResponsePDU())))
def test_nothing_fools_the_driver(data: bytes) -> None:
    found = link()._ours(MODULE, data)
    assert found is None or int(MODULE.apiPDU.get_request_id(found)) == 7


def test_only_the_answer_to_this_very_question_counts() -> None:
    assert link()._ours(MODULE, message(7, MODULE.ResponsePDU())) is not None
    assert link()._ours(MODULE, message(6, MODULE.ResponsePDU())) is None
    assert link()._ours(MODULE, message(7, MODULE.GetRequestPDU())) is None


def test_a_stranger_is_not_answered(agent: SnmpSwitch) -> None:
    assert agent.answer(message(7, MODULE.SetRequestPDU())) is not None
    assert agent.answer(message(7, MODULE.SetRequestPDU(), "public")) is None
    assert agent.answer(message(7, MODULE.GetRequestPDU(), "guest")) is None
