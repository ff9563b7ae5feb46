"""Entering a network namespace with one thread, so that its sockets live there."""

from __future__ import annotations

import ctypes
import os
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def enter(descriptor: int) -> None:
    """Move the calling thread, and no other, into the network namespace of `descriptor`.

    Raises:
        OSError: not allowed, or no namespace.
    """
    if _LIBC.setns(descriptor, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"cannot enter the network namespace: {os.strerror(number)}")
