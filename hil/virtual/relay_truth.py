"""What a relay did to each frame of its flow, with the kernel's own stamps: the truth of a run.

The file is rows of `ROW` one after the other, in order of departure; it may be read while the relay
runs and holds what had happened until then, however the relay ended.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples.table import NOT_TAKEN, difference_ns
from hil.virtual.faults.fault_list import KINDS

FORTH, BACK = 0, 1  #: values of `way`: the way of the flow, and that of its answers

#: The number of each fault in the column `did`; 0 is none.
DID: Final = {word: number for number, word in enumerate(KINDS, 1)}

#: One frame that left, or did not. `number` counts the frames of the flow on its way, from 0.
#: `copy` is 1 for the second of a doubled one. `rx_ns` and `tx_ns` are the kernel's stamps
#: (CLOCK_REALTIME) at the relay's two interfaces, `NOT_TAKEN` where the frame was dropped.
ROW: Final = np.dtype(
    [
        ("way", "u1"),
        ("did", "u1"),
        ("copy", "u1"),
        ("number", "<i8"),
        ("size", "<u4"),
        ("rx_ns", "<i8"),
        ("tx_ns", "<i8"),
    ]
)


@dataclass(frozen=True, slots=True)
class Truth:
    """What really happened to the packets of one way, by the definitions of `Counts`.

    `delay_ns` holds, by number, how long the first copy of each was in the relay, `NOT_TAKEN` for
    what did not leave; `rx_ns` when each came, `tx_ns` when its first copy left.
    """

    packets: int
    lost: int
    duplicated: int
    reordered: int
    corrupted: int
    delay_ns: NDArray[np.int64]
    rx_ns: NDArray[np.int64]
    tx_ns: NDArray[np.int64]
    did: NDArray[np.uint8]

    def met(self, word: str) -> NDArray[np.int64]:
        """The numbers of the packets that met a kind of fault."""
        return np.flatnonzero(self.did == DID[word])


def read(path: Path) -> NDArray[Any]:
    """The rows of a file, whole ones only."""
    content = path.read_bytes()
    return np.frombuffer(content, ROW, len(content) // ROW.itemsize)


def truth(rows: NDArray[Any], way: int = FORTH) -> Truth:
    """The truth about one way."""
    mine = rows[rows["way"] == way]
    packets = int(mine["number"].max()) + 1 if len(mine) else 0
    first = mine[mine["copy"] == 0]
    left = np.isin(first["did"], (DID["drop"], DID["corrupt"]), invert=True)
    order = first["number"][left]
    overtaken = order[1:] < np.maximum.accumulate(order)[:-1]  # RFC 4737 section 3.3
    did = np.zeros(packets, np.uint8)
    did[first["number"]] = first["did"]
    came, gone = (np.full(packets, NOT_TAKEN, np.int64) for _ in range(2))
    came[first["number"]], gone[first["number"]] = first["rx_ns"], first["tx_ns"]
    return Truth(
        packets=packets,
        lost=int((did == DID["drop"]).sum()),
        duplicated=int(mine["copy"].sum()),
        reordered=int(overtaken.sum()),
        corrupted=int((did == DID["corrupt"]).sum()),
        delay_ns=difference_ns(gone, came),
        rx_ns=came,
        tx_ns=gone,
        did=did,
    )
