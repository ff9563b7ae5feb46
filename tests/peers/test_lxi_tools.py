"""SCPI with lxi-tools at the other end: its client at our instruments."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator

import pytest

from hil.testbed import SupplyEndpoint
from hil.virtual.endpoints.mains import Mains
from hil.virtual.endpoints.supply import Supply


@pytest.fixture
def supply() -> Iterator[Supply]:
    config = SupplyEndpoint.model_validate(
        {"kind": "supply", "listen": "127.0.0.1:1", "channels": 2}
    )
    served = Supply("psu1", config.model_copy(update={"listen": "127.0.0.1:0"}), Mains({}))
    yield served
    served.close()


def lxi(supply: Supply, message: str) -> str:
    if shutil.which("lxi") is None:
        pytest.skip("NOT RUN: lxi not installed (packages.debian: lxi-tools)")
    address, port = supply.address
    words = ["lxi", "scpi", "-a", address, "-p", str(port), "-r", "-t", "5", message]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_its_client_understands_our_supply(supply: Supply) -> None:
    assert lxi(supply, "*IDN?").startswith("hil,supply,psu1,")
    assert lxi(supply, "SYST:ERR?") == '0,"No error"'
    told = lxi(supply, "VOLT 5,(@1:2);:OUTP OFF,(@2);:MEAS:VOLT? (@1,2)")
    assert told == "+5.000000E+00,+0.000000E+00"
    assert lxi(supply, "VOLT 99,(@1);:SYST:ERR?") == '-222,"Data out of range"'
