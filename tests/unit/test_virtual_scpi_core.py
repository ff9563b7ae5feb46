"""The SCPI core: headers, path memory, error queue and status; and no message breaks it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.virtual.endpoints.scpi_core import Core, Refusal, header_pattern, number


class Box:
    """An instrument with one setting."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.core = Core("hil,box,1,2", complete=lambda: None, reset=self.values.clear)
        self.core.on("[SOURce:]ATTenuation:CHANnel<n>", self._set, 1)
        self.core.on("[SOURce:]ATTenuation:CHANnel<n>?", lambda n, a: f"{n[0]}:{self.values[-1]}")

    def _set(self, suffixes: list[int], arguments: list[str]) -> None:
        value = number(arguments[0], "DB")
        if value > 60:
            raise Refusal(-222)
        self.values.append(value)

    def errors(self) -> list[str | None]:
        found = []
        while (entry := self.core.execute("SYST:ERR?")) != '0,"No error"':
            found.append(entry)
        return found


@pytest.mark.parametrize(
    "header",
    [
        "ATT:CHAN1",
        "att:chan",
        "SOUR:ATT:CHAN1",
        ":SOURce:ATTenuation:CHANnel1",
        "ATTENUATION:chan1",
    ],
)
def test_long_and_short_forms(header: str) -> None:
    box = Box()
    assert box.core.execute(f"{header} 20") is None
    assert box.values == [20.0]
    assert box.errors() == []


@pytest.mark.parametrize("header", ["ATTEN:CHAN1", "ATT:CHANN", "SOUR:CHAN1", "ATT"])
def test_no_other_form(header: str) -> None:
    box = Box()
    box.core.execute(f"{header} 20")
    assert box.errors() == ['-113,"Undefined header"']


def test_compound_messages_remember_their_path() -> None:
    box = Box()
    assert box.core.execute("ATT:CHAN1 20;CHAN1?;*IDN?;:SYST:ERR?") == (
        '1:20.0;hil,box,1,2;0,"No error"'
    )


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("ATT:CHAN1", -109),
        ("ATT:CHAN1 1,2", -108),
        ("ATT:CHAN1 high", -104),
        ("ATT:CHAN1 20 V", -131),
        ("ATT:CHAN1 61", -222),
        ("ATT:CHAN1?? 3", -102),
        ("*ESE 256", -222),
    ],
)
def test_errors_by_their_class(message: str, code: int) -> None:
    box = Box()
    box.core.execute("*CLS")
    assert box.core.execute(message) is None
    assert [entry.split(",")[0] for entry in box.errors() if entry] == [str(code)]
    assert box.core.execute("*ESR?") == ("32" if code > -200 else "16")
    assert box.core.execute("*ESR?") == "0", "reading clears it"


def test_an_error_ends_its_own_unit_only() -> None:
    box = Box()
    assert box.core.execute("ATT:CHAN1 99;:ATT:CHAN1 5;:ATT:CHAN1?") == "1:5.0"


def test_the_queue_overflows_and_is_cleared() -> None:
    box = Box()
    for _ in range(30):
        box.core.execute("NONSENSE")
    assert box.core.execute("SYST:ERR:COUN?") == "20"
    assert box.errors()[-1] == '-350,"Queue overflow"'
    box.core.execute("NONSENSE")
    box.core.execute("*CLS")
    assert box.errors() == []


def test_status_byte() -> None:
    core = Box().core
    core.execute("*CLS;*ESE 32;*SRE 32")
    assert core.execute("*STB?") == "0"
    core.execute("NONSENSE")
    assert core.execute("*STB?") == str(4 | 32 | 64)
    core.execute("*CLS;*OPC")
    assert core.execute("*ESR?;*OPC?;*ESE?;*SRE?;*TST?;SYST:VERS?") == "1;1;32;32;0;1999.0"


@given(st.text(max_size=60))
def test_no_message_breaks_it(message: str) -> None:
    box = Box()
    box.core.execute(message)
    assert box.core.execute("*CLS;*IDN?") == "hil,box,1,2"


@given(st.from_regex(r"[A-Z]{2,4}[a-z]{0,5}(:[A-Z]{2,4}[a-z]{0,5}){0,3}\??", fullmatch=True))
def test_every_header_has_its_two_forms(text: str) -> None:
    pattern = header_pattern(text)
    short = "".join(letter for letter in text if not letter.islower())
    for form in (text, text.upper(), text.lower(), short, f":{short}"):
        assert pattern.fullmatch(form)
