"""Property tests have no time limit: a shared machine stalls, and that is no defect of the code."""

from __future__ import annotations

import hypothesis

hypothesis.settings.register_profile("unhurried", deadline=None)
hypothesis.settings.load_profile("unhurried")
