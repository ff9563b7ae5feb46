"""5G + AR man-machine collaboration: pose, camera and rendered video of a headset (P-08)."""

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


@pytest.mark.requirement("AR-1", "AR-2", "AR-3")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_all_streams_of_a_worker_run_together(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Pose and camera go up while rendered video comes down, and each keeps its own budget.

    Steps: run the three streams of the profile at once.
    Verify: AR-1 for the poses; AR-2 and AR-3 by frame, with the packets beside it.
    """
    worker = path("device-edge")
    pose, camera, rendered = hil.together(
        worker.uplink().offer(targets["AR-1"].traffic),
        worker.uplink().offer(targets["AR-2"].traffic),
        worker.downlink().offer(targets["AR-3"].traffic),
    )
    judge.expect(pose, "AR-1")
    judge.expect(camera, "AR-2")
    judge.expect(rendered, "AR-3")
