"""Tags of a Modbus controller: where a value lies and how it is coded. Pure."""

from __future__ import annotations

import struct
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from hil.drivers.protocols import Scalar
from hil.drivers.tags import GuardedTag

Area = Literal["hr", "ir", "co", "di"]

_BITS: Final = ("co", "di")
_READ_ONLY: Final = ("ir", "di")


class TagConfig(GuardedTag):
    """One tag in the testbed file."""

    address: Annotated[str, Field(pattern=r"^(hr|ir|co|di):\d{1,5}$")]
    """Area and address from 0: holding (hr) or input (ir) register, coil (co), input (di)."""

    word_order: Literal["big", "little"] = "big"
    """Which register of a longer value comes first: the high (big) or the low one."""

    @property
    def area(self) -> Area:
        """The area of memory it lies in."""
        return self.address.partition(":")[0]  # type: ignore[return-value]

    @property
    def start(self) -> int:
        """Its first address in that area."""
        return int(self.address.partition(":")[2])

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.area in _BITS) != (self.type == "bool"):
            raise ValueError(f"{self.address} and type {self.type} do not go together")
        if self.writable and self.area in _READ_ONLY:
            raise ValueError(
                f"{self.address} cannot be writable: Modbus has no write for {self.area}"
            )
        return self

    def encode(self, value: Scalar) -> list[int]:
        """The registers, or the one bit, that hold `value`; struct.error where it does not fit."""
        if self.type == "bool":
            return [int(bool(value))]
        registers = list(struct.unpack(f">{self.words}H", self.packed(value)))
        return registers if self.word_order == "big" else registers[::-1]

    def decode(self, raw: list[int]) -> Scalar:
        """The value that these registers, or this bit, hold."""
        if self.type == "bool":
            return bool(raw[0])
        ordered = raw if self.word_order == "big" else raw[::-1]
        return self.unpacked(struct.pack(f">{self.words}H", *ordered))
