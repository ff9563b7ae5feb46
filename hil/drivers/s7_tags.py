"""Tags of an S7 controller: where a value lies in its memory and how it is coded. Pure."""

from __future__ import annotations

import re
from typing import Annotated, Final, Self

from pydantic import model_validator

from hil.document import Shape
from hil.drivers.protocols import Scalar
from hil.drivers.tags import GuardedTag

_ADDRESS: Final = re.compile(r"(?:DB(\d{1,5})\.DB|([MIQ]))([XWD]?)(\d{1,5})(?:\.([0-7]))?")
#: Words that a type may take, by the letter of its address: a bit, a word, a double word. A
#: float64 (LREAL) begins at a double word and takes two.
_WORDS: Final = {"X": (), "": (), "W": (1,), "D": (2, 4)}
_AREAS: Final = {"M": "MK", "I": "PE", "Q": "PA"}

Address = Annotated[
    str, Shape(_ADDRESS.pattern, "an address such as DB1.DBX0.3, DB1.DBW4, DB1.DBD8, M0.1 or MW4")
]


class S7Tag(GuardedTag):
    """One tag in the testbed file."""

    address: Address
    """Where it lies: ``DB1.DBX0.3`` a bit, ``DB1.DBW4`` 16 bit, ``DB1.DBD8`` 32 or 64 bit.

    ``M``, ``I`` and ``Q`` in place of ``DBn.DB`` are flags, inputs and outputs.
    """

    @property
    def area(self) -> str:
        """The area of memory, as python-snap7 names it: DB, MK, PE or PA."""
        return _AREAS.get(self._parts[1] or "", "DB")

    @property
    def block(self) -> int:
        """Number of the data block; 0 for the other areas."""
        return int(self._parts[0] or 0)

    @property
    def start(self) -> int:
        """Its first byte."""
        return int(self._parts[3] or 0)

    @property
    def size(self) -> int:
        """How many bytes it takes; a bit lies in one."""
        return 1 if self.type == "bool" else 2 * self.words

    @property
    def _parts(self) -> tuple[str | None, ...]:
        match = _ADDRESS.fullmatch(self.address)
        assert match is not None
        return match.groups()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        _, area, letter, _, bit = self._parts
        is_bit = bit is not None and letter == ("" if area else "X")
        fits = is_bit if self.type == "bool" else bit is None and self.words in _WORDS[letter or ""]
        if not fits:
            raise ValueError(f"{self.address} and type {self.type} do not go together")
        if self.writable and area == "I":
            raise ValueError(f"{self.address} cannot be writable: the next scan reads the inputs")
        if self.writable and self.type == "bool":
            raise ValueError(
                f"{self.address} cannot be writable: writing one bit would write its neighbours"
            )
        return self

    def encode(self, value: Scalar) -> bytes:
        """The bytes that hold `value`, high byte first; struct.error where it does not fit."""
        return bytes([int(bool(value)) << self._bit]) if self.type == "bool" else self.packed(value)

    def decode(self, raw: bytes) -> Scalar:
        """The value that these bytes hold."""
        return bool(raw[0] >> self._bit & 1) if self.type == "bool" else self.unpacked(raw)

    @property
    def _bit(self) -> int:
        return int(self._parts[4] or 0)
