"""What a tag of any controller has: a type, a range, a safe value, and the guard of its writes."""

from __future__ import annotations

import math
import struct
from abc import ABC, abstractmethod
from typing import Any, Final, Literal, Self

from pydantic import model_validator

from hil.document import Model
from hil.drivers.protocols import Scalar
from hil.errors import UnsafeOperation

TagType = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "float64"]

#: Format, high byte first, and number of 16-bit words of each type but bool.
CODES: Final = {
    "int16": (">h", 1),
    "uint16": (">H", 1),
    "int32": (">i", 2),
    "uint32": (">I", 2),
    "float32": (">f", 2),
    "float64": (">d", 4),
}


class GuardedTag(Model, ABC):
    """One tag in the testbed file, less its address."""

    type: TagType
    """Type of the value."""

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
    def words(self) -> int:
        """16-bit words that it takes; 1 for a bit."""
        return 1 if self.type == "bool" else CODES[self.type][1]

    @model_validator(mode="after")
    def _safe_is_writable(self) -> Self:
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

    @abstractmethod
    def encode(self, value: Scalar) -> Any:
        """What the controller's memory holds for `value`; struct.error where it does not fit."""

    @abstractmethod
    def decode(self, raw: Any) -> Scalar:
        """The value that this memory holds."""

    def packed(self, value: Scalar) -> bytes:
        """The bytes of a number, high byte first; struct.error where it does not fit."""
        code = CODES[self.type][0]
        if code[1] not in "fd":
            if value != int(value):
                raise struct.error("not a whole number")
            value = int(value)
        return struct.pack(code, value)

    def unpacked(self, data: bytes) -> Scalar:
        """The number in these bytes, high byte first."""
        value: Scalar = struct.unpack(CODES[self.type][0], data)[0]
        return value
