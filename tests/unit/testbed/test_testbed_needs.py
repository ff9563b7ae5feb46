"""What a suite needs against what a bench offers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from hil.errors import UsageError
from hil.testbed import Needs, Roles, Testbed, unmet

BENCH = """
schema: 1
name: lab
devices:
  cpe1: {driver: modem_at, port: a}
  plc1: {driver: plc_modbus, host: b}
ports:
  a: {interface: a, side: device}
  b: {interface: b, side: edge}
paths:
  device-edge: [{from: a, to: b}]
  device-cloud: []
"""


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({}, []),
        ({"cpe": 1, "plc": 1, "paths": ["device-edge"]}, []),
        ({"cpe": 2}, ["needs 2 cpe, testbed 'lab' has 1"]),
        ({"attenuator": 1, "cpe": 1}, ["needs 1 attenuator, testbed 'lab' has 0"]),
        (
            {"callbox": 1, "paths": ("device-device", "device-cloud")},
            [
                "needs 1 callbox, testbed 'lab' has 0",
                "needs a device-device path, testbed 'lab' has none",
                "needs a device-cloud path, testbed 'lab' has none",
            ],
        ),
        ({"paths": "device-edge"}, []),
    ],
)
def test_what_is_lacking_is_said(
    read_bench: Callable[[str | bytes], Testbed],
    drivers: Roles,
    stated: dict[str, Any],
    said: list[str],
) -> None:
    assert unmet(Needs.of(stated), read_bench(BENCH), drivers) == said


@pytest.mark.parametrize(
    ("stated", "said"),
    [
        ({"cep": 1}, "needs: unknown role 'cep'; did you mean 'cpe'"),
        ({"cpe": "1"}, "needs: cpe wants a whole number, as in 1; got '1'"),
        ({"cpe": True}, "needs: cpe wants a whole number"),
        ({"cpe": -1}, "needs: cpe wants a whole number"),
        (
            {"paths": ["device-egde"]},
            "needs: unknown path 'device-egde'; did you mean 'device-edge'",
        ),
    ],
)
def test_needs_that_make_no_sense_are_refused(stated: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        Needs.of(stated)
