"""The round trip from user space to user space and back: the figure sockperf and irtt give.

``python -m hil.traffic.round_trip serve NAMESPACE ADDRESS PORT`` echoes datagrams until its parent
ends; ``... ask NAMESPACE ADDRESS PORT COUNT INTERVAL_NS`` sends one at a time on a fixed schedule
and prints the round trips in nanoseconds as a JSON list, null where no answer came. Both ends sleep
in the kernel until a datagram comes, as those tools do: wake-ups are part of the figure.
"""

from __future__ import annotations

import contextlib
import gc
import json
import select
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Final

from hil.clock import Deadline
from hil.errors import RigError
from hil.traffic import linux

_SIZE: Final = 64
_ANSWER_NS: Final = 100_000_000
_SPIN_NS: Final = 100_000
_START_NS: Final = 5_000_000_000
_NUMBER: Final = struct.Struct("<Q")


def serve(namespace: str, address: str, port: int) -> None:
    """Echo every datagram to whoever sent it, for ever."""
    with linux.inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((address, port))
        linux.be_prompt()
        print("ready", flush=True)
        gc.freeze()
        gc.disable()
        while True:
            datagram, sender = sock.recvfrom(2048)
            sock.sendto(datagram, sender)


def ask(namespace: str, address: str, port: int, count: int, interval_ns: int) -> list[int | None]:
    """The round trips of `count` datagrams, one each `interval_ns`; None where no answer came."""
    found: list[int | None] = [None] * count
    with linux.inside(namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.connect((address, port))
        span = struct.pack("ll", 0, _ANSWER_NS // 1000)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, span)
        linux.be_prompt()
        payload = bytearray(_SIZE)
        now = time.monotonic_ns
        gc.freeze()
        gc.disable()
        start = now() + interval_ns
        for number in range(count):
            _NUMBER.pack_into(payload, 0, number)
            due = start + number * interval_ns
            if (left := due - now() - _SPIN_NS) > 0:
                time.sleep(left / 1e9)
            while now() < due:
                pass
            sent = now()
            sock.send(payload)
            with contextlib.suppress(BlockingIOError):
                while _NUMBER.unpack_from(sock.recv(2048))[0] != number:
                    pass
                found[number] = now() - sent
    return found


@contextlib.contextmanager
def server(namespace: str, address: str, port: int) -> Iterator[None]:
    """A process that echoes, ready, for the time of the block."""
    words = [sys.executable, "-m", __name__, "serve", namespace, address, str(port)]
    with subprocess.Popen(words, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            deadline = Deadline.after(_START_NS)
            ready = select.select([process.stdout], [], [], deadline.left_s)[0]
            if not ready or process.stdout.readline() != b"ready\n":
                raise RigError("the echo process did not start")
            yield
        finally:
            process.kill()


def measure(namespace: str, address: str, port: int, count: int, interval_ns: int) -> list[int]:
    """Round trips taken by a process of its own, those without an answer left out.

    Raises: RigError when that process fails or nothing was answered.
    """
    words = ["ask", namespace, address, str(port), str(count), str(interval_ns)]
    done = subprocess.run(
        [sys.executable, "-m", __name__, *words], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RigError(f"the round trip was not measured: {done.stderr.strip()[-200:]}")
    found = [value for value in json.loads(done.stdout) if value is not None]
    if not found:
        raise RigError("the round trip was not measured: nothing was answered")
    return found


def main(words: list[str]) -> int:
    """Run one of the two ends."""
    linux.end_with_parent(None, signal.SIGKILL)
    if words[0] == "serve":
        serve(words[1], words[2], int(words[3]))
    else:
        taken = ask(words[1], words[2], int(words[3]), int(words[4]), int(words[5]))
        print(json.dumps(taken))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
