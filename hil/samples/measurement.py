"""A measurement: samples, what they were taken with, and the conditions they were taken under."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from hil.samples.columns import Samples
from hil.samples.sightings import Sighting
from hil.samples.table import CLOCK_OF, NOT_TAKEN, difference_ns
from hil.stats import quantile

TxSource = Literal["hardware", "kernel", "user"]
RxSource = Literal["trailer", "hardware", "kernel", "user", "reflector", "elsewhere"]
Direction = Literal["uplink", "downlink", "loop"]

#: Sources whose times lie in the column of another one.
_KEPT_AS: Final = {"reflector": "rx_trailer_ns", "elsewhere": "rx_kernel_ns"}


@dataclass(frozen=True, slots=True)
class Timing:
    """Which two times of a sample its delay is the difference of.

    ``reflector`` is the kernel's time of an answer, less the time that the reflector says it held
    the packet; it is kept where a tap's time would be. ``elsewhere`` is the kernel's time of
    another host, on a clock of which nothing is known: there are receipts and no delays.

    Raises:
        ValueError: the two are on different clocks.
    """

    tx: TxSource
    rx: RxSource

    def __post_init__(self) -> None:
        sent, received = CLOCK_OF[self.tx_column], CLOCK_OF[self.rx_column]
        if sent != received:
            raise ValueError(
                f"{self.tx_column} is on the clock {sent}, {self.rx_column} on {received}; "
                "times on different clocks have no difference"
            )

    @property
    def tx_column(self) -> str:
        """The column of `SAMPLE` that holds the send time."""
        return f"tx_{self.tx}_ns"

    @property
    def rx_column(self) -> str:
        """The column of `SAMPLE` that holds the receive time."""
        if self.rx in _KEPT_AS:
            return _KEPT_AS[self.rx]
        return f"rx_{self.rx}_ns"

    @property
    def tx_host_column(self) -> str:
        """As `tx_column` on the host's clock: for a network card's stamp the kernel's beside it."""
        return self.tx_column if CLOCK_OF[self.tx_column] == "realtime" else "tx_kernel_ns"

    @property
    def rx_host_column(self) -> str:
        """As `rx_column` on the host's clock: for a network card's stamp the kernel's beside it."""
        return self.rx_column if CLOCK_OF[self.rx_column] == "realtime" else "rx_kernel_ns"

    @property
    def comparable(self) -> bool:
        """Whether the two times have a difference."""
        return self.rx != "elsewhere"


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """Exact accounting of one flow, in probes; each planned probe is counted in one place.

    sent = received + lost + corrupted, always. A probe is `received` where at least one intact copy
    came, however late; a damaged copy beside it changes nothing. It is `corrupted` where only
    damaged frames came, once however many they were. A frame damaged beyond reading belongs to some
    probe that nobody can name: it makes one of the missing probes corrupted instead of lost, as
    long as one is missing. `lost` are those of which nothing came by the end of the drain, the ones
    that the kernel refused to send included. A duplicate does not heal a loss.
    """

    sent: int  #: the planned probes, exactly
    warmup_sent: int  #: sent before the first probe and not judged
    received: int
    lost: int
    duplicated: int  #: intact copies beyond the first
    reordered: int  #: RFC 4737 section 3.3: arrived with a sequence below the next expected
    corrupted: int
    foreign: int  #: frames of our kind that belong to another run or flow
    send_failed: int  #: refused by the kernel, never offered to the network; also in `lost`
    damaged_frames: int = 0  #: all damaged frames of the flow, duplicates and unreadable included
    tx_missing: Mapping[str, int] = field(default_factory=dict)  #: per source, stamps not taken
    rx_missing: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Window:
    """A span on the realtime clock that the host or clock watch calls spoiled, and why."""

    start_ns: int
    end_ns: int
    why: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The uncertainty of one delay value (JCGM 100), split as it acts on a verdict.

    `common_mode_ns` is U_cm = 2u of what all samples of the run share (synchronisation,
    asymmetry, frequency); it shifts the limit. `floor_ns` are sorted magnitudes of the per-sample
    error as observed or calibrated; its quantile at the target's share is added for FAIL. Each
    entry of `sources` says in words where a component comes from.
    """

    common_mode_ns: int
    floor_ns: NDArray[np.int64]
    sources: tuple[str, ...]

    def floor_quantile_ns(self, share: float) -> int:
        """The floor's own quantile at `share`, nearest rank; 0 only where no floor was given."""
        if self.floor_ns.size == 0:
            return 0
        return int(self.floor_ns[quantile.rank(self.floor_ns.size, share) - 1])


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """Samples of one flow in one direction, with everything a verdict needs and nothing live.

    `traffic` is the offered traffic as plain JSON values; `interval_ns` its nominal spacing, None
    where it has none. `invalid` are reasons, one sentence each, why the instrument cannot vouch
    for the figures. `complete` is False when the run was cut short: `samples` then holds what was
    taken and judged as far as it goes. Samples of a long run stay in their file and are read by
    column (`hil.samples.columns`). `sightings` are those of the points on the way, in order of
    travel.
    """

    id: str
    flow: str
    path: str
    direction: Direction
    tx_port: str
    rx_port: str
    traffic: Mapping[str, Any]
    interval_ns: int | None
    samples: Samples
    counts: Counts
    timing: Timing
    budget: Budget
    spoiled: tuple[Window, ...] = ()
    conditions: Mapping[str, Any] = field(default_factory=dict)
    invalid: tuple[str, ...] = ()
    simulated: bool = False
    complete: bool = True
    sightings: tuple[Sighting, ...] = ()

    @property
    def delay_ns(self) -> NDArray[np.int64]:
        """The delay of each planned probe; `NOT_TAKEN` where either time is missing."""
        received = self.samples[self.timing.rx_column]
        if not self.timing.comparable:
            return np.full(len(received), NOT_TAKEN, np.int64)
        return difference_ns(received, self.samples[self.timing.tx_column])
