"""The measurement of a run whose rows are too many for memory, made block by block.

What is done to a block is what `hil.traffic.assemble` does to a run that fits into memory. Over the
whole run are added up: the counts, exactly; the longest span, on which spoiled windows hang; and
the uncertainty, of which the largest common-mode part and all floors count.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from hil.samples import accounting, floor, store
from hil.samples.measurement import Budget, Counts, Measurement, Timing
from hil.samples.streaming import StreamedJoin
from hil.samples.table import SAMPLE, Table, blank, difference_ns, taken
from hil.samples.trailer_clock import fit_trailer_map
from hil.traffic.assemble import (
    Found,
    Taken,
    described,
    expected_of,
    port_counts,
    settled,
    timing_of,
)
from hil.traffic.compile import Compiled
from hil.traffic.flow import Flow
from hil.traffic.stamping import Stamping, stamping

_FEW: Final = 1 << 16  # samples that tell which stamps are there
_MOST_FLOOR: Final = 1 << 20  # values of a floor


def assemble_long(
    flow: Flow,
    number: int,
    made: Compiled,
    files: store.Files,
    run: Taken,
    about: Mapping[str, Any],
) -> Measurement:
    """The measurement of flow `number` from its streams; its samples are in a Parquet file.

    `about` is what the file shall say of itself, beside the floor.

    Raises:
        OSError: the Parquet file cannot be written.
        FileNotFoundError, ValueError: a stream is not there or not readable.
    """
    join = StreamedJoin(
        flow.plan, files.sent, files.arrived, flow=number, cut_short=not run.complete
    )
    tapped = flow.rx.tap is not None
    clock_map = fit_trailer_map(*join.some_rows(), flow=number) if tapped else None
    cards = stamping(flow, run.sender, run.receiver)
    survey = _Survey(max(1, join.length // _FEW), cards)
    counts = join.counts(
        clock_map, expected_of(flow, cards), port_counts(flow, number, run), look=survey.look
    )
    maps, timing, whole = (clock_map, cards), survey.timing(flow, counts), _Uncertainty()
    # Of a part of the run the cards' stamps say less than of some that are spread over all of it.
    _, spread, crossed = settled(survey.few, flow, timing, maps, run, survey.longest_ns)
    with store.SamplesWriter(files.parquet) as file:
        for block in join.blocks(clock_map):
            cards.bring_together(block)
            samples, part, _ = settled(block, flow, timing, maps, run, survey.longest_ns)
            whole.add(part, _longest_ns(samples, timing))
            file.append(samples)
        budget = whole.budget() if join.length else spread
        file.about({**about, **floor.packed(budget.floor_ns)})
    found = Found(store.load(files.parquet), counts, timing, budget, crossed)
    return described(flow, number, (made, cards), run, found)


def _longest_ns(samples: Table, timing: Timing) -> int:
    """The longest delay of some samples, either way."""
    delay = difference_ns(samples[timing.rx_column], samples[timing.tx_column])
    known = np.abs(delay[taken(delay)])
    return int(known.max()) if known.size else 0


class _Survey:
    """What has to be known of all samples before any of them is finished."""

    def __init__(self, step: int, cards: Stamping) -> None:
        self._step, self._cards = step, cards
        self._few = [blank(SAMPLE, 0)]
        self.longest_ns = 0

    def look(self, samples: Table) -> None:
        """The next block."""
        self._cards.bring_together(samples)
        self.longest_ns = max(self.longest_ns, accounting.longest_span_ns(samples))
        came = samples["copies"] > 0
        for these in (came, ~came):
            self._few.append(samples[np.flatnonzero(these)[:: self._step]])

    @property
    def few(self) -> Table:
        """Some samples, spread evenly over the run, those that came and those that did not."""
        return np.concatenate(self._few)

    def timing(self, flow: Flow, counts: Counts) -> Timing:
        """The sources that the samples have."""
        few = self.few
        received = int(np.count_nonzero(few["copies"]))
        return timing_of(flow, few, replace(counts, received=received))


class _Uncertainty:
    """The uncertainty of a run from that of its parts."""

    def __init__(self) -> None:
        self._worst: Budget | None = None
        self._rank = (0, 0)
        self._alike = True
        self._last = np.zeros(0, np.int64)
        self._values = np.zeros(0, np.int64)
        self._counts = np.zeros(0, np.int64)

    def add(self, budget: Budget, longest_ns: int) -> None:
        """That of a part, and the longest delay in it, of which its words tell."""
        rank = (budget.common_mode_ns, longest_ns)
        if self._worst is None or rank > self._rank:
            self._worst, self._rank = budget, rank
        # A floor that is not of the run itself is the same in each part, and counts once.
        self._alike = self._alike and (
            not self._counts.size or np.array_equal(budget.floor_ns, self._last)
        )
        self._last = budget.floor_ns
        values, counts = np.unique(budget.floor_ns, return_counts=True)
        merged = np.concatenate((self._values, values))
        self._values, place = np.unique(merged, return_inverse=True)
        weights = np.concatenate((self._counts, counts))
        self._counts = np.zeros(len(self._values), np.int64)
        np.add.at(self._counts, place, weights)

    def budget(self) -> Budget:
        """That of the whole."""
        assert self._worst is not None  # of a run that was stopped before it began there is none
        whole = self._last if self._alike else thinned(self._values, self._counts)
        return replace(self._worst, floor_ns=whole)


def thinned(
    values: NDArray[np.int64], counts: NDArray[np.int64], most: int = _MOST_FLOOR
) -> NDArray[np.int64]:
    """Sorted `values`, each as often as `counts` says; of more than `most` some stand for all.

    They are then cut into `most` equal parts, and each is told by the largest value in it.
    """
    total = int(counts.sum())
    if total <= most:
        return np.repeat(values, counts)
    ranks = -(-np.arange(1, most + 1) * total // most)
    return np.asarray(values[np.searchsorted(np.cumsum(counts), ranks)])
