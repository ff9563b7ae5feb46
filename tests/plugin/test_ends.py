"""The less usual ends of a test and of a run: what was judged stays judged."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Bench = Callable[..., Any]

HEAD = """
import os, signal
import pytest
import hil
from made import measured
"""


def judgements(done: Any) -> list[tuple[object, object]]:
    return [(j["requirement"], j["verdict"]) for j in done.record if j["kind"] == "judgement"]


def test_a_card_that_cannot_be_drawn_takes_no_judgement_with_it(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1", "AR-1")
def test_both(judge, monkeypatch):
    def broken(*given, **named):
        raise KeyError("no such colour")
    monkeypatch.setattr("hil.report.card.render", broken)
    judge.expect(measured(late=500), "SD-1", "AR-1")
"""
    )
    assert done.code == 1
    assert {name for name, _ in judgements(done)} == {"SD-1", "AR-1"}
    assert ("SD-1", "FAIL") in judgements(done)
    assert done.finish("test_both")["cause"] == "target missed"
    assert any("no such colour" in str(line.get("text")) for line in done.record)
    assert len(list(done.directory.glob("cards/*.html"))) == len(judgements(done))


def test_the_same_measurement_judged_twice_is_two_judgements(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("MO-1")
def test_readings(judge):
    for seconds in (1, 2):
        judge.value("MO-1", seconds * 1e9, uncertainty=0)
"""
    )
    assert done.code == 0
    assert len(judgements(done)) == 2
    assert len(list((done.directory / "cards").iterdir())) == 2


def test_a_fixture_that_judges_in_its_teardown_is_heard(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.fixture
def watched(judge):
    judge.expect(measured(), "SD-1")
    yield
    judge.expect(measured(late=500, direction="downlink"), "SD-1")

@pytest.mark.requirement("SD-1")
def test_watched(watched):
    pass
"""
    )
    assert done.code == 1
    assert done.allure == {"test_watched": "failed"}
    assert done.junit["test_watched"] != "passed"
    assert done.finish("test_watched")["cause"] == "target missed"


@pytest.mark.parametrize("leave", ["pytest.skip('enough')", "pytest.xfail('enough')"])
def test_leaving_early_takes_back_no_failure(bench: Bench, leave: str) -> None:
    done = bench(
        HEAD
        + f"""
@pytest.mark.requirement("SD-1")
def test_leaves(judge):
    judge.expect(measured(late=500), "SD-1")
    {leave}
"""
    )
    assert done.code == 1
    assert done.allure == {"test_leaves": "failed"}
    assert done.junit["test_leaves"] == "failure"


def test_an_expected_failure_is_no_pardon(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.xfail(strict=False)
def test_rig():
    raise hil.DriverError("plc1", "read", "no answer")

@pytest.mark.requirement("SD-1")
@pytest.mark.xfail(strict=False)
def test_missed(judge):
    judge.expect(measured(late=500), "SD-1")
"""
    )
    assert done.code == 1
    assert done.finish("test_missed")["cause"] == "target missed"
    assert done.finish("test_rig")["cause"] == "rig"


def test_a_strict_expectation_that_does_not_come_true_is_a_defect_of_the_suite(
    bench: Bench,
) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
@pytest.mark.xfail(strict=True)
def test_met(judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 3
    assert done.finish("test_met")["cause"] == "defect"


def test_of_several_things_that_went_wrong_the_worst_is_the_cause(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_parts(subtests, judge):
    with subtests.test("a"):
        judge.require(measured(), "SD-1")
    with subtests.test("b"):
        judge.require(measured(late=500, direction="downlink"), "SD-1")
""",
        plan="full",
    )
    assert done.code == 1
    assert done.finish("test_parts")["cause"] == "target missed"
    assert "uplink" in str(done.finish("test_parts")["detail"])
    assert not [line for line in done.record if line.get("category") == "rig fault"]


def test_only_undecided_subtests_are_no_rig_fault(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_parts(subtests, judge):
    for direction in ("uplink", "downlink"):
        with subtests.test(direction):
            judge.require(measured(direction=direction), "SD-1")
""",
        plan="full",
    )
    assert done.code == 11
    assert not [line for line in done.record if line.get("category") == "rig fault"]


@pytest.mark.parametrize("phase", ["setup", "call"])
def test_an_interruption_between_the_phases_of_a_test_is_never_green(
    bench: Bench, phase: str
) -> None:
    done = bench(
        HEAD
        + f"""
@pytest.fixture(autouse=True, scope="session")
def hook(request):
    class Hook:
        def pytest_runtest_logreport(self, report):
            if report.when == "{phase}":
                raise KeyboardInterrupt
    request.config.pluginmanager.register(Hook())

def test_cut():
    pass
"""
    )
    assert done.code == 10
    assert done.finish("test_cut")["cause"] == "interrupted"
    assert done.allure.get("test_cut") != "passed"
    assert done.junit["test_cut"] != "passed"


def test_a_session_fixture_uses_its_device_before_that_goes_home(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.fixture(scope="session")
def settings(request):
    from hil.plugin.session import SESSION
    session = request.config.stash[SESSION]
    yield
    session.note(f"fixture torn down, lab open: {session._lab is not None}")

def test_first(settings):
    raise hil.DriverError("plc1", "read", "no answer")

def test_second(settings):
    pass
""",
        "-x",
    )
    assert done.code == 10
    assert any(line.get("text") == "fixture torn down, lab open: True" for line in done.record)


def test_a_full_disk_in_a_run_is_the_rigs_and_ends_it(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_met(judge):
    judge.expect(measured(), "SD-1")

def test_full(monkeypatch):
    from hil.errors import RigError
    from hil.record.writer import Record
    def write(self, line):
        raise RigError("record.jsonl: cannot be written: No space left on device")
    Record.write = write

def test_after():
    open("after", "w").close()
"""
    )
    assert done.code == 10
    assert "No space left on device" in done.text
    assert not (done.directory.parents[1] / "after").exists()
    assert "Traceback" not in done.text
    assert "INTERNALERROR" not in done.text


def plain_pytest(place: Path, suite: str, *options: str) -> subprocess.CompletedProcess[str]:
    (place / "bare.yaml").write_text(f"schema: 1\nname: plain-{os.getpid()}\n")
    (place / "test_it.py").write_text(suite)
    words = ["-m", "pytest", "-p", "no:cacheprovider", "--testbed", "./bare.yaml", *options]
    return subprocess.run(
        [sys.executable, *words, "test_it.py"],
        cwd=place,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_an_unknown_profile_is_a_usage_error_of_plain_pytest_too(tmp_path: Path) -> None:
    done = plain_pytest(tmp_path, "def test_it(): pass\n", "--targets", "6g")
    assert done.returncode == 2
    assert "5gdn" in done.stderr
    assert not (tmp_path / "out").exists()


def test_plain_pytest_says_how_the_run_ended(tmp_path: Path) -> None:
    done = plain_pytest(tmp_path, "def test_it(): assert False, 'no light'\n")
    assert done.returncode == 1
    assert "TARGET MISSED test_it.py::test_it" in done.stdout
    assert "still goes on" not in done.stdout


def test_a_question_to_pytest_starts_no_run(tmp_path: Path) -> None:
    done = plain_pytest(tmp_path, "def test_it(): pass\n", "--collect-only")
    assert done.returncode == 0
    assert "1 test collected" in done.stdout
    assert not (tmp_path / "out").exists()


def test_a_pytest_that_a_test_starts_has_a_run_of_its_own(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
def test_starts_one():
    assert "HIL_RUN_DIRECTORY" not in os.environ
"""
    )
    assert done.finish("test_starts_one")["outcome"] == "passed"


def test_a_second_interruption_does_not_stop_devices_on_their_way_home(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
def test_stopped(monkeypatch, request):
    from hil.plugin.session import SESSION, Session
    session = request.config.stash[SESSION]
    home = Session.close_lab
    def slow(self, *, abnormal):
        os.kill(os.getpid(), signal.SIGINT)
        home(self, abnormal=abnormal)
        self.note(f"home, safe: {abnormal}")
    Session.close_lab = slow
    raise hil.DriverError("plc1", "read", "no answer")
"""
    )
    assert done.code == 10
    assert any(line.get("text") == "home, safe: True" for line in done.record)
    assert any(line["kind"] == "end" for line in done.record)
