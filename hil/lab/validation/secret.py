"""Secrets: what is done to the packets of a run, drawn by nobody's choice and sealed until after.

The parameters of a secret are what a measurement estimates (a share, a mean, a shift, a rate), and
the fault list is what came of them in one run, packet by packet. Whoever measures sees the seal
alone, a SHA-256 of the file; it is salted, so that no list of guesses finds the file.
"""

from __future__ import annotations

import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hil.errors import RigError
from hil.virtual.faults import sealing
from hil.virtual.faults.fault_list import FaultList

Level = Literal["healthy", "doubtful", "broken"]

#: What a blind verdict is asked for: this share within this limit, outages of up to BURST packets.
SHARE: Final = 0.98
LIMIT_NS: Final = 25_000_000
BURST: Final = 3
#: Later than any limit, so that a packet held back that long is late whatever else befell it.
HELD_NS: Final = 30_000_000

_LOSS: Final[dict[Level, tuple[float, float]]] = {
    "healthy": (0.0, 0.001),
    "doubtful": (0.004, 0.03),
    "broken": (0.07, 0.15),
}
_LEVELS: Final[tuple[Level, ...]] = ("healthy", "doubtful", "broken")
_MOST_SHIFT_NS: Final = 3_000_000
_MOST_DRIFT_PPB: Final = 50_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Secret:
    """What is done to the packets of one run, as probabilities, and what that means.

    `loss` is the share of packets that a chain of two states loses, in runs of mean length `burst`;
    of those left `corruption` is the share with a wrong byte, of those left `held` the share that
    is held back for `HELD_NS`. `duplication` and `swap` are shares of what is left then.
    """

    seed: int
    level: Level
    shift_ns: int
    drift_ppb: int
    loss: float
    burst: float
    corruption: float
    held: float
    duplication: float
    swap: float

    @property
    def within(self) -> float:
        """The probability that a packet comes intact and within the limit."""
        return (1 - self.loss) * (1 - self.corruption) * (1 - self.held)

    @property
    def fails(self) -> bool:
        """Whether the promised share is missed in truth."""
        return self.within < SHARE


def draw(random: np.random.Generator, seed: int) -> Secret:
    """A secret of a level that turns with the seed."""
    level = _LEVELS[seed % len(_LEVELS)]
    few = 2e-4 if level == "healthy" else 4e-3
    return Secret(
        seed=seed,
        level=level,
        shift_ns=int(random.integers(100_000, _MOST_SHIFT_NS)),
        drift_ppb=int(random.integers(-_MOST_DRIFT_PPB, _MOST_DRIFT_PPB + 1)),
        loss=float(random.uniform(*_LOSS[level])),
        burst=float(random.uniform(1.0, BURST)),
        corruption=float(random.uniform(0, few)),
        held=float(random.uniform(0, few)),
        duplication=float(random.uniform(0, 0.02)),
        swap=float(random.uniform(0, 0.004)),
    )


def realise(random: np.random.Generator, secret: Secret, count: int) -> FaultList:
    """What came of a secret for `count` packets, as a fault list."""
    lost = _chain(random, secret.loss, secret.burst, count)
    fate = random.random((4, count))
    found: list[dict[str, Any]] = []
    start = np.flatnonzero(lost & ~np.append(False, lost[:-1]))
    end = np.flatnonzero(lost & ~np.append(lost[1:], False))
    found += [
        {"do": "drop", "packet": int(a), "count": int(b - a + 1)}
        for a, b in zip(start, end, strict=True)
    ]
    wrong = ~lost & (fate[0] < secret.corruption)
    held = ~lost & ~wrong & (fate[1] < secret.held)
    left = ~lost & ~wrong & ~held
    double = left & (fate[2] < secret.duplication)
    left &= ~double
    free = left & np.append(left[1:], False)
    swapped = _apart(np.flatnonzero(free & (fate[3] < secret.swap)))
    found += [{"do": "corrupt", "packet": int(k), "byte": -1} for k in np.flatnonzero(wrong)]
    by = f"{HELD_NS} ns"
    found += [{"do": "delay", "packet": int(k), "by": by} for k in np.flatnonzero(held)]
    found += [{"do": "duplicate", "packet": int(k)} for k in np.flatnonzero(double)]
    found += [{"do": "swap", "packet": int(k)} for k in swapped]
    plain = {"schema": 1, "delay": f"{secret.shift_ns} ns", "faults": tuple(found)}
    return FaultList.model_validate(plain)


def _chain(random: np.random.Generator, share: float, burst: float, count: int) -> NDArray[Any]:
    """Which packets a chain of two states loses (Gilbert 1960), stationary from the first on."""
    lost = np.zeros(count, np.bool_)
    if share <= 0:
        return lost
    good = max(1.0, burst * (1 - share) / share)
    at, bad = 0, bool(random.random() < share)
    while at < count:
        length = int(random.geometric(1 / (burst if bad else good)))
        lost[at : at + length] = bad
        at, bad = at + length, not bad
    return lost


def _apart(packets: NDArray[np.intp]) -> list[int]:
    """Packets of which none is the successor of another."""
    kept: list[int] = []
    for packet in packets.tolist():
        if not kept or packet > kept[-1] + 1:
            kept.append(packet)
    return kept


def secret_generator() -> np.random.Generator:
    """Random numbers that no seed gives away."""
    return np.random.default_rng(secrets.randbits(128))


def seal(path: Path, what: Any) -> str:
    """Write what nobody else is to see yet, with salt, readable by its owner alone; its seal."""
    return sealing.write(path, json.dumps({"salt": sealing.salt(), "what": what}).encode())


def unseal(path: Path, expected: str) -> Any:
    """What was sealed.

    Raises: RigError when it is not what belongs to that seal.
    """
    content = path.read_bytes()
    if not sealing.belongs(content, expected):
        raise RigError(f"{path.name} was changed after it was sealed")
    return json.loads(content)["what"]


def plain(secret: Secret) -> dict[str, Any]:
    """A secret as plain JSON values."""
    return asdict(secret)
