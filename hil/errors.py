"""The one tree of errors; who is at fault decides the branch.

::

    HilError
     |- UsageError                 the caller's input; exit code 2, nothing was started
     |   |- ConfigError            a file is wrong; carries every fault as file:line:col
     |   `- NeedsNotMet            a suite needs what this bench does not offer
     `- RigError                   the bench misbehaved; never a failure of the product
         |- DriverError            a device, as seen by its driver
         |   |- ConnectFailed      refused, absent, no answer to the proof of life
         |   |- ConnectionLost     was open and is gone
         |   |- DriverTimeout      no answer in time; the channel was resynchronised or dropped
         |   |- ProtocolViolation  an answer that does not parse
         |   |- Unsupported        this model cannot
         |   `- DeviceError        the device answered: no
         |- LeaseLost              the bench is held, or was taken, by somebody else
         |- ClockUnfit             no time source fit for the target
         |- InvalidMeasurement     the instrument cannot vouch for the figures
         |- Interrupted            stopped before a verdict was reached
         `- UnsafeOperation        refused by a guard; nothing retries it

    TargetMissed(AssertionError)   judged FAIL: the network missed a target
    Inconclusive(Exception)        judged INCONCLUSIVE: the evidence decides nothing
"""

from __future__ import annotations

from collections.abc import Sequence


class HilError(Exception):
    """Anything `hil` raises on purpose, but for the two verdict exceptions."""


class UsageError(HilError):
    """The caller asked for something that cannot be; the text says what would be right."""


class ConfigError(UsageError):
    """A file is wrong.

    `faults` holds every fault found, each a line ``file:line:col: path: what is wrong, and what
    would be right``; the text of the error is those lines.
    """

    def __init__(self, faults: Sequence[object]) -> None:
        self.faults = tuple(str(fault) for fault in faults)
        super().__init__("\n".join(self.faults))


class NeedsNotMet(UsageError):
    """A suite needs what this bench does not offer; `reasons` says what, one line each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class RigError(HilError):
    """The bench, the host or the instrument is at fault, not the network under test."""


class DriverError(RigError):
    """A device as seen by its driver; never a bare OSError or a library's own exception.

    `transcript` is the redacted tail of the dialogue that led here.
    """

    def __init__(
        self, device: str, operation: str, detail: str, *, transcript: Sequence[str] = ()
    ) -> None:
        super().__init__(f"{device}: {operation}: {detail}")
        self.device = device
        self.operation = operation
        self.detail = detail
        self.transcript = tuple(transcript)


class ConnectFailed(DriverError):
    """Refused, absent, or no answer to the proof of life."""


class ConnectionLost(DriverError):
    """The connection was open and is gone."""


class DriverTimeout(DriverError):
    """No answer in time; the channel is resynchronised or dropped before the next call."""


class ProtocolViolation(DriverError):
    """The answer does not parse."""


class Unsupported(DriverError):
    """This model cannot do that."""


class DeviceError(DriverError):
    """The device answered: no. `code` is the device's own number, None where it gave none."""

    def __init__(
        self,
        device: str,
        operation: str,
        code: int | None,
        text: str,
        *,
        transcript: Sequence[str] = (),
    ) -> None:
        super().__init__(
            device, operation, text if code is None else f"{code} {text}", transcript=transcript
        )
        self.code = code
        self.text = text


class LeaseLost(RigError):
    """The bench or a device is held by somebody else; the text names the holder."""


class ClockUnfit(RigError):
    """No time source on this bench is fit for the target."""


class InvalidMeasurement(RigError):
    """The instrument cannot vouch for the figures; `reasons` says why, one sentence each."""

    def __init__(self, reasons: Sequence[str]) -> None:
        self.reasons = tuple(reasons)
        super().__init__("; ".join(self.reasons))


class Interrupted(RigError):
    """Stopped (Ctrl-C, SIGTERM, time-out) before a verdict was reached."""


class UnsafeOperation(RigError):
    """A guard refused; nothing retries it."""


class TargetMissed(AssertionError):
    """The network missed a target: judged FAIL."""


class Inconclusive(Exception):
    """The evidence decides nothing either way: judged INCONCLUSIVE."""
