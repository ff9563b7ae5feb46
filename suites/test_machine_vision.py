"""5G + machine vision: images from a camera behind the CPE to the MEC (P-07)."""

import pytest

import hil


@pytest.mark.requirement("MV-1", "MV-2")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_images_arrive_whole_and_in_time(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Every raw image is complete on the MEC within its budget, at the offered rate.

    Steps: send the profile's images from the device side to the edge, paced as by the camera.
    Verify: MV-1 by frame (first packet in to last packet out); MV-2 delivered over offered.
    """
    images = path("device-edge").uplink().run(targets["MV-1"].traffic)
    judge.expect(images, "MV-1", "MV-2")


@pytest.mark.requirement("MV-4")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_reject_command_is_in_time_while_images_flow(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """The command to reject an item comes down in time while the camera's images go up.

    Steps: send reject commands from the edge to the device side, images of the camera beside them.
    Verify: MV-4 holds for the commands.
    """
    line = path("device-edge")
    reject = targets["MV-4"]
    images = line.uplink().offer(reject.load)
    judge.expect(line.downlink().run(reject.traffic, beside=[images]), "MV-4")
