"""A private stage: named network namespaces and links that are gone when the process is.

Measuring the instrument itself needs links of known make-up: a veth pair without anything between
its ends, or a middle hop whose rate limiter is the kernel's own. The process that stands on the
stage has user, network and mount namespaces of its own, and names its network namespaces in a
private /run, so that nothing of it is seen outside and the tools it starts find them by name.

``python -m hil.virtual.stage NAME... -- COMMAND...`` becomes the command, on a stage with those
namespaces: a process with one thread has to enter, and most that measure have more.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

from hil._enter import CLONE_NEWNET, CLONE_NEWUSER, call, keep_capabilities, refusal
from hil.errors import UsageError
from hil.verdict import ExitCode
from hil.virtual.links import offloads_off

if TYPE_CHECKING:
    from pyroute2 import IPRoute

_MARK: Final = "HIL_STAGE"
_CLONE_NEWNS: Final = 0x0002_0000
_MS_REC: Final = 0x4000
_MS_PRIVATE: Final = 0x4_0000
_NAMES: Final = Path("/run/netns")
_ADDR_GEN_MODE_NONE: Final = 1
_NUD_PERMANENT: Final = 0x80

#: A namespace and an interface in it.
Place = tuple[str, str]


def enter(names: Sequence[str]) -> None:
    """Put this process, which must have a single thread, on a stage with those namespaces.

    Raises:
        UsageError: the kernel refuses; the sentence names the cure.
    """
    from pyroute2 import netns

    uid, gid = os.geteuid(), os.getegid()
    try:
        try:
            call("unshare", CLONE_NEWNET | _CLONE_NEWNS)
        except PermissionError:
            call("unshare", CLONE_NEWUSER | CLONE_NEWNET | _CLONE_NEWNS)
            Path("/proc/self/setgroups").write_text("deny", "utf-8")
            Path("/proc/self/uid_map").write_text(f"0 {uid} 1", "utf-8")
            Path("/proc/self/gid_map").write_text(f"0 {gid} 1", "utf-8")
            keep_capabilities()
        call("mount", b"none", b"/", None, _MS_REC | _MS_PRIVATE, None)
        call("mount", b"tmpfs", b"/run", b"tmpfs", 0, None)
    except OSError as error:
        raise UsageError(refusal(error)) from None
    for name in names:
        netns.create(name)
        with inside(name) as ip:
            ip.link("set", index=1, state="up")


@contextmanager
def inside(name: str) -> Iterator[IPRoute]:
    """The calling thread in a namespace of the stage, with its routing socket."""
    from pyroute2 import IPRoute

    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        there = os.open(_NAMES / name, os.O_RDONLY | os.O_CLOEXEC)
        try:
            call("setns", there, CLONE_NEWNET)
        finally:
            os.close(there)
        with IPRoute() as ip:
            yield ip
    finally:
        call("setns", home, CLONE_NEWNET)
        os.close(home)


def veth(near: Place, far: Place, network: int | None = None) -> None:
    """A veth pair, up, without IPv6; 10.99.`network`.1 and .2 on its ends where given.

    The ends know each other's hardware address, so that no ARP disturbs what is measured.
    """
    with inside(near[0]) as ip:
        there = os.open(_NAMES / far[0], os.O_RDONLY | os.O_CLOEXEC)
        try:
            peer = {"ifname": far[1], "net_ns_fd": there}
            ip.link("add", ifname=near[1], kind="veth", peer=peer)
        finally:
            os.close(there)
    macs = [_settle(place) for place in (near, far)]
    if network is not None:
        _address((near, far), macs, network)


def through(near: Place, hop: tuple[Place, Place], far: Place, network: int) -> None:
    """Two veth pairs with a hop that is still to be made between them, addresses as `veth`.

    Offloads are off at both ends, so that a hop of user space finds whole frames with checksums.
    """
    veth(near, hop[0])
    veth(hop[1], far)
    macs = []
    for place in (near, far):
        with inside(place[0]) as ip:
            offloads_off(place[1])
            (link,) = ip.get_links(*ip.link_lookup(ifname=place[1]))
            macs.append(str(link.get_attr("IFLA_ADDRESS")))
    _address((near, far), macs, network)


def _address(ends: tuple[Place, Place], macs: Sequence[str], network: int) -> None:
    for host, (space, interface) in enumerate(ends, 1):
        with inside(space) as ip:
            index = ip.link_lookup(ifname=interface)[0]
            ip.addr("add", index=index, address=f"10.99.{network}.{host}", prefixlen=24)
            other = f"10.99.{network}.{3 - host}"
            ip.neigh("add", ifindex=index, dst=other, lladdr=macs[2 - host], state=_NUD_PERMANENT)


def _settle(place: Place) -> str:
    """Bring an interface up without IPv6; its hardware address."""
    quiet = ("AF_INET6", {"attrs": [("IFLA_INET6_ADDR_GEN_MODE", _ADDR_GEN_MODE_NONE)]})
    with inside(place[0]) as ip:
        index = ip.link_lookup(ifname=place[1])[0]
        ip.link("set", index=index, IFLA_AF_SPEC={"attrs": [quiet]})
        ip.link("set", index=index, state="up")
        found: Any = ip.get_links(index)[0].get_attr("IFLA_ADDRESS")
    return str(found)


def bridge(space: str, interfaces: Sequence[str]) -> None:
    """Join interfaces by a bridge of the kernel: a store-and-forward hop."""
    with inside(space) as ip:
        ip.link("add", ifname="hop", kind="bridge", br_mcast_snooping=0)
        hop = ip.link_lookup(ifname="hop")[0]
        for name in interfaces:
            ip.link("set", index=ip.link_lookup(ifname=name)[0], master=hop)
    _settle((space, "hop"))


def limit_rate(place: Place, bytes_s: int, bucket: int, room: int) -> None:
    """A token bucket (tc-tbf(8)) for what leaves an interface.

    It holds `bucket` bytes of credit and a queue of `room` bytes.
    """
    with inside(place[0]) as ip:
        index = ip.link_lookup(ifname=place[1])[0]
        ip.tc("add", "tbf", index, rate=f"{8 * bytes_s}bit", burst=bucket, limit=room)


def command(names: Sequence[str], argv: Sequence[str]) -> list[str]:
    """The words that start `argv` on a stage with those namespaces."""
    return [sys.executable, "-m", "hil.virtual.stage", *names, "--", *argv]


def standing() -> bool:
    """Whether this process was started on a stage."""
    return _MARK in os.environ


def main(words: list[str]) -> NoReturn:
    """Become the command on a stage; ends with code 2 where the kernel refuses one."""
    split = words.index("--")
    try:
        enter(words[:split])
    except UsageError as error:
        print(error, file=sys.stderr)
        sys.exit(ExitCode.USAGE)
    os.environ[_MARK] = " ".join(words[:split])
    os.execvp(words[split + 1], words[split + 1 :])


if __name__ == "__main__":
    main(sys.argv[1:])
