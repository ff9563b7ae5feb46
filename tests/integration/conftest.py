"""Benches of tests: programs in user and network namespaces of their own, without privilege."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

OnBench = Callable[[str], Any]
ROOT = Path(__file__).parents[2]
UNSHARE = ["unshare", "--user", "--map-root-user", "--net", "--mount"]


def _found_on(bench: Path, scenario: str) -> Any:
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    done = subprocess.run(
        [*UNSHARE, sys.executable, str(bench), scenario],
        env=os.environ | {"PYTHONPATH": path, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def on_bench(request: pytest.FixtureRequest) -> Iterator[OnBench]:
    """What a scenario of the module's `BENCH` found, by its name.

    All of its `SCENARIOS` run, three at a time: they wait much more than they work.
    """
    module: ModuleType = request.module
    with ThreadPoolExecutor(3) as pool:
        found = {name: pool.submit(_found_on, module.BENCH, name) for name in module.SCENARIOS}
        yield lambda name: found[name].result()
