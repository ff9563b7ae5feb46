"""The endpoints process: what it says to the holder, and how it comes and goes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.modem_at import ModemAt, ModemConfig
from hil.errors import ConnectFailed, DriverTimeout
from hil.virtual.coupling import Coupling

BENCH = """\
schema: 1
name: tiny
devices:
  cpe1: {driver: modem_at, port: "${run}/cpe1"}
ports:
  lan_a: {interface: lan_a, side: device, behind: cpe1, address: 10.61.0.2/24}
world:
  endpoints:
    cpe1: {kind: modem, link: cpe1, imsi: "001010000000001", lan: lan_a}
"""


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[str], subprocess.Popen[str]]]:
    children: list[subprocess.Popen[str]] = []

    def go(text: str) -> subprocess.Popen[str]:
        (tmp_path / "bench.yaml").write_text(text)
        Coupling.create(tmp_path / "coupling", ["cpe1"])
        arguments = ["--testbed", "bench.yaml", "--run", ".", "--coupling", "coupling"]
        child = subprocess.Popen(
            [sys.executable, "-m", "hil.virtual.endpoints", *arguments],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        children.append(child)
        return child

    yield go
    for child in children:
        with child:
            child.kill()


def answer(child: subprocess.Popen[str]) -> Any:
    assert child.stdin is not None
    assert child.stdout is not None
    child.stdin.write("go\n")
    child.stdin.flush()
    return json.loads(child.stdout.readline())


def cpe(tmp_path: Path) -> ModemAt:
    fields = {"driver": "modem_at", "port": str(tmp_path / "cpe1"), "command_limit": "500 ms"}
    return ModemAt("cpe1", ModemConfig.model_validate(fields))


def test_serves_until_it_is_told_to_end(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    child = start(BENCH)
    assert answer(child) == {"ready": True}
    device = cpe(tmp_path)
    device.open()
    assert device.registration().registered
    child.send_signal(signal.SIGTERM)
    assert child.wait(20) == 0
    assert not (tmp_path / "cpe1").is_symlink()
    device.close()
    with pytest.raises(ConnectFailed):
        device.open()


def test_a_stopped_modem_is_a_black_hole_and_nothing_is_mixed_up_after_it(
    start: Callable[[str], subprocess.Popen[str]], tmp_path: Path
) -> None:
    child = start(BENCH)
    assert answer(child) == {"ready": True}
    device = cpe(tmp_path)
    device.open()
    child.send_signal(signal.SIGSTOP)
    with pytest.raises(DriverTimeout):
        device.command("AT+CGMM")
    child.send_signal(signal.SIGCONT)
    assert device.command("AT+CGSN") == ["860000000000000"]
    assert device.command("AT+CGMM") == ["RM520N-GL"]
    device.close()


def test_ends_when_the_holder_is_gone_before_it_began(
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    child = start(BENCH)
    assert child.stdin is not None
    child.stdin.close()
    assert child.wait(20) == 1


def test_says_in_one_sentence_why_it_cannot_serve(
    start: Callable[[str], subprocess.Popen[str]],
) -> None:
    child = start(BENCH.replace("link: cpe1", "link: other"))
    assert list(answer(child)) == ["error"]
    assert child.wait(20) == 1
