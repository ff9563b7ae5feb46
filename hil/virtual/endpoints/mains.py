"""What feeds each modem: it runs while every device it hangs on gives it power."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping


class Mains:
    """The power of the world's modems.

    Args:
        modems: by the name of each modem, what switches its power.
    """

    def __init__(self, modems: Mapping[str, Callable[[bool], None]]) -> None:
        self._modems = modems
        self._cut: dict[str, set[str]] = {name: set() for name in modems}
        self._lock = threading.Lock()

    def feed(self, modem: str, source: str, on: bool) -> None:
        """From now on this source gives the modem power, or does not.

        Args:
            modem: name of the modem.
            source: name of the device and place that feeds it.
            on: whether it gives power.
        """
        with self._lock:
            cut = self._cut[modem]
            powered = not cut
            (cut.discard if on else cut.add)(source)
            if powered is bool(cut):
                self._modems[modem](not cut)
