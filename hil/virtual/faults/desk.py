"""How a live fault is called for: a datagram to the process that makes it, and its answer.

Each of the two processes of a world has a desk, a Unix datagram socket in the world's run
directory: faults of packets are the user plane's, all others are the endpoints'. A message is
served between two turns of the process, so that what it answers is exact: a fault of packets meets
each one that is sent after the stated `start_ns`, and none that was sent before.
"""

from __future__ import annotations

import json
import os
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from hil.errors import HilError, RigError, UsageError
from hil.virtual.faults.ledger import ENDPOINTS, PART_OF, USERPLANE, Entry, Ledger

_MOST_BYTES: Final = 1 << 17
_MOST_LISTED: Final = 200  # what a datagram holds for certain
_PATIENCE_S: Final = 5.0


class Desk:
    """The end of a process that makes faults.

    Args:
        directory: the world's run directory.
        part: `USERPLANE` or `ENDPOINTS`.
        ledger: the faults of this process.
        changed: told of each fault that was begun or ended by a message.
    """

    def __init__(
        self,
        directory: Path,
        part: str,
        ledger: Ledger,
        changed: Callable[[Entry], None] | None = None,
    ) -> None:
        self.ledger = ledger
        self._changed = changed
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._socket.bind(str(_address(directory, part)))

    def fileno(self) -> int:
        """The descriptor that is readable when a message is there."""
        return self._socket.fileno()

    def serve(self) -> None:
        """Answer the messages that are there."""
        with suppress(OSError):
            while True:
                data, sender = self._socket.recvfrom(_MOST_BYTES)
                answer = self._answer(data)
                if sender:
                    with suppress(OSError):
                        self._socket.sendto(json.dumps(answer).encode(), sender)

    def _answer(self, data: bytes) -> dict[str, Any]:
        try:
            message = json.loads(data)
            verb = message["do"]
            if verb == "list":
                latest = self.ledger.to_json()[-_MOST_LISTED:]
                return {"faults": latest, "now_ns": time.time_ns()}
            if verb == "begin":
                entry = self.ledger.begin(message["name"], message["parameters"], time.time_ns())
            elif verb == "end":
                entry = self.ledger.end(message["name"], time.time_ns())
            else:
                raise UsageError(f"cannot {verb} a fault")
            if self._changed is not None:
                self._changed(entry)
            return {"fault": entry.to_json()}
        except HilError as error:
            return {"error": str(error), "usage": isinstance(error, UsageError)}
        except (ValueError, KeyError, TypeError, OSError) as error:
            return {"error": f"not understood: {error!r}", "usage": False}


def begin(run: Path, part: str, name: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Begin a fault in a world; the entry of its ledger.

    `name` is one of ``world: faults:`` when there are no parameters, else a kind.

    Raises:
        UsageError: there is no such fault, or its parameters are wrong.
        RigError: the world does not answer.
    """
    answer: dict[str, Any] = _ask(run, part, do="begin", name=name, parameters=dict(parameters))
    found: dict[str, Any] = answer["fault"]
    return found


def end(run: Path, part: str, name: str) -> dict[str, Any]:
    """End a fault by the name in its entry; the entry. Raises as `begin`."""
    found: dict[str, Any] = _ask(run, part, do="end", name=name)["fault"]
    return found


def listed(run: Path) -> list[dict[str, Any]]:
    """The faults that there are and were in a world, the latest of each of its processes.

    Beside its entry each says whose it is (`part`), whether it is `on`, and whether it is `open`:
    on, or yet to come.

    Raises: RigError when the world does not answer.
    """
    found = []
    for part in (USERPLANE, ENDPOINTS):
        answer = _ask(run, part, do="list")
        now_ns = answer["now_ns"]
        for each in answer["faults"]:
            is_open = each["end_ns"] is None or now_ns < each["end_ns"]
            on = each["start_ns"] <= now_ns and is_open
            found.append({**each, "part": part, "on": on, "open": is_open})
    return found


def close(run: Path, entry: Mapping[str, Any]) -> dict[str, Any]:
    """Make sure that a fault is over; its entry as it then is. Raises as `listed`."""
    part = PART_OF[entry["kind"]]
    found = next(
        each for each in listed(run) if each["part"] == part and each["number"] == entry["number"]
    )
    return end(run, part, found["name"]) if found["open"] else found


_turns = iter(range(1 << 62))


def _ask(run: Path, part: str, **message: Any) -> dict[str, Any]:
    own = run / f".ask-{os.getpid()}-{threading.get_native_id()}-{next(_turns)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as asking:
        try:
            asking.bind(str(own))
            asking.sendto(json.dumps(message).encode(), str(_address(run, part)))
            if not select.select([asking], [], [], _PATIENCE_S)[0]:
                raise RigError(f"the {part} of the world in {run} does not answer")
            answer: dict[str, Any] = json.loads(asking.recv(_MOST_BYTES * 8))
        except OSError as error:
            raise RigError(f"the {part} of the world in {run} is not there: {error}") from None
        finally:
            own.unlink(missing_ok=True)
    if "error" in answer:
        raise (UsageError if answer["usage"] else RigError)(answer["error"])
    return answer


def _address(run: Path, part: str) -> Path:
    return run / f"faults.{part}"
