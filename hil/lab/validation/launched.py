"""A launcher of sender and receiver that plants a bug in them.

``python -m hil.lab.validation.launched BUG PYTHON [OPTIONS] -m MODULE ORDERS`` runs that module in
this process, with the bug in place. Sender and receiver are started through it as through any other
launcher, so nothing in them knows of it.
"""

from __future__ import annotations

import runpy
import sys

from hil.lab.validation.live_bugs import known
from hil.lab.validation.planting import planted


def main(words: list[str]) -> None:
    """Plant and run."""
    bug, command = known()[words[0]], words[1:]
    at = command.index("-m")
    sys.argv = command[at + 1 :]
    with planted(bug):
        runpy.run_module(command[at + 1], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(sys.argv[1:])
