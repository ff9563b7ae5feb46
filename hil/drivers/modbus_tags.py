"""Tags of a Modbus controller: where a value lies, how it is coded, what may be written. Pure."""

from __future__ import annotations

import math
import struct
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from hil.document import Model
from hil.drivers.protocols import Scalar
from hil.errors import UnsafeOperation

Area = Literal["hr", "ir", "co", "di"]
TagType = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "float64"]

#: Format and number of registers of each type; Modbus sends registers with the high byte first.
_CODES: Final = {
    "int16": (">h", 1),
    "uint16": (">H", 1),
    "int32": (">i", 2),
    "uint32": (">I", 2),
    "float32": (">f", 2),
    "float64": (">d", 4),
}
_BITS: Final = ("co", "di")
_READ_ONLY: Final = ("ir", "di")


class TagConfig(Model):
    """One tag in the testbed file."""

    address: Annotated[str, Field(pattern=r"^(hr|ir|co|di):\d{1,5}$")]
    """Area and address from 0: holding (hr) or input (ir) register, coil (co), input (di)."""

    type: TagType
    """Type of the value; coils and discrete inputs are bool."""

    word_order: Literal["big", "little"] = "big"
    """Which register of a longer value comes first: the high (big) or the low one."""

    writable: bool = False
    """Whether a test may write it."""

    min: float | None = None
    """Least value that may be written."""

    max: float | None = None
    """Greatest value that may be written."""

    safe: float | bool | None = None
    """Value that harms nobody; written on the way to the safe state."""

    unit: str | None = None
    """Engineering unit, for reports."""

    @property
    def area(self) -> Area:
        """The area of memory it lies in."""
        return self.address.partition(":")[0]  # type: ignore[return-value]

    @property
    def start(self) -> int:
        """Its first address in that area."""
        return int(self.address.partition(":")[2])

    @property
    def words(self) -> int:
        """Registers it takes; 1 for a coil or discrete input."""
        return 1 if self.type == "bool" else _CODES[self.type][1]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.area in _BITS) != (self.type == "bool"):
            raise ValueError(f"{self.address} and type {self.type} do not go together")
        if self.writable and self.area in _READ_ONLY:
            raise ValueError(
                f"{self.address} cannot be writable: Modbus has no write for {self.area}"
            )
        if self.safe is not None and not self.writable:
            raise ValueError("has a safe value and is not writable; it could not be written")
        if self.safe is not None and (why := self._outside(self.safe)):
            raise ValueError(f"safe value {why}")
        return self

    def _outside(self, value: float) -> str | None:
        if self.min is not None and value < self.min:
            return f"{value:g} is below min {self.min:g}"
        if self.max is not None and value > self.max:
            return f"{value:g} is above max {self.max:g}"
        return None

    def check(self, device: str, name: str, value: Scalar) -> None:
        """Refuse a write that the guard does not allow.

        Raises:
            UnsafeOperation: the tag is read-only, the value is outside its range or type.
        """
        if not self.writable:
            raise UnsafeOperation(f"{device}: {name} is not writable")
        if isinstance(value, float) and not math.isfinite(value):
            raise UnsafeOperation(f"{device}: {name}: {value} is no value to write")
        if why := self._outside(value):
            raise UnsafeOperation(f"{device}: {name}: {why}")
        try:
            self.encode(value)
        except (struct.error, OverflowError):
            raise UnsafeOperation(f"{device}: {name}: {value!r} is no {self.type}") from None

    def encode(self, value: Scalar) -> list[int]:
        """The registers, or the one bit, that hold `value`; struct.error where it does not fit."""
        if self.type == "bool":
            return [int(bool(value))]
        code, words = _CODES[self.type]
        if code[1] not in "fd":
            if value != int(value):
                raise struct.error("not a whole number")
            value = int(value)
        registers = list(struct.unpack(f">{words}H", struct.pack(code, value)))
        return registers if self.word_order == "big" else registers[::-1]

    def decode(self, registers: list[int]) -> Scalar:
        """The value that these registers, or this bit, hold."""
        if self.type == "bool":
            return bool(registers[0])
        code, words = _CODES[self.type]
        ordered = registers if self.word_order == "big" else registers[::-1]
        value: Scalar = struct.unpack(code, struct.pack(f">{words}H", *ordered))[0]
        return value
