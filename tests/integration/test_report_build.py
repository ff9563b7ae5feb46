"""Reports of a run made of numbers: whole, true to the record, and asking nobody for anything."""

import io
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from hil.errors import RigError
from hil.record import RunDirectory, read
from hil.report import allure, build, card, figures, junit, table
from hil.report.build import missing_cards
from hil.verdict import Verdict

Make = Callable[..., RunDirectory]
#: An address that a browser would go to by itself.
LOADED = re.compile(
    r"(?:src|href|action|data|poster)\s*=\s*[\"']?(?:https?:)?//|url\(|@import", re.I
)


@pytest.fixture(scope="module")
def smoke(acceptance_run: Make) -> RunDirectory:
    directory = acceptance_run()
    built = build(directory)
    assert built.ok, built.notes
    assert built.allure is not None, built.notes
    return directory


@pytest.fixture(scope="module")
def failed(acceptance_run: Make) -> RunDirectory:
    directory = acceptance_run(broken_vision=True, deaf_clock=True, simulated=False)
    assert build(directory).ok
    return directory


@pytest.fixture(scope="module")
def killed(acceptance_run: Make) -> RunDirectory:
    directory = acceptance_run(end="killed")
    assert build(directory).ok
    return directory


def test_every_judgement_has_its_card_and_the_index_links_it(smoke: RunDirectory) -> None:
    run = read(smoke.path)
    links = re.findall(r'href="([^"]+)"', smoke.index.read_text("utf-8"))
    assert all((smoke.index.parent / link).is_file() for link in links)
    for judgement in run.judgements:
        path = smoke.card(judgement.nodeid, judgement)
        assert f"../cards/{path.name}" in links
        text = path.read_text("utf-8")
        assert judgement.sentence.replace("&", "&amp;").replace("<", "&lt;") in text
        assert "<svg" in text
        assert "SIMULATED" in text


def test_the_index_names_every_requirement_and_the_smoke_run_for_what_it_is(
    smoke: RunDirectory,
) -> None:
    text = smoke.index.read_text("utf-8")
    for judgement in read(smoke.path).judgements:
        assert f"<td>{judgement.target}</td>" in text
    assert "DEMONSTRATED" in text
    assert "NO FAIL" in text
    assert "It proves no target." in text
    assert "SIMULATED" in text
    assert "cut short" not in text


def test_no_page_of_ours_has_a_script_or_an_address_that_is_loaded(smoke: RunDirectory) -> None:
    for path in (smoke.index, *smoke.cards.iterdir()):
        text = path.read_text("utf-8")
        assert "<script" not in text
        assert not LOADED.search(re.sub(r'href="#|xlink:href="#|url\(#', "", text))


def test_no_drawing_refers_to_a_shape_elsewhere_which_allure_would_take_out(
    smoke: RunDirectory,
) -> None:
    for path in smoke.cards.iterdir():
        text = path.read_text("utf-8")
        assert "<use" not in text
        assert "xlink:href" not in text


def test_the_allure_site_is_one_file_that_asks_no_other_host(smoke: RunDirectory) -> None:
    text = (smoke.allure_report / "index.html").read_text("utf-8")
    assert "googletagmanager" not in text
    assert "Content-Security-Policy" in text
    allure.refuse_outside(smoke.allure_report)


@pytest.mark.parametrize(
    "text",
    [
        '<script async src="https://www.googletagmanager.com/gtag/js?id=G-1"></script>',
        '<link rel="stylesheet" href="//cdn.example/style.css">',
        "<img src=http://example/pixel.gif>",
    ],
)
def test_a_site_that_would_ask_another_host_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "index.html").write_text(f"<html><head>{text}</head></html>")
    with pytest.raises(RigError, match=r"index\.html"):
        allure.refuse_outside(tmp_path)


def test_a_card_is_the_same_byte_for_byte_when_it_is_made_again(smoke: RunDirectory) -> None:
    run = read(smoke.path)
    before = {path.name: path.read_bytes() for path in smoke.cards.iterdir()}
    shutil.rmtree(smoke.cards)
    assert missing_cards(smoke, run) == []
    assert {path.name: path.read_bytes() for path in smoke.cards.iterdir()} == before


def test_samples_that_are_gone_cost_the_drawing_and_not_the_card(acceptance_run: Make) -> None:
    directory = acceptance_run()
    for path in directory.samples.iterdir():
        path.write_bytes(b"not Parquet")
    run = read(directory.path)
    notes = missing_cards(directory, run)
    assert len(notes) == len(run.measurements)
    assert all("without drawings" in note for note in notes)
    assert len(list(directory.cards.iterdir())) == len(run.judgements)


def test_a_fail_and_an_invalid_are_loud_everywhere(failed: RunDirectory) -> None:
    run = read(failed.path)
    wrong = [one for one in run.judgements if one.verdict in (Verdict.FAIL, Verdict.INVALID)]
    assert {one.verdict for one in wrong} == {Verdict.FAIL, Verdict.INVALID}
    index, terminal = failed.index.read_text("utf-8"), table.text(run)
    for judgement in wrong:
        assert judgement.sentence.replace("<", "&lt;") in index
        assert f"{judgement.verdict}: {judgement.sentence}" in terminal
    assert terminal.splitlines()[-1].startswith("FAIL (1 FAIL, 1 INVALID")
    assert "SIMULATED" not in terminal
    assert "for diagnosis only" in failed.card(wrong[-1].nodeid, wrong[-1]).read_text("utf-8")


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_terminal_and_loses_nothing(failed: RunDirectory, width: int) -> None:
    run = read(failed.path)
    out = io.StringIO()
    table.render(run, Console(file=out, width=width, force_terminal=True, color_system=None))
    shown = out.getvalue()
    sentences = [one.sentence for one in run.judgements]
    for line in shown.splitlines():
        # A sentence is not broken by us, so that it can be found and copied whole.
        assert len(line) <= width or any(sentence in line for sentence in sentences)
    words = " ".join(shown.split())
    for judgement in run.judgements:
        assert judgement.target in words
        assert figures.bound(judgement) in words


def test_a_terminal_without_unicode_gets_every_line(failed: RunDirectory) -> None:
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    table.render(read(failed.path), Console(file=out, width=200, force_terminal=True))
    out.seek(0)
    text = out.read()
    assert "MV-1" in text
    assert text.splitlines()[-1].startswith("FAIL (1 FAIL, 1 INVALID")


def test_a_killed_run_is_red_and_lists_what_was_not_run(killed: RunDirectory) -> None:
    index, terminal = killed.index.read_text("utf-8"), table.text(read(killed.path))
    assert "This run was cut short" in index
    assert "CUT SHORT" in index
    assert "NO FAIL" not in index
    assert "NOT RUN AR-1" in terminal
    assert terminal.splitlines()[-1].startswith("CUT SHORT, SIMULATED")


def test_an_interrupted_run_says_so(acceptance_run: Make) -> None:
    run = read(acceptance_run(end="interrupted").path)
    last = table.text(run).splitlines()[-1]
    assert last.startswith("INTERRUPTED, SIMULATED")
    assert "1 NOT RUN" in last


def junit_of(directory: RunDirectory) -> dict[str, ElementTree.Element]:
    suite = ElementTree.parse(directory.junit).getroot().find("testsuite")
    assert suite is not None
    return {case.get("name", ""): case for case in suite.iter("testcase")}


def properties_of(case: ElementTree.Element) -> dict[str, str]:
    return {each.get("name", ""): each.get("value", "") for each in case.iter("property")}


def test_junit_written_anew_has_every_test_and_counts_the_unfinished_as_errors(
    killed: RunDirectory,
) -> None:
    cases = junit_of(killed)
    assert len(cases) == 5
    for name, said in (
        ("test_pose_stream", "in the middle of this test"),
        ("test_refuses", "before this test began"),
    ):
        error = cases[name].find("error")
        assert error is not None
        assert said in error.get("message", "")
    assert cases["test_images"].find("error") is None
    properties = properties_of(cases["test_images"])
    assert properties["SIMULATED"] == "true"
    assert properties["hil.verdict.MV-1.uplink"].startswith("DEMONSTRATED SIMULATED: ")
    unjudged = {
        p.get("name"): p.get("value", "") for p in cases["test_pose_stream"].iter("property")
    }
    assert unjudged["hil.verdict.AR-1"].startswith("NOT RUN: ")
    suite = ElementTree.parse(killed.junit).getroot().find("testsuite")
    assert suite is not None
    assert (suite.get("tests"), suite.get("errors"), suite.get("failures")) == ("5", "2", "0")


def test_completing_junit_twice_changes_nothing(smoke: RunDirectory) -> None:
    junit.complete(smoke)
    before = smoke.junit.read_bytes()
    junit.complete(smoke)
    assert smoke.junit.read_bytes() == before


def test_half_a_junit_file_is_replaced(acceptance_run: Make) -> None:
    directory = acceptance_run()
    directory.junit.write_text('<testsuites><testsuite name="pytest"><testcase na')
    assert junit.complete(directory) == (
        "pytest left no junit.xml: it was written from the record",
    )
    assert len(junit_of(directory)) == 5


def test_every_test_has_an_allure_result_and_none_that_died_is_green(killed: RunDirectory) -> None:
    results = [json.loads(path.read_text()) for path in killed.allure_results.glob("*-result.json")]
    status = {result["fullName"].rpartition("#")[2]: result["status"] for result in results}
    assert status == {
        "test_cyclic_control": "passed",
        "test_images": "passed",
        "test_rsrp": "passed",
        "test_pose_stream": "broken",
        "test_refuses": "skipped",
    }


def test_a_result_made_from_the_record_has_the_cards_of_what_was_judged(
    killed: RunDirectory,
) -> None:
    for path in killed.allure_results.glob("*-result.json"):
        result = json.loads(path.read_text())
        judged = [
            one
            for one in read(killed.path).judgements
            if one.nodeid and one.nodeid.endswith(result["fullName"].rpartition("#")[2])
        ]
        assert len(result["attachments"]) == len(judged)
        for attachment in result["attachments"]:
            assert "<svg" in (killed.allure_results / attachment["source"]).read_text()


def test_without_allure_there_is_a_note_and_everything_else(
    acceptance_run: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv(allure.VARIABLE, str(tmp_path))
    directory = acceptance_run()
    built = build(directory)
    assert built.ok
    assert built.allure is None
    assert any(note.startswith("Allure report not generated: HIL_ALLURE") for note in built.notes)
    assert directory.index.is_file()
    assert "../allure-report" not in directory.index.read_text("utf-8")
    assert (directory.allure_results / "environment.properties").is_file()


def test_an_allure_that_crashes_fails_the_step_and_not_the_rest(
    acceptance_run: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "cli.js").write_text("console.error('no such report'); process.exit(3)")
    monkeypatch.setenv(allure.VARIABLE, str(tmp_path))
    directory = acceptance_run()
    built = build(directory)
    assert not built.ok
    assert any("Allure failed" in note and "no such report" in note for note in built.notes)
    assert directory.index.is_file()


def test_a_card_of_one_value_needs_no_measurement(smoke: RunDirectory) -> None:
    level = next(one for one in read(smoke.path).judgements if one.metric == "rsrp_shift")
    text = card.render(level, None)
    assert "20 dB ± 4.5 dB" in text
    assert "<svg" in text


def test_a_title_from_outside_is_text_in_the_card(smoke: RunDirectory) -> None:
    level = next(one for one in read(smoke.path).judgements if one.metric == "rsrp_shift")
    text = card.render(level, None, title="<script>alert(1)</script>")
    assert "<script" not in text
    assert "&lt;script&gt;" in text
