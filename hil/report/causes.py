"""Why packets were late, on the card: the causes as a table, and the first packets one by one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hil.report.markup import Markup, tag
from hil.report.quantity import NOT_MEASURED, shown, whole
from hil.units import format_size

if TYPE_CHECKING:
    from hil.samples.autopsy import Autopsy, Packet

_LISTED: Final = 20


def section(found: Autopsy) -> Markup:
    """The causes, the most frequent first, and the first late packets."""
    counted = [
        tag(
            "tr",
            tag("td", cause),
            tag("td", whole(count), class_="number"),
            tag("td", f"{100 * count / found.late:.3g} %", class_="number"),
        )
        for cause, count in found.causes
    ]
    heads = ("sequence", "delay", "cause", "place", "event", "others sent before", "phase")
    return tag(
        "section",
        tag("h2", "Why they were late"),
        tag("p", f"{found.sentence}. An association is no proof: it says where to look."),
        tag(
            "table",
            _head("cause", "packets", "of the late ones"),
            tag("tbody", *counted),
        ),
        tag("h3", f"The first {min(_LISTED, len(found.packets))} of them"),
        tag(
            "table",
            _head(*heads),
            tag("tbody", *(_row(each) for each in found.packets[:_LISTED])),
        ),
    )


def _head(*titles: str) -> Markup:
    return tag("thead", tag("tr", *(tag("th", each) for each in titles)))


def _row(packet: Packet) -> Markup:
    delay = "lost" if packet.delay_ns is None else shown(packet.delay_ns, "ns")
    beside = NOT_MEASURED if packet.beside_bytes is None else format_size(packet.beside_bytes)
    phase = NOT_MEASURED if packet.phase_ns is None else shown(packet.phase_ns, "ns")
    cells = (
        whole(packet.seq), delay, packet.cause, packet.place or NOT_MEASURED,
        packet.event or "none", beside, phase,
    )  # fmt: skip
    return tag("tr", *(tag("td", each) for each in cells))
