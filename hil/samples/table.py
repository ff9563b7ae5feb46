"""The samples table, frozen as version 1: one row per planned probe, in order of sequence.

Every time is an integer of nanoseconds on the clock that `CLOCK_OF` names for its column. A time
that was not taken is `NOT_TAKEN`, never 0. A sample keeps every time it has; which of them a
figure is made of is said by the measurement (`Timing`), not by the table.

Three kinds of rows lead to a table: what was planned (`PLANNED`), what the sender saw
(`SENT`) and what the receiver saw (`ARRIVED`, one row per frame, duplicates and damaged frames
included). `hil.samples.accounting` joins them.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

TABLE_VERSION: Final = 1
NOT_TAKEN: Final = int(np.iinfo(np.int64).min)

#: One planned probe. `offset_ns` is the intended send time after the start of the flow; `frame` is
#: the index of the PDU set (image, video frame) the packet belongs to, equal to `seq` where each
#: packet stands alone; `stratum` is the phase stratum; `size` the PDU-session packet in bytes.
PLANNED: Final = np.dtype(
    [("seq", "<u8"), ("frame", "<u4"), ("stratum", "<u2"), ("size", "<u4"), ("offset_ns", "<i8")]
)

#: What the sender saw of one probe.
SENT: Final = np.dtype(
    [
        ("flow", "<u2"),
        ("seq", "<u8"),
        ("intended_ns", "<i8"),
        ("tx_user_ns", "<i8"),
        ("tx_kernel_ns", "<i8"),
        ("tx_hardware_ns", "<i8"),
        ("flags", "<u2"),
    ]
)

#: What the receiver saw of one frame of this run, in order of arrival on its port. The three
#: `trailer_` columns are the tap's own words, on the tap's own clock, unmapped: when it released
#: the frame, when the frame had reached it, and how late the real release was.
ARRIVED: Final = np.dtype(
    [
        ("flow", "<u2"),
        ("seq", "<u8"),
        ("size", "<u4"),
        ("rx_user_ns", "<i8"),
        ("rx_kernel_ns", "<i8"),
        ("rx_hardware_ns", "<i8"),
        ("trailer_release_ns", "<i8"),
        ("trailer_ingress_ns", "<i8"),
        ("trailer_lateness_ns", "<i8"),
        ("flags", "<u2"),
    ]
)

#: What a port that only looks on saw of one probe, in order of passing. `point` numbers the port.
#: `trailer_release_ns` is the word of the tap there, on the tap's own clock, unmapped. `teid`,
#: `pdu_type` and `qfi` are those of the tunnel it passed in (`hil.wire.gtpu`).
OBSERVED: Final = np.dtype(
    [
        ("flow", "<u2"),
        ("seq", "<u8"),
        ("point", "<u2"),
        ("size", "<u4"),
        ("seen_kernel_ns", "<i8"),
        ("trailer_release_ns", "<i8"),
        ("teid", "<u4"),
        ("pdu_type", "u1"),
        ("qfi", "u1"),
        ("flags", "<u2"),
    ]
)

#: One sample: everything known of one planned probe. The receive columns are those of the first
#: intact copy. `ingress_ns` and `rx_trailer_ns` are the tap's times mapped to the host's clock; of
#: a packet that a reflector answered, `rx_trailer_ns` is its receipt less the time that it was held
#: (`hil.samples.two_way`). `lateness_ns` is the tap's real release after the stated one. `arrival`
#: is the rank among the first intact copies, -1 where none arrived; `copies` and `damaged` count
#: frames.
SAMPLE: Final = np.dtype(
    [
        ("seq", "<u8"),
        ("frame", "<u4"),
        ("stratum", "<u2"),
        ("size", "<u4"),
        ("intended_ns", "<i8"),
        ("tx_user_ns", "<i8"),
        ("tx_kernel_ns", "<i8"),
        ("tx_hardware_ns", "<i8"),
        ("ingress_ns", "<i8"),
        ("rx_trailer_ns", "<i8"),
        ("rx_hardware_ns", "<i8"),
        ("rx_kernel_ns", "<i8"),
        ("rx_user_ns", "<i8"),
        ("lateness_ns", "<i8"),
        ("arrival", "<i8"),
        ("copies", "<u2"),
        ("damaged", "<u2"),
        ("flags", "<u2"),
    ]
)

#: The clock each time column of `SAMPLE` is on. Columns on different clocks are never subtracted.
CLOCK_OF: Final = {
    "intended_ns": "realtime",
    "tx_user_ns": "realtime",
    "tx_kernel_ns": "realtime",
    "tx_hardware_ns": "phc",
    "ingress_ns": "realtime",
    "rx_trailer_ns": "realtime",
    "rx_hardware_ns": "phc",
    "rx_kernel_ns": "realtime",
    "rx_user_ns": "realtime",
}

# Bits of `flags` in SENT and SAMPLE.
SEND_FAILED: Final = 1  #: the kernel refused the frame; it was never offered to the network
SPOILED: Final = 2  #: in a window the host or clock watch calls spoiled, or held up on this host

# Bits of `flags` in ARRIVED.
DAMAGED: Final = 1  #: some byte after the link header is not what was sent
UNREADABLE: Final = 2  #: damaged so that flow or sequence cannot be trusted
TRAILER_BAD: Final = 4  #: a trailer was expected and is missing, corrupt or stale
HELD_UP: Final = 8  #: the tap says that its host brought the frame too late to be handled in time

# Bits of `flags` in OBSERVED: TRAILER_BAD, and
SEEN_WARM_UP: Final = 16  #: a warm-up packet, whose sequence counts by itself

Table = NDArray[np.void]


def blank(dtype: np.dtype[Any], rows: int) -> Table:
    """`rows` rows in which no time was taken, nothing arrived and every count is 0."""
    table = np.zeros(rows, dtype)
    for name in dtype.names or ():
        if name.endswith("_ns"):
            table[name] = NOT_TAKEN
    if "arrival" in (dtype.names or ()):
        table["arrival"] = -1
    return table


def taken(column: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Where a time was taken."""
    return np.asarray(column != NOT_TAKEN)


def difference_ns(later: NDArray[np.int64], earlier: NDArray[np.int64]) -> NDArray[np.int64]:
    """`later` less `earlier`; `NOT_TAKEN` where either was not taken."""
    difference = later - earlier  # wraps round where either is NOT_TAKEN, and is replaced there
    difference[(later == NOT_TAKEN) | (earlier == NOT_TAKEN)] = NOT_TAKEN
    return difference
