"""What Allure is told beside the results of pytest: the bench, the kinds of trouble, the missing.

A test that died with its process leaves no result, and a report without it would look greener than
the run was. The record knows every test, so each one without a result gets one here.
"""

from __future__ import annotations

import hashlib
import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from hil import errors
from hil.record.directory import RunDirectory, write_whole
from hil.record.reader import Run, TestHistory
from hil.record.redaction import redact, redact_tree
from hil.record.schema import Cause, CollectedTest, Outcome

_TEXTS: Final = frozenset((".txt", ".log", ".csv", ".json"))


def categories() -> list[dict[str, Any]]:
    """The kinds of trouble, in the order in which they are looked for; the first that fits counts.

    Told apart by the class of the exception, which Allure has at the head of the message.
    """
    rig = "|".join(sorted({kind.__name__ for kind in _subclasses(errors.RigError)}))
    return [
        _category("FAIL: a target is missed", "failed", "TargetMissed"),
        _category("INVALID: no claim, the instrument was not fit", "broken", "InvalidMeasurement"),
        _category("INCONCLUSIVE: measure longer", "broken", r"\bInconclusive"),
        _category(
            "Interrupted, or out of time: no verdict", "broken", "Interrupted|hil: the run ended"
        ),
        _category("Rig fault: the bench, not the network", "broken", rf"\b({rig})\b|OSError"),
        _category("FAIL: a check of the test did not hold", "failed", ""),
        _category("Defect in a suite or in hil", "broken", ""),
        _category("NOT RUN", "skipped", ""),
    ]


def write_context(directory: RunDirectory, run: Run) -> None:
    """Write environment, executor and categories beside the results.

    Raises:
        RigError: the folder cannot be written.
    """
    folder = directory.allure_results
    lines = "".join(f"{_key(name)}={_line(value)}\n" for name, value in environment(run).items())
    write_whole(folder / "environment.properties", lines)
    executor = {"name": "hil", "type": "hil", "buildName": run.run.run_id, "reportName": title(run)}
    write_whole(folder / "executor.json", json.dumps(executor, indent=2))
    old = [
        {
            "name": one["name"],
            "matchedStatuses": one["matchers"]["statuses"],
            "messageRegex": f"(?s).*({one['matchers'].get('message', '')}).*",
        }
        for one in categories()
    ]
    write_whole(folder / "categories.json", json.dumps(old, indent=2))


def environment(run: Run) -> Mapping[str, str]:
    """What was run on what, as names and values."""
    line = run.run
    commit = (
        f"{line.git_commit[:12]}{' and changes' if line.git_dirty else ''}"
        if line.git_commit
        else ""
    )
    facts = {
        "SIMULATED": "yes: says nothing about a real network" if line.simulated else "",
        "Testbed": line.testbed.name,
        "Plan": line.plan,
        "Profile": f"{line.profile.name} {line.profile.version or ''}".strip(),
        "Seed": "" if line.seed is None else str(line.seed),
        "Run": line.run_id,
        "State of the run": run.state.value,
        "hil": line.hil,
        "Suites at commit": commit,
        "Host": line.host,
        "Kernel": line.kernel,
        "Python": line.python,
    }
    return {name: redact(value) for name, value in facts.items() if value}


def title(run: Run) -> str:
    """The heading of the report."""
    simulated = " (SIMULATED)" if run.run.simulated else ""
    return f"{run.run.profile.name} on {run.run.testbed.name}, plan {run.run.plan}{simulated}"


def finish_missing(directory: RunDirectory, run: Run) -> tuple[str, ...]:
    """Write a result for each test of the record that has none; returns their node ids.

    A result that is greener than the record is corrected. A test that was running is broken, one
    that never began is skipped, one that finished without leaving a result has the status that the
    record gives it.

    Raises:
        RigError: the folder cannot be written.
    """
    results = tuple(_results(directory.allure_results))
    for path, result in results:
        _correct(path, result, run)
    present = {name for _, result in results for name in _identities(result)}
    epic = next((_label(result, "epic") for _, result in results), None)
    added = []
    for test in run.collected:
        if _identity(test.nodeid) in present or f"nodeid {test.nodeid}" in present:
            continue
        result = _result(run, test, run.tests[test.nodeid], epic or run.run.profile.name)
        result["attachments"] = list(_cards(directory, run, test.nodeid))
        path = directory.allure_results / f"{result['uuid']}-result.json"
        write_whole(path, json.dumps(redact_tree(result), ensure_ascii=False))
        added.append(test.nodeid)
    return tuple(added)


def _correct(path: Path, result: dict[str, Any], run: Run) -> None:
    """No result is greener than the record: an interruption between two phases leaves it so."""
    if result.get("status") != "passed":
        return
    names = set(_identities(result))
    for nodeid, history in run.tests.items():
        if history.green or names.isdisjoint((f"nodeid {nodeid}", _identity(nodeid))):
            continue
        result["status"], message = _status(history)
        result["statusDetails"] = {"message": message}
        write_whole(path, json.dumps(redact_tree(result), ensure_ascii=False))


def redact_results(folder: Path) -> None:
    """Take secrets and identities out of the results and text attachments that pytest wrote."""
    for path in folder.iterdir():
        if path.suffix not in _TEXTS:
            continue
        before = path.read_text("utf-8", errors="replace")
        after = _redacted_json(before) if path.suffix == ".json" else redact(before)
        if after != before:
            write_whole(path, after)


def _redacted_json(text: str) -> str:
    try:
        tree = json.loads(text)
    except ValueError:
        return redact(text)
    clean = redact_tree(tree)
    return text if clean == tree else json.dumps(clean, ensure_ascii=False)


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    yield kind
    for each in kind.__subclasses__():
        yield from _subclasses(each)


def _category(name: str, status: str, message: str) -> dict[str, Any]:
    matchers: dict[str, Any] = {"statuses": [status]}
    if message:
        matchers["message"] = message
    return {"name": name, "matchers": matchers}


def _results(folder: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path in sorted(folder.glob("*-result.json")):
        try:
            result = json.loads(path.read_text("utf-8"))
        except ValueError:
            path.unlink()  # half a file of a process that died; the record has the test
            continue
        if isinstance(result, dict):
            yield path, result


def _label(result: Mapping[str, Any], name: str) -> str | None:
    labels = result.get("labels") or ()
    return next((str(one["value"]) for one in labels if one.get("name") == name), None)


def _identities(result: Mapping[str, Any]) -> Iterator[str]:
    """The names under which a result may be looked for: its node id, else its full name."""
    nodeid = _label(result, "nodeid")
    yield f"nodeid {nodeid}" if nodeid else str(result.get("fullName", ""))


def _identity(nodeid: str) -> str:
    """The full name that allure-pytest gives the test of a node id, without its parameters."""
    path, *names = nodeid.partition("[")[0].split("::")
    package = path.removesuffix(".py").replace("/", ".")
    return f"{'.'.join([package, *names[:-1]])}#{names[-1] if names else ''}"


def _result(run: Run, test: CollectedTest, history: TestHistory, epic: str) -> dict[str, Any]:
    status, message = _status(history)
    start = history.start or history.finish
    last = history.finish.at_ns if history.finish else _last_ns(run)
    begin = start.at_ns if start else last
    identity = _identity(test.nodeid)
    labels = [("epic", epic), ("testbed", run.run.testbed.name), ("nodeid", test.nodeid)]
    labels += [("framework", "pytest"), ("host", run.run.host)]
    if test.scenario:
        labels.append(("feature", test.scenario))
    labels += [("story", f"{name} {run.title(name)}".strip()) for name in test.requirements]
    return {
        "uuid": str(uuid.uuid4()),
        "historyId": hashlib.md5(test.nodeid.encode(), usedforsecurity=False).hexdigest(),
        "testCaseId": hashlib.md5(identity.encode(), usedforsecurity=False).hexdigest(),
        "fullName": identity,
        "name": test.title or test.nodeid.rpartition("::")[2],
        "status": status,
        "statusDetails": {"message": message},
        "stage": "finished",
        "start": begin // 1_000_000,
        "stop": max(begin, last) // 1_000_000,
        "labels": [{"name": name, "value": value} for name, value in labels],
    }


def _cards(directory: RunDirectory, run: Run, nodeid: str) -> Iterator[dict[str, str]]:
    """The cards of what the test judged before it was lost, attached as it would have done."""
    for judgement in run.judgements:
        card = directory.card(nodeid, judgement)
        if judgement.nodeid == nodeid and card.is_file():
            source = f"{uuid.uuid4()}-attachment.html"
            write_whole(directory.allure_results / source, card.read_text("utf-8"))
            name = f"{judgement.target} {judgement.direction}: {judgement.verdict}".strip()
            yield {"name": name, "source": source, "type": "text/html"}


def _status(history: TestHistory) -> tuple[str, str]:
    finish = history.finish
    if finish is None and history.start is not None:
        return "broken", "hil: the run ended in the middle of this test, no verdict was reached"
    if finish is None:
        return "skipped", "NOT RUN: the run ended before this test began"
    outcome = finish.outcome or Outcome.BROKEN
    if outcome is Outcome.FAILED and finish.cause not in (None, Cause.TARGET_MISSED):
        outcome = Outcome.BROKEN
    return outcome.value, finish.detail or f"the record says: {finish.cause or outcome}"


def _last_ns(run: Run) -> int:
    """When the record was last written to: the nearest thing to the time of a sudden end."""
    lines = (*run.test_lines, *run.judgements, *run.events, *run.measurements.values())
    times = [line.at_ns for line in lines]
    return max([run.run.at_ns, *times] + ([run.end.at_ns] if run.end else []))


def _escaped(*letters: str) -> Callable[[str], str]:
    table = str.maketrans({letter: f"\\{letter}" for letter in letters})
    return lambda text: text.translate(table)


_key: Final = _escaped("\\", " ", ":", "=")


def _line(value: str) -> str:
    return " ".join(value.replace("\\", "\\\\").split())
