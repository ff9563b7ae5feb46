"""Where the suites and testbeds that come with hil lie."""

from __future__ import annotations

from pathlib import Path
from typing import Final

_PACKAGE: Final = Path(__file__).resolve().parent.parent


def testbeds() -> Path:
    """The folder of the shipped testbed files."""
    return _shipped("testbeds")


def suites() -> Path:
    """The folder of the shipped suites."""
    return _shipped("suites")


def _shipped(folder: str) -> Path:
    """Inside the package where hil was installed, beside it in a checkout."""
    installed = _PACKAGE / "shipped" / folder
    return installed if installed.is_dir() else _PACKAGE.parent / folder
