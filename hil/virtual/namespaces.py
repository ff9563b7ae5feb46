"""Anonymous network namespaces, with a user namespace around them where privileges are lacking.

What the process may do is found out by doing it, never by its user id: root in a container may be
refused, an ordinary user may be allowed. A user namespace maps the user to itself, so that every
program inside sees the truth about who runs it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
from collections.abc import Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Final

from hil._enter import CLONE_NEWNET, CLONE_NEWUSER, call, keep_capabilities, refusal
from hil.errors import UsageError

_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


def make(names: Sequence[str]) -> dict[str, int]:
    """A new network namespace for each name, held by the returned close-on-exec descriptors.

    The calling process, which must have a single thread, ends up in the last of them.

    Raises:
        UsageError: the kernel refuses; the sentence names the cure.
    """
    try:
        try:
            return _network_namespaces(names)
        except PermissionError:
            _user_namespace()
            return _network_namespaces(names)
    except OSError as error:
        raise UsageError(refusal(error)) from None


def _network_namespaces(names: Sequence[str]) -> dict[str, int]:
    made: dict[str, int] = {}
    try:
        for name in names:
            call("unshare", CLONE_NEWNET)
            made[name] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            _loopback_up()
    except OSError:
        for descriptor in made.values():
            os.close(descriptor)
        raise
    return made


def _loopback_up() -> None:
    """Needs CAP_NET_ADMIN over the namespace, which a container's root may lack."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as handle:
        request = struct.pack("16sH22x", b"lo", 0)
        (flags,) = struct.unpack_from("16xH", fcntl.ioctl(handle, _SIOCGIFFLAGS, request))
        fcntl.ioctl(handle, _SIOCSIFFLAGS, struct.pack("16sH22x", b"lo", flags | _IFF_UP))


def _user_namespace() -> None:
    uid, gid = os.geteuid(), os.getegid()
    call("unshare", CLONE_NEWUSER)
    with suppress(FileNotFoundError):
        Path("/proc/self/setgroups").write_text("deny", "utf-8")
    Path("/proc/self/uid_map").write_text(f"{uid} {uid} 1", "utf-8")
    Path("/proc/self/gid_map").write_text(f"{gid} {gid} 1", "utf-8")
    keep_capabilities()
