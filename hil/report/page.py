"""A whole HTML page: one file, no script, nothing fetched from anywhere."""

from __future__ import annotations

from functools import cache
from importlib.resources import files

from hil.report.markup import Child, Markup, join, tag
from hil.report.words import Look

#: The browser itself is told to load nothing, whatever might slip into a page.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"

SIMULATED = tag(
    "div",
    tag("b", "SIMULATED"),
    ": a simulated bench proves drivers, suites, rules and reports. "
    "It says nothing about a real network.",
    class_="simulated",
)


@cache
def _style() -> Markup:
    return Markup(files("hil.report").joinpath("style.css").read_text("utf-8"))


def page(title: str, *body: Child, kind: str | None = None) -> str:
    """The text of an HTML file."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("title", title),
        tag("style", _style()),
    )
    html = tag("html", head, tag("body", tag("main", *body, class_=kind)), lang="en")
    return f"<!doctype html>\n{html}\n"


def word(look: Look, *, big: bool = False) -> Markup:
    """The badge of a verdict word: colour, border, sign and the word itself."""
    classes = f"word {look.css} big" if big else f"word {look.css}"
    return tag("span", tag("span", look.sign, aria_hidden="true"), look.word, class_=classes)


def rows(pairs: list[tuple[str, Child]]) -> Markup:
    """A table of names and values."""
    return tag(
        "table",
        tag("tbody", *(tag("tr", tag("th", name, scope="row"), tag("td", value))
                       for name, value in pairs)),
    )  # fmt: skip


def tile(value: Child, caption: str) -> Markup:
    """One key figure and what it is."""
    return tag("div", tag("b", value), tag("span", caption), class_="tile")


def figure(svg: str, caption: str, explanation: str) -> Markup:
    """A drawing under a heading that says what it shows."""
    heading = tag("figcaption", join(caption, " "), tag("span", explanation))
    return tag("figure", heading, Markup(svg))
