"""JUnit XML in which no test is missing and each says its verdicts.

pytest writes the file at its end; a process that died leaves none, or one without the tests that
were to come. Here each test of the record gets its case, and each case its properties: CI shows
what the run set out to do, not what happened to be left.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from xml.etree import ElementTree

from hil.errors import RigError
from hil.record.directory import RunDirectory, write_whole
from hil.record.reader import Run, TestHistory, read
from hil.record.redaction import redact
from hil.record.schema import Cause, Outcome
from hil.report.words import look

_XML = ElementTree
_NOT_GREEN = ("failure", "error", "skipped")
#: What XML 1.0 cannot hold, section 2.2.
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def complete(directory: RunDirectory) -> tuple[str, ...]:
    """Make ``junit.xml`` hold every test of the record; returns what had to be added, in words.

    Raises:
        RigError: the file cannot be written.
    """
    run = read(directory.path)
    notes: list[str] = []
    suite, readable = _suite(directory, run)
    if not readable:
        notes.append("pytest left no junit.xml: it was written from the record")
    cases = {_key(case): case for case in suite.iter("testcase")}
    for nodeid, history in run.tests.items():
        case = cases.get(_names(nodeid))
        if case is None:
            case = _XML.SubElement(suite, "testcase", _attributes(nodeid, history))
            _outcome(case, history)
            if readable:
                notes.append(f"{nodeid} was added to junit.xml")
        elif not history.green and all(case.find(kind) is None for kind in _NOT_GREEN):
            _outcome(case, history)  # pytest had no report of what ended it
        _properties(case, run, nodeid)
    _recount(suite)
    for element in suite.iter():
        for name, value in element.attrib.items():
            element.set(name, _clean(value))
        element.text = _clean(element.text) if element.text else element.text
    root = _XML.Element("testsuites", {"name": "hil"})
    root.append(suite)
    _XML.indent(root)
    text = _XML.tostring(root, encoding="unicode")
    write_whole(directory.junit, f'<?xml version="1.0" encoding="utf-8"?>\n{text}\n')
    return tuple(notes)


def _suite(directory: RunDirectory, run: Run) -> tuple[_XML.Element, bool]:
    try:
        tree = _XML.parse(directory.junit)
    except FileNotFoundError:
        pass
    except _XML.ParseError:
        pass  # half a file: the process died while writing it
    except OSError as error:
        raise RigError(f"{directory.junit}: cannot be read: {error.strerror}") from error
    else:
        root = tree.getroot()
        found = root if root.tag == "testsuite" else root.find("testsuite")
        if found is not None:
            for case in [case for case in found.iter("testcase") if not case.get("name")]:
                found.remove(case)  # begun by pytest, and stopped before it had a name
            return found, True
    return _XML.Element("testsuite", {"name": "pytest", "hostname": run.run.host}), False


def _names(nodeid: str) -> tuple[str, str]:
    """Class name and name as pytest's own JUnit writer makes them of a node id."""
    path, bracket, parameters = nodeid.partition("[")
    names = path.split("::")
    names[0] = names[0].removesuffix(".py").replace("/", ".")
    names[-1] += bracket + parameters
    return ".".join(names[:-1]), names[-1]


def _key(case: _XML.Element) -> tuple[str, str]:
    return case.get("classname", ""), case.get("name", "")


def _attributes(nodeid: str, history: TestHistory) -> dict[str, str]:
    classname, name = _names(nodeid)
    taken = history.finish.duration_ns if history.finish else None
    return {"classname": classname, "name": name, "time": f"{(taken or 0) / 1e9:.3f}"}


def _outcome(case: _XML.Element, history: TestHistory) -> None:
    finish = history.finish
    if finish is None:
        message = (
            "the run ended in the middle of this test"
            if history.start
            else "the run ended before this test began"
        )
        _XML.SubElement(case, "error", {"message": message}).text = message
    elif finish.outcome is Outcome.SKIPPED:
        _XML.SubElement(case, "skipped", {"message": finish.detail or ""})
    elif finish.outcome is not Outcome.PASSED:
        kind = "failure" if finish.cause is Cause.TARGET_MISSED else "error"
        detail = finish.detail or str(finish.cause or finish.outcome)
        _XML.SubElement(case, kind, {"message": detail.splitlines()[0]}).text = detail


def _properties(case: _XML.Element, run: Run, nodeid: str) -> None:
    """Replaces the verdict properties of a case by what the record says."""
    holder = case.find("properties")
    if holder is None:
        holder = _XML.Element("properties")
        case.insert(0, holder)
    for old in [p for p in holder if p.get("name", "").startswith(("hil.verdict.", "SIMULATED"))]:
        holder.remove(old)
    for name, value in _verdicts(run, nodeid):
        _XML.SubElement(holder, "property", {"name": name, "value": value})
    if run.run.simulated:
        _XML.SubElement(holder, "property", {"name": "SIMULATED", "value": "true"})
    if len(holder) == 0:
        case.remove(holder)


def _verdicts(run: Run, nodeid: str) -> Iterable[tuple[str, str]]:
    for judgement in run.judgements:
        if judgement.nodeid == nodeid:
            simulated = " SIMULATED" if judgement.simulated else ""
            parts = (judgement.target, judgement.direction)
            name = ".".join(("hil.verdict", *(part for part in parts if part)))
            yield name, f"{look(judgement).word}{simulated}: {judgement.sentence}"
    for missing in run.not_run:
        if missing.nodeid == nodeid:
            yield f"hil.verdict.{missing.requirement}", f"NOT RUN: {missing.why}"


def _recount(suite: _XML.Element) -> None:
    cases = list(suite.iter("testcase"))
    suite.set("tests", str(len(cases)))
    for attribute, kind in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        suite.set(attribute, str(sum(case.find(kind) is not None for case in cases)))


def _clean(text: str) -> str:
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", redact(text))
