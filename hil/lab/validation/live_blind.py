"""Blind proficiency with real traffic: a whole instrument against a cell with secret faults.

Three processes: `drawer` makes the faults and seals them, this module measures, and this module as
a program opens the seal afterwards and compares, with the truth log of the world for the counts.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.errors import RigError
from hil.lab.validation import blind as pure
from hil.lab.validation import live, secret
from hil.lab.validation.item import Item
from hil.lab.validation.live import WAYS, Bench
from hil.lab.validation.truth import flow_truth
from hil.verdict import ExitCode
from hil.virtual import userplane_truth as log

COUNT: Final = 1_000
_SOURCE: Final = "real traffic; kernel stamps and the tap's trailers"


class _Drawer:
    """The other process, as this one may know it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, **order: Any) -> dict[str, Any]:
        """One order and its answer; RigError when it has ended."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(order) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RigError("the process that draws the faults has ended") from None
        answer = self._process.stdout.readline()
        if not answer:
            raise RigError("the process that draws the faults has ended")
        found: dict[str, Any] = json.loads(answer)
        return found


@contextmanager
def _drawer(run: Path, sealed: Path) -> Iterator[_Drawer]:
    command = [sys.executable, "-m", "hil.lab.validation.drawer", str(run), str(sealed)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        yield _Drawer(process)


def blind(bench: Bench, rounds: int, directory: Path) -> Item:
    """Rounds of one secret for each way through the cell, measured beside a run without faults."""
    begin = time.monotonic()
    ways = [(way[3], live.direction(way)) for way in WAYS]
    random = np.random.default_rng()
    found: list[dict[str, Any]] = []
    sealed = directory / "live-sealed.json"
    with _drawer(bench.run, sealed) as drawer:
        for turn in range(rounds):
            flows = [bench.flow(way, live.spread(random, COUNT)) for way in WAYS]
            references = live.offer(flows)
            seeds = [turn * len(WAYS) + number for number in range(len(WAYS))]
            drawer.say(do="draw", seeds=seeds, ways=ways)
            flows = [bench.flow(way, live.spread(random, COUNT)) for way in WAYS]
            measured = live.offer(flows)
            drawer.say(do="end")
            for one, reference in zip(measured, references, strict=True):
                found.append({"id": one.id} | pure.intervals(one, reference))
        text = json.dumps(found).encode()
        path = directory / "live-found.json"
        path.write_bytes(text)
        seals = {"found": hashlib.sha256(text).hexdigest(), "drawn": drawer.say(do="seal")["seal"]}
    words = [sys.executable, "-m", __name__, str(bench.truth), str(sealed), str(path)]
    done = subprocess.run([*words, json.dumps(seals)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RigError(f"the truth could not be opened: {done.stderr.strip()[-400:]}")
    opened = Item.from_json(json.loads(done.stdout)["items"][0])
    lasted = time.monotonic() - begin
    return replace(opened, sentence=f"{opened.sentence}; {rounds} rounds in {lasted:.0f} s")


def opened(truth: Path, sealed: Path, found: Path, seals: dict[str, str]) -> Item:
    """What was done against what was found.

    Raises: RigError when either is not what its seal says.
    """
    done = secret.unseal(sealed, seals["drawn"])
    text = found.read_bytes()
    if hashlib.sha256(text).hexdigest() != seals["found"]:
        raise RigError("what was found was changed after it was written down")
    rows, clock = log.read(truth)
    pairs = []
    for each, measured in zip(done, json.loads(text), strict=True):
        run, _, flow = measured["id"].partition("-")
        mine = rows[(rows["run"] == int(run, 16)) & (rows["flow"] == int(flow))]
        counts = flow_truth(mine, clock, COUNT).counts
        pairs.append((each | {"counts": counts.to_json()}, measured))
    made = pure.report(pairs, _SOURCE, COUNT)
    return replace(made, id="blind-live", title="Blind proficiency, real traffic")


def main(words: Sequence[str]) -> int:
    """Open and compare."""
    truth, sealed, found = map(Path, words[:3])
    print(json.dumps({"items": [opened(truth, sealed, found, json.loads(words[3])).to_json()]}))
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
