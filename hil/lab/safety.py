"""The only door from a test to a device: every action is written down, refusals are final.

The ranges themselves (tags, attenuation) are in each driver, which knows its device; here is what
is the same for all: the journal of actions, the way home, and what may be sent.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any, Final

from hil.errors import RigError, UnsafeOperation
from hil.samples.planned import last_row
from hil.testbed import Testbed
from hil.traffic import Flow
from hil.units import format_rate

#: Methods that change a device. What is not named here only reads.
ACTIONS: Final = frozenset(
    {
        "activate",
        "apply",
        "cell",
        "clear_protection",
        "command",
        "configure",
        "configure_cell",
        "cycle",
        "deactivate",
        "handover",
        "output",
        "radio_on",
        "ramp",
        "reboot",
        "release",
        "restore",
        "safe_state",
        "set",
        "set_db",
        "set_power",
        "start",
        "stop",
        "write",
    }
)

Journal = Callable[..., None]


class Guard:
    """Stands for a device; passes every call on and writes down each that changes something."""

    def __init__(self, device: Any, journal: Journal) -> None:
        self._device = device
        self._journal = journal

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._device, name)
        if name not in ACTIONS or not callable(attribute):
            return attribute

        def action(*args: Any, **kwargs: Any) -> Any:
            words = [repr(value) for value in args]
            words += [f"{key}={value!r}" for key, value in kwargs.items()]
            text = f"{name}({', '.join(words)})"
            try:
                result = attribute(*args, **kwargs)
            except BaseException as error:  # also an interruption: it may have been half done
                self._journal(self._device.name, f"{text} failed: {str(error) or repr(error)}")
                raise
            self._journal(self._device.name, text if result is None else f"{text} -> {result!r}")
            return result

        return action

    def __repr__(self) -> str:
        return f"<{self._device.name}>"


def bounded(step: Callable[[], None], what: str, limit_s: float) -> None:
    """Runs a step of the way home, but no longer than its limit: one device must not hold up all.

    Raises: RigError when the limit passes; otherwise whatever the step raises.
    """
    failure: list[BaseException] = []

    def run() -> None:
        try:
            step()
        except BaseException as error:
            failure.append(error)

    worker = threading.Thread(target=run, name=what, daemon=True)
    worker.start()
    worker.join(limit_s)
    if worker.is_alive():
        raise RigError(f"{what}: not done within {limit_s:g} s, left as it is")
    if failure:
        raise failure[0]


def permit(testbed: Testbed, flows: Sequence[Flow]) -> None:
    """Lets flows pass that the bench may be put through, as `safety:` of its testbed says.

    Raises: UnsafeOperation naming the flow and the limit; nothing was sent.
    """
    safety = testbed.safety
    offered: Counter[str] = Counter()
    for flow in flows:
        port = flow.tx
        if safety.allow_interfaces is not None:
            place = f"{port.namespace}/{port.interface}" if port.namespace else port.interface
            if place not in safety.allow_interfaces:
                raise UnsafeOperation(f"{flow.name}: {place} is not among safety.allow_interfaces")
        if safety.allow_networks is not None and flow.layer == "udp":
            target = flow.ends[1]
            if not any(target in network for network in safety.allow_networks):
                raise UnsafeOperation(f"{flow.name}: {target} is not in safety.allow_networks")
        offered[port.name] += _rate_bps(flow)
    for name, rate in offered.items():
        if safety.max_rate_bps is not None and rate > safety.max_rate_bps:
            raise UnsafeOperation(
                f"port {name}: {format_rate(rate)} are more than safety.max_rate of "
                f"{format_rate(safety.max_rate_bps)}"
            )


def _rate_bps(flow: Flow) -> int:
    """The mean rate of a flow over its schedule, its last packet's interval included."""
    plan = flow.plan
    first, last = plan.rows(0, 1)["offset_ns"], last_row(plan)["offset_ns"]
    span_ns = int(last[0] - first[0]) + (flow.interval_ns or 0)
    return int(plan.bytes * 8e9 / span_ns) if span_ns else 0
