"""Floors that were taken again after a run, beside its record, for whoever judges it again.

The file holds one JSON line per check: which measurements it is of, when it was made, and the
floor. What was judged stays as it was; judging again takes the last check of each measurement.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.samples import floor

FILE: Final = "floor-checks.jsonl"
SCHEMA: Final = 1

#: What the budget of a measurement says where its floor was calibrated on its own ports.
CALIBRATED: Final = "calibrated on these very ports"


@dataclass(frozen=True, slots=True)
class Check:
    """A floor taken at `at_ns` (realtime), after the `measurements` of a run, by their ids."""

    measurements: tuple[str, ...]
    at_ns: int
    floor_ns: NDArray[np.int64]


def add(directory: Path, check: Check) -> Path:
    """Appends a check to those of a run directory; returns the file.

    Raises: RigError when it cannot be written.
    """
    path = directory / FILE
    line = {
        "schema": SCHEMA,
        "at_ns": check.at_ns,
        "measurements": list(check.measurements),
        **floor.packed(check.floor_ns),
    }
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
    except OSError as error:
        raise RigError(f"the check cannot be kept: {path}: {error.strerror}") from error
    return path


def read(directory: Path) -> Sequence[Check]:
    """The checks of a run directory, in the order in which they were made; none without a file.

    Raises: ValueError for a line that is none; OSError where the file cannot be read.
    """
    path = directory / FILE
    if not path.exists():
        return ()
    found: list[Check] = []
    for number, text in enumerate(path.read_text("utf-8").splitlines(), 1):
        try:
            line = json.loads(text)
            floor_ns = floor.unpacked(line)
            if line["schema"] != SCHEMA or floor_ns is None or not floor_ns.size:
                raise ValueError("schema or floor")
            found.append(Check(tuple(line["measurements"]), int(line["at_ns"]), floor_ns))
        except (ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}:{number}: no check of a floor ({error})") from error
    return found
