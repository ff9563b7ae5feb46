"""Header fields and payload that change from packet to packet, in a fixed round."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from hil.document import Model

MOST: Final = 1024
"""The most different packets of a sweep: each is held ready at both ends."""

_RANGE: Final = re.compile(r"(\d+)-(\d+)")


def _listed(value: object) -> object:
    """A range written ``40000-40031`` as the list of its numbers."""
    if isinstance(value, str) and (match := _RANGE.fullmatch(value)):
        first, last = map(int, match.groups())
        if not first <= last < first + MOST:
            raise ValueError(f"a range rises, by less than {MOST}; got {value!r}")
        return tuple(range(first, last + 1))
    if isinstance(value, int):
        return (value,)
    return tuple(value) if isinstance(value, list) else value


def _addresses(value: object) -> object:
    """Addresses as a list, or a range ``192.0.2.10-192.0.2.13``."""
    listed = value if isinstance(value, list | tuple) else None
    try:
        if listed is not None:
            return tuple(str(ip_address(each)) for each in listed)
        if not isinstance(value, str):
            return value
        ends = [ip_address(end) for end in value.split("-")]
    except ValueError as error:
        raise ValueError(f"{error}; write an address, or two with - between") from None
    first, last = ends[0], ends[-1]
    many = int(last) - int(first) + 1
    if len(ends) > 2 or first.version != last.version or not 1 <= many <= MOST:
        raise ValueError(f"a range rises, by less than {MOST}, in one version of IP; got {value!r}")
    return tuple(str(type(first)(int(first) + i)) for i in range(many))


Numbers = Annotated[tuple[int, ...], BeforeValidator(_listed), Field(min_length=1)]
Addresses = Annotated[
    tuple[IPv4Address | IPv6Address, ...],
    BeforeValidator(_addresses),
    Field(min_length=1),
]


class Sweep(Model):
    """Fields that change: packet k of a flow has the value number k modulo their count, of each."""

    source_address: Addresses | None = None
    """Addresses it is sent from: one, a list, or a range."""

    source_port: Numbers | None = None
    """UDP ports it is sent from."""

    dscp: Numbers | None = None
    """Differentiated services code points."""

    vlan: Numbers | None = None
    """VLANs of a tagged port or template."""

    payload: Annotated[int, Field(ge=1, le=MOST)] = 1
    """How many different fillers stand behind the probe."""

    @model_validator(mode="after")
    def _possible(self) -> Sweep:
        for name, low, high in (("source_port", 1, 65535), ("dscp", 0, 63), ("vlan", 1, 4094)):
            values = getattr(self, name) or ()
            if wrong := [each for each in values if not low <= each <= high]:
                raise ValueError(f"`{name}` lies between {low} and {high}; got {wrong[0]}")
        if self.count > MOST:
            raise ValueError(
                f"these fields meet in {self.count:,} combinations, and at most {MOST:,} are held; "
                f"give lengths that divide each other"
            )
        return self

    @property
    def count(self) -> int:
        """How many different packets there are, before the round begins anew."""
        lengths = [len(values) for values in self._fields.values()]
        return math.lcm(self.payload, *lengths)

    @property
    def _fields(self) -> Mapping[str, tuple[Any, ...]]:
        names = ("source_address", "source_port", "dscp", "vlan")
        return {name: found for name in names if (found := getattr(self, name)) is not None}

    def packet(self, number: int) -> Mapping[str, Any]:
        """The values of packet `number`: those of the fields that change, and its `payload`."""
        found = {name: values[number % len(values)] for name, values in self._fields.items()}
        return {**found, "payload": number % self.payload}
