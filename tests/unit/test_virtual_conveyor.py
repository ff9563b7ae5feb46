"""The simulated controller's program: the same whether it is asked often or seldom."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.virtual.endpoints.conveyor import Conveyor, Register

SCAN = 5_000_000
MS = 1_000_000

WRITES = st.lists(
    st.tuples(
        st.integers(0, 400 * MS),
        st.sampled_from(
            [
                (Register.OUTPUT, 500),
                (Register.HEARTBEAT, 0),
                (Register.HEARTBEAT, 1),
                (Register.HEARTBEAT, 2),
                (Register.WATCHDOG_MS, 30),
                (Register.ECHO, 77),
            ]
        ),
    ),
    max_size=8,
)


def state(program: Conveyor) -> tuple[object, ...]:
    return (
        program.registers.copy(),
        program.scan_count,
        program.echoed,
        program.tripped,
        round(program.speed, 9),
    )


@given(WRITES, st.lists(st.integers(0, 500 * MS), max_size=30))
def test_asking_in_between_changes_nothing(
    writes: list[tuple[int, tuple[Register, int]]], looks: list[int]
) -> None:
    seldom, often = Conveyor(SCAN, 100, 0), Conveyor(SCAN, 100, 0)
    for at_ns, (register, value) in sorted(writes):
        for program in (seldom, often):
            if program is often:
                for look in sorted(look for look in looks if look <= at_ns):
                    program.advance(look)
            program.write(register, value, at_ns)
    for step in range(0, 600 * MS, SCAN):
        often.advance(step)
    seldom.advance(600 * MS)
    often.advance(600 * MS)
    assert state(seldom) == state(often)


def test_the_echo_comes_with_the_next_scan() -> None:
    program = Conveyor(SCAN, 100, 0)
    program.write(Register.ECHO, 7, 12 * MS)
    program.advance(15 * MS - 1)
    assert program.echoed == 0
    program.advance(15 * MS)
    assert (program.echoed, program.scan_count) == (7, 3)


def test_the_watchdog_trips_at_its_limit_and_not_before() -> None:
    program = Conveyor(SCAN, 100, 0)
    program.write(Register.OUTPUT, 1000, 0)
    program.advance(10_000 * MS)
    assert program.running, "armed without a heartbeat"
    program.write(Register.HEARTBEAT, 1, 10_000 * MS)
    program.advance(10_105 * MS)  # seen at 10,005; 100 ms later is not yet too late
    assert program.running
    program.advance(10_110 * MS)
    assert program.tripped
    assert program.registers[Register.OUTPUT] == 0
    assert program.speed < 2.0


def test_a_heartbeat_in_time_keeps_it_running_and_one_after_it_brings_it_back() -> None:
    program = Conveyor(SCAN, 100, 0)
    for beat in range(1, 50):
        program.write(Register.HEARTBEAT, beat, beat * 90 * MS)
        program.advance(beat * 90 * MS + 89 * MS)
        assert program.running
    program.advance(60_000 * MS)
    assert program.tripped
    program.write(Register.HEARTBEAT, 99, 60_000 * MS)
    program.advance(60_005 * MS)
    assert program.running
    program.write(Register.HEARTBEAT, 0, 60_006 * MS)
    program.advance(90_000 * MS)
    assert program.running, "0 disarms"


def test_the_belt_follows_with_its_lag() -> None:
    program = Conveyor(SCAN, 100, 0)
    program.write(Register.OUTPUT, 1000, 0)
    program.advance(300 * MS)
    assert program.speed == pytest.approx(2 * (1 - 0.3679), rel=0.01)


@pytest.mark.parametrize(
    ("register", "value"), [(Register.OUTPUT, 1001), (Register.WATCHDOG_MS, 9)]
)
def test_values_that_the_program_does_not_take(register: Register, value: int) -> None:
    program = Conveyor(SCAN, 100, 0)
    before = state(program)
    with pytest.raises(ValueError, match="does not take"):
        program.write(register, value, 0)
    assert state(program) == before


def test_the_scan_counter_wraps() -> None:
    program = Conveyor(SCAN, 100, 0)
    program.advance(70_000 * SCAN)
    assert program.scan_count == 70_000 - 65_536
