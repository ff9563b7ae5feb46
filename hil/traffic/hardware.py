"""Time stamps of the network card: what its driver offers, switched on for a run and back after.

A driver says what it can do (ETHTOOL_GET_TS_INFO), and how it was set is asked for and changed by
SIOCGHWTSTAMP and SIOCSHWTSTAMP (Documentation/networking/timestamping.rst, 3). What it says is a
claim: that frames of a port really come with stamps is shown by the warm-up frames of each run. A
refusal is never fatal, the kernel's stamps are there as well.
"""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

from hil.traffic import linux

# linux/sockios.h, linux/ethtool.h, linux/net_tstamp.h.
_SIOCETHTOOL: Final = 0x8946
_SIOCSHWTSTAMP: Final = 0x89B0
_SIOCGHWTSTAMP: Final = 0x89B1
_ETHTOOL_GET_TS_INFO: Final = 0x41
_TX_ON: Final = 1
_FILTER_ALL: Final = 1
_CONFIG: Final = struct.Struct("iii")  # struct hwtstamp_config: flags, tx_type, rx_filter

#: struct ethtool_ts_info: command, SOF_ flags, number of the clock, types and filters as bits.
TS_INFO: Final = struct.Struct("IIiI12xI12x")


@dataclass(frozen=True, slots=True)
class Capability:
    """What a driver says of the stamps of its card.

    `transmit` and `receive`: it can stamp any frame that goes out or comes in. `clock` is the
    number N of the card's own clock, /dev/ptpN; None without one.
    """

    transmit: bool
    receive: bool
    clock: int | None

    @classmethod
    def of(cls, answer: bytes) -> Capability:
        """What an answer to ETHTOOL_GET_TS_INFO says."""
        _, flags, clock, types, filters = TS_INFO.unpack(answer)
        own = clock >= 0 and bool(flags & linux.SOF_RAW_HARDWARE)
        return cls(
            transmit=own and bool(flags & linux.SOF_TX_HARDWARE) and bool(types >> _TX_ON & 1),
            receive=own
            and bool(flags & linux.SOF_RX_HARDWARE)
            and bool(filters >> _FILTER_ALL & 1),
            clock=clock if own else None,
        )


#: No stamps of any card.
NOTHING: Final = Capability(transmit=False, receive=False, clock=None)


def capability(interface: str, namespace: str | None = None) -> Capability:
    """What the driver of an interface says; `NOTHING` where it does not know the question."""
    value = array.array("B", TS_INFO.pack(_ETHTOOL_GET_TS_INFO, 0, -1, 0, 0))
    with linux.inside(namespace), _handle() as handle:
        if _ask(handle, interface, _SIOCETHTOOL, value) is not None:
            return NOTHING
    return Capability.of(value.tobytes())


class Switched:
    """The stamps of one interface, switched on until `close`; made in its namespace.

    `refused` says why they could not be, None where they are on.
    """

    def __init__(self, interface: str) -> None:
        self._interface = interface
        self._handle = _handle()
        self._before = self._ask(_SIOCGHWTSTAMP, bytes(_CONFIG.size))
        self._changed = False
        self.refused: str | None = None
        if self._before is not None and stamps_everything(self._before):
            return
        after = self._ask(_SIOCSHWTSTAMP, _CONFIG.pack(0, _TX_ON, _FILTER_ALL))
        if after is None:
            return
        self._changed = True
        self.refused = None
        if not stamps_everything(after):
            self.refused = "the driver stamps only some frames"

    def _ask(self, request: int, config: bytes) -> bytes | None:
        value = array.array("B", config)
        self.refused = _ask(self._handle, self._interface, request, value)
        return None if self.refused else value.tobytes()

    def close(self) -> None:
        """Set the interface as it was found, where that is known."""
        if self._changed and self._before is not None:
            self._ask(_SIOCSHWTSTAMP, self._before)
        self._handle.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def stamps_everything(config: bytes) -> bool:
    """Whether a struct hwtstamp_config has every frame stamped, out and in."""
    _, sending, receiving = _CONFIG.unpack(config)
    return bool(sending == _TX_ON and receiving == _FILTER_ALL)


def _handle() -> socket.socket:
    return socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)


def _ask(
    handle: socket.socket, interface: str, request: int, value: array.array[int]
) -> str | None:
    """An ioctl on an interface whose answer replaces `value`; why it was refused, or None."""
    call = struct.pack("16sP16x", interface.encode(), value.buffer_info()[0])
    try:
        fcntl.ioctl(handle, request, call)
    except OSError as error:
        return error.strerror or str(error)
    return None
