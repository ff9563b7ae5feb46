"""The dossier of a validation as a page, and the code that it ends with."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hil.cli.validate_method import validate_method
from hil.errors import RigError, UsageError
from hil.lab.validation import campaign, item
from hil.lab.validation.item import Figure, Item
from hil.report import dossier

EXTENT = campaign.Extent(seeds=3, live_seeds=4, packets=10, repeats=2, bugs=())


def made(id: str, holds: bool | None, *figures: Figure) -> Item:
    return Item(id=id, title=id.title(), holds=holds, sentence=f"{id} <so>", figures=figures)


SLOPE = Figure(
    what="slope",
    value=999.98,
    unit="ns/B",
    n=5,
    of="sizes",
    low=999.9,
    high=1000.1,
    confidence=0.95,
    expected="1000 ns/B within U",
    source="tc-tbf",
    holds=True,
)


@pytest.mark.parametrize(
    ("holds", "code"),
    [((True, True), 0), ((True, False), 1), ((True, None), 10), ((False, None), 1), ((), 10)],
)
def test_the_code_is_0_only_where_every_item_holds(
    holds: tuple[bool | None, ...], code: int
) -> None:
    assert campaign.code([made("a", each) for each in holds]) == code


def test_the_page_holds_every_figure_and_fetches_nothing() -> None:
    found = [
        made("standard", True, SLOPE),
        made("blind", False, item.coverage("share lost", 3, 200, source="pure path")),
        made("live", None),
    ]
    plain = json.loads(json.dumps(campaign.dossier(EXTENT, found, 10**18, 2 * 10**18)))
    page = dossier.render(plain)
    for words in (
        "999.98 ns/B",
        "999.9 ns/B to 1,000.1 ns/B",
        "5 sizes",
        "tc-tbf",
        "1.5 %",
        "200 intervals",
        "standard &lt;so&gt;",
        "DOES NOT HOLD",
        "NOT TRIED",
        "1 of 3",
        "seeds 3",
    ):
        assert words in page, words
    assert "http" not in page.replace("http-equiv", "")


def _without_parts(monkeypatch: pytest.MonkeyPatch, *found: Item) -> None:
    def items(extent: campaign.Extent, directory: Path) -> Any:
        assert directory.stat().st_mode & 0o077 == 0, "secrets lie in it"
        yield from found

    monkeypatch.setattr(campaign, "items", items)


def test_the_verb_writes_the_dossier_and_says_what_did_not_hold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = item.exact("packets lost", 3, 4, unit_of="runs", source="the truth log")
    _without_parts(monkeypatch, made("standard", True, SLOPE), made("live", False, wrong))
    code = validate_method(None, tmp_path / "v", quick=True, as_json=False)
    assert code == 1
    said = capsys.readouterr()
    assert "packets lost" in said.out
    assert "DOES NOT HOLD" in said.out
    assert "live <so>" in said.err
    plain = json.loads((tmp_path / "v" / "dossier.json").read_text("utf-8"))
    assert (plain["exit_code"], len(plain["items"])) == (1, 2)
    assert "<html" in (tmp_path / "v" / "dossier.html").read_text("utf-8")


def test_json_is_one_object_on_standard_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _without_parts(monkeypatch, made("standard", True, SLOPE))
    assert validate_method(5, tmp_path, quick=False, as_json=True) == 0
    plain = json.loads(capsys.readouterr().out)
    assert plain["extent"]["seeds"] == 5


def test_wrong_seeds_and_a_place_that_cannot_be_written_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UsageError, match="at least 1"):
        validate_method(0, tmp_path, quick=True, as_json=False)
    _without_parts(monkeypatch, made("standard", True))
    (tmp_path / "file").write_text("")
    with pytest.raises(RigError, match="dossier cannot be written"):
        validate_method(None, tmp_path / "file" / "v", quick=True, as_json=False)


def test_a_part_that_breaks_down_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(words: Any) -> str:
        raise RigError("no such thing here")

    monkeypatch.setattr(campaign, "_said", said)
    found = list(campaign.items(EXTENT, tmp_path))
    assert [each.holds for each in found] == [None] * 5
    assert campaign.code(found) == 10
    assert "no such thing here" in found[0].sentence
