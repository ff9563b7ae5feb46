"""What every device with a SCPI session does the same; a driver adds what it is for."""

from __future__ import annotations

from collections.abc import Sequence

from hil.document import Duration
from hil.drivers.protocols import HealthReport, Identity
from hil.drivers.scpi import ScpiSession
from hil.drivers.transcript import Transcript
from hil.testbed import DeviceConfig


class ScpiConfig(DeviceConfig):
    """How a SCPI instrument is reached."""

    resource: str
    """VISA resource name, as in ``TCPIP0::192.0.2.7::5025::SOCKET``."""

    visa: str = "@py"
    """VISA library as pyvisa names it: ``@py`` is pyvisa-py, ``@ivi`` the installed one."""

    limit_ns: Duration = 2_000_000_000
    """How long a connection or an answer may take."""


class ScpiDevice:
    """One instrument, one session, one transcript."""

    def __init__(self, name: str, config: ScpiConfig) -> None:
        self.name = name
        self._transcript = Transcript()
        self._session = ScpiSession(
            name,
            config.resource,
            library=config.visa,
            limit_s=config.limit_ns / 1e9,
            transcript=self._transcript,
        )

    def open(self) -> None:
        """See `Device.open`."""
        self._session.open()

    def close(self) -> None:
        """See `Device.close`."""
        self._session.close()

    def identify(self) -> Identity:
        """See `Device.identify`."""
        return self._session.identify()

    def health(self) -> HealthReport:
        """See `Device.health`; errors that wait in its queue make it degraded."""
        return self._session.health()

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"scpi"})

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)
