"""Files that nobody is to see yet: their seal is shown before, what they hold only after.

A seal is the SHA-256 of a file's bytes. Whoever writes one puts salt into it, so that no list of
guesses finds it.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path


def salt() -> str:
    """New salt, 32 random bytes as text."""
    return secrets.token_hex(32)


def write(path: Path, content: bytes) -> str:
    """Write a new file that only its owner can read; its seal.

    Raises: OSError when the file is there already or cannot be written.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(content)
    return seal_of(content)


def seal_of(content: bytes) -> str:
    """The seal that belongs to a file's bytes."""
    return hashlib.sha256(content).hexdigest()


def belongs(content: bytes, seal: str) -> bool:
    """Whether a file's bytes are those of a seal."""
    return secrets.compare_digest(seal_of(content), seal)
