"""The stored floor of a pair of ports: what the instrument itself adds to a delay taken there.

A floor belongs to this host, so it is kept with the user's state and not in the testbed file: one
JSON file per pair and direction in ``$XDG_STATE_HOME/hil/floors`` (``~/.local/state`` where that is
not set). It holds for exactly the ports, the kernel and the settings it was taken with.
"""

from __future__ import annotations

import array
import errno
import fcntl
import json
import os
import re
import socket
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.traffic.linux import inside
from hil.traffic.port import Port
from hil.units import format_duration, format_size

SCHEMA: Final = 1

#: Whose stamps a floor may be the floor of.
FloorSource = Literal["kernel", "hardware"]

#: Why a floor of a veth is never used for anything else.
VETH_SAYS_NOTHING: Final = (
    "between the stamps of a veth lie no interrupt, no coalescing and no wire, so its floor says "
    "nothing of another port"
)

# linux/ethtool.h and linux/sockios.h.
_SIOCETHTOOL: Final = 0x8946
_GDRVINFO: Final = 0x03
_GCOALESCE: Final = 0x0E
_SWITCHES: Final = {
    "rx-checksum": 0x14,
    "tx-checksum": 0x16,
    "scatter-gather": 0x18,
    "tso": 0x1E,
    "gso": 0x23,
    "flags": 0x25,  # LRO, VLAN and receive hashing, as bits
    "gro": 0x2B,
}


@dataclass(frozen=True, slots=True)
class Floor:
    """A stored floor as found for two ports.

    `floor_ns` are sorted magnitudes for `hil.samples.measurement.Budget`, empty where the floor
    was refused; `words` say where it comes from, or why it was refused. `source` is whose stamps
    it is the floor of.
    """

    floor_ns: NDArray[np.int64]
    words: str
    source: FloorSource = "kernel"


def identity(port: Port) -> dict[str, Any]:
    """What a floor depends on: kernel, interface, driver, and the settings of its offloads.

    Times before an interrupt are those of the driver's coalescing (ethtool(8), -c), None where it
    has none.
    """
    with inside(port.namespace), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as handle:
        driver = _ethtool(handle, port.interface, struct.pack("I192x", _GDRVINFO))
        coalesce = _ethtool(handle, port.interface, struct.pack("I88x", _GCOALESCE))
        switches = {
            name: _ethtool(handle, port.interface, struct.pack("II", number, 0))
            for name, number in _SWITCHES.items()
        }
    named = driver[4:36].split(b"\0", 1)[0].decode(errors="replace") if driver else None
    return {
        "kernel": os.uname().release,
        "interface": port.interface,
        "namespace": port.namespace,
        "mac": port.mac.hex(":"),
        "driver": named or port.driver,
        "mtu": port.mtu,
        "rx_usecs": struct.unpack_from("I", coalesce, 4)[0] if coalesce else None,
        "tx_usecs": struct.unpack_from("I", coalesce, 20)[0] if coalesce else None,
        "offloads": {
            name: struct.unpack_from("I", value, 4)[0] if value else None
            for name, value in switches.items()
        },
    }


def _ethtool(handle: socket.socket, interface: str, request: bytes) -> bytes | None:
    """The answer of the driver; None where it does not know the question."""
    value = array.array("B", request)
    call = struct.pack("16sP", interface.encode(), value.buffer_info()[0])
    try:
        fcntl.ioctl(handle, _SIOCETHTOOL, call)
    except OSError as error:
        if error.errno in (errno.EOPNOTSUPP, errno.EINVAL, errno.EPERM):
            return None
        raise RigError(f"{interface} does not say how it is set: {error.strerror}") from error
    return value.tobytes()


def path_of(tx: Port, rx: Port) -> Path:
    """The file that holds the floor from `tx` to `rx`."""
    state = os.environ.get("XDG_STATE_HOME") or os.path.expanduser("~/.local/state")
    ends = [f"{port.namespace or ''}.{port.interface}" for port in (tx, rx)]
    name = "--".join(re.sub(r"[^\w.-]", "_", end.strip(".")) for end in ends)
    return Path(state) / "hil" / "floors" / f"{name}.json"


def keep(
    tx: Port,
    rx: Port,
    floor_ns: NDArray[np.int64],
    *,
    size: int,
    at_ns: int,
    source: FloorSource = "kernel",
) -> Path:
    """File the floor from `tx` to `rx`, taken with packets of `size` bytes; returns the file.

    Raises: RigError when it cannot be written.
    """
    path = path_of(tx, rx)
    fields = {
        "schema": SCHEMA,
        "at_ns": at_ns,
        "size": size,
        "source": source,
        "tx": identity(tx),
        "rx": identity(rx),
        "floor_ns": np.sort(floor_ns).tolist(),
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_suffix(".new")
        draft.write_text(json.dumps(fields), "utf-8")
        draft.replace(path)
    except OSError as error:
        raise RigError(f"the floor cannot be kept: {error.filename}: {error.strerror}") from error
    return path


def stored(tx: Port, rx: Port) -> Floor | None:
    """The floor that was kept for exactly these ports; None where none was, or on another host."""
    if tx.host is not None or rx.host is not None:
        return None
    path = path_of(tx, rx)
    nothing = np.empty(0, np.int64)
    try:
        fields = json.loads(path.read_text("utf-8"))
        if fields["schema"] != SCHEMA:
            raise ValueError(f"schema {fields['schema']}")
        floor_ns = np.array(fields["floor_ns"], np.int64)
        if not floor_ns.size or (floor_ns < 0).any():
            raise ValueError("it holds no magnitudes")
        at = datetime.fromtimestamp(fields["at_ns"] / 1e9, UTC).strftime("%Y-%m-%d %H:%M UTC")
        size = format_size(fields["size"])
        for port, then in ((tx, fields["tx"]), (rx, fields["rx"])):
            if why := _changed(port, then):
                return Floor(nothing, f"the stored floor of {at} was refused: {why}")
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        return Floor(nothing, f"the stored floor {path} was refused: it cannot be read ({error})")
    floor_ns.sort()
    return Floor(
        floor_ns,
        f"floor: calibrated on these very ports on {at}, {floor_ns.size:,} packets of {size} "
        f"through a store-and-forward hop or wire, median "
        f"{format_duration(int(floor_ns[floor_ns.size // 2]))}",
        "hardware" if fields.get("source") == "hardware" else "kernel",
    )


def _changed(port: Port, then: Mapping[str, Any]) -> str | None:
    """What is not as it was when the floor was taken, in words."""
    now = identity(port)
    if then["driver"] == "veth" != now["driver"]:
        return f"it was taken on a veth, and {port.name} is not one: {VETH_SAYS_NOTHING}"
    for name in ("kernel", "mac", "driver", "mtu", "rx_usecs", "tx_usecs"):
        if then[name] != now[name]:
            return f"{name} of {port.name} was {then[name]} and is {now[name]}; calibrate again"
    for name, setting in now["offloads"].items():
        if then["offloads"].get(name) != setting:
            return f"offload {name} of {port.name} was changed since; calibrate again"
    return None
