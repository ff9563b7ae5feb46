"""A word with one device: hil at, hil scpi and hil plc on the shipped virtual testbed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

#: Enters one world and says each line of words to `hil` inside it.
SAY = """\
import json, pathlib, subprocess, sys
from hil import _enter
_enter.enter(pathlib.Path("testbeds/virtual.yaml"), [sys.executable, *sys.orig_argv[1:]])
for words in json.loads(sys.argv[1]):
    done = subprocess.run([sys.executable, "-m", "hil", *words], capture_output=True, text=True)
    print(json.dumps([done.returncode, done.stdout, done.stderr]), flush=True)
"""

GOOD = {
    "at": (["at", "cpe1", "AT+C5GREG?"], "+C5GREG: "),
    "scpi": (["scpi", "att1", "ATT:CHAN1?;:SYST:ERR?"], '0.00;0,"No error"\n'),
    "write": (["plc", "write", "plc1", "output", "300"], "output = 300\n"),
    "read": (["plc", "read", "plc1", "watchdog", "output"], "watchdog = 100 ms\noutput = 300 1\n"),
}
UNSAFE = {"range": (["plc", "write", "plc1", "output", "1001"], "1001 is above max 1000")}


@pytest.fixture(scope="module")
def said() -> dict[str, Any]:
    cases = {**GOOD, **UNSAFE}
    words = json.dumps([each for each, _ in cases.values()])
    run = subprocess.run(
        [sys.executable, "-c", SAY, words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return dict(zip(cases, map(json.loads, run.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("case", GOOD)
def test_says_what_the_device_says(said: dict[str, Any], case: str) -> None:
    code, out, err = said[case]
    assert code == 0, err
    assert out.startswith(GOOD[case][1])


def test_an_action_is_told(said: dict[str, Any]) -> None:
    assert said["write"][2] == "plc1: write({'output': 300})\n"


@pytest.mark.parametrize("case", UNSAFE)
def test_the_guard_stands_between(said: dict[str, Any], case: str) -> None:
    code, out, err = said[case]
    assert (code, out) == (10, "")
    assert UNSAFE[case][1] in err


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["at", "cpe9", "AT"], "no device 'cpe9'"),
        (["at", "att1", "AT"], "att1 is driven by attenuator_scpi, which knows no AT commands"),
        (["plc", "write", "plc1", "output", "fast"], "'fast' is no value"),
    ],
)
def test_what_cannot_be_is_said(words: list[str], why: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hil", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert why in done.stderr
