"""`hil reflector`: answers the test packets of a measurement elsewhere."""

from __future__ import annotations

import contextlib
import errno
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator

from hil.errors import UsageError
from hil.units import parse_duration
from hil.verdict import ExitCode

_MOST_RATE = 1_000_000


def reflector(address: str, port: int, duration: str, rate: int, *, stateless: bool) -> int:
    """Answer STAMP and TWAMP Light test packets until a signal comes or the time is over.

    Raises: UsageError, one sentence, where it cannot listen there.
    """
    if not 1 <= port <= 65535:
        raise UsageError(f"--port must lie between 1 and 65535; got {port}")
    if not 1 <= rate <= _MOST_RATE:
        raise UsageError(f"--rate must lie between 1 and {_MOST_RATE:,}; got {rate:,}")
    try:
        span_ns = parse_duration(duration)
    except ValueError as error:
        raise UsageError(f"--duration: {error}") from None
    from hil.traffic import linux
    from hil.traffic.reflector import Reflector

    with _listening(address, port) as sock, _woken() as wake:
        served = Reflector(sock, stateful=not stateless, rate=rate)
        linux.be_prompt()
        kind = "stateless" if stateless else "stateful"
        where = f"[{address}]:{port}" if ":" in address else f"{address}:{port}"
        print(
            f"answers STAMP (RFC 8762, {kind}) and TWAMP Light on UDP {where}, at most {rate:,} "
            f"packets a second, for {duration} or until Ctrl-C",
            flush=True,
        )
        served.serve(wake, time.monotonic_ns() + span_ns)
    print(f"{served.answered:,} answered", end="")
    print(f" in {served.sessions:,} sessions" if not stateless else "")
    for why, count in sorted(served.silent.items()):
        print(f"{count:,} not answered: {why}")
    sys.stdout.flush()
    return ExitCode.OK


@contextlib.contextmanager
def _listening(address: str, port: int) -> Iterator[socket.socket]:
    try:
        found = socket.getaddrinfo(address, port, type=socket.SOCK_DGRAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise UsageError(f"--address {address!r}: {error.strerror}") from None
    family, *_, place = found[0]
    with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.bind(place)
        except PermissionError:
            raise UsageError(
                f"UDP port {port} needs CAP_NET_BIND_SERVICE: run it as root, or give a --port "
                f"from 1024 on and name it in --reflector HOST:PORT"
            ) from None
        except OSError as error:
            cure = (
                "something listens there already: give another --port"
                if error.errno == errno.EADDRINUSE
                else "give an --address that this host has"
            )
            raise UsageError(
                f"cannot listen on UDP {address} port {port}: {error.strerror}; {cure}"
            ) from None
        yield sock


@contextlib.contextmanager
def _woken() -> Iterator[int]:
    """A descriptor that becomes readable when SIGINT or SIGTERM comes."""
    reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    before = {each: signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM)}
    for each in before:
        signal.signal(each, lambda number, frame: None)
    old = signal.set_wakeup_fd(writing)
    try:
        yield reading
    finally:
        signal.set_wakeup_fd(old)
        for each, handler in before.items():
            signal.signal(each, handler)
        os.close(reading)
        os.close(writing)
