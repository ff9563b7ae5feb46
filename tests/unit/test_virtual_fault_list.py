"""Fault lists: the format, what it refuses, and lists that are drawn and sealed."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.errors import ConfigError, UsageError
from hil.virtual.faults import fault_list
from hil.virtual.faults.fault_list import KINDS, FaultList, draw, opened, read, sealed

EXAMPLE = """
schema: 1
delay: 2 ms
faults:
  - {packet: 3, do: drop}
  - {packet: 10, do: drop, count: 5}
  - {packet: 20, do: duplicate}
  - {packet: 30, do: swap}
  - {packet: 40, do: delay, by: 20 ms}
  - {packet: 50, do: corrupt, byte: -1}
  - {packet: 60, do: stall, by: 50 ms}
"""


def test_a_list_says_what_happens_to_which_packet(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(EXAMPLE)
    found = read(path)
    assert found.delay_ns == 2_000_000
    met = found.by_packet()
    assert {packet: each.do for packet, each in met.items()} == {
        3: "drop",
        **dict.fromkeys(range(10, 15), "drop"),
        20: "duplicate",
        30: "swap",
        40: "delay",
        50: "corrupt",
        60: "stall",
    }
    assert met[40].model_dump()["by_ns"] == 20_000_000


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{packet: 1, do: lose}", "drop"),
        ("{packet: -1, do: drop}", "packet"),
        ("{packet: 1, do: delay}", "by"),
        ("{packet: 1, do: delay, by: 5}", "10 ms"),
        ("{packet: 1, do: swap, count: 2}", "count"),
        ("{packet: 1, do: corrupt}", "byte"),
    ],
)
def test_a_wrong_line_is_refused_at_its_place(tmp_path: Path, line: str, says: str) -> None:
    path = tmp_path / "list.yaml"
    path.write_text(f"schema: 1\nfaults:\n  - {line}\n")
    with pytest.raises(ConfigError, match=says) as raised:
        read(path)
    assert "list.yaml:3:" in str(raised.value)


def test_a_packet_meets_one_fault(tmp_path: Path) -> None:
    path = tmp_path / "list.yaml"
    path.write_text("schema: 1\nfaults: [{packet: 4, do: swap}, {packet: 5, do: drop}]\n")
    with pytest.raises(ConfigError, match="packet 5 meets two faults, swap and drop"):
        read(path)


@given(st.integers(0, 2**63 - 1), st.integers(2_000, 20_000))
def test_a_draw_is_the_same_again_and_keeps_its_faults_apart(seed: int, packets: int) -> None:
    found = draw(seed, packets)
    assert found == draw(seed, packets)
    taken = sorted((each.packets.start, each.packets.stop) for each in found.faults)
    for (_, before), (after, _) in itertools.pairwise(taken):
        assert after - before >= 8
    assert all(start >= 16 and stop < packets - 8 for start, stop in taken)


def test_draws_differ_and_show_every_kind() -> None:
    drawn = [draw(seed, 2_000) for seed in range(50)]
    assert len({each.text() for each in drawn}) == 50
    seen = Counter(each.do for one in drawn for each in one.faults)
    assert set(seen) == set(KINDS) - {"stall"}
    assert any(len(each.packets) > 1 for one in drawn for each in one.faults if each.do == "drop")


def test_a_draw_without_room_is_refused() -> None:
    with pytest.raises(UsageError, match="draw more packets"):
        draw(1, 100, share=0.5)


@given(st.integers(0, 2**32), st.sampled_from([1_000, 5_000]))
def test_a_list_survives_its_file(seed: int, packets: int) -> None:
    found = draw(seed, packets, kinds=tuple(KINDS), share=0.01)
    path = Path(f"/dev/shm/hil-list-{seed}-{packets}")
    try:
        path.write_text(found.text())
        assert read(path) == found
    finally:
        path.unlink()


def test_a_seal_shows_nothing_and_holds_the_list(tmp_path: Path) -> None:
    secret = draw(7, 2_000)
    seals = [sealed(tmp_path / str(turn), secret) for turn in range(2)]
    assert seals[0] != seals[1], "a list that is known must not be recognised by its seal"
    assert (tmp_path / "0").stat().st_mode & 0o077 == 0
    assert opened(tmp_path / "0", seals[0]).faults == secret.faults
    with pytest.raises(UsageError, match="not the list of that seal"):
        opened(tmp_path / "0", seals[1])
    other = FaultList.model_validate({"schema": 1, "salt": "x"})
    (tmp_path / "0").write_text(other.text())
    with pytest.raises(UsageError, match="not the list of that seal"):
        opened(tmp_path / "0", seals[0])


def test_one_process_seals_and_another_opens(tmp_path: Path) -> None:
    def program(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", fault_list.__name__, *words],
            capture_output=True,
            text=True,
            check=False,
        )

    path = str(tmp_path / "secret")
    seal = program("draw", path, "2000").stdout.strip()
    assert len(seal) == 64
    told = program("open", path, seal)
    assert told.stdout == (tmp_path / "secret").read_text()
    assert program("open", path, "0" * 64).returncode == 2
    assert program("draw", path, "2000").returncode == 2, "a secret is never drawn over"
    assert program("shut", path).returncode == 2
