"""Why each late packet was late: what was seen of it, a cause, and how the causes add up.

A cause is the first of these that holds, so each packet has one:

1. **host**: the packet lies in a spoiled window, or did not come where this host may have lost it.
2. **event**: a radio or core event, or a fault that was injected, came while it was on its way, or
   at most 200 ms before.
3. **load**: others offered more than usual in the 10 ms before it left, and packets with so much
   beside them are late more often than the others.
4. **phase**: it was sent in a part of the period in which packets are late more often than in the
   rest.
5. **place**: most of its excess was spent in one segment, or it was lost in one, and nothing that
   was watched tells why.
6. **unexplained**.

"More often" is Fisher's exact test at 0.1 %, shared out over what is compared. An association is
no proof: it says where to look.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from hil.samples import clues
from hil.samples.clues import Event
from hil.samples.measurement import Measurement
from hil.samples.phase import PhaseMap
from hil.samples.table import NOT_TAKEN, SPOILED, taken

UNEXPLAINED: Final = "unexplained"
HOST: Final = "the host"
LOAD: Final = "load of others"
PHASE: Final = "send phase"
_SHOWN: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Packet:
    """One late packet, and all that was seen of it; None where it was not looked at."""

    seq: int
    sent_ns: int
    delay_ns: int | None  #: None: it never came
    phase_ns: int | None  #: start of the part of the period in which it was sent
    event: str | None
    beside_bytes: int | None  #: what others offered in the 10 ms before it
    place: str | None
    spoiled: bool
    cause: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Autopsy:
    """The late packets of a measurement. `causes` are the most frequent first, unexplained last.

    `packets` are the first 200 of them, in order of sending.
    """

    bound_ns: int
    n: int
    late: int  #: lost ones included
    lost: int
    causes: tuple[tuple[str, int], ...]
    packets: tuple[Packet, ...]

    @property
    def sentence(self) -> str:
        """The causes in words: ``12 late: 9 handover, 3 unexplained``."""
        listed = ", ".join(f"{count:,} {cause}" for cause, count in self.causes)
        return f"{self.late:,} of {self.n:,} packets late ({self.lost:,} lost): {listed}"

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return asdict(self)


def autopsy(
    measurement: Measurement,
    bound_ns: int,
    *,
    events: Sequence[Event] = (),
    beside: Sequence[Measurement] = (),
    folded: PhaseMap | None = None,
) -> Autopsy | None:
    """Looks at each packet that took more than `bound_ns` or never came; None where none is.

    Args:
        measurement: the flow.
        bound_ns: what is late.
        events: what happened meanwhile.
        beside: flows that were offered in the same run.
        folded: its delays over the period of the network, to look at the send phase.
    """
    samples = measurement.samples
    sent, delay = samples[measurement.timing.tx_host_column], measurement.delay_ns
    left, lost = taken(sent), samples["arrival"] < 0
    late = left & (lost | (taken(delay) & (delay > bound_ns)))
    if not late.any():
        return None
    spoiled = np.asarray((samples["flags"] & SPOILED) != 0)
    rows = np.flatnonzero(late)
    event = clues.events(sent, delay, rows, bound_ns, events)
    load = clues.load(sent, beside)
    part = clues.parts(measurement, folded)
    place = clues.places(measurement, late)
    judged = left & ~spoiled
    crowded = clues.more_often_above(load, late, judged)
    bad = clues.more_often_in(part, late, judged)
    found: list[Packet] = []
    causes: Counter[str] = Counter()
    for row in rows.tolist():
        reasons = (
            HOST if spoiled[row] else None,
            event.get(row),
            LOAD if crowded[row] else None,
            PHASE if bad[row] else None,
            place.get(row),
            UNEXPLAINED,
        )
        cause = next(reason for reason in reasons if reason is not None)
        causes[cause] += 1
        if len(found) < _SHOWN:
            found.append(
                Packet(
                    seq=int(samples["seq"][row]),
                    sent_ns=int(sent[row]),
                    delay_ns=None if lost[row] or delay[row] == NOT_TAKEN else int(delay[row]),
                    phase_ns=None if part is None else int(part.start_ns[row]),
                    event=event.get(row),
                    beside_bytes=None if load is None else int(load[row]),
                    place=place.get(row),
                    spoiled=bool(spoiled[row]),
                    cause=cause,
                )
            )
    ranked = sorted(causes.items(), key=lambda each: (each[0] == UNEXPLAINED, -each[1], each[0]))
    return Autopsy(
        bound_ns=bound_ns,
        n=int(left.sum()),
        late=len(rows),
        lost=int((late & lost).sum()),
        causes=tuple(ranked),
        packets=tuple(found),
    )
