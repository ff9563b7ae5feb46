"""Epic, feature, story and links of a test, all from its one `requirement` mark."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

#: From the Allure site, which lies beside it, to our own report.
_REPORT = "../../report/index.html"

if TYPE_CHECKING:
    import pytest

    from hil.plugin.session import Session
    from hil.targets import Profile


def requirement_ids(item: pytest.Item) -> list[str]:
    """The requirements a test says it judges."""
    return [str(name) for mark in item.iter_markers("requirement") for name in mark.args]


def prose(item: pytest.Item) -> dict[str, str]:
    """The docstring of a test: `title`, and the paragraphs after `Steps:` and `Verify:`."""
    text = inspect.getdoc(getattr(item, "function", None)) or ""
    title, _, rest = text.partition("\n")
    parts = {"title": title.strip(), "steps": "", "verify": ""}
    current = ""
    for line in rest.splitlines():
        for word in ("steps", "verify"):
            if line.lower().startswith(f"{word}:"):
                current, line = word, line[len(word) + 1 :]  # noqa: PLW2901
        if current:
            parts[current] = f"{parts[current]} {line.strip()}".strip()
    return parts


def apply(item: pytest.Item, session: Session) -> None:
    """Adds the Allure labels; parameters that vary from run to run stay out of history."""
    import allure

    item.add_marker(allure.epic(session.profile.title))
    item.add_marker(allure.label("testbed", session.testbed.name))
    item.add_marker(allure.label("nodeid", item.nodeid))
    for name in requirement_ids(item):
        requirement = session.profile.get(name)
        if requirement is None:
            continue
        item.add_marker(allure.feature(requirement.scenario))
        item.add_marker(allure.story(f"{name} {requirement.title}"))
        item.add_marker(allure.link(_REPORT, name=f"{name} in the report"))


def describe(item: pytest.Item) -> None:
    """Title and description in Allure of the test that runs now, from its docstring."""
    import allure

    text = prose(item)
    if text["title"]:
        allure.dynamic.title(text["title"])
        parts = [f"{word.capitalize()}: {text[word]}" for word in ("steps", "verify") if text[word]]
        allure.dynamic.description("\n\n".join(parts))


def inventory(item: pytest.Item, profile: Profile) -> dict[str, Any]:
    """One line of the inventory: what a test sets out to judge, and what it needs."""
    names = requirement_ids(item)
    known = [profile.get(name) for name in names]
    return {
        "nodeid": item.nodeid,
        "requirements": names,
        "scenario": next((r.scenario for r in known if r is not None), ""),
        "needs": {k: v for mark in item.iter_markers("needs") for k, v in mark.kwargs.items()},
        **prose(item),
    }
