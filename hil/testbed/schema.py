"""The JSON Schema of a testbed file, for editors that complete and check while typing."""

from __future__ import annotations

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from hil.testbed.loading import Catalogue
from hil.testbed.models import DeviceConfig, Testbed

_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
_LAUNCHER: Final = {
    "type": "array",
    "items": {"type": "string"},
    "description": "Words put before a port process's own to give it its capabilities.",
}
_REF: Final = "#/$defs/{model}"


def json_schema(drivers: Catalogue) -> dict[str, Any]:
    """The schema of a testbed file with these drivers, as plain JSON values.

    A driver whose extra is not installed is not in it: hil cannot know its keys.
    """
    configs = {
        name: drivers.config(name)
        for name in sorted(drivers.names())
        if drivers.missing_extra(name) is None
    }
    models: list[Any] = [
        (kind, "validation") for kind in (Testbed, *dict.fromkeys(configs.values()))
    ]
    places, whole = models_json_schema(models, ref_template=_REF)
    definitions = whole["$defs"]
    names = {kind: place["$ref"].rpartition("/")[2] for (kind, _), place in places.items()}
    schema = definitions.pop(names[Testbed])
    properties = schema["properties"]
    devices = [
        _device(driver, names[kind], definitions[names[kind]]) for driver, kind in configs.items()
    ]
    properties["devices"] = _named(properties["devices"], {"oneOf": devices})
    ports = _named(properties["ports"], {"$ref": _REF.format(model="PortConfig")})
    properties["ports"] = {**ports, "properties": {"launcher": _LAUNCHER}}
    port = definitions["PortConfig"]
    port["properties"].pop("name")
    port["required"].remove("name")
    if DeviceConfig not in configs.values():
        definitions.pop("DeviceConfig", None)
    return {"$schema": _DIALECT, **schema, "$defs": definitions}


def _device(driver: str, model: str, definition: dict[str, Any]) -> dict[str, Any]:
    """A driver's entry, told from others by the word behind ``driver:``."""
    return {
        "$ref": _REF.format(model=model),
        "title": driver,
        "description": definition.get("description", ""),
        "properties": {"driver": {"const": driver}},
    }


def _named(mapping: dict[str, Any], value: dict[str, Any]) -> dict[str, Any]:
    """A mapping of names to `value`s; a pattern for keys would also catch the keys of its own."""
    (pattern,) = mapping.pop("patternProperties")
    return {**mapping, "propertyNames": {"pattern": pattern}, "additionalProperties": value}
