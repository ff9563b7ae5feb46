"""YAML to values with places: what is read, and what is said where it cannot be."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field, TypeAdapter, ValidationError

from hil.document import Duration, Model, Shape, load, read
from hil.document.scalars import resolve
from hil.errors import ConfigError, UsageError


class Colour(StrEnum):
    RED = "red"
    GREEN = "green"


class Circle(Model):
    kind: Literal["circle"]
    radius: float


class Square(Model):
    kind: Literal["square"]
    side: float


class Leaf(Model):
    """A model with one field of each sort."""

    text: str = ""
    number: int = 0
    real: float = 0.0
    switch: bool = False
    wait_ns: Duration = 0
    colour: Colour = Colour.RED
    either: int | str = 0
    many: tuple[int, ...] = ()
    by_name: dict[str, Duration] = Field(default_factory=dict)
    shape: Circle | Square | None = None


class Tree(Model):
    leaf: Leaf
    """The only part, and needed."""


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str | bytes], str]:
    monkeypatch.chdir(tmp_path)

    def into(content: str | bytes) -> str:
        raw = content.encode() if isinstance(content, str) else content
        Path("t.yaml").write_bytes(raw)
        return "t.yaml"

    return into


@pytest.fixture
def faults(write: Callable[[str | bytes], str]) -> Callable[[str | bytes], list[str]]:
    def of(content: str | bytes) -> list[str]:
        with pytest.raises(ConfigError) as caught:
            load(write(content), Tree)
        return list(caught.value.faults)

    return of


Faults = Callable[[str | bytes], list[str]]
Write = Callable[[str | bytes], str]


def test_a_good_file_becomes_the_model(write: Write) -> None:
    text = """
leaf:
  text: "5"
  number: 0x10
  real: 3
  switch: true
  wait: 10 ms
  colour: green
  either: a
  many: [1, 2]
  by_name: {b: 1 s, a: 2 us}
  shape: {kind: square, side: 2.5}
"""
    leaf = load(write(text), Tree).leaf
    assert (leaf.text, leaf.number, leaf.real, leaf.switch) == ("5", 16, 3.0, True)
    assert (leaf.wait_ns, leaf.colour, leaf.either) == (10_000_000, Colour.GREEN, "a")
    assert leaf.many == (1, 2)
    assert list(leaf.by_name.items()) == [("b", 10**9), ("a", 2_000)]
    assert leaf.shape == Square(kind="square", side=2.5)


def test_all_faults_come_at_once_and_in_order(faults: Faults) -> None:
    found = faults("leaf:\n  number: x\n  swich: true\n  wait: 5\n  many: [1, b]\nmore: 1\n")
    assert found == [
        "t.yaml:2:11: leaf.number: wants a whole number; got 'x'",
        "t.yaml:3:3: leaf.swich: unknown key; did you mean 'switch'?",
        "t.yaml:4:9: leaf.wait: a duration needs a number and a unit, as in '10 ms'; got 5",
        "t.yaml:5:13: leaf.many.1: wants a whole number; got 'b'",
        "t.yaml:6:1: more: unknown key; known: leaf",
    ]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("text: 007", "2:9: leaf.text: wants text; got the number 007; put it in quotes: \"007\""),
        ("text: [a]", "2:9: leaf.text: wants text; got a list"),
        ("text: {a: 1}", "2:9: leaf.text: wants text; got a mapping"),
        ("text: true", "2:9: leaf.text: wants text; got true; put it in quotes: \"true\""),
        ("text:", "2:3: leaf.text: has no value; wants text"),
        ("wait:", "2:3: leaf.wait: has no value; a duration needs a number and a unit, as in"
         " '10 ms'"),
        ("number: 1.5", "2:11: leaf.number: wants a whole number; got the number 1.5"),
        ("number: '5'", "2:11: leaf.number: wants a whole number; got '5'"),
        ("number: true", "2:11: leaf.number: wants a whole number; got true"),
        ("real: fast", "2:9: leaf.real: wants a number; got 'fast'"),
        ("real: .inf", "2:9: leaf.real: wants a finite number; got the number .inf"),
        ("switch: on", "2:11: leaf.switch: wants true or false; got 'on'; on, off, yes and no are"
         " text"),
        ("switch: 1", "2:11: leaf.switch: wants true or false; got the number 1"),
        ("wait: 10 m", "2:9: leaf.wait: 'm' is no unit of a duration; write one of ns, us, µs, ms,"
         " s, min, h, as in '10 ms'"),
        ("wait: 1e99 s", "2:9: leaf.wait: a duration must fit into 64 bits of nanoseconds; got"
         " 1.000000000E+108"),
        ("wait_ns: 5", "2:3: leaf.wait_ns: unknown key; did you mean 'wait'?"),
        ("colour: gren", "2:11: leaf.colour: wants one of 'red' or 'green'; got 'gren'; did you"
         " mean 'green'?"),
        ("either: [1]", "2:11: leaf.either: wants a whole number or text; got a list"),
        ("many: 1", "2:9: leaf.many: wants a list, as in [a, b]; got the number 1"),
        ("by_name: {a: 1 s, b: 2}", "2:24: leaf.by_name.b: a duration needs a number and a unit,"
         " as in '10 ms'; got 2"),
        ("by_name: [1]", "2:12: leaf.by_name: wants a mapping: one 'key: value' a line; got a"
         " list"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_in_plain_words(faults: Faults, line: str, said: str) -> None:
    assert faults(f"leaf:\n  {line}\n") == [f"t.yaml:{said}"]


def test_a_missing_field_is_named_at_its_parents_key(faults: Faults) -> None:
    assert faults("# nothing\nleef: {}\n") == [
        "t.yaml:2:1: leaf: missing; add 'leaf: …' (The only part, and needed)",
        "t.yaml:2:1: leef: unknown key; did you mean 'leaf'?",
    ]


def test_the_choice_of_a_union_is_named(write: Write) -> None:
    class Drawing(Model):
        shapes: dict[str, Circle | Square]

    text = "shapes:\n  a: {kind: circle, radius: 1}\n  b: {kind: circle, side: 1}\n"
    with pytest.raises(ConfigError) as caught:
        load(write(text), Drawing)
    assert any(fault.startswith("t.yaml:3:") for fault in caught.value.faults)
    assert not any(fault.startswith("t.yaml:2:") for fault in caught.value.faults)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "1:1: (file): is empty; 'key: value' lines are wanted, the first of them 'schema: 1'"),
        ("# only this\n", "1:1: (file): is empty;"),
        ("---\n...\n", "1:1: (file): is empty;"),
        ("- a\n- b\n", "1:1: (file): holds no mapping;"),
        ("just text\n", "1:1: (file): holds no mapping;"),
        ("5", "1:1: (file): holds no mapping;"),
        (b"leaf: \0{}\n", "1:1: (file): is binary: a zero byte at offset 6;"),
        (b"leaf: \xff\n", "1:1: (file): is binary: no UTF-8 at offset 6;"),
        ("leaf: {}".encode("utf-16"), "1:1: (file): is binary:"),
        ("\x7fELF", "1:1: (file): holds the character '\\x7f';"),
        ("leaf:\n  text: a\x07b\n", "2:10: (file): holds the character '\\x07';"),
        (b"x: 1\n" * 300_000, "1:1: (file): is larger than 1,048,576 bytes;"),
        ("\tleaf: {}\n", "1:1: (file): a tab; YAML indents with spaces"),
        ("leaf:\n\ttext: a\n", "2:1: (file): a tab; YAML indents with spaces"),
        ("leaf: [1, 2\n", "2:1: (file): the bracket opened on line 1 is not closed"),
        ("leaf: {text: a\nmore: 1\n", "2:5: (file): the bracket opened on line 1 is not closed"),
        ("leaf: 'abc\n", "1:7: (file): a quote that is never closed"),
        ("leaf: a: b\n", "1:8: (file): a ':' that fits nowhere"),
        ("leaf:\n  text: a\n number: 1\n", "3:2: (file): the indentation fits no line above"),
        ("leaf: @a\n", "1:7: (file): text cannot begin with '@'; put it in quotes"),
        ('leaf: "\\q"\n', "1:9: (file): \\q is no escape in double quotes"),
        ("leaf:\n  text: a\nno colon here\nmore: 1\n", "3:1: (file): a key without ':'"),
        ("leaf: {}\n---\nleaf: {}\n", "3:1: (file): a second document; one is wanted"),
        ("leaf: " + "[" * 60 + "]" * 60, "1:57: leaf.0.0: nested deeper than 50 levels"),
    ],
)  # fmt: skip
def test_a_file_that_cannot_be_read_has_one_fault(
    faults: Faults, content: str | bytes, said: str
) -> None:
    (fault,) = faults(content)
    assert fault.startswith(f"t.yaml:{said}")


def test_what_is_no_file_has_one_fault_at_its_start(tmp_path: Path) -> None:
    for path, why in ((tmp_path, "Is a directory"), (tmp_path / "no", "No such file")):
        with pytest.raises(ConfigError) as caught:
            read(path)
        assert isinstance(caught.value, UsageError)
        (fault,) = caught.value.faults
        assert fault.startswith(f"{path}:1:1: (file): cannot be read: {why}")


def test_a_name_with_a_line_break_stays_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a\nb.yaml")
    assert len(str(caught.value).splitlines()) == 1


def test_a_pipe_can_be_read(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    try:
        os.write(writer, b"leaf: {number: 5}\n")
        os.close(writer)
        assert load(f"/dev/fd/{reader}", Tree).leaf.number == 5
    finally:
        os.close(reader)


def test_an_endless_file_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        read("/dev/zero")


def test_a_byte_order_mark_moves_nothing(faults: Faults) -> None:
    assert faults(b"\xef\xbb\xbfleaf: 5\r\n")[0].startswith("t.yaml:1:7: leaf: wants a mapping")


def test_every_second_key_is_a_fault_of_its_own(faults: Faults) -> None:
    found = faults("leaf:\n  text: a\n  text: b\n  text: c\nleaf: {}\n")
    assert found == [
        "t.yaml:3:3: leaf.text: a second 'text'; the first is on line 2",
        "t.yaml:4:3: leaf.text: a second 'text'; the first is on line 2",
        "t.yaml:5:1: leaf: a second 'leaf'; the first is on line 1",
    ]


def test_structure_and_content_are_judged_together(faults: Faults) -> None:
    found = faults("leaf: {? [a] : 1, number: x, text: *no, real: !mine 5, : 2}\n")
    assert [fault.partition(": ")[2] for fault in found] == [
        "leaf: a list or mapping as a key; text is wanted before the ':'",
        "leaf.number: wants a whole number; got 'x'",
        "leaf.text: no anchor &no before this; known: none",
        "leaf.real: tag '!mine' means nothing here; leave it out",
        "leaf: an empty key; text is wanted before the ':'",
    ]


def test_an_anchor_is_used_and_merged(write: Write) -> None:
    text = """
one: &one {wait: 1 ms, number: 1}
two: {<<: *one, number: 2}
three: {number: 3, <<: [*one, {text: x, wait: 5 ms}]}
"""

    class Three(Model):
        one: Leaf
        two: Leaf
        three: Leaf

    found = load(write(text), Three)
    assert (found.two.wait_ns, found.two.number) == (1_000_000, 2)
    assert (found.three.wait_ns, found.three.number, found.three.text) == (1_000_000, 3, "x")


def test_faults_behind_an_anchor_stand_where_the_text_is(write: Write) -> None:
    text = "base: &base {number: x}\nleaf:\n  <<: *base\n  text: *base\n"

    class Anchored(Model):
        base: dict[str, str]
        leaf: Leaf

    with pytest.raises(ConfigError) as caught:
        load(write(text), Anchored)
    assert list(caught.value.faults) == [
        "t.yaml:1:22: leaf.number: wants a whole number; got 'x'",
        "t.yaml:4:9: leaf.text: wants text; got a mapping",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("leaf: &a {text: *a}", "1:17: leaf.text: *a lies inside what it stands for"),
        ("leaf: {<<: 5}", "1:12: leaf.<<: only a mapping can be merged"),
        ("x: &x [1]\nleaf: {<<: [*x]}", "2:13: leaf.<<.0: only a mapping can be merged"),
    ],
)
def test_an_anchor_that_leads_nowhere(faults: Faults, text: str, said: str) -> None:
    assert any(fault.startswith(f"t.yaml:{said}") for fault in faults(text))


def test_a_bomb_of_anchors_is_refused(faults: Faults) -> None:
    bomb = "a0: &a0 [1]\n" + "".join(f"a{n + 1}: &a{n + 1} [*a{n}, *a{n}]\n" for n in range(60))
    (fault,) = faults(bomb)
    assert fault.endswith("holds more than 100,000 values")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        *[(word, word) for word in ("on", "Yes", "no", "12:34:56", "2026-11-24", "1_000", "=")],
        *[(word, word) for word in ("0b11", "1.2.3", "+", ".", "0o8", "0xg", "-.inf.", "1e")],
        *[("", None), ("~", None), ("null", None), ("true", True), ("FALSE", False)],
        *[("007", 7), ("-5", -5), ("+5", 5), ("0o17", 15), ("0xfF", 255)],
        *[("1e3", 1000.0), (".5", 0.5), ("1.", 1.0), ("-.inf", float("-inf"))],
    ],
)
def test_words_without_quotes_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


def test_quotes_and_the_tag_of_text_make_text(write: Write) -> None:
    document = read(write("a: '5'\nb: \"true\"\nc: !!str 5\nd: |\n  5\ne: !!int 5\n5: 5\n"))
    assert document.plain() == {"a": "5", "b": "true", "c": "5", "d": "5\n", "e": 5, "5": 5}


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers(-(10**6), 10**6),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.from_regex(r"[a-z]{1,5}", fullmatch=True), inner, max_size=4)
        ),
        max_leaves=15,
    )
)
def test_any_values_come_back_and_each_has_its_place(
    tmp_path_factory: pytest.TempPathFactory, value: Any
) -> None:
    path = tmp_path_factory.getbasetemp() / "round.yaml"
    text = json.dumps({"top": value}, indent=2)
    path.write_text(text, "utf-8")
    document = read(path)
    assert document.plain() == {"top": value}
    lines = text.splitlines()
    for place, written in document.scalars():
        mark = document.mark(place)
        assert lines[mark.line - 1][mark.column - 1 :].startswith(written)
        key = document.mark(place, "key")
        step = place[-1]
        start = f'"{step}"' if isinstance(step, str) else written
        assert lines[key.line - 1][key.column - 1 :].startswith(start)


def test_a_part_of_a_document_is_checked_by_itself(write: Write) -> None:
    document = read(write("a:\n  b: {number: x}\n"))
    found: list[Any] = []
    assert document.check(Leaf, found, path=("a", "b")) is None
    assert [str(fault) for fault in found] == [
        "t.yaml:2:15: a.b.number: wants a whole number; got 'x'"
    ]


def test_a_shape_says_what_it_wants() -> None:
    colour = TypeAdapter(Annotated[str, Shape("#[0-9a-f]{6}", "a colour, as in '#00ff00'")])
    assert colour.validate_python("#123abc") == "#123abc"
    with pytest.raises(ValidationError, match="wants a colour, as in '#00ff00'; got '#123ABC'"):
        colour.validate_python("#123ABC")
    assert colour.json_schema() == {"type": "string", "pattern": "^(#[0-9a-f]{6})$"}
