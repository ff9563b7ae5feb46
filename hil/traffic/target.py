"""A reflector far away, by the words of a command line."""

from __future__ import annotations

import socket
from dataclasses import dataclass

from hil.errors import UsageError
from hil.wire import probe, stamp


@dataclass(frozen=True, slots=True)
class Target:
    """Where a reflector listens; `host` is a literal address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def header(self) -> int:
        """Bytes of a packet before its UDP payload."""
        network = probe.IPV6_HEADER if ":" in self.host else probe.IPV4_HEADER
        return network + probe.UDP_HEADER


def parse_target(text: str) -> Target:
    """The reflector that ``HOST``, ``HOST:PORT`` or ``[ADDRESS]:PORT`` names.

    Raises: UsageError, with the form, where it names none.
    """
    host, number = text, str(stamp.PORT)
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        number = rest[1:] if rest.startswith(":") else number if closed and not rest else "?"
    elif text.count(":") == 1:
        host, _, number = text.partition(":")
    if not host or not number.isdecimal() or not 1 <= int(number) <= 65535:
        raise UsageError(
            f"--reflector {text!r}: write HOST, HOST:PORT or [ADDRESS]:PORT, as in '10.0.0.2:862'"
        )
    try:
        found = socket.getaddrinfo(host, int(number), type=socket.SOCK_DGRAM)
    except socket.gaierror as error:
        raise UsageError(f"--reflector {text!r}: {host} is not known: {error.strerror}") from None
    return Target(str(found[0][4][0]), int(number))
