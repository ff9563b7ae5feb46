"""The arrival filter, run by a small machine of classic BPF instead of the kernel's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from hil.traffic import linux
from hil.traffic.match import Expected, Shape
from hil.traffic.receiver import arrival_filter


def kept(program: Sequence[linux.Instruction], frame: bytes) -> bool:
    at = accumulator = 0
    while True:
        code, if_true, if_false, operand = program[at]
        at += 1
        if code == linux.BPF_RET:
            return operand > 0
        if code == linux.BPF_LD_LENGTH:
            accumulator = len(frame)
        elif code in (linux.BPF_LD_HALF, linux.BPF_LD_BYTE):
            width = 2 if code == linux.BPF_LD_HALF else 1
            if operand + width > len(frame):
                return False  # a load beyond the packet ends the program
            accumulator = int.from_bytes(frame[operand : operand + width], "big")
        elif code == linux.BPF_AND:
            accumulator &= operand
        elif code == linux.BPF_JA:
            at += operand
        else:
            met = {
                linux.BPF_JEQ: accumulator == operand,
                linux.BPF_JGE: accumulator >= operand,
                linux.BPF_JGT: accumulator > operand,
            }[code]
            at += if_true if met else if_false


def expected(udp_port: int | None, *lengths: int, version: Any = 4) -> Expected:
    shapes = {each: Shape(each, np.zeros(each, np.uint8), np.ones(each, bool)) for each in lengths}
    return Expected(
        flow=0,
        probe_at=28 if udp_port else 0,
        ethernet=udp_port is None,
        udp_port=udp_port,
        routed=False,
        offsets_ns=np.zeros(1, np.int64),
        shapes=shapes,
        version=version if udp_port else None,
    )


def ethernet(kind: bytes, length: int, port: int = 0) -> bytes:
    frame = bytearray(length)
    frame[12:14] = kind
    frame[14] = 0x60 if kind == IPV6 else 0x45
    at = 56 if kind == IPV6 else 36
    frame[at : at + 2] = port.to_bytes(2, "big")
    return bytes(frame)


OURS, IPV4, IPV6 = b"\x88\xb5", b"\x08\x00", b"\x86\xdd"


def test_ethernet_flows_keep_their_ethertype_alone() -> None:
    program = arrival_filter([expected(None, 114)], 14, 0)
    assert kept(program, ethernet(OURS, 128))
    assert kept(program, ethernet(OURS, 60)), "a truncated frame must be seen to be counted"
    assert not kept(program, ethernet(IPV4, 128))
    assert not kept(program, ethernet(IPV6, 128))


@pytest.mark.parametrize("trailer", [0, 32])
def test_udp_flows_keep_their_port_and_their_lengths(trailer: int) -> None:
    program = arrival_filter([expected(5005, 200)], 14, trailer)
    assert kept(program, ethernet(IPV4, 99, 5005))
    assert kept(program, ethernet(IPV4, 214, 1)), "its port may have been damaged"
    assert kept(program, ethernet(IPV4, 246, 1)) == (trailer == 32)
    assert not kept(program, ethernet(IPV4, 99, 5006))
    assert not kept(program, ethernet(IPV6, 214, 5005))
    assert not kept(program, ethernet(OURS, 214, 5005))


def test_bare_ip_is_looked_at_from_its_first_byte() -> None:
    program = arrival_filter([expected(5005, 200)], 0, 0)
    assert kept(program, b"\x45" + bytes(21) + (5005).to_bytes(2, "big") + bytes(50))
    assert kept(program, bytes(200))
    assert not kept(program, bytes(199))
    assert not kept(program, b"\x60" + bytes(41) + (5005).to_bytes(2, "big") + bytes(50))


def test_a_flow_over_ipv6_keeps_its_port_and_its_lengths_and_no_ipv4() -> None:
    program = arrival_filter([expected(5005, 200, version=6)], 14, 0)
    assert kept(program, ethernet(IPV6, 99, 5005))
    assert kept(program, ethernet(IPV6, 214, 1))
    assert not kept(program, ethernet(IPV6, 99, 5006))
    assert not kept(program, ethernet(IPV4, 214, 5005))


def test_flows_of_both_versions_share_a_port_and_their_udp_ports_are_not_mixed_up() -> None:
    flows = [expected(5005, 200), expected(6006, 210, version=6), expected(None, 114)]
    program = arrival_filter(flows, 14, 0)
    assert kept(program, ethernet(IPV4, 99, 5005))
    assert kept(program, ethernet(IPV6, 99, 6006))
    assert not kept(program, ethernet(IPV4, 99, 6006))
    assert not kept(program, ethernet(IPV6, 99, 5005))
    assert kept(program, ethernet(OURS, 60))
    assert kept(arrival_filter(flows[:2], 0, 0), ethernet(IPV6, 113, 6006)[14:])


def test_many_lengths_are_a_range_and_the_program_stays_short() -> None:
    program = arrival_filter([expected(5005, *range(100, 1500))], 14, 0)
    assert len(program) < 25
    assert [kept(program, ethernet(IPV4, each, 1)) for each in (113, 114, 1513, 1514)] == [
        False,
        True,
        True,
        False,
    ]


def test_both_layers_share_a_port() -> None:
    program = arrival_filter([expected(None, 114), expected(5005, 200)], 14, 0)
    assert kept(program, ethernet(OURS, 128))
    assert kept(program, ethernet(IPV4, 99, 5005))
    assert not kept(program, ethernet(IPV4, 128, 1))
