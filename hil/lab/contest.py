"""Who counts right: the instrument and other tools, each through the same relay with the same list.

And whose delays are right: every packet's delay against the kernel's stamps that the relay itself
took of it. Needs a stage with `relayed.NAMESPACES`. Rows are those of `hil.lab.row`.

What is compared for a delay: ours is the receiving port's kernel stamp less that of the sending
port, the truth is the relay's stamp of sending less its stamp of receipt. Between the two pairs of
stamps lie the two veth calls that hand the frame to the relay and take it from there; what they
take (half a microsecond each, no softirq and no wire) counts as our error. For irtt one way the
truth is the same. For a round trip it is both ways through the relay (irtt leaves the time of its
server out), or from the request's coming to the answer's going at the relay's near side (sockperf
does not). What those tools' own processes take to wake up and read a clock counts as their error.
"""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from hil.errors import HilError
from hil.lab.contestants import (
    IPERF3,
    SOCKPERF,
    Contestant,
    Offer,
    Said,
    Sending,
    Times,
    irtt,
    our_sender,
    ours,
    read_ours,
)
from hil.lab.relayed import Relayed, build, relaying
from hil.lab.row import Row
from hil.samples.table import NOT_TAKEN, difference_ns, taken
from hil.stats import quantile
from hil.traffic import Port
from hil.virtual.faults.fault_list import FaultList
from hil.virtual.relay_truth import Truth

NOT_MEASURED: Final = "not measured"
_STALL_NS: Final = 50_000_000
_COUNT: Final = 3_000
_PACKETS: Final = 5_000  # of which 5 are beyond p99.9

#: What the relay does in the contest. Nothing happens to the first packets: sockperf leaves out
#: what it sends in the first 400 ms.
LIST: Final = FaultList.model_validate(
    {
        "schema": 1,
        "faults": (
            {"packet": 500, "do": "drop"},
            {"packet": 520, "do": "drop", "count": 4},
            {"packet": 540, "do": "drop"},
            {"packet": 560, "do": "duplicate"},
            {"packet": 580, "do": "duplicate", "count": 2},
            {"packet": 600, "do": "swap"},
            {"packet": 620, "do": "swap"},
            {"packet": 640, "do": "swap"},
            {"packet": 660, "do": "corrupt", "byte": -1},
            {"packet": 680, "do": "corrupt", "byte": 60},
            {"packet": 800, "do": "stall", "by": f"{_STALL_NS} ns"},
            {"packet": 1000, "do": "delay", "by": "5 ms"},
            {"packet": 1100, "do": "delay", "by": "20 ms"},
            {"packet": 1200, "do": "delay", "by": "100 ms"},
            {"packet": 1400, "do": "delay", "by": "300 ms"},
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant's run: what it says, and what is true; or why there is none."""

    name: str
    said: Said = field(default_factory=Said)
    relayed: Relayed | None = None
    reason: str = NOT_MEASURED

    @property
    def truth(self) -> Truth:
        """The truth about the way of the flow."""
        assert self.relayed is not None
        return self.relayed.forth


def rows() -> Iterator[Row]:
    """The contest, then the error of single delays; measured when asked for."""
    tx, rx = build()
    offer = Offer(tx, rx, _COUNT)
    entries = [entry(each, offer, LIST) for each in (_hil(), irtt("busy"), SOCKPERF, IPERF3)]
    yield from counted(entries)
    yield from delays(tx, rx)


def _hil() -> Contestant:
    return Contestant("hil", "probe", lambda offer, _: ours(offer), read_ours)


def entry(contestant: Contestant, offer: Offer, faults: FaultList) -> Entry:
    """Let one tool measure through a relay of its own; a tool that fails says why."""
    sending = Sending()

    def sender() -> int | None:
        return our_sender() if contestant.name == "hil" else sending.pid

    try:
        with relaying(contestant.flow, faults, sender) as relayed:
            found = contestant.run(offer, sending)
        said = contestant.read(found, relayed.forth)
    except HilError as error:
        return Entry(contestant.name, reason=str(error))
    return Entry(contestant.name, said, relayed)


def counted(entries: list[Entry]) -> Iterator[Row]:
    """One row for each thing to count, the first of `entries` being ours."""
    for what in ("lost", "duplicated", "reordered", "corrupted"):
        yield _row(
            f"contest: packets {what}",
            "packets",
            {each.name: _pair(each, what) for each in entries},
        )
    yield _row(
        "contest: late packets known as late and not lost",
        "packets",
        {each.name: _known_late(each) for each in entries},
    )
    yield _recovered(entries)
    yield _stall(entries)


#: What a tool says and what is true; one text where it says nothing.
_Pair = tuple[float, float] | str


def _pair(found: Entry, what: str) -> _Pair:
    if found.relayed is None:
        return found.reason
    value = getattr(found.said, what)
    return NOT_MEASURED if value is None else (float(value), float(getattr(found.truth, what)))


def _row(what: str, unit: str, pairs: Mapping[str, _Pair]) -> Row:
    """A row whose bar is that ours is exact; the notes say who else was not."""
    (_, mine), *others = pairs.items()
    notes = [
        f"{name} says {pair[0]:g}, right is {pair[1]:g}"
        for name, pair in pairs.items()
        if not isinstance(pair, str) and pair[0] != pair[1]
    ]
    if notes and what.endswith("lost"):
        notes.append("the kernel drops a corrupted datagram before such a tool can see it")
    if isinstance(mine, str):
        return Row(what, unit, "exact", None, False, notes=(mine,))
    return Row(
        what,
        unit,
        f"{mine[1]:g}, exactly",
        mine[0],
        mine[0] == mine[1],
        {name: pair if isinstance(pair, str) else pair[0] for name, pair in others},
        tuple(notes),
    )


def _late(found: Entry) -> Times | None:
    """The packets of the list that were delayed and left, as far as the tool has records at all."""
    if found.relayed is None or found.said.delay_ns is None:
        return None
    return found.truth.met("delay")


def _at(column: Times, numbers: Times) -> Times:
    """The entries of those numbers, `NOT_TAKEN` beyond the end."""
    inside = numbers < column.size
    return np.where(inside, column[np.where(inside, numbers, 0)], NOT_TAKEN)


def _known_late(found: Entry) -> _Pair:
    numbers = _late(found)
    if numbers is None:
        return found.reason
    assert found.said.delay_ns is not None
    return float(taken(_at(found.said.delay_ns, numbers)).sum()), float(numbers.size)


def recovered_ns(found: Entry) -> Times | None:
    """By how much the tool's delay of each delayed packet is off, as far as it has one.

    Both are taken against the median of the packets that nothing happened to, so that what a tool
    measures beside (a round trip, its own wake-ups) cancels as far as it is constant.
    """
    numbers = _late(found)
    if numbers is None:
        return None
    assert found.said.delay_ns is not None
    calm = np.flatnonzero(found.truth.did == 0)
    excess = []
    for column in (found.said.delay_ns, found.truth.delay_ns):
        usual = _at(column, calm)
        excess.append(_at(column, numbers) - int(np.median(usual[taken(usual)])))
    error: Times = (excess[0] - excess[1])[taken(_at(found.said.delay_ns, numbers))]
    return error if error.size else None


def _recovered(entries: list[Entry]) -> Row:
    figures: dict[str, float | str] = {}
    notes = []
    for each in entries:
        error = recovered_ns(each)
        if error is None:
            figures[each.name] = each.reason
            continue
        figures[each.name] = float(np.abs(error).max())
        notes.append(f"{each.name} is off by {error.mean() / 1000:+,.1f} us in the mean")
    mine = figures.pop(entries[0].name)
    known = [each for each in figures.values() if not isinstance(each, str)]
    best = None if isinstance(mine, str) else all(mine <= each for each in known)
    return Row(
        "contest: injected delay recovered, largest error",
        "ns",
        "no worse than any other",
        None if isinstance(mine, str) else mine,
        best if known or best is None else None,
        figures,
        tuple(notes),
    )


def _stall(entries: list[Entry]) -> Row:
    """The longest time that each sender was behind its schedule, in its own words."""
    figures: dict[str, float | str] = {}
    for each in entries:
        late = each.said.sent_late_ns
        figures[each.name] = each.reason if late is None else float(late)
    mine = figures.pop(entries[0].name)
    notes = ["irtt leaves those slots out; hil sends each of them, late"]
    stood = [
        end - start for each in entries if each.relayed for start, end in each.relayed.stood_still
    ]
    if stood:
        notes.append(
            f"the senders stood still for {min(stood) / 1e6:.1f} to {max(stood) / 1e6:.1f} ms"
        )
    return Row(
        "contest: stall of the sender, shown by the tool itself",
        "ns",
        "50 ms less one interval, at least",
        None if isinstance(mine, str) else mine,
        not isinstance(mine, str) and mine >= _STALL_NS - 1_000_000,
        figures,
        tuple(notes),
    )


# The error of single delays.


def delays(tx: Port, rx: Port) -> Iterator[Row]:
    """Errors of each packet's delay, with one core busy; a relay that does nothing but forward."""
    offer = Offer(tx, rx, _PACKETS)
    with _busy_core():
        found = [entry(each, offer, FaultList()) for each in (_hil(), irtt("comp"), SOCKPERF)]
    errors: dict[str, Times | str] = {}
    for each, name in zip(found, ("hil", "irtt round trip", "sockperf round trip"), strict=True):
        known = each.relayed is not None and each.said.delay_ns is not None
        errors[name] = error_ns(each) if known else each.reason
        if "one way" in each.said.further:
            errors["irtt one way"] = _off(each.said.further["one way"], each.truth.delay_ns)
    for share, bar_ns in ((0.5, 1_000), (0.999, 10_000)):
        yield _error_row(errors, share, bar_ns)


def error_ns(found: Entry) -> Times:
    """How far each packet's delay is off (signed), as the head of this module defines it."""
    said = found.said.delay_ns
    assert said is not None
    assert found.relayed is not None
    forth, back = found.relayed.forth, found.relayed.back
    if found.name == "hil":
        return _off(said, forth.delay_ns)
    count = min(forth.packets, back.packets)
    if found.name == "irtt":
        return _off(said, forth.delay_ns[:count] + back.delay_ns[:count])
    return _off(said, difference_ns(back.tx_ns[:count], forth.rx_ns[:count]))


def _off(said: Times, truth: Times) -> Times:
    count = min(said.size, truth.size)
    off = difference_ns(said[:count], truth[:count])
    return off[taken(off)]


def _error_row(errors: Mapping[str, Times | str], share: float, bar_ns: int) -> Row:
    figures: dict[str, float | str] = {}
    notes = []
    for name, each in errors.items():
        if isinstance(each, str):
            figures[name] = each
            continue
        figure = quantile.nearest_rank(np.sort(np.abs(each)), share)
        figures[name] = NOT_MEASURED if figure is None else float(figure)
        if figure is not None:
            middle = int(np.median(each))
            rest = quantile.nearest_rank(np.sort(np.abs(each - middle)), share)
            assert rest is not None
            notes.append(
                f"{name}: {each.size:,} packets, off by {middle / 1000:+,.2f} us in the median;"
                f" {rest / 1000:,.2f} us without that"
            )
    mine = figures.pop("hil")
    return Row(
        f"error of a packet's delay, one core busy, p{share * 100:g}",
        "ns",
        f"{bar_ns / 1000:g} us",
        None if isinstance(mine, str) else mine,
        not isinstance(mine, str) and mine <= bar_ns,
        figures,
        tuple(notes),
    )


@contextlib.contextmanager
def _busy_core() -> Iterator[None]:
    """A process that never rests, for the time of the block."""
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as process:
        try:
            yield
        finally:
            process.kill()
