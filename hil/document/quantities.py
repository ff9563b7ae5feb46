"""Field types for quantities: text with a unit in the file, a plain number in one unit inside."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic_core import CoreSchema, core_schema

from hil import units

_UNIT_SUFFIXES: Final = (
    "_ns",
    "_bytes",
    "_bps",
    "_hz",
    "_dbm",
    "_db",
    "_ppm",
    "_per_h",
    "_v",
    "_a",
)


def without_unit(name: str) -> str:
    """The key of a field: its name less the unit, because in the file the value carries the unit.

    A field `slot_ns` is written ``slot: 0.5 ms``.
    """
    for suffix in _UNIT_SUFFIXES:
        if name.endswith(suffix) and len(name) > len(suffix):
            return name.removesuffix(suffix)
    return name


class Model(BaseModel):
    """What every model of a file has in common: frozen, no unknown keys, units in the values."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        alias_generator=without_unit,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        allow_inf_nan=False,
    )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """Leaves out the defaults that a file could not say: numbers for what is text there."""
        made = handler(schema)
        for field in handler.resolve_ref_schema(made).get("properties", {}).values():
            text = field.get("type") == "string" and not isinstance(field.get("default"), str)
            if text or "$ref" in field:
                field.pop("default", None)
        return made


@dataclass(frozen=True, slots=True)
class Shape:
    """Metadata of a text field: the pattern that all of it matches, and that in words."""

    pattern: str
    wants: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "pattern": f"^({self.pattern})$"}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text, re.ASCII):
            raise ValueError(f"wants {self.wants}; got {text!r}")
        return text


def _quantity(parse: Callable[[object], Any], example: str) -> tuple[Any, Any]:
    schema = {"type": "string", "examples": [example], "description": f"text such as '{example}'"}
    return BeforeValidator(parse), WithJsonSchema(schema)


_DURATION: Final = _quantity(units.parse_duration, "10 ms")
_SIZE: Final = _quantity(units.parse_size, "255 B")
_RATE: Final = _quantity(units.parse_rate, "5 Mbit/s")
_FREQUENCY: Final = _quantity(units.parse_frequency, "100 MHz")
_LEVEL: Final = _quantity(units.parse_level, "-85 dBm")
_ATTENUATION: Final = _quantity(units.parse_attenuation, "20 dB")
_VOLTAGE: Final = _quantity(units.parse_voltage, "12 V")
_CURRENT: Final = _quantity(units.parse_current, "2 A")
_DRIFT: Final = _quantity(units.parse_drift, "3 ppm")
_EVENTS: Final = _quantity(units.parse_events_per_hour, "6 /h")

Duration = Annotated[int, *_DURATION]
"""Nanoseconds; written ``10 ms``."""

Size = Annotated[int, *_SIZE]
"""Bytes, never negative; written ``255 B``."""

Rate = Annotated[int, *_RATE]
"""Bits per second; written ``5 Mbit/s``."""

Frequency = Annotated[int, *_FREQUENCY]
"""Hertz; written ``100 MHz``."""

Level = Annotated[float, *_LEVEL]
"""dBm; written ``-85 dBm``."""

Attenuation = Annotated[float, *_ATTENUATION]
"""dB; written ``20 dB``."""

Voltage = Annotated[float, *_VOLTAGE]
"""Volts; written ``12 V``."""

Current = Annotated[float, *_CURRENT]
"""Amperes; written ``2 A``."""

Drift = Annotated[float, *_DRIFT]
"""Parts per million; written ``3 ppm``."""

EventsPerHour = Annotated[float, *_EVENTS]
"""Events per hour; written ``6 /h``."""

Share = Annotated[float, Field(ge=0, le=1)]
"""A share from 0 to 1, a bare number because it has no unit."""
