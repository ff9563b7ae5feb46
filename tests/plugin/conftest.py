"""A bench without devices, and measurements made of numbers, for tests of the plugin itself."""

import json
import os
import subprocess
import sys
import textwrap
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

_MADE = '''
"""A measurement made of numbers, as a suite would get it from a path."""

import numpy as np

from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.table import SAMPLE, blank


def measured(n=1000, late=0, direction="uplink", invalid=()):
    table = blank(SAMPLE, n)
    table["seq"] = np.arange(n)
    table["frame"] = np.arange(n)
    table["size"] = 255
    start = 1_700_000_000_000_000_000
    table["intended_ns"] = start + np.arange(n) * 10_000_000
    table["tx_user_ns"] = table["tx_kernel_ns"] = table["intended_ns"]
    delay = np.full(n, 3_000_000)
    delay[:late] = 30_000_000
    table["rx_kernel_ns"] = table["tx_kernel_ns"] + delay
    table["arrival"] = np.arange(n)
    table["copies"] = 1
    counts = Counts(
        sent=n, warmup_sent=0, received=n, lost=0, duplicated=0, reordered=0, corrupted=0,
        foreign=0, send_failed=0,
    )
    return Measurement(
        id=f"made-{direction}", flow="made", path="device-edge", direction=direction,
        tx_port="a", rx_port="b", traffic={"pattern": "periodic"}, interval_ns=10_000_000,
        samples=table, counts=counts, timing=Timing("kernel", "kernel"),
        budget=Budget(common_mode_ns=0, floor_ns=np.zeros(1, np.int64), sources=("made",)),
        invalid=tuple(invalid),
    )
'''

#: A bench of its own for each test session: a bench is leased to one run at a time.
_BENCH = f"schema: 1\nname: bare-{os.getpid()}\ndevices: {{}}\nports: {{}}\npaths: {{}}\n"


@dataclass(frozen=True)
class Ended:
    """A bench run that has ended."""

    code: int
    text: str
    directory: Path

    @property
    def record(self) -> list[dict[str, object]]:
        lines = (self.directory / "record.jsonl").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    @property
    def allure(self) -> dict[str, str]:
        """Status by test name."""
        found = {}
        for path in (self.directory / "allure-results").glob("*-result.json"):
            result = json.loads(path.read_text("utf-8"))
            found[result["fullName"].rpartition("#")[2]] = result["status"]
        return found

    @property
    def junit(self) -> dict[str, str]:
        """passed, failure, error or skipped, by test name."""
        found = {}
        for case in ET.parse(self.directory / "junit.xml").iter("testcase"):
            kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
            found[case.attrib["name"]] = kinds[0] if kinds else "passed"
        return found

    def finish(self, name: str) -> dict[str, object]:
        """The line in which the record says how a test ended."""
        return next(
            line
            for line in self.record
            if line["kind"] == "test"
            and line["phase"] == "finish"
            and str(line["nodeid"]).endswith(f"::{name}")
        )


Bench = Callable[..., Ended]


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """Runs a suite of that text with `hil run` on a bench without devices."""

    def run(suite: str, *options: str, plan: str = "smoke") -> Ended:
        (tmp_path / "made.py").write_text(_MADE, "utf-8")
        (tmp_path / "bare.yaml").write_text(_BENCH, "utf-8")
        (tmp_path / "pytest.ini").write_text("[pytest]\n", "utf-8")
        (tmp_path / "test_it.py").write_text(textwrap.dedent(suite), "utf-8")
        done = subprocess.run(
            command("run", "test_it.py", "--testbed", "./bare.yaml", "--plan", plan, *options),
            cwd=tmp_path,
            # The Allure site is the report's own business; leaving it out halves the time.
            env={**os.environ, "PYTHONPATH": str(tmp_path), "HIL_ALLURE": str(tmp_path / "none")},
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
        return Ended(done.returncode, done.stdout + done.stderr, tmp_path / "out" / "latest")

    return run


def command(*words: str) -> Sequence[str]:
    return [sys.executable, "-m", "hil", *words]
