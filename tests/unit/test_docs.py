"""What the documentation shows is true: links, commands, options and examples."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main
from ruamel.yaml import YAML
from typer.core import TyperGroup

from hil import plugin
from hil.cli import app
from hil.cli.init import init
from hil.record import Record, RunDirectory
from hil.record.schema import RunLine, Source

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "testbeds").glob("*.md")]
)
COMMANDS = (ROOT / "docs" / "reference" / "commands.md").read_text("utf-8")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)[^\n]*\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?:^|&& |\$ )(?:\.venv/bin/)?(hil [a-z][^&\n]*)")
INLINE = re.compile(r"`(hil [a-z][^`]*)`")
HIL = typer.main.get_command(app)
assert isinstance(HIL, TyperGroup)


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in FENCE.findall(page.read_text("utf-8")) if kind == language]


def shown_commands(text: str) -> Iterator[str]:
    """Command lines of `hil` in indented blocks and fences, and whole ones in a sentence."""
    for line in text.splitlines():
        if line.startswith(("    ", "hil ", ".venv/bin/hil ")):
            for command in COMMAND.findall(re.sub(r"\s+#.*|\s{2,}.*$", "", line.strip())):
                yield command.strip()
    yield from INLINE.findall(text)


def complaint(command: str) -> str | None:
    """Why `hil` would not understand a command line; None where it would."""
    words = shlex.split(command)[1:]
    verb: Any = HIL
    while isinstance(verb, TyperGroup):
        if not words:
            return None  # a family of verbs, named in a sentence
        if (name := words.pop(0)) not in verb.commands:
            return f"no such verb: {command}"
        verb = verb.commands[name]
    if not words:
        return None  # a verb, named in a sentence
    try:
        verb.make_context(verb.name, words)
    except Exception as error:
        return f"{command}: {error}"
    return None


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in LINK.findall(page.read_text("utf-8")):
        if not link.startswith(("http://", "https://", "#")):
            target = (page.parent / link.partition("#")[0]).resolve()
            assert target.exists(), f"{named(page)} links {link}"


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_command_shown_is_understood(page: Path) -> None:
    for command in shown_commands(page.read_text("utf-8")):
        sketched = re.search(r"\b(FILE|DIR|PORT|KIND|PATHS|VERB|T)\b|[<…]| --\w+ --\w+$", command)
        if not sketched:
            assert (fault := complaint(command)) is None, fault


def test_the_search_for_commands_finds_them() -> None:
    text = (
        'x\n    hil run suites -k "a b"   # why\n    cd lab && .venv/bin/hil mesure x\n`hil init`'
    )
    found = list(shown_commands(text))
    assert found == ['hil run suites -k "a b"', "hil mesure x", "hil init"]
    assert [complaint(command) is None for command in found] == [True, False, True]
    assert complaint("hil measure --tx a --rx b --fast") is not None


def test_the_repository_that_init_makes_shows_commands_that_are_understood(tmp_path: Path) -> None:
    init(tmp_path / "lab")
    commands = list(shown_commands((tmp_path / "lab" / "README.md").read_text("utf-8")))
    jobs = YAML(typ="safe").load((tmp_path / "lab" / ".gitlab-ci.yml").read_text("utf-8"))
    for line in jobs["nightly"]["script"]:
        commands += COMMAND.findall(line)
    assert len(commands) >= 6
    for command in commands:
        assert (fault := complaint(command)) is None, fault


def verbs(group: TyperGroup, above: str = "hil") -> Iterator[tuple[str, Any]]:
    for name, verb in group.commands.items():
        if isinstance(verb, TyperGroup):
            yield from verbs(verb, f"{above} {name}")
        else:
            yield f"{above} {name}", verb


VERBS = dict(verbs(HIL))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_is_in_the_reference_and_none_that_is_not(verb: str) -> None:
    sections = re.split(r"^## ", COMMANDS, flags=re.MULTILINE)
    section = next((text for text in sections if re.match(rf"{verb}(?![a-z])", text)), "")
    assert section, f"docs/reference/commands.md has no section on {verb}"
    options = {o for p in VERBS[verb].params for o in p.opts if o.startswith("--")} - {"--help"}
    told = set(re.findall(r"(--[a-z][a-z-]*)", section))
    assert options == told


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_make_target_shown_is_there(page: Path) -> None:
    made = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    text = page.read_text("utf-8")
    assert set(re.findall(r"(?:^ {4}|`)make ([a-z-]+)", text, re.MULTILINE)) <= made


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_every_example_is_of_its_language(page: Path) -> None:
    for code in blocks(page, "python"):
        compile(code, named(page), "exec")
    for text in blocks(page, "yaml"):
        YAML(typ="safe").load(text)


def test_the_suite_in_the_readme_asks_for_fixtures_that_there_are() -> None:
    (code,) = blocks(ROOT / "README.md", "python")
    (asked,) = re.findall(r"def test_\w+\(([^)]*)\)", code)
    assert {name.strip() for name in asked.split(",")} <= set(plugin.__all__)


def test_the_reader_in_the_reference_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = RunDirectory.create(tmp_path / "out")
    with Record(run.record) as record:
        record.write(
            RunLine(
                run_id=run.run_id, testbed=Source(name="t"), profile=Source(name="p"),
                plan="full", simulated=False, hil="0", host="h", kernel="k", python="p",
                argv=(), started_ns=1,
            )
        )  # fmt: skip
    monkeypatch.chdir(tmp_path)
    (code,) = blocks(ROOT / "docs" / "reference" / "record.md", "python")
    exec(compile(code, "record.md", "exec"), {})
    assert "cut short" in capsys.readouterr().out
