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
