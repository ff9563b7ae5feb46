"""The card's stamps of the frames that arrive, beside the kernel's.

A slot of a receive ring has room for one stamp (TP_STATUS_TS_RAW_HARDWARE or TP_STATUS_TS_SOFTWARE,
never both). A second ring on the same port therefore takes those of the card, and the two are
brought together by what the frames hold.
"""

from __future__ import annotations

import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN
from hil.traffic import linux
from hil.traffic.ring import Batch, ReceiveRing

_KEY: Final = 128  # bytes from the network header on: the probe is among them


class CardRing(ReceiveRing):
    """A receive ring whose stamps are the card's; `kernel_ns` of its batches holds those."""

    stamped_by = linux.TP_STATUS_TS_RAW_HARDWARE

    def __init__(
        self, interface: str, program: Sequence[linux.Instruction], widest: int, slots: int
    ) -> None:
        """As `ReceiveRing`."""
        super().__init__(interface, program, widest, slots)
        flags = linux.SOF_RX_HARDWARE | linux.SOF_RAW_HARDWARE
        self.sock.setsockopt(socket.SOL_SOCKET, linux.SO_TIMESTAMPING, flags)
        self.sock.setsockopt(linux.SOL_PACKET, linux.PACKET_TIMESTAMP, linux.SOF_RAW_HARDWARE)


class CardStamps:
    """Finds the card's stamp of each frame that another ring of the port has brought."""

    def __init__(self, ring: ReceiveRing) -> None:
        self._ring = ring
        self._most = 4 * ring.slots
        self._waiting: dict[bytes, deque[int]] = {}
        self._order: deque[bytes] = deque()

    def of(self, batch: Batch) -> NDArray[np.int64]:
        """The card's stamps of the frames of `batch`, `NOT_TAKEN` where it took none.

        Frames that are alike are paired in order of arrival.
        """
        while (theirs := self._ring.take()) is not None:
            for key, stamp in zip(_keys(theirs), theirs.kernel_ns.tolist(), strict=True):
                self._waiting.setdefault(key, deque()).append(stamp)
                self._order.append(key)
        found = np.full(len(batch.lengths), NOT_TAKEN, np.int64)
        for row, key in enumerate(_keys(batch)):
            if stamps := self._waiting.get(key):
                found[row] = stamps.popleft()
        self._forget()
        return found

    @property
    def held(self) -> int:
        """Stamps that no frame has asked for yet."""
        return sum(len(each) for each in self._waiting.values())

    def _forget(self) -> None:
        """Give up what was paired, and what the other ring will not bring any more."""
        while self._order and (
            len(self._order) > self._most or not self._waiting.get(self._order[0])
        ):
            key = self._order.popleft()
            stamps = self._waiting.get(key)
            if stamps and len(self._order) >= self._most:
                stamps.popleft()
            if not stamps:
                self._waiting.pop(key, None)


def _keys(batch: Batch) -> list[bytes]:
    ends = np.minimum(np.minimum(batch.lengths, batch.captured), _KEY).tolist()
    return [row[:end].tobytes() for row, end in zip(batch.payload[:, :_KEY], ends, strict=True)]
