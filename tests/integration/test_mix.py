"""`hil measure --traffic`: several flows from a file, together on one pair of ports."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

MIX = """\
flows:
  control: {pattern: periodic, size: 255 B, interval: 10 ms, directions: [uplink, downlink]}
  alarms: {pattern: poisson, size: 100 B, interval: 4 ms}
  images: {pattern: burst, frame_size: 20 kB, interval: 100 ms, pacing: back to back}
"""


def hil(*words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hil", "measure", "--tx", "lan_a", "--rx", "mec", *words],
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> Any:
    place = tmp_path_factory.mktemp("mix")
    (place / "mix.yaml").write_text(MIX)
    words = ("--traffic", "mix.yaml", "--duration", "2 s", "--bound", "1 ms", "--period", "2.5 ms")
    done = hil(*words, "--json", cwd=place)
    assert done.returncode == 1, done.stderr
    return {each["flow"]: each for each in json.loads(done.stdout)["flows"]}


def test_every_flow_is_counted_by_itself(said: Any) -> None:
    sent = {name: each["sent"] for name, each in said.items()}
    assert sent == {
        "control uplink": 200,
        "control downlink": 200,
        "alarms": 500,
        "images": 20 * 15,
    }
    for each in said.values():
        assert (each["received"], each["lost"]) == (each["sent"], 0)
        assert each["verdict"] == "FAIL", "no packet crosses this cell within 1 ms"


def test_late_packets_have_causes_and_delays_follow_the_period(said: Any) -> None:
    for each in said.values():
        late = each["autopsy"]
        assert late["late"] == each["late"] > 0
        assert sum(count for _, count in late["causes"]) == late["late"]
    folded = said["alarms"]["phase"]
    assert folded["period_ns"] == 2_500_000
    assert 200 <= sum(part["n"] for part in folded["parts"]) <= 500, "less what the host spoiled"
    assert folded["periodic"], "uplink waits for its slot"


WRONG = {
    "flows: {a: {pattern: periodic, size: 255 B}}": "mix.yaml:1:",
    "flow: {}": "unknown key; did you mean 'flows'?",
    "flows: {a: {pattern: replay, file: none.pcap}}": "none.pcap cannot be read as a capture",
}


@pytest.mark.parametrize("text", WRONG)
def test_a_faulty_file_is_told_by_line(text: str, tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text(text)
    done = hil("--traffic", "mix.yaml", cwd=tmp_path)
    assert done.returncode == 2
    assert WRONG[text] in done.stderr
    assert "Traceback" not in done.stderr


def test_what_the_file_says_is_not_said_again(tmp_path: Path) -> None:
    (tmp_path / "mix.yaml").write_text(MIX)
    done = hil("--traffic", "mix.yaml", "--size", "100 B", cwd=tmp_path)
    assert done.returncode == 2
    assert "--size goes without --traffic" in done.stderr
