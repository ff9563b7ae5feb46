"""Every way in which a verdict could get lost, and where it is found again.

For each: the exit code, the status in Allure, the entry in JUnit, the line of the record.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

Bench = Callable[..., Any]

HEAD = """
import os, signal, time
import pytest
from made import measured
"""

GREEN = (
    HEAD
    + """
@pytest.mark.requirement("SD-1")
def test_met(judge):
    judge.expect(measured(), "SD-1")
"""
)


def test_a_smoke_run_in_which_nothing_failed_is_green(bench: Bench) -> None:
    done = bench(GREEN)
    assert done.code == 0, done.text
    assert done.allure == {"test_met": "passed"}
    assert done.junit == {"test_met": "passed"}
    assert "DEMONSTRATED" in done.text


def test_the_exit_code_is_also_written_down(bench: Bench) -> None:
    done = bench(GREEN)
    assert (done.directory / "exit_code").read_text() == "0\n"
    assert (done.directory.parent / "exit_code").read_text() == "0\n"


def test_a_missed_target_fails_and_names_every_one_that_was_missed(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_missed(judge):
    judge.expect(measured(late=500), "SD-1")
    judge.expect(measured(late=600, direction="downlink"), "SD-1")

@pytest.mark.requirement("SD-1")
def test_after(judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 1
    assert done.allure == {"test_missed": "failed", "test_after": "passed"}
    assert done.junit == {"test_missed": "failure", "test_after": "passed"}
    detail = str(done.finish("test_missed")["detail"])
    assert "uplink" in detail
    assert "downlink" in detail


def test_an_invalid_measurement_is_no_failure_of_the_product(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_invalid(judge):
    judge.expect(measured(late=500, invalid=["the ring overflowed"]), "SD-1")
"""
    )
    assert done.code == 10
    assert done.allure == {"test_invalid": "broken"}
    assert done.finish("test_invalid")["cause"] == "invalid"


def test_a_full_run_that_is_too_short_is_inconclusive(bench: Bench) -> None:
    done = bench(GREEN, plan="full")
    assert done.code == 11
    assert done.allure == {"test_met": "broken"}
    assert done.finish("test_met")["cause"] == "inconclusive"


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
def test_an_interrupted_test_is_never_green(bench: Bench, number: str) -> None:
    done = bench(
        HEAD
        + f"""
def test_interrupted():
    os.kill(os.getpid(), signal.{number})
    signal.pause()

@pytest.mark.requirement("SD-1")
def test_never_begun(judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 10
    assert done.allure["test_interrupted"] == "broken"
    assert done.junit["test_interrupted"] in ("failure", "error")
    assert done.finish("test_interrupted")["cause"] == "interrupted"
    assert "NOT RUN" in done.text


def test_a_failure_before_the_interruption_is_not_hidden_by_it(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_missed_then_interrupted(judge):
    judge.expect(measured(late=500), "SD-1")
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
"""
    )
    assert done.code == 1
    assert done.allure["test_missed_then_interrupted"] == "broken"


def test_an_interruption_in_a_fixture_is_no_skip(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.fixture
def device():
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()

def test_with_device(device):
    pass
"""
    )
    assert done.code == 10
    assert done.allure["test_with_device"] == "broken"


def test_a_time_out_is_the_rigs(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.timeout(0.5)
def test_hangs():
    signal.pause()

@pytest.mark.requirement("SD-1")
def test_after(judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 10
    assert done.allure["test_hangs"] == "broken"
    assert done.finish("test_hangs")["cause"] in ("timeout", "interrupted")


def test_a_fault_in_setup_is_the_rigs_even_as_an_assertion(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.fixture
def attached():
    assert False, "no signal"

@pytest.mark.requirement("SD-1")
def test_with_fixture(attached, judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 10
    assert done.finish("test_with_fixture")["cause"] == "rig"
    assert done.junit["test_with_fixture"] == "error"


def test_a_fault_in_teardown_after_a_failure_is_kept_too(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
import hil

@pytest.fixture
def device():
    yield
    raise hil.DriverError("plc1", "close", "no answer")

@pytest.mark.requirement("SD-1")
def test_missed(device, judge):
    judge.expect(measured(late=500), "SD-1")
"""
    )
    assert done.code == 1
    assert done.finish("test_missed")["cause"] == "target missed"
    events = [line for line in done.record if line["kind"] == "event"]
    assert any("no answer" in str(event["text"]) for event in events)


def test_subtests_lose_nothing(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_both(subtests, judge):
    for direction in ("uplink", "downlink"):
        with subtests.test(direction):
            judge.require(measured(late=500, direction=direction), "SD-1")
"""
    )
    assert done.code == 1
    assert done.allure["test_both"] == "failed"
    assert len([line for line in done.record if line["kind"] == "judgement"]) == 2


def test_no_tests_collected_is_a_usage_error(bench: Bench) -> None:
    done = bench("")
    assert done.code == 2


def test_a_test_that_judges_nothing_it_promised_is_a_defect(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_silent():
    pass
"""
    )
    assert done.code == 3
    assert done.finish("test_silent")["cause"] == "defect"
    assert "SD-1" in str(done.finish("test_silent")["detail"])


def test_a_suite_that_cannot_be_imported_is_a_defect(bench: Bench) -> None:
    assert bench("import nothing_of_that_name").code == 3


def test_a_dying_process_leaves_no_green_test(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_met(judge):
    judge.expect(measured(), "SD-1")

@pytest.mark.requirement("SD-2")
def test_dies(judge):
    os.kill(os.getpid(), signal.SIGKILL)
"""
    )
    assert done.code == 10
    assert done.allure == {"test_met": "passed", "test_dies": "broken"}
    assert done.junit["test_dies"] == "error"
    assert "cut short" in done.text.lower()


def test_what_the_bench_lacks_is_not_run_and_never_green(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
@pytest.mark.needs(cpe=1)
def test_needs_a_modem(judge):
    judge.expect(measured(), "SD-1")
"""
    )
    assert done.code == 2
    assert done.allure["test_needs_a_modem"] == "skipped"
    assert "cpe" in str(done.finish("test_needs_a_modem")["detail"])


def test_without_a_testbed_the_suites_are_skipped_with_one_sentence(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
        import pytest

        @pytest.mark.requirement("SD-1")
        def test_suite(judge):
            pass

        def test_ordinary():
            pass
        """
    )
    done = pytester.runpytest_subprocess("-rs", "-p", "no:cacheprovider")
    done.assert_outcomes(passed=1, skipped=1)
    done.stdout.fnmatch_lines(["*pytest --testbed virtual*"])


def test_late_packets_have_their_causes_beside_the_verdict(bench: Bench) -> None:
    done = bench(
        HEAD
        + """
@pytest.mark.requirement("SD-1")
def test_missed(judge):
    judge.expect(measured(late=500), "SD-1")
"""
    )
    assert "500 of 1,000 packets late (0 lost)" in done.text
    cards = list(done.directory.glob("cards/*SD-1*.html"))
    assert any("Why they were late" in card.read_text("utf-8") for card in cards)
    (found,) = done.directory.glob("cards/*SD-1*.autopsy.json")
    assert json.loads(found.read_text("utf-8"))["late"] == 500
