"""Answers of SCPI instruments: error entries and numbers in all the shapes that occur."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.drivers.scpi import parse_error, parse_number


@pytest.mark.parametrize(
    ("answer", "entry"),
    [
        ('+0,"No error"', (0, "No error")),
        ('0,"No error"', (0, "No error")),
        ("0,No error", (0, "No error")),
        ("0", (0, "")),
        ('-222,"Data out of range"', (-222, "Data out of range")),
        ('510,"Warning;DL Power, adjusted"', (510, "Warning;DL Power, adjusted")),
        ("no entry at all", None),
        ("", None),
    ],
)
def test_error_entries(answer: str, entry: tuple[int, str] | None) -> None:
    assert parse_error(answer) == entry


@given(st.integers(-32768, 32767), st.text(st.characters(exclude_characters='"')).map(str.strip))
def test_every_entry_is_read_back(code: int, text: str) -> None:
    assert parse_error(f'{code},"{text}"') == (code, text)


@given(st.text())
def test_no_text_breaks_the_readers(answer: str) -> None:
    parse_error(answer)
    parse_number(answer)


@pytest.mark.parametrize(
    ("answer", "value"),
    [("20.00", 20.0), ("+1.999E+01", 19.99), (" .5 dB ", 0.5), ("nan", None), ("", None)],
)
def test_numbers(answer: str, value: float | None) -> None:
    assert parse_number(answer) == value
