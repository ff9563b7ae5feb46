"""Words, figures and markup of the reports."""

import dataclasses
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hil.judge import Judgement, Reason
from hil.report import figures
from hil.report.markup import join, tag
from hil.report.quantity import one_in, shown
from hil.report.words import LOOKS, look
from hil.verdict import Verdict

DELAY = Judgement(
    requirement="SD-1",
    target="SD-1a",
    measurement="m",
    direction="uplink",
    metric="delay",
    statistic="share_within",
    verdict=Verdict.PASS,
    reason=Reason.MET,
    sentence="s",
    n=10_000,
    exceeding=0,
    bracketed=0,
    figure=9_100_000,
    figure_low=9_000_000,
    figure_high=9_500_000,
    unit="ns",
    limit=10_000_000,
    share=0.999,
    confidence=0.95,
    common_mode_ns=2_000,
    floor_ns=30_000,
    demonstrated=0.99949,
    burst_length=1,
    design_effect=1,
    required_packets=2995,
    plan="full",
    simulated=False,
    details={"figure": "p99.9"},
)


def changed(**fields: object) -> Judgement:
    return dataclasses.replace(DELAY, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("verdict", list(Verdict))
def test_each_verdict_of_a_full_run_is_shown_by_its_own_word(verdict: Verdict) -> None:
    assert look(changed(verdict=verdict)).word == verdict.value


@pytest.mark.parametrize(
    ("reason", "word"),
    [
        (Reason.DEMONSTRATED, "DEMONSTRATED"),
        (Reason.NOT_DEMONSTRATED, "NOT DEMONSTRATED"),
        (Reason.CUT_SHORT, "INCONCLUSIVE"),
    ],
)
def test_inconclusive_of_a_smoke_run_is_shown_by_what_it_says(reason: Reason, word: str) -> None:
    judgement = changed(verdict=Verdict.INCONCLUSIVE, reason=reason, plan="smoke")
    assert look(judgement).word == word


def test_no_two_words_share_a_sign_or_a_class() -> None:
    assert len({one.sign for one in LOOKS.values()}) == len(LOOKS)
    assert len({one.css for one in LOOKS.values()}) == len(LOOKS)


def test_a_figure_has_its_limits_its_uncertainty_and_its_bound() -> None:
    assert figures.figure(DELAY) == "9.1 ms"
    assert figures.limits(DELAY) == "9 to 9.5 ms"
    assert figures.uncertainty(DELAY) == "± 2 µs + 30 µs"
    assert figures.bound(DELAY) == "99.9 % ≤ 10 ms"
    assert figures.named_figure(DELAY) == "p99.9 one-way delay"


def test_what_was_not_measured_is_not_zero() -> None:
    assert figures.figure(changed(figure=None)) == "not measured"
    assert figures.figure(changed(figure=None, verdict=Verdict.INVALID)) == "no claim"
    assert figures.packets(changed(n=0)) == "not measured"


def test_a_quantile_among_the_lost_is_infinite() -> None:
    lost = changed(figure=None, details={"figure": "p99.9", "figure_infinite": True})
    assert figures.figure(lost) == "∞ (lost)"


def test_a_missing_upper_limit_is_said() -> None:
    assert figures.limits(changed(figure_high=None)) == "from 9 ms, no upper limit"


def test_a_rate_without_a_declaration_says_so() -> None:
    rate = changed(metric="watchdog", unit="1/h", limit=None, share=None)
    assert figures.bound(rate) == "no rate declared"


def test_a_tolerance_is_shown_around_what_was_expected() -> None:
    level = changed(metric="rsrp_shift", unit="dB", limit=4.5, share=None, details={"expected": 20})
    assert figures.bound(level) == "20 dB ± 4.5 dB"


@given(st.floats(0, 1))
def test_a_demonstrated_share_is_never_shown_larger_than_it_is(share: float) -> None:
    text = figures.format_floor(share).removesuffix(" %")
    assert float(text) / 100 <= share + 1e-11


@pytest.mark.parametrize(
    ("share", "text"),
    [(0.07413, "7.4 %"), (0.985, "98.5 %"), (0.99949, "99.94 %"), (0.9999, "99.990 %")],
)
def test_a_demonstrated_share_keeps_the_digit_that_counts(share: float, text: str) -> None:
    assert figures.format_floor(share) == text


def test_an_upper_limit_of_a_rate_is_cut_upwards() -> None:
    rate = changed(metric="watchdog", unit="1/h", limit=4.0, share=None, demonstrated=1078.2)
    assert figures.demonstrated(rate) == "≤ 1,079 /h"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "ns", "not measured"),
        (48_000, "ns", "48 µs"),
        (0.5, "1", "50 %"),
        (1.5, "1", "150 %"),
        (12.3456, "1/h", "12.3 /h"),
        (5_200_000, "bit/s", "5.2 Mbit/s"),
        (-3.5, "dB", "-3.5 dB"),
    ],
)
def test_a_quantity_is_shown_with_its_unit(value: float | None, unit: str, text: str) -> None:
    assert shown(value, unit) == text


def test_a_share_as_people_say_it() -> None:
    assert one_in(0.999) == "1 in 1,000"
    assert one_in(1.0) == "none"


class _Read(HTMLParser):
    """What a browser would make of a page: the text it shows and the elements it makes."""

    def __init__(self) -> None:
        super().__init__()
        self.text = ""
        self.elements: list[str] = []
        self.values: list[str | None] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append(tag)
        self.values += [value for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@given(st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc", "Cs"])))
def test_text_from_outside_stays_text(text: str) -> None:
    read = _Read()
    read.feed(tag("p", text, tag("b", text), title=text))
    read.close()
    assert read.elements == ["p", "b"]
    assert read.text == text + text
    assert read.values == [text]


def test_markup_is_not_escaped_again_and_none_is_nothing() -> None:
    assert join(tag("br"), None, "<") == "<br>&lt;"
