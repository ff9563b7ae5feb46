"""What a frame's first bytes say: where it goes, how urgent it is, whether it carries a probe.

Batches are mostly of one flow, so each question is first asked of the first frame and then of
whether all others are alike; only mixed batches take the longer way.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.virtual.cell_link import ORDINARY, URGENT, VIDEO
from hil.wire import probe

Heads = NDArray[np.uint8]

EVERYWHERE: Final = -1  #: a group address, or an address not seen yet
NOWHERE: Final = -2  #: the port that the frame came from

_48_BITS: Final = np.uint64((1 << 48) - 1)
_GROUP_BIT: Final = np.uint64(1)  # of the first byte on the wire

_EF: Final = 46
_AF4: Final = (34, 36, 38)


def _kinds_by_dscp() -> NDArray[np.int64]:
    kinds = np.full(64, ORDINARY, np.int64)
    kinds[_EF] = URGENT
    kinds[list(_AF4)] = VIDEO
    return kinds


#: Class by DSCP (RFC 4594: EF, and AF4x for conferencing video) and by VLAN priority (IEEE 802.1Q).
_BY_DSCP: Final = _kinds_by_dscp()
_BY_PRIORITY: Final = np.array([ORDINARY] * 4 + [VIDEO] * 2 + [URGENT] * 2, np.int64)

_PROBE_NUMBERS: Final = np.dtype([("flags", "u1"), ("flow", ">u2"), ("run", ">u8"), ("seq", ">u8")])
_NUMBERS_AT: Final = 5
_LAYOUT: Final = [12, 13, 14, 23]
_LAYOUTS_KEPT: Final = 256


def kinds(heads: Heads) -> NDArray[np.int64]:
    """The class of each frame: by VLAN priority where it has a tag, else by DSCP."""
    ethertype = heads[:, 12].astype(np.int64) << 8 | heads[:, 13]
    first = int(ethertype[0])
    if first == 0x0800 and (ethertype == first).all():
        return np.asarray(_BY_DSCP[heads[:, 15] >> 2])
    found = np.full(len(heads), ORDINARY, np.int64)
    found = np.where(ethertype == 0x0800, _BY_DSCP[heads[:, 15] >> 2], found)
    six = (heads[:, 14] & 0x0F) << 2 | heads[:, 15] >> 6
    found = np.where(ethertype == 0x86DD, _BY_DSCP[six], found)
    return np.where(ethertype == 0x8100, _BY_PRIORITY[heads[:, 14] >> 5], found)


class ProbeFinder:
    """Finds the probes among frames; remembers where they were in frames that begin alike."""

    def __init__(self) -> None:
        self._offsets: dict[bytes, int] = {}

    def __call__(
        self, heads: Heads, size: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[Any]]:
        """Which frames carry a probe; its flags, flow, run and seq (0 without one)."""
        # EtherType, version or first byte of a bare probe, and IP protocol: the same layout.
        layout = heads[:, _LAYOUT]
        key = layout[0].tobytes()
        offset = self._offsets.get(key)
        if offset is not None and (
            bool((layout == layout[0]).all())
            and bool((size >= offset + probe.SIZE).all())
            and bool(probe.resembles(heads[:, offset:]).all())
        ):
            start = offset + _NUMBERS_AT
            raw = np.ascontiguousarray(heads[:, start : start + _PROBE_NUMBERS.itemsize])
            return np.ones(len(heads), np.bool_), raw.view(_PROBE_NUMBERS)[:, 0]
        at = probe.offset(heads, size)
        found = at >= 0
        numbers = np.zeros(len(heads), _PROBE_NUMBERS)
        if found.any():
            columns = at[found, None] + _NUMBERS_AT + np.arange(_PROBE_NUMBERS.itemsize)
            raw = heads[np.flatnonzero(found)[:, None], columns]
            numbers[found] = np.ascontiguousarray(raw).view(_PROBE_NUMBERS)[:, 0]
            if found[0] and len(self._offsets) < _LAYOUTS_KEPT:
                self._offsets[key] = int(at[0])
        return found, numbers


class Switch:
    """Which site a MAC address is at: what is known from the start and what was seen since."""

    def __init__(self, known: dict[str, int]) -> None:
        self._sites = {_key(mac): site for mac, site in known.items()}
        self._last: dict[int, int] = {}

    def learn(self, heads: Heads, site: int) -> None:
        """The senders of some frames are at a site."""
        sources = np.ascontiguousarray(heads[:, 6:14]).view("<u8")[:, 0] & _48_BITS
        first = int(sources[0])
        if self._last.get(site) == first and (sources == sources[0]).all():
            return
        for source in np.unique(sources):
            if not source & _GROUP_BIT:
                self._sites[int(source)] = site
        self._last[site] = int(sources[-1])

    def ways(self, heads: Heads, source: int) -> NDArray[np.int64]:
        """The site of each frame's destination, `EVERYWHERE` or `NOWHERE`."""
        targets = np.ascontiguousarray(heads[:, :8]).view("<u8")[:, 0] & _48_BITS
        if (targets == targets[0]).all():
            return np.full(len(heads), self._way(int(targets[0]), source), np.int64)
        values, inverse = np.unique(targets, return_inverse=True)
        return np.array([self._way(int(value), source) for value in values], np.int64)[inverse]

    def _way(self, target: int, source: int) -> int:
        if target & 1:
            return EVERYWHERE
        site = self._sites.get(target, EVERYWHERE)
        return NOWHERE if site == source else site


def _key(mac: str) -> int:
    return int.from_bytes(bytes.fromhex(mac.replace(":", "")), "little")
