"""5G + AR man-machine collaboration: the pose stream of a headset (P-08)."""

import pytest

import hil


@pytest.mark.requirement("AR-1")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_pose_stream_keeps_up_with_the_head(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Poses at 250 Hz reach the renderer within their packet delay budget.

    Steps: run the profile's pose stream from the device side to the edge.
    Verify: AR-1 holds.
    """
    judge.expect(path("device-edge").uplink().run(targets["AR-1"].traffic), "AR-1")
