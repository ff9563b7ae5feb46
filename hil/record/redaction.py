"""What must not be written down: secrets by their value, subscriber identities by their shape.

One registry per process, because a secret can surface anywhere: in a transcript, in an exception's
text, in an argument list. Whoever resolves a secret registers it; whoever writes text asks
`redact` first.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Any, Final
from urllib.parse import quote

HIDDEN: Final = "***"

#: A value shorter than this is hidden only where it stands as a word of its own; otherwise a
#: four-digit PIN would eat digits out of every figure.
_ANYWHERE_FROM: Final = 6

# Commands and headers whose argument is a secret whatever its value. Each pattern keeps the text
# of group 1 and hides the rest.
_AFTER: Final = (
    # 3GPP TS 27.007: PIN and PUK (8.3), facility lock (7.4), password change (7.5).
    re.compile(r"(AT\+CPIN\s*=\s*)[^\r\n;]+", re.I),
    re.compile(r"(AT\+(?:CLCK|CPWD)\s*=\s*\"?\w+\"?\s*,)[^\r\n;]+", re.I),
    # TS 27.007 10.1.31 +CGAUTH=<cid>,<protocol>,<user>,<password>, and the dialects of makers.
    re.compile(r"(AT(?:\+CGAUTH|\+QICSGP|\^AUTHDATA|\$QCPDPP)\s*=\s*\d+\s*,)[^\r\n;]+", re.I),
    re.compile(r"((?:Proxy-)?Authorization\s*[:=]\s*)[^\r\n,;\"']+", re.I),
    re.compile(r"((?:Set-)?Cookie\s*:\s*)[^\r\n]+", re.I),
    re.compile(r"(\bcommunity\b(?:\s+(?:string|name))?\s*[:= ]\s*)[^\s,;]+", re.I),
    re.compile(r"(\bsnmp\w*\b[^\r\n]*?\s-c\s*)\S+", re.I),
    re.compile(
        r"((?:password|passwd|passphrase|secret|token|api[-_]?key|psk)[\"']?\s*[:=]\s*)"
        r"(?!\*)[^\s,;]+",
        re.I,
    ),
    re.compile(r"(--(?:password|passphrase|secret|token|api-key|pin|community)(?:\s+|=))\S+", re.I),
    re.compile(r"(\w+://[^\s:/@]+:)[^\s@/]+(?=@)"),
)

# Identities: the middle is hidden, so that two devices can still be told apart. An IMSI or IMEI
# has 14 or 15 digits (TS 23.003 2.2, 6.2.1), an ICCID 19 or 20 beginning with 89 (ITU-T E.118);
# 16 digits are an IMEISV only where they are called so, otherwise a time in microseconds.
_IDENTITIES: Final = (
    re.compile(r"(?<![\w.])(89\d{4})(\d{9,10})(\d{4})F?(?![\w.])"),
    re.compile(r"(?<![\w.])(\d{2}-\d{4})(\d{2}-\d{6})(-\d{1,2})(?!\w)"),
    re.compile(r"(?<![\w.])(\d{5})(\d{7,8})(\d{2})(?!\w|\.\d)"),
    re.compile(r"(?i)(IMEISV\D{0,4}\d{6})(\d{6})(\d{4})(?!\d)"),
)


def _masked(match: re.Match[str]) -> str:
    return match[1] + "*" * len(match[2]) + match[3]


class Redaction:
    """Secrets known by their value, and the function that hides them and all known shapes."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def register(self, value: str) -> None:
        """Hide `value` from now on, also where it is percent-encoded; an empty one is no secret."""
        if not value.strip():
            return
        with self._lock:
            self._values |= {value, quote(value, safe="")}
            # The longest first: of two secrets one may be the beginning of the other.
            parts = [
                re.escape(text)
                if len(text) >= _ANYWHERE_FROM
                else rf"(?<!\w){re.escape(text)}(?!\w)"
                for text in sorted(self._values, key=lambda text: (-len(text), text))
            ]
            self._pattern = re.compile("|".join(parts))

    def redact(self, text: str) -> str:
        """`text` without registered secrets, secret arguments and the middle of identities."""
        if self._pattern is not None:
            text = self._pattern.sub(HIDDEN, text)
        for pattern in _AFTER:
            text = pattern.sub(rf"\g<1>{HIDDEN}", text)
        for pattern in _IDENTITIES:
            text = pattern.sub(_masked, text)
        return text

    def redact_tree(self, value: Any) -> Any:
        """A JSON value with every text in it redacted; numbers and the keys stay as they are."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, Mapping):
            return {key: self._entry(str(key), item) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.redact_tree(item) for item in value]
        return value

    def _entry(self, key: str, item: Any) -> Any:
        # In a tree the name of a secret is the key and its value stands alone.
        if isinstance(item, str) and item and _SECRET_KEY.search(key):
            return HIDDEN
        return self.redact_tree(item)


_SECRET_KEY: Final = re.compile(r"(?i)(?:^|_)(password|passwd|passphrase|community|psk|pin|puk)$")

_PROCESS: Final = Redaction()
register = _PROCESS.register
redact = _PROCESS.redact
redact_tree = _PROCESS.redact_tree


def redact_argv(arguments: Sequence[str]) -> tuple[str, ...]:
    """A command line, argument by argument; ``--token X`` and ``--token=X`` both lose X."""
    hidden: list[str] = []
    for position, argument in enumerate(arguments):
        before = hidden and redact(f"{arguments[position - 1]} {argument}")
        lost = before and before.endswith(HIDDEN) and arguments[position - 1].startswith("--")
        hidden.append(HIDDEN if lost else redact(argument))
    return tuple(hidden)
