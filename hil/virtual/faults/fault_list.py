"""A fault list: what happens to which packet of one flow, in a file; and lists that are secret.

::

    schema: 1
    delay: 2 ms                               # every packet takes that much longer
    faults:
      - {packet: 3, do: drop}
      - {packet: 10, do: drop, count: 5}      # a burst: packets 10 to 14
      - {packet: 20, do: duplicate}
      - {packet: 30, do: swap}                # leaves after packet 31
      - {packet: 40, do: delay, by: 20 ms}
      - {packet: 50, do: corrupt, byte: -1}   # every bit of the frame's last byte
      - {packet: 60, do: stall, by: 50 ms}    # the sender stands still once packet 60 has passed

Packets are counted from 0 as they reach whoever makes the faults; each meets at most one. The
format says what is done and not by what: a relay (`hil.virtual.relay`), a cell, a switch.

A **secret** list is drawn from a seed and sealed: whoever measures sees the seal, a SHA-256 of the
file, before the measurement, and the list after it. Random salt in the file keeps the list from
being found by trying seeds. As a program: ``draw FILE PACKETS [SEED]`` writes such a file that
only its owner can read and prints the seal, ``open FILE SEAL`` prints the list if it is that one.
"""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

import numpy as np
from pydantic import Field, model_validator

from hil.document import Duration, Model, load
from hil.errors import HilError, UsageError
from hil.verdict import ExitCode
from hil.virtual.faults import sealing

_By = Annotated[Duration, Field(gt=0, le=10_000_000_000)]
_Block: Final = 16  # packets of a drawn list that share one fault
_LONGEST_BURST: Final = 8


class _Listed(Model):
    packet: Annotated[int, Field(ge=0)]
    """The number of the packet in its flow, from 0."""

    @property
    def packets(self) -> range:
        """The packets that it takes for itself."""
        return range(self.packet, self.packet + 1)


class _Run(_Listed):
    count: Annotated[int, Field(ge=1)] = 1
    """How many packets in a row."""

    @property
    def packets(self) -> range:
        return range(self.packet, self.packet + self.count)


class Drop(_Run):
    """The packet is lost."""

    do: Literal["drop"]


class Duplicate(_Run):
    """The packet comes twice, the second time at once."""

    do: Literal["duplicate"]


class Swap(_Listed):
    """The packet leaves just after its successor."""

    do: Literal["swap"]

    @property
    def packets(self) -> range:
        """The packet and its successor."""
        return range(self.packet, self.packet + 2)


class Delay(_Run):
    """The packet takes longer, and others may overtake it."""

    do: Literal["delay"]

    by_ns: _By
    """How much longer."""


class Corrupt(_Run):
    """Every bit of one byte is inverted, and no checksum is put right."""

    do: Literal["corrupt"]

    byte: int
    """Its place in the frame from the link header on, from 0; below 0 it counts from the end."""


class Stall(_Listed):
    """The sender of the flow stands still; the packet itself passes undisturbed."""

    do: Literal["stall"]

    by_ns: _By
    """For how long, at least."""


Listed = Drop | Duplicate | Swap | Delay | Corrupt | Stall

#: What can be done to a packet, by its word in the file.
KINDS: Final = {get_args(each.model_fields["do"].annotation)[0]: each for each in get_args(Listed)}


class FaultList(Model):
    """What happens to the packets of one flow."""

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    """The version of the format."""

    delay_ns: Annotated[Duration, Field(ge=0, le=10_000_000_000)] = 0
    """How much longer every packet takes."""

    faults: tuple[Annotated[Listed, Field(discriminator="do")], ...] = ()
    """In any order."""

    seed: int | None = None
    """What it was drawn from."""

    salt: str | None = None
    """Random text that makes a seal impossible to guess."""

    @model_validator(mode="after")
    def _apart(self) -> Self:
        taken: dict[int, Listed] = {}
        for each in self.faults:
            for packet in each.packets:
                if packet in taken:
                    raise ValueError(
                        f"packet {packet} meets two faults, {taken[packet].do} and {each.do}; one"
                        " packet can meet one"
                    )
                taken[packet] = each
        return self

    def by_packet(self) -> dict[int, Listed]:
        """The fault that each packet meets; of a swap only the one that is overtaken."""
        return {
            packet: each
            for each in self.faults
            for packet in (each.packets if isinstance(each, _Run) else (each.packet,))
        }

    def text(self) -> str:
        """The file of this list, as JSON, which is YAML too."""
        plain: dict[str, Any] = {"schema": 1, "delay": f"{self.delay_ns} ns"}
        plain |= {key: getattr(self, key) for key in ("seed", "salt")}
        lines = [json.dumps(_plain(each)) for each in self.faults]
        head = json.dumps({key: value for key, value in plain.items() if value is not None})
        listed = ",\n".join(lines)
        return f'{head[:-1]}, "faults": [\n{listed}\n]}}\n'


def _plain(fault: Listed) -> dict[str, Any]:
    plain = fault.model_dump()
    if "by_ns" in plain:
        plain["by"] = f"{plain.pop('by_ns')} ns"
    return plain


def read(path: Path) -> FaultList:
    """The list in a file.

    Raises: ConfigError with every fault of the file, each at its line.
    """
    return load(path, FaultList)


def draw(
    seed: int,
    packets: int,
    *,
    share: float = 0.01,
    kinds: Collection[str] = ("drop", "duplicate", "swap", "delay", "corrupt"),
    longest_delay_ns: int = 20_000_000,
) -> FaultList:
    """A list that nobody chose: the same for the same arguments, on every host.

    How often each kind comes is drawn evenly from none to about `share` of the packets; half of
    the drops are bursts of 2 to 8. Delays, that of every packet included, are drawn evenly up to
    `longest_delay_ns`. Faults lie at least 8 packets apart and never on the first or last ones,
    so that each is counted by itself. Corrupted is the last byte of the frame.

    Raises: UsageError when the packets are too few for the share.
    """
    random = np.random.default_rng([seed, packets])
    blocks = packets // _Block - 2
    most = int(share * packets)
    if blocks < most * len(kinds):
        raise UsageError(
            f"a list of {packets} packets has no room for {share:g} of them with each of"
            f" {len(kinds)} faults; draw more packets or a smaller share"
        )
    places = iter((random.permutation(max(blocks, 0)) + 1) * _Block)
    found: list[dict[str, Any]] = []
    for kind in kinds:
        for _ in range(int(random.integers(0, most + 1))):
            drawn: dict[str, Any] = {"do": kind, "packet": int(next(places))}
            if kind == "drop" and random.random() < 0.5:
                drawn["count"] = int(random.integers(2, _LONGEST_BURST + 1))
            elif kind in ("delay", "stall"):
                drawn["by"] = f"{int(random.integers(1, longest_delay_ns + 1))} ns"
            elif kind == "corrupt":
                drawn["byte"] = -1
            found.append(drawn)
    plain = {
        "schema": 1,
        "delay": f"{int(random.integers(0, longest_delay_ns + 1))} ns",
        "faults": tuple(sorted(found, key=lambda each: each["packet"])),
        "seed": seed,
    }
    return FaultList.model_validate(plain)


def sealed(path: Path, faults: FaultList) -> str:
    """Write a list that nobody else is to see yet, with new salt; its seal.

    Raises: OSError when the file is there already or cannot be written.
    """
    salted = faults.model_copy(update={"salt": sealing.salt()})
    return sealing.write(path, salted.text().encode())


def opened(path: Path, seal: str) -> FaultList:
    """The list in a sealed file.

    Raises: UsageError when it is not the one of that seal; ConfigError as `read`.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if not sealing.belongs(content, seal):
        own = sealing.seal_of(content)
        raise UsageError(f"{path} is not the list of that seal: its own is {own}")
    return read(path)


def main(words: list[str]) -> int:
    """Draw a secret list, or open one."""
    try:
        match words:
            case ["draw", path, packets, *seed] if len(seed) < 2:
                number = int(seed[0]) if seed else secrets.randbits(63)
                print(sealed(Path(path), draw(number, int(packets))))
            case ["open", path, seal]:
                print(opened(Path(path), seal).text(), end="")
            case _:
                raise UsageError("say 'draw FILE PACKETS [SEED]' or 'open FILE SEAL'")
    except (HilError, OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return ExitCode.USAGE
    return ExitCode.OK


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
