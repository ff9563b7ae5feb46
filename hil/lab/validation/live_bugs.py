"""Bugs planted into a whole instrument, in the process that they belong to, under real traffic.

A bug of sender or receiver is planted there by a launcher (`hil.lab.validation.launched`), one of
the parent here. Each run meets losses, duplicates, corruption and held back packets, so that
whatever the bug spoils is there to be spoiled; what finds it is the truth log and the kernel's
stamps inside the cell.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from pyroute2 import IPRoute

from hil.clock import SYSTEM
from hil.errors import RigError
from hil.lab.validation import live, planted
from hil.lab.validation.bugs import LIVE, PURE
from hil.lab.validation.item import Item
from hil.lab.validation.live import WAYS, Bench
from hil.lab.validation.planting import Bug
from hil.lab.validation.planting import planted as plant
from hil.lab.validation.truth import entered_of, of_measurement
from hil.samples.measurement import Measurement

_COUNT: Final = 500
_LATE_NS: Final = 700_000_000
_SETTLE_NS: Final = 1_000_000_000


def known() -> dict[str, Bug]:
    """The bugs that real traffic can find, by their ids: all that are told for it, and some more.

    Of the others those are taken that spoil what every run has.
    """
    both = (
        "join-off-by-one",
        "send-stamps-shifted",
        "duplicate-heals-loss",
        "corrupted-received",
        "warm-up-counted",
        "reordered-against-the-one-before",
        "user-stamp-for-receipt",
    )
    found = {bug.id: bug for bug in LIVE}
    return found | {bug.id: bug for bug in PURE if bug.id in both}


def counts_and_delays_as_in_the_truth(bench: Bench, launcher: Sequence[str]) -> str | None:
    """Under every fault at once counts are those of the truth log and delays those of the cell."""
    with live.faulty(bench):
        return _compared(bench, launcher)


def late_is_not_lost(bench: Bench, launcher: Sequence[str]) -> str | None:
    """Packets that come 0.7 s late have come."""
    with live.faulty(bench, [("reordering", {"share": 0.2, "by": f"{_LATE_NS} ns"})]):
        return _compared(bench, launcher, drain_ns=2 * _LATE_NS)


def stamps_survive_a_refused_frame(bench: Bench, launcher: Sequence[str]) -> str | None:
    """Send stamps belong to their packets also after the kernel refused some."""
    downs: list[str] = []

    def flap(state: Any) -> None:
        if not downs and state.flows[0].sent:
            for word in ("down", "up"):
                with IPRoute() as netlink:
                    index = netlink.link_lookup(ifname=WAYS[0][1])[0]
                    netlink.link("set", index=index, state=word)
                downs.append(word)

    random = np.random.default_rng()
    way = WAYS[0]
    (measured,) = live.offer(
        [bench.flow(way, live.spread(random, 4 * _COUNT))], launcher=launcher, progress=flap
    )
    return _stamps_apart(bench, measured)


def _stamps_apart(bench: Bench, measured: Measurement) -> str | None:
    """Where send stamps and the cell's own stamps of the same packets are apart."""
    if not measured.counts.send_failed:
        raise RigError("the kernel refused no frame although the link was down")
    sent = measured.samples["tx_kernel_ns"]
    entered = entered_of(bench.truth, measured)
    both = (sent != np.iinfo(np.int64).min) & (entered != np.iinfo(np.int64).min)
    apart = np.abs(sent[both] - entered[both])
    bound = live.stated_ns(measured)
    right = int((apart <= bound).sum())
    if right < 0.95 * apart.size or apart.size < 0.5 * measured.counts.sent:
        return f"{apart.size - right:,} of {apart.size:,} send stamps are not those of their packet"
    return None


def _compared(bench: Bench, launcher: Sequence[str], **options: Any) -> str | None:
    random = np.random.default_rng()
    flows = [bench.flow(way, live.spread(random, _COUNT)) for way in WAYS[:2]]
    measured = live.offer(flows, launcher=launcher, **options)
    SYSTEM.sleep_ns(_SETTLE_NS if options else 0)  # what nobody waited for comes out of the cell
    for each in measured:
        if said := live.complaint(each, of_measurement(bench.truth, each)):
            return f"{each.flow}: {said}"
    return None


CHECKS: Final = {
    each.__name__: each
    for each in (
        counts_and_delays_as_in_the_truth,
        late_is_not_lost,
        stamps_survive_a_refused_frame,
    )
}


def found(bench: Bench, ids: Sequence[str]) -> Item:
    """Each check without a bug, then each bug with its check."""
    bugs = known()
    broken = {
        name: said for name, check in CHECKS.items() if (said := check(bench, ())) is not None
    }
    return planted.report((_tried(bench, bugs[id]) for id in ids), broken, "with real traffic")


def _tried(bench: Bench, bug: Bug) -> planted.Fate:
    check = CHECKS.get(bug.found_by, counts_and_delays_as_in_the_truth)
    launcher = [sys.executable, "-m", "hil.lab.validation.launched", bug.id]
    try:
        with plant(bug):
            said = planted.complaint(lambda: planted.found_out(check(bench, launcher)))
    except RigError as error:
        return planted.Fate(bug, None, check.__name__, str(error))
    return planted.Fate(bug, said, check.__name__)
