"""Benches of tests: programs in user and network namespaces of their own, without privilege."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import ModuleType
from typing import Any

import pytest

from tests.integration.staging import unshared

OnBench = Callable[[str], Any]


@pytest.fixture(scope="module")
def on_bench(request: pytest.FixtureRequest) -> Iterator[OnBench]:
    """What a scenario of the module's `BENCH` found, by its name.

    All of its `SCENARIOS` run, three at a time: they wait much more than they work.
    """
    module: ModuleType = request.module
    with ThreadPoolExecutor(3) as pool:
        found = {name: pool.submit(unshared, module.BENCH, name) for name in module.SCENARIOS}
        yield lambda name: found[name].result()
