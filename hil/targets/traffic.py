"""Traffic as data: what an application offers, and the exact schedule that offers it.

Every size is that of the PDU-session packet: IP or Ethernet header and probe included. Offsets
are absolute, computed from the index of a packet and never by adding intervals, so that no
rounding adds up over a run.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from pathlib import Path
from typing import Annotated, ClassVar, Final, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, PrivateAttr, model_validator

from hil.document import Duration, Model, Rate, Share, Size
from hil.samples.table import PLANNED, Table
from hil.targets.recording import Recorded, beside, recorded
from hil.targets.sweep import Sweep
from hil.units import format_duration, format_rate, format_size, parse_rate

Span = Annotated[Duration, Field(gt=0)]
"""A duration longer than nothing."""

PathKind = Literal["device-edge", "device-device", "device-cloud"]
"""A kind of route; uplink is away from the device that comes first in the name."""

Layer = Literal["udp", "ethernet"]

HEADER: Final = {"udp": 28, "ethernet": 14}
"""Bytes of a packet that carry no application data: IPv4 and UDP, or the Ethernet header."""

SMALLEST: Final = {"udp": 68, "ethernet": 60}
"""The smallest packet: headers and a probe of 40 bytes, or a 64 B frame less its FCS, for shorter
ones are padded on the way (IEEE Std 802.3 clause 4.4.2)."""

IPVersion = Literal[4, 6]

IPV6_MORE: Final = 20
"""By how much a packet over IPv6 needs more: its header has 40 bytes (RFC 8200 section 3)."""


def header_bytes(layer: Layer, ip: IPVersion = 4) -> int:
    """Bytes of a packet that carry no application data, over that layer and version of IP."""
    return HEADER[layer] + (IPV6_MORE if (layer, ip) == ("udp", 6) else 0)


def smallest_bytes(layer: Layer, ip: IPVersion = 4) -> int:
    """The smallest packet that holds a probe, over that layer and version of IP."""
    return SMALLEST[layer] + (IPV6_MORE if (layer, ip) == ("udp", 6) else 0)


AVERAGING_WINDOW_NS: Final = 2_000_000_000
"""Averaging window of GBR flows (TS 23.501 Table 5.7.4-1)."""

# TR 38.838 as summed up in SA4 S4-260013: the sizes of video frames are a truncated Gaussian.
_FRAME_STD: Final = 0.105
_FRAME_MIN: Final = 0.5
_FRAME_MAX: Final = 1.5


class QosFlow(Model):
    """The QoS flow that a bench is asked for; a packet beyond it has no promise (TS 23.501 5.7)."""

    fiveqi: Annotated[int, Field(ge=1, le=255)] | None = None
    """5QI of the flow."""

    sst: Annotated[int, Field(ge=0, le=255)] | None = None
    """Slice or service type of its S-NSSAI (TS 23.501 5.15.2)."""

    mdbv_bytes: Size | None = None
    """Maximum data burst volume: what the access network serves within `an_pdb` (5.7.3.7)."""

    an_pdb_ns: Span | None = None
    """Delay budget of the access network: that of the 5QI less the core's share (5.7.3.4)."""

    gfbr_bps: Rate | None = None
    """Guaranteed flow bit rate over the averaging window (5.7.2.5)."""

    @model_validator(mode="after")
    def _burst_needs_its_window(self) -> QosFlow:
        if (self.mdbv_bytes is None) != (self.an_pdb_ns is None):
            raise ValueError("`mdbv` and `an_pdb` belong together: give both, or neither")
        return self


class Pattern(Model):
    """What all traffic has in common."""

    path: PathKind = "device-edge"
    """The kind of route it takes."""

    directions: Annotated[tuple[Literal["uplink", "downlink"], ...], Field(min_length=1)] = (
        "uplink",
    )
    """The directions it runs in, all at the same time."""

    dscp: Annotated[int, Field(ge=0, le=63)] = 0
    """Differentiated services code point (RFC 2474)."""

    layer: Layer = "udp"
    """UDP over IP, or frames of their own EtherType."""

    tolerance: Share = 0.25
    """How far off its grid a packet may leave, as a share of the interval, and still count as
    offered as promised."""

    phase_period_ns: Span = 10_000_000
    """What the phase strata cover: the least common multiple of TDD period, scheduling request or
    grant period, and DRX cycle."""

    strata: Annotated[int, Field(ge=1, le=1000)] = 10
    """In how many equal parts of `phase_period` the traffic is offered, and judged."""

    count: Annotated[int, Field(ge=1)] | None = None
    """How much of it a measurement offers, in packets, or in frames where it has frames."""

    keep_beyond_ns: Span | None = None
    """Around packets that take longer, or never come, samples and frames are kept; where a
    requirement has a delay target, its limit."""

    sweep: Sweep | None = None
    """Fields that change from packet to packet."""

    qos: QosFlow | None = None
    """The QoS flow it belongs to."""

    source: str | None = None
    """Key, in `sources` of the profile, of what its figures are taken from or who chose them."""

    note: str = ""
    """Why these figures."""

    #: A grid meets few phases by itself and is offered on more of them; what comes at random, or
    #: as it was recorded, is left as it is.
    _on_grid: ClassVar[bool] = True

    def count_in(self, span_ns: int) -> int:
        """The packets, or frames, that a span has room for, at least 1."""
        return max(1, span_ns // self._grid(1, 0)[1])

    def schedule(self, count: int | None = None, *, seed: int = 0, ip: IPVersion = 4) -> Table:
        """The plan of `count` packets, or of frames: a table of `PLANNED`, one row a packet.

        It is sent in blocks of constant offset, one for each phase that the grid does not visit by
        itself (`phases_ns`). A stratum is a part of the phase period, whichever block it is met in.

        Args:
            count: packets, or frames where it has frames; that of the traffic itself where None.
            seed: draws where in the first stratum the run begins, and the sizes of video frames.
            ip: the version of IP that carries it, which says how much of a packet is header.

        Raises:
            ValueError: a count that is neither given nor known, or below 1.
        """
        count = self.count if count is None else count
        if count is None or count < 1:
            raise ValueError(f"a schedule needs at least one packet or frame; got {count}")
        starts, interval_ns = self._grid(count, seed)
        if self._on_grid:
            phases = phases_ns(interval_ns, self.phase_period_ns, self.strata, seed)
            block = np.arange(count, dtype=np.int64) * min(len(phases), count) // count
            starts = starts + phases[block]
        stratum = starts % self.phase_period_ns * self.strata // self.phase_period_ns
        return self._packets(starts, stratum, seed, ip)

    @abstractmethod
    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        """Where `count` packets or frames begin, before any phase, and how far apart."""

    @abstractmethod
    def _packets(
        self, starts: NDArray[np.int64], stratum: NDArray[np.int64], seed: int, ip: IPVersion
    ) -> Table:
        """The packets of what begins at `starts`."""

    def _check_packet(self, size: int, name: str) -> None:
        if size < SMALLEST[self.layer]:
            raise ValueError(
                f"`{name}` of {format_size(size)} has no room for headers and probe over "
                f"`layer` {self.layer}: give at least {SMALLEST[self.layer]} B"
            )


def phases_ns(interval_ns: int, period_ns: int, strata: int, seed: int) -> NDArray[np.int64]:
    """The send phases, ascending, that make a grid of `interval_ns` cover `period_ns`.

    A grid visits the phases that are multiples of gcd(interval, period) apart by itself; the
    strata fill the space between them, so that with the returned offsets the grid meets at least
    `strata` equally spaced phases of the period. The first offset is drawn from `seed`, inside
    the first stratum. A grid that visits `strata` phases anyhow gets one offset.
    """
    step = math.gcd(interval_ns, period_ns)
    needed = max(1, math.ceil(strata * step / period_ns))
    width = step / needed
    start = np.random.default_rng([seed, 0x50484153]).random() * width
    phases: NDArray[np.int64] = np.floor(start + np.arange(needed) * width).astype(np.int64)
    return phases


class _Single(Pattern):
    """Traffic of which each packet stands alone, all of one size."""

    size: Size
    """The packet."""

    interval_ns: Span
    """From one packet to the next."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        self._check_packet(self.size, "size")
        return self

    @property
    def rate_bps(self) -> float:
        """Mean offered rate in bits per second."""
        return self.size * 8e9 / self.interval_ns

    def _packets(
        self, starts: NDArray[np.int64], stratum: NDArray[np.int64], seed: int, ip: IPVersion
    ) -> Table:
        return _alone(starts, stratum, np.full(len(starts), self.size, np.int64))


def _alone(
    starts: NDArray[np.int64], stratum: NDArray[np.int64], sizes: NDArray[np.int64]
) -> Table:
    """The plan of packets that stand alone."""
    planned = np.zeros(len(starts), PLANNED)
    planned["seq"] = planned["frame"] = np.arange(len(starts))
    planned["stratum"] = stratum
    planned["size"] = sizes
    planned["offset_ns"] = starts
    return planned


class Periodic(_Single):
    """One packet each interval: cyclic control, status, pose."""

    pattern: Literal["periodic"] = "periodic"

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        return np.arange(count, dtype=np.int64) * self.interval_ns, self.interval_ns


class Poisson(_Single):
    """Packets at random, independent of each other: alarms, requests, many senders together.

    The gaps are exponential with a mean of `interval` (a Poisson process; RFC 2330 11.1.1 on why
    such a stream samples a path without bias).
    """

    pattern: Literal["poisson"] = "poisson"
    _on_grid: ClassVar[bool] = False

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        draw = np.random.default_rng([seed, 0x504F4953])
        gaps = draw.exponential(self.interval_ns, count)
        return np.rint(np.cumsum(gaps) - gaps[0]).astype(np.int64), self.interval_ns


class OnOff(_Single):
    """Packets each interval for a time, then none for a time, and again: a machine at work.

    A period of sending starts with a packet; the next one starts `on` + `off` later, or, with
    `lengths: exponential`, after exponential spans with these means.
    """

    pattern: Literal["on-off"] = "on-off"
    on_ns: Span
    """How long packets are sent."""

    off_ns: Span
    """How long none is sent."""

    lengths: Literal["fixed", "exponential"] = "fixed"
    """Whether both spans are always the same, or drawn."""

    @property
    def rate_bps(self) -> float:
        """Mean offered rate in bits per second."""
        in_a_row = -(-self.on_ns // self.interval_ns)
        return in_a_row * self.size * 8e9 / (self.on_ns + self.off_ns)

    def count_in(self, span_ns: int) -> int:
        """The packets that a span has room for, pauses counted in, at least 1."""
        return max(1, int(span_ns * self.rate_bps / 8e9 / self.size))

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        index = np.arange(count, dtype=np.int64)
        if self.lengths == "fixed":
            in_a_row = -(-self.on_ns // self.interval_ns)
            turn = self.on_ns + self.off_ns
            return index // in_a_row * turn + index % in_a_row * self.interval_ns, self.interval_ns
        draw = np.random.default_rng([seed, 0x4F4E4F46])
        # No period is without a packet, so there are at most `count` of them.
        on, off = draw.exponential(self.on_ns, count), draw.exponential(self.off_ns, count)
        packets = np.ceil(on / self.interval_ns).astype(np.int64)
        starts, last = np.cumsum(on + off) - (on + off), np.cumsum(packets)
        period = np.searchsorted(last, index, side="right")
        packet = index - (last[period] - packets[period])
        offsets = starts[period] + packet * self.interval_ns
        return np.rint(offsets).astype(np.int64), self.interval_ns


class Replay(Pattern):
    """The gaps and sizes of a capture (pcap or pcapng), sent again as probes.

    Each packet carries a probe in place of what was captured, so that it can be told from all
    others; one that is too small for a probe is enlarged. A longer run repeats the capture.
    """

    pattern: Literal["replay"] = "replay"
    file: Annotated[Path, BeforeValidator(beside), Field(strict=False)]
    """The capture; a relative path is beside the file that names it."""

    _on_grid: ClassVar[bool] = False
    _recorded: Recorded = PrivateAttr()

    @model_validator(mode="after")
    def _readable(self) -> Self:
        self._recorded = recorded(self.file)
        return self

    @property
    def interval_ns(self) -> int:
        """The mean gap of the capture."""
        return self._recorded.interval_ns

    @property
    def rate_bps(self) -> float:
        """Mean offered rate in bits per second."""
        return float(self._sizes().mean()) * 8e9 / self.interval_ns

    def _sizes(self, ip: IPVersion = 4) -> NDArray[np.int64]:
        link = HEADER["ethernet"] if self.layer == "udp" else 0
        return np.maximum(self._recorded.sizes - link, smallest_bytes(self.layer, ip))

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        offsets = self._recorded.offsets_ns
        turn, packet = np.divmod(np.arange(count, dtype=np.int64), len(offsets))
        lasts = int(offsets[-1]) + self.interval_ns
        return turn * lasts + offsets[packet], self.interval_ns

    def _packets(
        self, starts: NDArray[np.int64], stratum: NDArray[np.int64], seed: int, ip: IPVersion
    ) -> Table:
        return _alone(starts, stratum, np.resize(self._sizes(ip), len(starts)))


class _Framed(Pattern):
    """Traffic made of frames: PDU sets that are of use only when the last packet is there."""

    packet_size: Size = 1400
    """All packets of a frame but the last, which is as small as the rest allows."""

    def _cut(
        self,
        starts: NDArray[np.int64],
        stratum: NDArray[np.int64],
        frame_sizes: NDArray[np.int64],
        ip: IPVersion,
        pacing_bps: int | None = None,
    ) -> Table:
        overhead, least = header_bytes(self.layer, ip), smallest_bytes(self.layer, ip)
        if self.packet_size < least:
            raise ValueError(
                f"`packet_size` of {format_size(self.packet_size)} has no room for headers and "
                f"probe over IPv{ip}: give at least {least} B"
            )
        data = self.packet_size - overhead
        packets = -(-frame_sizes // data)
        frame = np.repeat(np.arange(len(starts)), packets)
        first = np.cumsum(packets) - packets
        index = np.arange(len(frame)) - first[frame]
        rest = frame_sizes - (packets - 1) * data
        planned = np.zeros(len(frame), PLANNED)
        planned["seq"] = np.arange(len(frame))
        planned["frame"] = frame
        planned["stratum"] = stratum[frame]
        planned["size"] = self.packet_size
        last = index == packets[frame] - 1
        planned["size"][last] = np.maximum(rest + overhead, least)
        planned["offset_ns"] = starts[frame]
        if pacing_bps is not None:
            ahead = index * np.int64(self.packet_size * 8_000_000_000) // pacing_bps
            planned["offset_ns"] += ahead
        return planned


def _pacing(value: object) -> int | None:
    if value == "back to back" or value is None:
        return None
    try:
        return parse_rate(value)
    except ValueError as error:
        raise ValueError(f"{error}; or 'back to back'") from None


Pacing = Annotated[int | None, BeforeValidator(_pacing)]
"""Bits per second, or None for back to back; written ``400 Mbit/s`` or ``back to back``."""


class Burst(_Framed):
    """A frame of fixed size each interval: images of a camera."""

    pattern: Literal["burst"] = "burst"
    frame_size: Annotated[Size, Field(gt=0)]
    """Application data of a frame, headers not included."""

    interval_ns: Span
    """From the start of a frame to the start of the next."""

    pacing_bps: Pacing = None
    """How fast the packets of a frame follow each other."""

    @model_validator(mode="after")
    def _possible(self) -> Burst:
        self._check_packet(self.packet_size, "packet_size")
        if self.pacing_bps is not None:
            spread = self.frame_size * 8e9 / self.pacing_bps
            if spread > self.interval_ns:
                raise ValueError(
                    f"a frame of {format_size(self.frame_size)} at `pacing` "
                    f"{format_rate(self.pacing_bps)} takes {format_duration(spread)}, longer than "
                    f"`interval` {format_duration(self.interval_ns)}"
                )
        return self

    @property
    def rate_bps(self) -> float:
        """Mean offered rate of application data in bits per second."""
        return self.frame_size * 8e9 / self.interval_ns

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        return np.arange(count, dtype=np.int64) * self.interval_ns, self.interval_ns

    def _packets(
        self, starts: NDArray[np.int64], stratum: NDArray[np.int64], seed: int, ip: IPVersion
    ) -> Table:
        sizes = np.full(len(starts), self.frame_size, np.int64)
        return self._cut(starts, stratum, sizes, ip, self.pacing_bps)


class Video(_Framed):
    """Frames of a video: sizes of a truncated Gaussian, the packets of a frame back to back.

    Standard deviation 10.5 % of the mean, cut at 50 % and 150 % (TR 38.838, as summed up in SA4
    S4-260013).
    """

    pattern: Literal["video"] = "video"
    rate_bps: Rate
    """Mean rate of application data."""

    fps: Annotated[float, Field(gt=0, le=1000)]
    """Frames per second."""

    @model_validator(mode="after")
    def _possible(self) -> Video:
        self._check_packet(self.packet_size, "packet_size")
        if self.rate_bps / self.fps < 8:
            raise ValueError(
                f"`rate` {format_rate(self.rate_bps)} at `fps` {self.fps:g} leaves less than a "
                f"byte a frame"
            )
        return self

    @property
    def interval_ns(self) -> int:
        """From the start of a frame to the start of the next, rounded; the grid itself is not."""
        return round(1e9 / self.fps)

    def _grid(self, count: int, seed: int) -> tuple[NDArray[np.int64], int]:
        starts = np.rint(np.arange(count, dtype=np.int64) * (1e9 / self.fps))
        return starts.astype(np.int64), self.interval_ns

    def _packets(
        self, starts: NDArray[np.int64], stratum: NDArray[np.int64], seed: int, ip: IPVersion
    ) -> Table:
        return self._cut(starts, stratum, self._frame_sizes(len(starts), seed), ip)

    def _frame_sizes(self, count: int, seed: int) -> NDArray[np.int64]:
        draw = np.random.default_rng([seed, 0x56494445])
        factors = draw.normal(1, _FRAME_STD, count)
        while (outside := (factors < _FRAME_MIN) | (factors > _FRAME_MAX)).any():
            factors[outside] = draw.normal(1, _FRAME_STD, int(outside.sum()))
        return np.maximum(np.rint(factors * (self.rate_bps / 8 / self.fps)), 1).astype(np.int64)


Traffic = Annotated[
    Periodic | Burst | Video | Poisson | OnOff | Replay, Field(discriminator="pattern")
]
"""Any traffic, told apart by its `pattern`."""
