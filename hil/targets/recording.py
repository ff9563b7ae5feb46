"""What a capture file says of traffic: when its packets came, and how large they were."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationInfo

_ETHERNET = 1  # LINKTYPE_ETHERNET


@dataclass(frozen=True, slots=True)
class Recorded:
    """The packets of a capture, in order of time.

    `offsets_ns` are after the first; `sizes` on the wire, link header included, FCS not.
    """

    offsets_ns: NDArray[np.int64]
    sizes: NDArray[np.int64]

    @property
    def interval_ns(self) -> int:
        """The mean gap, at least 1 ns."""
        return max(1, int(self.offsets_ns[-1]) // (len(self.offsets_ns) - 1))


def beside(value: object, info: ValidationInfo) -> object:
    """A relative path, from the directory of the file that names it, where that is known."""
    directory = (info.context or {}).get("directory")
    if not isinstance(value, str | Path) or directory is None:
        return value
    return str(Path(directory) / value)


def recorded(path: Path) -> Recorded:
    """Reads a pcap (with micro- or nanoseconds) or pcapng file of Ethernet frames.

    Raises:
        ValueError: it cannot be read, is no capture of Ethernet, or holds fewer than two packets.
    """
    from scapy.error import Scapy_Exception
    from scapy.utils import RawPcapReader

    times: list[int] = []
    sizes: list[int] = []
    links: set[int] = set()
    try:
        # By itself it leaves a file that is no capture open; its types forget that it takes one.
        opened: Any = RawPcapReader
        with path.open("rb") as file, opened(file) as reader:
            nano = bool(getattr(reader, "nano", False))
            for _, about in reader:
                times.append(_time_ns(about, nano=nano))
                sizes.append(int(about.wirelen))
                links.add(int(getattr(about, "linktype", getattr(reader, "linktype", _ETHERNET))))
    except (OSError, Scapy_Exception, EOFError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ValueError(f"`file` {path} cannot be read as a capture: {why}") from None
    if len(times) < 2:
        raise ValueError(f"`file` {path} holds {len(times)} packets; a replay needs at least two")
    if links != {_ETHERNET}:
        raise ValueError(f"`file` {path} is a capture of link type {min(links)}, not of Ethernet")
    order = np.argsort(np.array(times, np.int64), kind="stable")
    offsets = np.array(times, np.int64)[order]
    return Recorded(offsets - offsets[0], np.array(sizes, np.int64)[order])


def _time_ns(about: Any, *, nano: bool) -> int:
    if hasattr(about, "sec"):
        return int(about.sec) * 1_000_000_000 + int(about.usec) * (1 if nano else 1000)
    units = (int(about.tshigh) << 32) | int(about.tslow)
    return units * 1_000_000_000 // int(about.tsresol)
