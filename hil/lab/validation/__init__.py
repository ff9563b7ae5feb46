"""The evidence that the instrument measures what it says (ISO/IEC 17025, 7.2.2).

Each part is a program of its own, so that who draws a secret, who measures and who opens it are
three processes: `blind` (proficiency on the pure path), `in_world` (real traffic in real-time
mode), `on_stage` (the serialisation standard) and `planted` (bugs of the instrument, each to be
found). `campaign` runs them, `item` is what they report.
"""

from __future__ import annotations
