"""pytest dies in the middle of a test: Allure and JUnit still show every test, none of them green.

The results here are what allure-pytest and pytest really leave behind, or do not.
"""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from xml.etree import ElementTree

from hil.record import RunDirectory, read
from hil.report import build

_RECORDS = """
import os, time
import pytest
from pathlib import Path
from hil.record import Record, RunDirectory
from hil.record.schema import CollectedLine, CollectedTest, RunLine, Source, TestLine

directory = RunDirectory(Path(os.environ["RUN_UNDER_TEST"]))
record = Record(directory.record)
record.write(RunLine(run_id=directory.run_id, testbed=Source(name="none"), plan="full",
    profile=Source(name="none"), simulated=False, hil="0", host="h", kernel="k", python="p",
    argv=(), started_ns=time.time_ns()))

def pytest_collection_finish(session):
    record.write(CollectedLine(tests=tuple(CollectedTest(nodeid=i.nodeid) for i in session.items)))

def pytest_runtest_logstart(nodeid):
    record.write(TestLine(nodeid=nodeid, phase="start"))

def pytest_runtest_logfinish(nodeid):
    record.write(TestLine(nodeid=nodeid, phase="finish", outcome="passed", duration_ns=1))
"""

_TESTS = """
import os, signal
import allure
import pytest

def test_done():
    allure.attach("AT+CPIN=1234\\nOK", "dialogue", allure.attachment_type.TEXT)

class TestOnce:
    @pytest.mark.parametrize("way", ["a::b"])
    def test_dies(self, way):
        os.kill(os.getpid(), signal.SIGKILL)

def test_never_begins():
    pass
"""


def test_nothing_that_died_is_green_or_absent(tmp_path: Path) -> None:
    suite = tmp_path / "suite"
    suite.mkdir()
    (suite / "conftest.py").write_text(textwrap.dedent(_RECORDS))
    (suite / "test_some.py").write_text(textwrap.dedent(_TESTS))
    (suite / "pytest.ini").write_text("[pytest]\n")
    directory = RunDirectory.create(tmp_path / "out")
    process = subprocess.run(
        [
            sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider",
            f"--alluredir={directory.allure_results}", f"--junitxml={directory.junit}", str(suite),
        ],
        cwd=suite, capture_output=True, text=True, timeout=90, check=False,
        env={**os.environ, "RUN_UNDER_TEST": str(directory.path)},
    )  # fmt: skip
    assert process.returncode == -9, process.stdout + process.stderr
    assert not directory.junit.exists()

    built = build(directory)
    assert built.ok, built.notes
    results = [
        json.loads(path.read_text()) for path in directory.allure_results.glob("*-result.json")
    ]
    assert sorted((one["fullName"], one["status"]) for one in results) == [
        ("test_some#test_done", "passed"),
        ("test_some#test_never_begins", "skipped"),
        ("test_some.TestOnce#test_dies", "broken"),
    ]
    died = next(one for one in results if one["status"] == "broken")
    assert "in the middle of this test" in died["statusDetails"]["message"]
    cases = {
        (case.get("classname"), case.get("name")): case
        for case in ElementTree.parse(directory.junit).getroot().iter("testcase")
    }
    assert set(cases) == {
        ("test_some", "test_done"),
        ("test_some.TestOnce", "test_dies[a::b]"),
        ("test_some", "test_never_begins"),
    }
    assert cases["test_some", "test_done"].find("error") is None
    assert cases["test_some.TestOnce", "test_dies[a::b]"].find("error") is not None
    assert read(directory.path).exit_code == 10
    texts = [path.read_text() for path in directory.allure_results.glob("*-attachment.txt")]
    assert texts
    assert not any("1234" in text for text in texts)
