"""When a port's frames really left: the kernel's own transmit stamps, read after each sending.

A link of the world is a veth pair, whose driver stamps a frame inside the very call that sends it;
so all stamps of a call are there when it returns (Documentation/networking/timestamping.rst, 1.3.1
and 2.1). The kernel numbers the frames of a socket (SOF_TIMESTAMPING_OPT_ID). Whether a frame that
was refused has used up a number is not said, so the numbers begin anew after each refusal.
"""

from __future__ import annotations

import ctypes
import socket
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN

_SOL_PACKET: Final = 263
_PACKET_TX_TIMESTAMP: Final = 16
_SO_TIMESTAMPING: Final = 37
_TX_SOFTWARE, _RX_SOFTWARE, _SOFTWARE = 1 << 1, 1 << 3, 1 << 4
_OPT_ID, _OPT_TSONLY = 1 << 7, 1 << 11
_FLAGS: Final = _TX_SOFTWARE | _RX_SOFTWARE | _SOFTWARE | _OPT_TSONLY
_BUFFER: Final = 1 << 20  #: as far as the system lets it; 256 stamps fit into the default
_SOME: Final = 64
_CONTROL: Final = 128
_TIMESTAMPING: Final = _SO_TIMESTAMPING << 32 | socket.SOL_SOCKET
_NUMBERED: Final = _PACKET_TX_TIMESTAMP << 32 | _SOL_PACKET
_NUMBERS: Final = 1 << 32

#: Two control messages as the kernel writes them (linux/net_tstamp.h, linux/errqueue.h); level and
#: type of each are read as one 64-bit word.
_STAMP: Final = np.dtype(
    {
        "names": ["kind", "sec", "nsec", "kind2", "id"],
        "formats": ["<u8", "<i8", "<i8", "<u8", "<u4"],
        "offsets": [8, 16, 24, 72, 92],
        "itemsize": _CONTROL,
    }
)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.recvmmsg.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_void_p,
]


class EgressStamps:
    """The transmit stamps of one packet socket, from construction on."""

    def __init__(self, sock: socket.socket) -> None:
        self._socket = sock
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
        self._control = np.zeros((_SOME, _CONTROL), np.uint8)
        self._headers = np.zeros((_SOME, 8), np.uint64)  # struct mmsghdr of a 64-bit system
        places = np.arange(_SOME, dtype=np.uint64) * np.uint64(_CONTROL)
        self._headers[:, 4] = self._control.ctypes.data + places
        self._begin()

    def _begin(self) -> None:
        """Switch stamps on and set the kernel's frame counter to 0."""
        for flags in (_FLAGS, _FLAGS | _OPT_ID):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPING, flags)
        self._next = 0

    def of_last(self, count: int, *, refused: bool) -> NDArray[np.int64]:
        """CLOCK_REALTIME stamps of the `count` frames just sent; `NOT_TAKEN` where none came.

        Call it after each sending; `refused` says that the kernel did not take a frame after them.
        """
        found = np.full(count, NOT_TAKEN, np.int64)
        while (got := self._read()) > 0:
            stamps = self._control[:got].view(_STAMP)[:, 0]
            good = (stamps["kind"] == _TIMESTAMPING) & (stamps["kind2"] == _NUMBERED)
            place = (stamps["id"].astype(np.int64) - self._next) % _NUMBERS
            good &= place < count
            # A stamp may be repeated by a device behind the port; the first is the port's own.
            place, stamps = place[good][::-1], stamps[good][::-1]
            fresh = found[place] == NOT_TAKEN
            times = stamps["sec"] * 1_000_000_000 + stamps["nsec"]
            found[place[fresh]] = times[fresh]
        if refused:
            self._begin()
        else:
            self._next = (self._next + count) % _NUMBERS
        return found

    def _read(self) -> int:
        self._headers[:, 5] = _CONTROL
        flags = socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT
        got: int = _libc.recvmmsg(
            self._socket.fileno(), self._headers.ctypes.data, _SOME, flags, None
        )
        return got
