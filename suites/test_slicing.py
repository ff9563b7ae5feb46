"""Dynamic network slicing: a control flow beside an overload in another slice (P-04)."""

import pytest

import hil


@pytest.mark.requirement("SL-01", "SL-02")
@pytest.mark.needs(cpe=2, paths=["device-edge"])
def test_control_traffic_does_not_feel_its_neighbour(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Overload of best effort leaves the control slice as it was.

    Steps: run the cyclic control flow alone; run it again while a second CPE offers the
    profile's aggressor traffic on best effort.
    Verify: SL-01, the flow's own bound under load; SL-02, its delay against the run alone.
    """
    victim = path("device-edge", 0).uplink()
    aggressor = path("device-edge", 1).uplink()
    traffic = targets["SL-01"].traffic
    alone = victim.run(traffic)
    loaded = victim.run(traffic, beside=[aggressor.offer(targets["SL-01"].load)])
    judge.expect(loaded, "SL-01")
    judge.expect(loaded, "SL-02", against=alone)
