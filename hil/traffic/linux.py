"""What the kernel offers beyond Python's `socket`: constants, namespaces, process settings.

Numbers are those of the Linux user-space headers (linux/if_packet.h, linux/net_tstamp.h,
linux/filter.h, linux/prctl.h); their meaning is in Documentation/networking/packet_mmap.rst and
timestamping.rst.
"""

from __future__ import annotations

import ctypes
import errno
import os
import socket
import struct
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any, Final

from hil.errors import UsageError

SOL_PACKET: Final = 263
PACKET_RX_RING: Final = 5
PACKET_STATISTICS: Final = 6
PACKET_VERSION: Final = 10
PACKET_TX_TIMESTAMP: Final = 16
PACKET_TIMESTAMP: Final = 17
PACKET_IGNORE_OUTGOING: Final = 23
TPACKET_V2: Final = 1

TP_STATUS_KERNEL: Final = 0
TP_STATUS_USER: Final = 1
TP_STATUS_CSUMNOTREADY: Final = 1 << 3
TP_STATUS_VLAN_VALID: Final = 1 << 4
TP_STATUS_VLAN_TPID_VALID: Final = 1 << 6
TP_STATUS_TS_SOFTWARE: Final = 1 << 29
TP_STATUS_TS_RAW_HARDWARE: Final = 1 << 31

SO_TIMESTAMPING: Final = 37
SO_RCVBUFFORCE: Final = 33
SO_ATTACH_FILTER: Final = 26
SOF_TX_HARDWARE: Final = 1 << 0
SOF_TX_SOFTWARE: Final = 1 << 1
SOF_RX_HARDWARE: Final = 1 << 2
SOF_RX_SOFTWARE: Final = 1 << 3
SOF_SOFTWARE: Final = 1 << 4
SOF_RAW_HARDWARE: Final = 1 << 6
SOF_OPT_ID: Final = 1 << 7
SOF_OPT_TSONLY: Final = 1 << 11
SOF_OPT_TX_SWHW: Final = 1 << 14

IP_MTU_DISCOVER: Final = 10
IP_PMTUDISC_DO: Final = 2

ETH_P_ALL: Final = 0x0003
ETH_P_IP: Final = 0x0800
ETH_P_ARP: Final = 0x0806
ETH_P_8021Q: Final = 0x8100
ETH_P_IPV6: Final = 0x86DD

NAMESPACES: Final = Path("/run/netns")
_CLONE_NEWNET: Final = 0x40000000
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_TIMERSLACK: Final = 29
_NICE: Final = -15

libc = ctypes.CDLL(None, use_errno=True)
libc.recvmmsg.argtypes = [
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_uint,
    ctypes.c_int,
    ctypes.c_void_p,
]
libc.sendmmsg.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_uint, ctypes.c_int]

NEEDS_NET_RAW: Final = (
    "run it as root, or inside a testbed with a world, or name in `ports: launcher:` of the "
    "testbed a command that gives its program CAP_NET_RAW (and CAP_SYS_ADMIN to join other "
    "namespaces)"
)


@contextmanager
def inside(namespace: str | None) -> Iterator[None]:
    """This thread in a network namespace of /run/netns; None is where it is already.

    Sockets made inside stay there after the return.

    Raises: UsageError, with the cure, when there is no such namespace or joining is refused.
    """
    if namespace is None:
        yield
        return
    home = namespace_handle()
    try:
        _join(namespace)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def namespace_handle() -> int:
    """A descriptor of the network namespace this thread is in; the caller closes it."""
    return os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)


@contextmanager
def inside_handle(handle: int | None) -> Iterator[None]:
    """As `inside`, for a descriptor of `namespace_handle`; None is where the thread is already."""
    if handle is None:
        yield
        return
    home = namespace_handle()
    try:
        _setns(handle)
        try:
            yield
        finally:
            _setns(home)
    finally:
        os.close(home)


def _join(namespace: str) -> None:
    try:
        there = os.open(NAMESPACES / namespace, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        known = sorted(each.name for each in NAMESPACES.iterdir()) if NAMESPACES.is_dir() else []
        listed = ", ".join(known) or "none"
        raise UsageError(
            f"no network namespace {namespace!r} in {NAMESPACES} (there: {listed}); make it with "
            f"`ip netns add {namespace}`, or name one that is there"
        ) from None
    except OSError as error:
        raise UsageError(f"network namespace {namespace!r}: {error.strerror}") from None
    try:
        _setns(there)
    except OSError as error:
        if error.errno == errno.EPERM:
            raise UsageError(
                f"joining network namespace {namespace!r} needs CAP_SYS_ADMIN: run as root, or "
                f"inside it: `sudo ip netns exec {namespace} ...`"
            ) from None
        raise UsageError(f"network namespace {namespace!r}: {error.strerror}") from None
    finally:
        os.close(there)


def _setns(descriptor: int) -> None:
    if libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def end_with_parent(parent: int | None, signal_number: int) -> bool:
    """Ask the kernel to signal this process when its parent's thread ends.

    `parent` is the expected parent's process id, None where a launcher stands between. False when
    that parent is gone already (the request would come too late).
    """
    libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0)
    return parent is None or os.getppid() == parent


def be_prompt(*, real_time: bool = False) -> dict[str, bool]:
    """Ask for prompt wake-ups: timer slack of 1 ns and a higher priority; says what was granted.

    Where the kernel groups processes by session (sched(7), autogroup), niceness counts within the
    session only; this process has a session of its own and asks for that group too.

    `real_time` asks for SCHED_FIFO, which only a process that mostly sleeps may have: one that
    spins is stopped for 50 ms in each second by the kernel's fair server.
    """
    granted = {"timer_slack_1ns": libc.prctl(_PR_SET_TIMERSLACK, 1, 0, 0, 0) == 0}

    def ask(what: str, how: Callable[[], object]) -> None:
        try:
            how()
        except OSError:
            granted[what] = False
        else:
            granted[what] = True

    ask(f"nice_{_NICE}", lambda: os.setpriority(os.PRIO_PROCESS, 0, _NICE))
    ask(f"autogroup_{_NICE}", lambda: Path("/proc/self/autogroup").write_text(str(_NICE), "utf-8"))
    if real_time:
        first = os.sched_param(os.sched_get_priority_min(os.SCHED_FIFO))
        ask("sched_fifo", lambda: os.sched_setscheduler(0, os.SCHED_FIFO, first))
    return granted


def deep_receive_buffer(sock: socket.socket, size: int) -> int:
    """Ask for a receive buffer of `size` bytes, by force where allowed; returns what was given."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, size)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


#: One instruction of classic BPF: code, jump if true, jump if false, operand.
Instruction = tuple[int, int, int, int]

BPF_LD_WORD: Final = 0x20  #: A = the 32-bit word at k
BPF_LD_HALF: Final = 0x28  #: A = the 16-bit word at k
BPF_LD_BYTE: Final = 0x30  #: A = the byte at k
BPF_LD_LENGTH: Final = 0x80  #: A = length of the packet
BPF_AND: Final = 0x54  #: A = A & k
BPF_JA: Final = 0x05  #: jump by k
BPF_JEQ: Final = 0x15  #: jump on A == k
BPF_JGE: Final = 0x35  #: jump on A >= k
BPF_JGT: Final = 0x25  #: jump on A > k
BPF_RET: Final = 0x06  #: keep k bytes
BPF_VLAN_TAG: Final = 0xFFFF_F02C  #: for k: the VLAN tag that the kernel took out, 0 without one
KEEP_ALL: Final = 0x40000


def attach_filter(sock: socket.socket, program: Sequence[Instruction]) -> None:
    """Let through to `sock` only the frames that a classic BPF program keeps."""
    code = b"".join(struct.pack("HBBI", *each) for each in program)
    buffer = ctypes.create_string_buffer(code)
    head = struct.pack("HxxxxxxP", len(program), ctypes.addressof(buffer))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, head)


DROP_ALL: Final[tuple[Instruction, ...]] = ((BPF_RET, 0, 0, 0),)


def own_address(address: IPv4Address | IPv6Address, index: int, port: int = 0) -> tuple[Any, ...]:
    """What bind(2) takes for an address of interface `index`: one of the link alone needs both."""
    if address.version == 4:
        return str(address), port
    return str(address), port, 0, index if address.is_link_local else 0


def silent_socket(where: tuple[Any, ...], name: str) -> socket.socket:
    """A UDP socket that takes datagrams and keeps none: so the kernel sends no ICMP for them.

    `where` is as of `own_address`; `name` is that of the port. Raises: UsageError when it is taken.
    """
    family = socket.AF_INET if len(where) == 2 else socket.AF_INET6
    sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    attach_filter(sock, DROP_ALL)
    try:
        sock.bind(where)
    except OSError as error:
        sock.close()
        raise UsageError(
            f"port {name} cannot use UDP {where[0]}:{where[1]}: {error.strerror}"
        ) from None
    return sock


def packet_socket(interface: str, protocol: int = 0) -> socket.socket:
    """A raw packet socket, bound to `interface`; deaf with protocol 0.

    Raises: UsageError naming the missing capability; OSError for anything else.
    """
    try:
        sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0)
    except PermissionError:
        raise UsageError(f"raw frames on {interface} need CAP_NET_RAW: {NEEDS_NET_RAW}") from None
    try:
        sock.bind((interface, protocol))
    except OSError:
        sock.close()
        raise
    return sock
