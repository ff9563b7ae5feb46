"""Nothing secret and no whole subscriber identity reaches the disk; figures stay readable."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.record.redaction import Redaction, redact_argv

TEXTS = st.text(alphabet=string.printable, max_size=200)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("> AT+CPIN=1234", "1234"),
        ('AT+CLCK="SC",1,"4321"', "4321"),
        ('AT+CGAUTH=1,2,"user","pass word"', "pass word"),
        ("Authorization: Basic dXNlcjpwYXNz", "dXNlcjpwYXNz"),
        ("authorization=Bearer abc.def", "abc.def"),
        ("SNMP community string: hallway", "hallway"),
        ("snmpget -v2c -c hallway 10.0.0.1", "hallway"),
        ("password = hunter2", "hunter2"),
        ('{"token": "abcd"}', "abcd"),
        ("telnet://admin:hunter2@10.0.0.1", "hunter2"),
    ],
)
def test_a_secret_argument_is_hidden_and_its_command_is_not(text: str, secret: str) -> None:
    shown = Redaction().redact(text)
    assert secret not in shown
    assert shown[:4] == text[:4]


@pytest.mark.parametrize(
    ("identity", "begin", "end"),
    [
        ("001010000000001", "00101", "01"),
        ("35209900176148", "35209", "48"),
        ("89490200001234567890", "894902", "7890"),
        ("35-209900-176148-1", "35-2099", "-1"),
    ],
)
def test_of_an_identity_only_the_ends_are_left(identity: str, begin: str, end: str) -> None:
    shown = Redaction().redact(f"+CIMI: {identity}\r\nOK")
    assert identity not in shown
    assert f"{begin}*" in shown
    assert f"*{end}" in shown


@pytest.mark.parametrize(
    "text",
    [
        "20261124T204932Z-3fa9c1",
        "at 1795391231678000000 ns",
        "at 1795391231678000 us",
        "9.312345678901234 ms",
        "n = 4000000",
        "d41d8cd98f00b204e9800998ecf8427e01234567890123",
        "10.60.0.20:502",
    ],
)
def test_figures_times_and_digests_stay(text: str) -> None:
    assert Redaction().redact(text) == text


@given(
    secret=st.text(alphabet=string.ascii_letters + string.digits + "/+&%", min_size=6), text=TEXTS
)
def test_a_registered_secret_is_nowhere_in_what_comes_out(secret: str, text: str) -> None:
    redaction = Redaction()
    redaction.register(secret)
    assert secret not in redaction.redact(f"{text}{secret}{text}")


def test_a_short_secret_does_not_eat_figures() -> None:
    redaction = Redaction()
    redaction.register("1234")
    assert redaction.redact("pin 1234, n = 12345, 0.1234 ms") == "pin ***, n = 12345, 0.*** ms"


@given(TEXTS)
def test_redacting_twice_is_redacting_once(text: str) -> None:
    redaction = Redaction()
    once = redaction.redact(text)
    assert redaction.redact(once) == once


def test_a_tree_keeps_its_shape_and_its_numbers() -> None:
    redaction = Redaction()
    redaction.register("sesame open")
    tree = {"a": [1, 2.5, None, True, "sesame open"], "password": "x", "iccid": 5, "pin": ""}
    assert redaction.redact_tree(tree) == {
        "a": [1, 2.5, None, True, "***"],
        "password": "***",
        "iccid": 5,
        "pin": "",
    }


def test_an_argument_list_loses_the_word_after_a_secret_option() -> None:
    assert redact_argv(["hil", "run", "--token", "abcdef", "--pin=1234", "--plan", "full"]) == (
        "hil",
        "run",
        "--token",
        "***",
        "--pin=***",
        "--plan",
        "full",
    )
