"""What `hil doctor` says of a bench: nothing of it is lost, and nothing is taken on trust."""

from pathlib import Path

import pytest
from rich.console import Console

from hil.cli.doctor import Finding, _clock, _privileges, stamps, table
from hil.drivers.registry import Registry
from hil.samples.clock_evidence import ClockEvidence
from hil.testbed import Testbed, load
from hil.testbed.clock import ClockConfig
from hil.traffic.hardware import NOTHING, Capability


def bench(tmp_path: Path, launcher: str) -> Testbed:
    file = tmp_path / "bench.yaml"
    file.write_text(f"schema: 1\nname: bench\nports: {{launcher: {launcher}}}\n")
    return load(str(file), Registry())


def test_a_cure_is_printed_word_for_word() -> None:
    console = Console(width=200, record=True, force_terminal=False)
    console.print(table("bench", [Finding("x", "bad", "[Errno 2]", "pip install 'hil[allure]'")]))
    said = console.export_text()
    assert "pip install 'hil[allure]'" in said
    assert "[Errno 2]" in said


@pytest.mark.parametrize(
    ("launcher", "said"),
    [
        ("[/nowhere/setpriv]", "No such file"),
        ("[sh, -c, 'echo locked >&2; exit 1']", "locked"),
        ("[setpriv, --bounding-set=-all, --inh-caps=-all, --reuid=65534]", "setpriv"),
    ],
)
def test_a_launcher_is_tried_and_not_trusted(tmp_path: Path, launcher: str, said: str) -> None:
    finding = _privileges(bench(tmp_path, launcher))
    assert finding.grade == "bad"
    assert said in finding.found
    assert "setcap" in finding.cure


def test_a_launcher_that_gives_what_is_needed_is_good(tmp_path: Path) -> None:
    (tmp_path / "launcher").write_text(
        "#!/bin/sh\nprintf 'Name:\\tcat\\nCapEff:\\t0000000000002000\\n'\n"
    )
    (tmp_path / "launcher").chmod(0o755)
    assert _privileges(bench(tmp_path, f"[{tmp_path}/launcher]")).grade == "good"


def test_stamps_of_a_card_are_shown_as_not_yet_run_on_hardware() -> None:
    assert "by the kernel" in stamps("mec", NOTHING).found
    finding = stamps("mec", Capability(transmit=True, receive=True, clock=4_095))
    assert finding.grade == "note"
    assert "TX and RX, clock /dev/ptp4095" in finding.found
    assert "not yet run on hardware" in finding.cure
    assert "/dev/ptp4095 cannot be read here" in finding.cure


def test_a_clock_that_nobody_keeps_is_bad() -> None:
    finding = _clock(ClockConfig(ptp="/nowhere/ptp4l"), ClockEvidence(kind="ptp"))
    assert finding.grade == "bad"
    assert "/nowhere/ptp4l" in finding.found or "pmc is not installed" in finding.found
    assert finding.cure
