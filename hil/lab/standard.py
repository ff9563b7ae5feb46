"""The kernel's token bucket as a standard of spacing, on a stage (`hil.virtual.stage`).

::

    near/e0 --- mid/m0  bridge  mid/m1 (tc-tbf) --- far/e1

The bucket's rate is one byte per microsecond, so the spacing of frames that wait for it is their
size in microseconds. Nothing of this project is between the stamps.
"""

from __future__ import annotations

import itertools
import tempfile
from pathlib import Path
from typing import Final

from hil.errors import RigError
from hil.samples.serialisation import Agreement, Spacing, agreement, spacing
from hil.traffic import Flow, Port, periodic, resolve_port, run
from hil.virtual import stage

#: Namespaces that the stage must have.
NAMESPACES: Final = ("near", "mid", "far")
SIZES: Final = (128, 400, 800, 1200, 1514)

_BYTES_S: Final = 1_000_000
_BUCKET: Final = 32_768  # a host that stalls for up to 32 ms loses no time
_ROOM: Final = 8 << 20
_FRAMES: Final = 200
_PAUSE_NS: Final = 100_000_000  # between two sizes: the bucket fills again


def build(*, limited: bool = True) -> tuple[Port, Port]:
    """Make the links; the ports at their ends. Without the bucket they are a plain hop."""
    stage.veth(("near", "e0"), ("mid", "m0"))
    stage.veth(("mid", "m1"), ("far", "e1"))
    stage.bridge("mid", ["m0", "m1"])
    if limited:
        stage.limit_rate(("mid", "m1"), _BYTES_S, _BUCKET, _ROOM)
    return resolve_port("e0", "near"), resolve_port("e1", "far")


def measure(tx: Port, rx: Port) -> Agreement:
    """Frames of each size, sent at once, and how far apart they left the bucket.

    Raises: RigError where what came cannot be compared with the standard.
    """
    flows: list[Flow] = []
    start_ns = 0
    for size in SIZES:
        planned = periodic(_on_credit(size) + _FRAMES, 0, size)
        planned["offset_ns"] = start_ns
        flows.append(Flow(name=f"{size} B", tx=tx, rx=rx, planned=planned))
        start_ns += len(planned) * size * 10**9 // _BYTES_S + _PAUSE_NS
    with tempfile.TemporaryDirectory(prefix="hil-standard-") as directory:
        measured = run(flows, directory=Path(directory))
    reasons = list(itertools.chain.from_iterable(each.invalid for each in measured))
    if reasons:
        raise RigError(f"no comparison with the standard: {'; '.join(reasons)}")
    found: list[Spacing] = []
    try:
        for size, each in zip(SIZES, measured, strict=True):
            sent, came = each.samples["tx_kernel_ns"], each.samples["rx_kernel_ns"]
            found.append(spacing(size, sent, came, skip=_on_credit(size)))
        return agreement(found, 8.0 * _BYTES_S)
    except ValueError as error:
        raise RigError(f"no comparison with the standard: {error}") from None


def _on_credit(size: int) -> int:
    """Frames that may pass on the bucket's credit, with as many again for what it regains."""
    return 2 * _BUCKET // size + 1
