"""CRC-32 of many messages of one length at once.

A CRC is affine over GF(2): the CRC of a message is the CRC of the all-zero message of that length,
XOR-ed with one contribution per byte that depends on the byte's value and place alone. A table per
place therefore turns n checksums into one gather per byte, and a place at which all messages have
the same byte into none. The polynomial and the bit order are
those of IEEE Std 802.3 clause 3.2.9, as in `zlib.crc32`.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

_FEW = 256  # rows for which one large gather beats a small one per place


class Crc32:
    """CRC-32 over messages of exactly `length` bytes."""

    def __init__(self, length: int) -> None:
        zero = bytes(length)
        self.length = length
        self._zero = zlib.crc32(zero)
        self._table = np.zeros((length, 256), np.uint32)
        for place in range(length):
            message = bytearray(zero)
            for value in range(256):
                message[place] = value
                self._table[place, value] = zlib.crc32(message) ^ self._zero
        self._flat = self._table.ravel()
        self._starts = np.arange(length, dtype=np.intp) * 256

    def of(self, rows: NDArray[np.uint8]) -> NDArray[np.uint32]:
        """The CRC of the first `length` bytes of each row; shape (n,)."""
        if len(rows) <= _FEW:
            places = rows[:, : self.length] + self._starts
            found = np.bitwise_xor.reduce(self._flat.take(places), axis=1, initial=self._zero)
            return np.asarray(found, np.uint32)
        first = rows[0, : self.length]
        differs = np.bitwise_or.reduce(rows[:, : self.length] ^ first, axis=0) != 0
        places = np.arange(self.length)
        alike = self._table[places[~differs], first[~differs]]
        same = np.bitwise_xor.reduce(alike, initial=self._zero)
        out = np.full(len(rows), same, np.uint32)
        for place in places[differs].tolist():
            out ^= self._table[place].take(rows[:, place])
        return out
