"""Secrets: named in the file, read when they are needed, never shown."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema

from hil.errors import UsageError

REFERENCE: Final = re.compile(r"\$\{(env|file):([^{}\s][^{}]*)\}")

_WANTS: Final = "a secret is never written here; write ${env:NAME} or ${file:/run/secrets/NAME}"
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

_revealed: set[str] = set()


class Secret:
    """A reference to a secret, ``${env:NAME}`` or ``${file:PATH}``.

    The file holds the reference only; `reveal` reads what it stands for. Neither the text nor the
    representation of this object ever shows that.
    """

    __slots__ = ("reference",)

    def __init__(self, reference: str) -> None:
        found = REFERENCE.fullmatch(reference)
        if found is None:
            raise ValueError(_WANTS)
        kind, place = found.groups()
        if kind == "env" and not _VARIABLE.fullmatch(place):
            raise ValueError("wants the name of a variable, as in ${env:LAB_SIM_PIN}")
        if kind == "file" and not place.startswith("/"):
            raise ValueError("wants an absolute path, as in ${file:/run/secrets/sim_pin}")
        self.reference = reference

    def reveal(self) -> str:
        """The secret itself.

        Raises:
            UsageError: The variable is not set, the file cannot be read, is readable by others
                than its owner, or either is empty.
        """
        kind, place = self.reference[2:-1].split(":", 1)
        value = _from_environment(place) if kind == "env" else _from_file(Path(place))
        _revealed.add(value)
        return value

    def __repr__(self) -> str:
        return f"Secret({self.reference!r})"

    def __str__(self) -> str:
        return self.reference

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other.reference == self.reference

    def __hash__(self) -> int:
        return hash(self.reference)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.with_info_plain_validator_function(
            cls._validate, serialization=core_schema.to_string_ser_schema()
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {
            "type": "string",
            "pattern": f"^{REFERENCE.pattern}$",
            "examples": ["${env:LAB_SIM_PIN}", "${file:/run/secrets/sim_pin}"],
        }

    @classmethod
    def _validate(cls, value: object, info: core_schema.ValidationInfo) -> Secret:
        """A secret; its text is noted in the context's ``references``, if it has any."""
        if isinstance(value, Secret):
            return value
        if not isinstance(value, str):
            raise ValueError(_WANTS)
        if isinstance(info.context, dict) and "references" in info.context:
            info.context["references"].add(value)
        return cls(value)


def revealed() -> frozenset[str]:
    """Every secret that this process has read so far: what a record must never show."""
    return frozenset(_revealed)


def _from_environment(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise UsageError(f"the secret ${{env:{name}}} is not set; export {name}=…")
    return value


def _from_file(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            mode = os.fstat(file.fileno()).st_mode
            if mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise UsageError(f"the secret file {path} is open to others; chmod 600 {path}")
            value = file.read().removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no text"
        raise UsageError(f"the secret file {path} cannot be read: {reason}") from None
    if not value:
        raise UsageError(f"the secret file {path} is empty")
    return value
