"""The process that knows: draws secret faults for a world, makes them, and seals what it did.

``python -m hil.lab.validation.drawer RUN SEALED``. It reads one JSON object a line: ``draw`` with a
seed for each way, ``end``, ``seal``; its answers hold no parameter of any fault. Whoever measures
talks to it and learns nothing but the seal.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from hil.lab.validation import secret
from hil.virtual import faults
from hil.virtual.faults.ledger import USERPLANE

#: A packet that is swapped with those behind it is held back for about two of them.
_SWAP_NS: Final = 2_200_000


def parameters(drawn: secret.Secret) -> list[tuple[str, dict[str, Any]]]:
    """The faults of a world that a secret is made of: kinds and their parameters."""
    return [
        ("burst_loss", {"share": drawn.loss, "burst": drawn.burst}),
        ("corruption", {"share": drawn.corruption}),
        ("reordering", {"share": drawn.held, "by": f"{secret.HELD_NS} ns"}),
        ("reordering", {"share": drawn.swap, "by": f"{_SWAP_NS} ns"}),
        ("duplication", {"share": drawn.duplication}),
        ("delay", {"by": f"{drawn.shift_ns} ns"}),
    ]


class Drawer:
    """The faults that are on, and what was drawn so far."""

    def __init__(self, run: Path) -> None:
        self._run = run
        self._random = secret.secret_generator()
        self._open: list[Mapping[str, Any]] = []
        self._drawn: list[dict[str, Any]] = []

    def draw(self, seeds: Sequence[int], ways: Sequence[Sequence[str]]) -> None:
        """Begin the faults of one secret on each way: (modem, direction)."""
        for seed, (cpe, way) in zip(seeds, ways, strict=True):
            drawn = secret.draw(self._random, seed)
            self._drawn.append(secret.plain(drawn))
            for kind, given in parameters(drawn):
                if given.get("share") == 0:
                    continue
                where = {"cpe": cpe, "direction": way}
                self._open.append(faults.begin(self._run, USERPLANE, kind, given | where))

    def end(self) -> None:
        """End every fault."""
        while self._open:
            faults.close(self._run, self._open.pop())

    def seal(self, path: Path) -> str:
        """Write down what was drawn; its seal."""
        return secret.seal(path, self._drawn)


def main(words: Sequence[str]) -> int:
    """Serve until standard input ends."""
    run, sealed = map(Path, words)
    drawer = Drawer(run)
    try:
        for line in sys.stdin:
            order = json.loads(line)
            answer: dict[str, Any] = {"done": order["do"]}
            if order["do"] == "draw":
                drawer.draw(order["seeds"], order["ways"])
            elif order["do"] == "end":
                drawer.end()
            else:
                answer["seal"] = drawer.seal(sealed)
            print(json.dumps(answer), flush=True)
    finally:
        drawer.end()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
