"""The QoS flow that packets travelled in, as N3 states it: shown, wrong, or not observed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from hil.samples.table import OBSERVED, SEEN_WARM_UP, Table, blank
from hil.traffic.qos import qos_shown
from hil.wire.gtpu import ABSENT


def seen(*qfis: int, warm: int = 2) -> Table:
    rows = blank(OBSERVED, len(qfis))
    rows["qfi"] = qfis
    rows["flags"][:warm] = SEEN_WARM_UP
    return rows


def shown(rows: Table, **changes: Any) -> Any:
    asked: dict[str, Any] = {"point": "n3", "fiveqi": 82, "expected_qfi": 3} | changes
    return qos_shown(rows, **asked)


def test_the_5qi_is_shown_before_during_and_after() -> None:
    found = shown(seen(*[3] * 40))
    assert (found.before, found.during, found.after) == ({"3": 2}, {"3": 38}, {"3": 20})
    assert found.wrong is None
    assert found.words == (
        "5QI 82 shown by QFI 3 on n3: 2 packets before, 38 during, the last 20 of them after"
    )
    assert shown(seen(3, 3, 3), unseen=7).words.endswith("7 that came were not seen there")


@pytest.mark.parametrize("place", [0, 5, 9])
def test_one_packet_in_another_flow_is_wrong_wherever_it_is(place: int) -> None:
    qfis = np.full(10, 3)
    qfis[place] = 1
    found = shown(seen(*qfis.tolist()))
    assert found.wrong == found.words
    assert found.wrong == (
        "1 of 10 packets seen on n3 travelled with QFI 1, and 5QI 82 has QFI 3 there"
    )


@pytest.mark.parametrize(
    ("rows", "changes", "words"),
    [
        (seen(warm=0), {}, "QFI not observed: n3 saw nothing of the flow"),
        (seen(ABSENT, ABSENT, ABSENT), {}, "QFI not observed: the tunnel on n3 states none"),
        (
            seen(1, 1, 1),
            {"expected_qfi": None},
            "QFI not observed as that of 5QI 82: QFI 1 seen on n3: 2 packets before, 1 during, the "
            "last 1 of them after; `qfi:` of n3 does not say which one it has",
        ),
        (
            seen(1, 1, 1),
            {"expected_qfi": None, "fiveqi": None},
            "QFI 1 seen on n3: 2 packets before, 1 during, the last 1 of them after; the traffic "
            "asks for no 5QI",
        ),
    ],
)
def test_what_cannot_be_shown_is_said_and_voids_nothing(
    rows: Table, changes: dict[str, Any], words: str
) -> None:
    found = shown(rows, **changes)
    assert (found.words, found.wrong) == (words, None)
