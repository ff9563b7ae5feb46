"""In which QoS flow the packets really travelled, as the tunnel on N3 states it.

A promise is one of a QoS flow (TS 23.501 5.7). The PDU session container of each packet on N3 names
its QFI, and the core knows which 5QI that is. So the profile's 5QI is shown for every packet that
is seen there: the warm-up before, the judged ones, and the last of them.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from hil.samples.table import SEEN_WARM_UP, Table
from hil.wire.gtpu import ABSENT

#: How many of the last packets stand for "after"; as many as warm up.
LAST: Final = 20

NOT_OBSERVED: Final = "QFI not observed"


@dataclass(frozen=True, slots=True, kw_only=True)
class QosShown:
    """What one point shows of the QoS flow of one flow of a run.

    `before`, `during` and `after` count packets by QFI. `unseen` are packets that came and were not
    seen here. `wrong` is a sentence where a QFI is not that of the 5QI, which voids any claim.
    """

    point: str
    fiveqi: int | None
    expected_qfi: int | None
    before: dict[str, int]
    during: dict[str, int]
    after: dict[str, int]
    unseen: int
    words: str
    wrong: str | None

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {name: getattr(self, name) for name in self.__slots__}


def qos_shown(
    rows: Table, *, point: str, fiveqi: int | None, expected_qfi: int | None, unseen: int = 0
) -> QosShown:
    """What rows of `OBSERVED`, of one flow at one point that looks into tunnels, show.

    `expected_qfi` is None where nobody said which QFI the 5QI has there.
    """
    warm = (rows["flags"] & SEEN_WARM_UP) != 0
    judged = rows[~warm]
    before, during, after = (_counted(each) for each in (rows[warm], judged, judged[-LAST:]))
    wrong = None
    others = sum(
        count
        for counts in (before, during)
        for qfi, count in counts.items()
        if expected_qfi is not None and qfi not in (str(expected_qfi), "not stated")
    )
    if others:
        seen = sorted((set(before) | set(during)) - {str(expected_qfi), "not stated"}, key=int)
        wrong = (
            f"{others:,} of {len(rows):,} packets seen on {point} travelled with QFI "
            f"{', '.join(seen)}, and 5QI {fiveqi} has QFI {expected_qfi} there"
        )
    return QosShown(
        point=point,
        fiveqi=fiveqi,
        expected_qfi=expected_qfi,
        before=before,
        during=during,
        after=after,
        unseen=unseen,
        words=wrong or _words(rows, point, fiveqi, expected_qfi, (before, during, after), unseen),
        wrong=wrong,
    )


def _counted(rows: Table) -> dict[str, int]:
    counts = Counter(np.asarray(rows["qfi"]).tolist())
    return {
        "not stated" if qfi == ABSENT else str(qfi): count for qfi, count in sorted(counts.items())
    }


def _words(
    rows: Table,
    point: str,
    fiveqi: int | None,
    expected_qfi: int | None,
    counts: tuple[dict[str, int], ...],
    unseen: int,
) -> str:
    if not len(rows):
        return f"{NOT_OBSERVED}: {point} saw nothing of the flow"
    stated = [qfi for qfi in counts[1] or counts[0] if qfi != "not stated"]
    if not stated:
        return f"{NOT_OBSERVED}: the tunnel on {point} states none"
    before, during, after = (f"{sum(each.values()):,}" for each in counts)
    spans = f"on {point}: {before} packets before, {during} during, the last {after} of them after"
    if fiveqi is None:
        return f"QFI {', '.join(stated)} seen {spans}; the traffic asks for no 5QI"
    if expected_qfi is None:
        return (
            f"{NOT_OBSERVED} as that of 5QI {fiveqi}: QFI {', '.join(stated)} seen {spans}; "
            f"`qfi:` of {point} does not say which one it has"
        )
    said = f"5QI {fiveqi} shown by QFI {expected_qfi} {spans}"
    return f"{said}; {unseen:,} that came were not seen there" if unseen else said
