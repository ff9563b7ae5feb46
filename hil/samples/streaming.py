"""The join of rows on disk, block by block: exact like `accounting.join`, in bounded memory.

A first pass notes, for each page of a stream, which blocks of the plan its rows belong to, and,
of the arrived rows, which are first intact copies. A block is then joined from the pages that hold
rows of it, wherever in the stream they are: a packet or a copy that comes an hour late costs one
page read again, and no count.

What grows with the run are two bits a packet (which probes have come, which rows were the first)
and some 40 bytes for each page of rows.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import accounting
from hil.samples.accounting import Expected, PortCounts
from hil.samples.measurement import Counts
from hil.samples.pages import Pages
from hil.samples.planned import Planned
from hil.samples.table import (
    ARRIVED,
    DAMAGED,
    SENT,
    UNREADABLE,
    Table,
    blank,
)
from hil.samples.trailer_clock import TrailerMap

BLOCK: Final = 1 << 15  #: planned rows joined at once
_SOME: Final = 32  # blocks that `some_rows` takes


class StreamedJoin:
    """The rows of one flow, joined a block at a time.

    `blocks` may be gone through as often as needed. `counts` goes through it once.

    Args:
        plan: what was planned, with sequences strictly increasing.
        sent: the stream of `SENT` rows.
        arrived: the stream of `ARRIVED` rows, in order of arrival.
        flow: the flow's number on the wire; rows of others are passed over.
        cut_short: only what the sender saw was offered, as `accounting.offered` says.
        block: planned rows joined at once; `BLOCK` where None.

    Raises:
        FileNotFoundError, ValueError: as `hil.samples.pages.Pages`.
    """

    def __init__(
        self,
        plan: Planned,
        sent: Path,
        arrived: Path,
        *,
        flow: int,
        cut_short: bool = False,
        block: int | None = None,
    ) -> None:
        block = BLOCK if block is None else block
        self._plan, self._flow, self._block = plan, flow, block
        self._sent, self._arrived = Pages(sent, SENT), Pages(arrived, ARRIVED)
        self.length = len(plan)
        if cut_short:
            self.length = self._last_sent() + 1
        self._sent_of = _Places(self._blocks)
        self._arrived_of = _Places(self._blocks)
        for number, rows in enumerate(self._sent):
            position, inside = self._find(rows)
            self._sent_of.add(number, position[inside] // block)
        self._copies = _Copies(self.length)
        for number, rows in enumerate(self._arrived):
            position, inside = self._find(rows)
            readable = (rows["flags"] & UNREADABLE) == 0
            mine = rows["flow"] == flow
            self._copies.note(rows, position, inside, readable & mine)
            self._copies.unreadable += int(np.count_nonzero(mine & ~readable))
            self._copies.unplanned += int(np.count_nonzero(mine & readable & ~inside))
            self._arrived_of.add(number, position[inside & readable] // block)

    @property
    def truncated(self) -> bool:
        """True where a stream was never ended, so that later rows may be missing."""
        return self._sent.truncated or self._arrived.truncated

    def _last_sent(self) -> int:
        """The row of the plan that the sender came to; -1 where it sent nothing."""
        highest = -1
        for rows in self._sent:
            seq = rows["seq"][rows["flow"] == self._flow]
            if seq.size:
                highest = max(highest, int(seq.max()))
        if highest < 0:
            return -1
        position, inside = self._plan.find(np.array([highest], np.uint64))
        return int(position[0]) - (0 if inside[0] else 1)

    @property
    def _blocks(self) -> int:
        return -(-self.length // self._block)

    def _find(self, rows: Table) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """The place of each row in the plan, and whether it is of this flow and was offered."""
        position, inside = self._plan.find(rows["seq"])
        return position, inside & (rows["flow"] == self._flow) & (position < self.length)

    def blocks(self, trailer_map: TrailerMap | None = None) -> Iterator[Table]:
        """`SAMPLE` rows of all planned probes, in order of sequence, a block at a time."""
        for number in range(self._blocks):
            yield self._joined(number, trailer_map)[0]

    def counts(
        self,
        trailer_map: TrailerMap | None = None,
        expected: Expected | None = None,
        ports: PortCounts | None = None,
        *,
        look: Callable[[Table], None] | None = None,
    ) -> Counts:
        """The counts of the flow; those of `accounting.join` for the same rows.

        `look` is shown each block on the way.
        """
        tally = accounting.Tally(expected or Expected())
        for number in range(self._blocks):
            samples, seen = self._joined(number, trailer_map)
            tally.add(samples, seen)
            if look is not None:
                look(samples)
        found = self._copies
        tally.add_frames(
            accounting.Seen(
                damaged=found.unreadable, unreadable=found.unreadable, unplanned=found.unplanned
            )
        )
        return tally.counts(ports or PortCounts(), reordered=found.reordered)

    def some_rows(self) -> tuple[Table, Table]:
        """`SENT` and `ARRIVED` rows of up to 32 blocks spread evenly over the run, for clock maps.

        A million packets tell a clock as well as a hundred million.
        """
        chosen = np.unique(np.linspace(0, self._blocks - 1, min(_SOME, self._blocks)).astype(int))
        sent = [self._rows(self._sent, self._sent_of, number)[0] for number in chosen.tolist()]
        came = [
            self._rows(self._arrived, self._arrived_of, number)[0] for number in chosen.tolist()
        ]
        return (
            np.concatenate([blank(SENT, 0), *sent]),
            np.concatenate([blank(ARRIVED, 0), *came]),
        )

    def _rows(
        self, pages: Pages, places: _Places, number: int
    ) -> tuple[Table, list[tuple[int, NDArray[np.intp]]]]:
        """The rows of a block in order of the stream, and where on which page they stood."""
        found, stood = [blank(pages.dtype, 0)], []
        first = number * self._block
        for page in places.of(number):
            rows = pages[page]
            position, inside = self._find(rows)
            if pages.dtype == ARRIVED:
                inside &= (rows["flags"] & UNREADABLE) == 0
            these = np.flatnonzero(inside & (position >= first) & (position < first + self._block))
            if these.size:  # a stretch without a gap is not copied
                first_row, last_row = int(these[0]), int(these[-1]) + 1
                gapless = last_row - first_row == these.size
                found.append(rows[first_row:last_row] if gapless else rows[these])
            stood.append((page, these))
        return np.concatenate(found), stood

    def _joined(self, number: int, trailer_map: TrailerMap | None) -> tuple[Table, accounting.Seen]:
        first = number * self._block
        planned = self._plan.rows(first, min(first + self._block, self.length))
        samples = accounting.unsent(planned)
        accounting.add_sent(samples, self._rows(self._sent, self._sent_of, number)[0])
        arrived, stood = self._rows(self._arrived, self._arrived_of, number)
        seen = accounting.add_arrived(samples, arrived, trailer_map)
        came = samples["arrival"] >= 0
        ranks = [self._copies.ranks(page, rows) for page, rows in stood]
        if ranks:
            samples["arrival"][came] = np.concatenate(ranks)[samples["arrival"][came]]
        return samples, seen


class _Places:
    """Which pages of a stream hold rows of a block."""

    def __init__(self, blocks: int) -> None:
        self._pages = array("q")
        self._blocks = array("q")
        self._order: NDArray[np.int64] | None = None
        self._count = blocks

    def add(self, page: int, blocks: NDArray[np.int64]) -> None:
        """Rows of `blocks` are on page number `page`; to be called in order of the pages."""
        for block in np.unique(blocks).tolist():
            self._pages.append(page)
            self._blocks.append(block)

    def of(self, block: int) -> list[int]:
        """The pages, in order of the stream."""
        blocks = np.frombuffer(self._blocks, np.int64) if self._blocks else np.zeros(0, np.int64)
        if self._order is None:
            self._order = np.argsort(blocks, kind="stable")
        low, high = np.searchsorted(blocks, [block, block + 1], sorter=self._order)
        return [self._pages[place] for place in self._order[low:high].tolist()]


class _Copies:
    """Which arrived rows are first intact copies, and how many came before each page."""

    def __init__(self, probes: int) -> None:
        self._came = np.zeros((probes >> 3) + 1, np.uint8)
        self._first: list[bytes] = []
        self._before = array("q")
        self._received = 0
        self._highest = -1
        self.reordered = 0
        self.unreadable = 0
        self.unplanned = 0

    def note(
        self,
        rows: Table,
        position: NDArray[np.int64],
        inside: NDArray[np.bool_],
        readable: NDArray[np.bool_],
    ) -> None:
        """The next page of rows, with their places in the plan."""
        intact = np.flatnonzero(inside & readable & ((rows["flags"] & DAMAGED) == 0))
        probes, where = np.unique(position[intact], return_index=True)
        bytes_, bits = probes >> 3, (1 << (probes & 7)).astype(np.uint8)
        fresh = (self._came[bytes_] & bits) == 0
        np.bitwise_or.at(self._came, bytes_, bits)
        first = np.zeros(len(rows), np.bool_)
        first[intact[where[fresh]]] = True
        self._first.append(np.packbits(first).tobytes())
        self._before.append(self._received)
        in_order = position[first]
        self._received += in_order.size
        if in_order.size:
            # RFC 4737 section 3.3, as `accounting.reordered`.
            highest = np.maximum.accumulate(np.append(self._highest, in_order))
            self.reordered += int(np.count_nonzero(in_order < highest[:-1]))
            self._highest = int(highest[-1])

    def ranks(self, page: int, rows: NDArray[np.intp]) -> NDArray[np.int64]:
        """The rank among all first copies of those among `rows` of a page that are such."""
        first = np.unpackbits(np.frombuffer(self._first[page], np.uint8)).astype(np.bool_)
        rank = self._before[page] + np.cumsum(first) - 1
        return np.asarray(rank[rows[first[rows]]], np.int64)
