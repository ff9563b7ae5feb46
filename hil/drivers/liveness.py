"""One timed question to a device: how every driver without a closer look tells its health."""

from __future__ import annotations

from collections.abc import Callable

from hil.clock import SYSTEM, Clock
from hil.drivers.protocols import Health, HealthReport
from hil.errors import DriverError


def liveness(ask: Callable[[], tuple[Health, str]], clock: Clock = SYSTEM) -> HealthReport:
    """The report of one question; a device that does not answer it is dead, and nothing is raised.

    `ask` puts the question and says how the device is doing, in a word and in words.
    """
    start_ns = clock.monotonic_ns()
    try:
        status, detail = ask()
    except DriverError as error:
        return HealthReport(Health.DEAD, str(error), None)
    return HealthReport(status, detail, clock.monotonic_ns() - start_ns)
