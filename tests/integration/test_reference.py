"""A twin over a cable runs beside what is measured, both ways round, and is on record."""

from __future__ import annotations

from pathlib import Path

import pytest

from hil.drivers.registry import Registry
from hil.errors import ConfigError
from hil.testbed import load
from tests.integration.staging import on_stage

INSIDE = Path(__file__).with_name("reference_inside.py")


@pytest.mark.parametrize(
    ("ends", "cable"),
    [(("dut_a", "dut_b"), ("cable_a", "cable_b")), (("dut_b", "dut_a"), ("cable_b", "cable_a"))],
)
def test_the_cable_is_measured_in_the_same_run(
    ends: tuple[str, str], cable: tuple[str, str]
) -> None:
    said = on_stage(INSIDE, *ends)
    assert (said["sent"], said["received"]) == (1500, 1500)
    (reference,) = said["conditions"]["references"]
    assert (reference["from"], reference["to"]) == cable
    assert (reference["sent"], reference["lost"]) == (75, 0), "one each 20 ms of 1.5 s"
    assert reference["delay_ns"]["p50"] > 0


def test_a_cable_that_is_none_is_told(tmp_path: Path) -> None:
    path = tmp_path / "bench.yaml"
    path.write_text(
        "schema: 1\nname: b\nports:\n  a: {interface: e0, side: device}\n"
        "  b: {interface: e1, side: edge}\npaths:\n  device-edge:\n"
        "    - {from: a, to: b, reference: {from: c, to: c}}\n"
    )
    with pytest.raises(ConfigError) as caught:
        load(str(path), Registry())
    assert "bench.yaml:8:42: paths.device-edge.0.reference.from: " in str(caught.value)
    assert "the cable begins and ends at port 'c'" in str(caught.value)
