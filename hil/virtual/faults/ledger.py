"""Which faults there are and were, each from when to when: the truth about faults."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Self, get_args

from hil.errors import UsageError
from hil.testbed import AttenuatorEndpoint, ModemEndpoint, PlcEndpoint, World
from hil.testbed.faults import FAULTS, DeviceFault, Listed, PacketFault, fault, words
from hil.virtual.faults.fault_list import FaultList, Stall, Swap, read

USERPLANE: Final = "userplane"
ENDPOINTS: Final = "endpoints"

#: Which process makes a kind of fault.
PART_OF: Final = {
    kind: USERPLANE if each in get_args(PacketFault) else ENDPOINTS for kind, each in FAULTS.items()
}

_SETTLED_NS: Final = 10_000_000_000  # by then whoever makes a fault has ended it
_KEPT: Final = 512  # entries, those that have ended included


@dataclass(slots=True)
class Entry:
    """One fault: on from `start_ns` to before `end_ns`, CLOCK_REALTIME; None: until it is ended.

    `number` names it in the truth log; `touched` counts the packets that it met; `again` how often
    the name was used before. `listed` is what the file of a `list` holds.
    """

    number: int
    name: str
    fault: PacketFault | DeviceFault
    start_ns: int
    end_ns: int | None
    touched: int = 0
    again: int = 0
    listed: FaultList | None = None

    def on(self, now_ns: int) -> bool:
        """Whether it is on at a time."""
        return self.start_ns <= now_ns and (self.end_ns is None or now_ns < self.end_ns)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "number": self.number,
            "name": self.name,
            "start_ns": self.start_ns,
            "end_ns": self.end_ns,
            "touched": self.touched,
            **{k: v for k, v in words(self.fault).items() if k not in ("start_ns", "duration_ns")},
        }


@dataclass(slots=True)
class Ledger:
    """The faults of one process of a world, in the order in which they were called for.

    `offered` are those of the file by name; the ones with a `start` are entered at once, counted
    from `epoch_ns`. `targets` are the names that a parameter (`cpe`, `plc`, `endpoint`) may have.
    """

    offered: Mapping[str, PacketFault | DeviceFault]
    epoch_ns: int
    targets: Mapping[str, Collection[str]]
    entries: list[Entry] = field(default_factory=list)
    _count: int = 0
    _used: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name, each in self.offered.items():
            if each.start_ns is not None:
                start_ns = self.epoch_ns + each.start_ns
                self._enter(name, each, start_ns)

    @classmethod
    def of(cls, world: World, part: str, epoch_ns: int) -> Self:
        """The faults of a world that one of its processes makes."""
        ours = {n: each for n, each in world.faults.items() if PART_OF[each.kind] == part}
        return cls(ours, epoch_ns, targets(world))

    def begin(self, name: str, parameters: Mapping[str, Any], now_ns: int) -> Entry:
        """Enter a fault of the file, or one of a kind, from now on or `start` from now.

        Raises: UsageError when there is no such fault, or its parameters are wrong.
        """
        given = self.offered.get(name)
        if given is not None and parameters:
            raise UsageError(f"fault {name}: its parameters are those of the testbed file")
        if given is None:
            given = fault(name, parameters)
            self._check(given)
            start_ns = now_ns + (given.start_ns or 0)
        else:
            start_ns = now_ns
        busy = {each.name for each in self.entries if self._open(each, now_ns)}
        unique, number = name, 2
        while unique in busy:
            unique, number = f"{name}-{number}", number + 1
        return self._enter(unique, given, start_ns)

    def end(self, name: str, now_ns: int) -> Entry:
        """End a fault, or call it off before it begins.

        Raises: UsageError when none of that name is on.
        """
        for each in self.entries:
            if each.name == name and self._open(each, now_ns):
                each.end_ns = max(now_ns, each.start_ns)
                return each
        known = ", ".join(each.name for each in self.entries if self._open(each, now_ns))
        raise UsageError(f"no fault {name!r} is on; on are: {known or 'none'}")

    def _check(self, given: PacketFault | DeviceFault) -> None:
        for key, known in self.targets.items():
            value = getattr(given, key, None)
            if value is not None and value not in known:
                raise UsageError(
                    f"fault {given.kind}: no {key} is called {value!r} here; there are"
                    f" {', '.join(known) or 'none'}"
                )

    def _enter(self, name: str, given: PacketFault | DeviceFault, start_ns: int) -> Entry:
        listed = _listed(given)
        self._count += 1
        end_ns = None if given.duration_ns is None else start_ns + given.duration_ns
        again = self._used[name] = self._used.get(name, -1) + 1
        entry = Entry(self._count, name, given, start_ns, end_ns, again=again, listed=listed)
        self.entries.append(entry)
        if len(self.entries) > _KEPT:
            long_ago_ns = start_ns - _SETTLED_NS
            gone = next((e for e in self.entries if not self._open(e, long_ago_ns)), None)
            if gone is not None:
                self.entries.remove(gone)
        return entry

    @staticmethod
    def _open(entry: Entry, now_ns: int) -> bool:
        return entry.end_ns is None or now_ns < entry.end_ns

    def to_json(self) -> list[dict[str, Any]]:
        """Every fault as plain JSON values."""
        return [each.to_json() for each in self.entries]


def _listed(given: PacketFault | DeviceFault) -> FaultList | None:
    """The list of a fault that has one.

    Raises: UsageError where the file is none, or holds what a cell cannot do.
    """
    if not isinstance(given, Listed):
        return None
    if not Path(given.file).is_absolute():
        raise UsageError(f"fault list: write an absolute path; got {given.file!r}")
    found = read(Path(given.file))
    if wrong := {each.do for each in found.faults if isinstance(each, Swap | Stall)}:
        raise UsageError(
            f"fault list: a cell does not {' or '.join(sorted(wrong))}: it decides by time and sees"
            " no sender; use delay, or a relay"
        )
    return found


def part_of(world: World, name: str) -> str:
    """Which process of a world makes a fault of its file, or one of a kind.

    Raises: UsageError when there is neither, with what there is.
    """
    kind = world.faults[name].kind if name in world.faults else name
    if kind not in PART_OF:
        known = ", ".join(dict.fromkeys((*world.faults, *PART_OF)))
        raise UsageError(f"no fault is called {name!r}; there are {known}")
    return PART_OF[kind]


def targets(world: World) -> dict[str, list[str]]:
    """What the faults of a world can be about, by parameter."""
    kinds = {
        "cpe": ModemEndpoint,
        "plc": PlcEndpoint,
        "endpoint": PlcEndpoint | AttenuatorEndpoint,
    }
    return {
        key: [name for name, each in world.endpoints.items() if isinstance(each, kind)]
        for key, kind in kinds.items()
    }
