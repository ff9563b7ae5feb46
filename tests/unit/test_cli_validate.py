"""``hil validate`` and ``hil schema``: what they print, where, and what they return."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hil.cli.schema import KINDS, schema
from hil.cli.validate import validate


def test_a_good_testbed_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.yaml").write_text(
        "schema: 1\nname: lab\nports:\n  a: {interface: a, side: edge}\n", "utf-8"
    )
    assert validate("lab.yaml") == 0
    assert capsys.readouterr() == ("lab.yaml: valid: 0 devices, 1 port, 0 paths\n", "")


def test_the_shipped_world_is_valid_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert validate("virtual") == 0
    out, err = capsys.readouterr()
    assert out.endswith(
        "virtual.yaml: valid: 5 devices, 5 ports, 4 paths, a world of 5 endpoints (SIMULATED)\n"
    )
    assert not err


def test_every_fault_goes_to_standard_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("lab.yaml").write_text("schema: 3\nname: lab\nportz: {}\n", "utf-8")
    assert validate("lab.yaml") == 2
    assert capsys.readouterr() == (
        "",
        "lab.yaml:1:9: schema: wants 1; got the number 3\n"
        "lab.yaml:3:1: portz: unknown key; did you mean 'ports'?\n",
    )


@pytest.mark.parametrize("named", ["nothing-like-it", "no/such.yaml", ".", "/dev/null"])
def test_what_is_no_testbed_is_one_line_and_code_2(
    named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert validate(named) == 2
    out, err = capsys.readouterr()
    assert not out
    assert err.count("\n") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_schema_is_printed_as_json(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert schema(kind) == 0
    out, err = capsys.readouterr()
    assert not err
    assert "$defs" in json.loads(out)


def test_an_unknown_schema_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert schema("bench") == 2
    assert capsys.readouterr() == (
        "",
        "no schema of 'bench'; there are: testbed, profile, record\n",
    )
