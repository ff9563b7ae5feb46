"""What the host did to a measurement: stolen time, frames dropped before anybody could see them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyroute2 import IPRoute

from hil.traffic.linux import inside
from hil.traffic.port import Port


@dataclass(frozen=True, slots=True)
class HostCounters:
    """Counters of the whole host and of the ports, at one moment.

    `steal_ns` is time the hypervisor gave to others, summed over the processors (proc(5));
    `backlog_drops` the frames dropped from the per-processor backlog (second column of
    /proc/net/softnet_stat); `dropped` and `errors` of each port by name, what arrived and was lost.
    """

    steal_ns: int
    backlog_drops: int
    dropped: dict[str, int]
    errors: dict[str, int]

    def since(self, before: HostCounters) -> dict[str, Any]:
        """The differences, as JSON values."""
        return {
            "steal_ns": self.steal_ns - before.steal_ns,
            "backlog_drops": self.backlog_drops - before.backlog_drops,
            "rx_dropped": {k: v - before.dropped[k] for k, v in self.dropped.items()},
            "rx_errors": {k: v - before.errors[k] for k, v in self.errors.items()},
        }


def host_counters(ports: Iterable[Port]) -> HostCounters:
    """Read the counters now."""
    dropped: dict[str, int] = {}
    errors: dict[str, int] = {}
    for port in ports:
        with inside(port.namespace), IPRoute() as netlink:
            index = netlink.link_lookup(ifname=port.interface)
            link = netlink.get_links(*index)[0] if index else None
        counts = link.get_attr("IFLA_STATS64") if link is not None else None
        dropped[port.name] = int(counts["rx_dropped"]) if counts else 0
        errors[port.name] = int(counts["rx_errors"]) if counts else 0
    return HostCounters(_steal_ns(), _backlog_drops(), dropped, errors)


def _steal_ns() -> int:
    line = Path("/proc/stat").read_text().split("\n", 1)[0].split()
    return int(line[8]) * (10**9 // os.sysconf("SC_CLK_TCK"))


def _backlog_drops() -> int:
    with contextlib.suppress(OSError):
        lines = Path("/proc/net/softnet_stat").read_text().splitlines()
        return sum(int(line.split()[1], 16) for line in lines)
    return 0


def host_facts() -> dict[str, Any]:
    """What a reader needs to know of the host, as JSON values."""
    system = os.uname()
    clocksource = Path("/sys/devices/system/clocksource/clocksource0/current_clocksource")
    prequeue = Path("/proc/sys/net/core/netdev_tstamp_prequeue")
    return {
        "kernel": f"{system.sysname} {system.release} {system.machine}",
        "processors": os.cpu_count(),
        "clocksource": _text(clocksource),
        "stamp_before_backlog": _text(prequeue),
    }


def _text(path: Path) -> str | None:
    with contextlib.suppress(OSError):
        return path.read_text().strip()
    return None
