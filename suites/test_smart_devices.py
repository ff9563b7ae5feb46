"""5G + smart devices: cyclic control, vehicles, sensors (P-06 of the Haier 5GDN case)."""

import pytest

import hil


@pytest.mark.requirement("SD-1", "SD-2")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_cyclic_control_reaches_the_plc_in_time(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Remote I/O at a 10 ms cycle arrives within its bound, in both directions.

    Steps: run the profile's cyclic traffic both ways at once for the planned number of packets.
    Verify: SD-1 and SD-2 hold in each direction; no gap reaches the PLC's watchdog.
    """
    up, down = path("device-edge").both().run(targets["SD-1"].traffic)
    judge.expect(up, "SD-1", "SD-2")
    judge.expect(down, "SD-1", "SD-2")


@pytest.mark.requirement("SD-3")
@pytest.mark.needs(cpe=2, paths=["device-device"])
def test_controllers_behind_two_cpes_keep_their_cycle(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Two controllers exchange 1 kB each cycle, from one CPE over the network to the other.

    Steps: run the profile's traffic between the two device-side ports, both ways at once.
    Verify: SD-3 holds in each direction.
    """
    there, back = path("device-device").both().run(targets["SD-3"].traffic)
    judge.expect(there, "SD-3")
    judge.expect(back, "SD-3")


@pytest.mark.requirement("SD-4", "SD-5")
@pytest.mark.needs(cpe=1, paths=["device-edge"])
def test_vehicles_and_sensors_are_heard_in_time(
    path: hil.Paths, targets: hil.Targets, judge: hil.Judge
) -> None:
    """Vehicles exchange their status with the edge while sensors report over the same CPE.

    Steps: run the vehicles' traffic both ways and the sensors' uplink, all at once.
    Verify: SD-4 in each direction, and SD-5.
    """
    line = path("device-edge")
    vehicle, sensor = targets["SD-4"].traffic, targets["SD-5"].traffic
    status, orders, readings = hil.together(
        line.uplink().offer(vehicle), line.downlink().offer(vehicle), line.uplink().offer(sensor)
    )
    judge.expect(status, "SD-4")
    judge.expect(orders, "SD-4")
    judge.expect(readings, "SD-5")
