"""Views of a run directory, made from what lies on the disk and nothing live."""

from __future__ import annotations

from hil.report import table
from hil.report.build import BuildResult, build

__all__ = ["BuildResult", "build", "table"]
