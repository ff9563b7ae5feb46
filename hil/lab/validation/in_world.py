"""The parts of a validation that need a world: a program that enters one and measures there.

``python -m hil.lab.validation.in_world ORDERS``; orders are a JSON object with ``testbed`` (a
file), ``trailers`` (whether it is not in real-time mode) and what to do: ``count`` packets a flow,
``repeats``, ``rounds`` of blind runs, ``bugs`` by their ids, ``suites`` to run.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hil import _enter

if TYPE_CHECKING:
    from hil.lab.validation.item import Item


def work(orders: Mapping[str, Any]) -> Iterator[Item]:
    """Every part that is ordered, in turn."""
    from hil.lab.validation import live, live_blind, live_bugs, live_suites

    bench = live.around(trailers=bool(orders.get("trailers")))
    parts: list[Callable[[], Item]] = []
    if orders.get("count"):
        parts.append(lambda: live.realtime(bench, orders["count"]))
    if orders.get("repeats"):
        parts.append(lambda: live.repeated(bench, orders["repeats"], orders["count"] // 2))
    if orders.get("rounds"):
        parts.append(lambda: live_blind.blind(bench, orders["rounds"], Path(orders["directory"])))
    if orders.get("bugs"):
        parts.append(lambda: live_bugs.found(bench, orders["bugs"]))
    if orders.get("suites"):
        parts.append(lambda: live_suites.compared(bench, Path(orders["directory"])))
    for part in parts:
        begin = time.monotonic()
        yield replace(part(), seconds=time.monotonic() - begin)


def main() -> int:
    """Enter the world of the testbed and do the work there."""
    _enter.enter(Path(json.loads(sys.argv[-1])["testbed"]))
    from hil.lab.validation import item

    return item.serve(work)


if __name__ == "__main__":
    sys.exit(main())
