"""A mix: several flows that are offered together, as a file says them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

from pydantic import Field

from hil.document import Model, load
from hil.errors import UsageError
from hil.targets.traffic import Traffic

Name = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$")]


class Mix(Model):
    """Flows by name, each as a profile says its traffic."""

    flows: Annotated[Mapping[Name, Traffic], Field(min_length=1)]
    """What is offered, all at the same time."""


def load_mix(path: Path) -> Mapping[str, Traffic]:
    """The flows of a file, in its order.

    Raises:
        ConfigError: with every fault of the file.
        UsageError: there is no such file.
    """
    if not path.is_file():
        raise UsageError(f"no file {path}; it holds `flows:`, each as the traffic of a profile")
    return load(path, Mix, context={"directory": path.parent}).flows
