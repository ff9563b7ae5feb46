"""Routes of the testbed, and the measurements that are made on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path as FilePath
from typing import Final, Literal, Protocol

from hil.clock import SYSTEM
from hil.errors import UsageError
from hil.lab import clock, world
from hil.lab.safety import permit
from hil.samples.measurement import Measurement
from hil.targets import Traffic
from hil.testbed import PathKind, Route, Testbed
from hil.traffic import Flow, Port, RunInterrupted, resolve_port, run
from hil.traffic.flow import offering
from hil.traffic.point import Point, Search
from hil.traffic.reference import twin

Way = Literal["uplink", "downlink"]

_COPIED_LATE: Final = (
    "without trailers a world does not say when its copies crossed, and they are late"
)


class Show(Protocol):
    """Where progress is shown while a measurement runs."""

    def show(self, text: str) -> None:
        """Shows one line of state, in place of the one before."""
        ...


@dataclass(frozen=True, slots=True)
class Bench:
    """What a route needs of the bench it is on.

    `directory` is where samples go, `keep` is told of each measurement, `seed` draws phases and
    frame sizes.
    """

    testbed: Testbed
    directory: FilePath
    seed: int
    keep: Callable[[Measurement], None]
    progress: Show

    def port(self, name: str) -> Port:
        """The port of that name, looked at now.

        Raises: UsageError when its interface is missing, down or unfit.
        """
        return live_port(self.testbed, name)

    def points(self, names: Sequence[str]) -> tuple[Point, ...]:
        """Ports that look on, as they are now. Raises: as `port`."""
        return tuple(live_point(self.testbed, name) for name in names)

    def search(self, names: Sequence[str]) -> Search | None:
        """Where to look for a flow's canary: at ports of the testbed, and not at other names."""
        if not names:
            return None
        known = [name for name in names if name in self.testbed.ports]
        unknown = tuple(name for name in names if name not in self.testbed.ports)
        return Search(points=self.points(known), not_observed=unknown)


def live_port(testbed: Testbed, name: str) -> Port:
    """The port of that name, as it is on its host now.

    A `dynamic` address is read from the interface. In real-time mode the cell leaves no trailers.

    Raises: UsageError when its interface is missing, down or unfit.
    """
    config = testbed.ports[name]
    silent = testbed.world is not None and not testbed.world.trailers
    found = resolve_port(
        config.interface,
        config.namespace,
        name=config.name,
        address=config.address,
        gateway=config.gateway,
        tap=None if silent else config.tap,
        host=config.host,
    )
    return replace(
        found,
        vlan=config.vlan,
        nat=config.nat,
        tap_clock=config.tap_clock,
        clocks=clock.evidence(testbed) if config.host is not None else None,
    )


def live_point(testbed: Testbed, name: str) -> Point:
    """The port of that name as one that looks on. Raises: as `live_port`."""
    config, world = testbed.ports[name], testbed.world
    late = world is not None and not world.trailers
    return Point(
        port=live_port(testbed, name),
        carries=config.carries,
        qfi=dict(config.qfi),
        untimed=_COPIED_LATE if late else None,
    )


def route_between(testbed: Testbed, one: str, other: str) -> Route | None:
    """The first route that joins two ports, whichever way; None where none does."""
    for routes in testbed.paths.values():
        for route in routes:
            if {route.source, route.to} == {one, other}:
                return route
    return None


def twins(testbed: Testbed, route: Route, flows: Sequence[Flow]) -> list[Flow]:
    """Twins of the flows of a route over its reference cable; none where it has no cable.

    Raises: as `live_port`.
    """
    if (cable := route.reference) is None:
        return []
    near, far = live_port(testbed, cable.source), live_port(testbed, cable.to)
    return [
        twin(flow, near, far) if flow.direction == "uplink" else twin(flow, far, near)
        for flow in flows
    ]


@dataclass(frozen=True, slots=True)
class Offer:
    """Traffic in one direction of one route, offered beside what is measured."""

    path: Path
    direction: Way
    traffic: Traffic | None

    def flow(self, name: str, draw: int = 0) -> Flow:
        """The flow that offers it; `draw` as of `Path.flow`."""
        return self.path.flow(name, self.traffic, self.direction, draw)


@dataclass(frozen=True, slots=True)
class OneWay:
    """One direction of one route."""

    path: Path
    direction: Way

    def offer(self, traffic: Traffic | None) -> Offer:
        """Traffic to put beside a measurement as its load."""
        return Offer(self.path, self.direction, traffic)

    def run(
        self,
        traffic: Traffic | None,
        *,
        beside: Sequence[Offer] = (),
        canary: Sequence[str] = (),
    ) -> Measurement:
        """Measures `traffic`, for the count that its plan gave it.

        Args:
            traffic: what is offered and measured.
            beside: load on the same or other routes, started with it and kept on record.
            canary: ports where every frame is searched for bytes that only these packets hold;
                what was found is in ``conditions["canary"]``. Names that are no ports of the
                testbed are listed as not observed.

        Raises:
            UsageError: the traffic does not fit the ports.
            UnsafeOperation: it is more than the bench may be put through.
            RunInterrupted: stopped; what was taken until then is on record.
        """
        return self.path.measure(traffic, (self.direction,), beside, canary)[0]


@dataclass(frozen=True, slots=True)
class BothWays:
    """Both directions of one route, at the same time: downlink traffic changes uplink grants."""

    path: Path

    def run(
        self,
        traffic: Traffic | None,
        *,
        beside: Sequence[Offer] = (),
        canary: Sequence[str] = (),
    ) -> tuple[Measurement, Measurement]:
        """Measures `traffic` in both directions at once: (uplink, downlink). As `OneWay.run`."""
        up, down = self.path.measure(traffic, ("uplink", "downlink"), beside, canary)
        return up, down


@dataclass(frozen=True, slots=True)
class Path:
    """One route between a device-side port and a far port."""

    bench: Bench
    kind: PathKind
    route: Route

    def uplink(self) -> OneWay:
        """Away from the device."""
        return OneWay(self, "uplink")

    def downlink(self) -> OneWay:
        """Towards the device."""
        return OneWay(self, "downlink")

    def both(self) -> BothWays:
        """Both directions at once."""
        return BothWays(self)

    def flow(self, name: str, traffic: Traffic | None, direction: Way, draw: int = 0) -> Flow:
        """`traffic` bound to this route's ports.

        Of like flows at the same time each has a `draw` of its own: what comes at random must not
        come at random together.

        Raises: UsageError when there is none: the requirement is about something else.
        """
        if traffic is None:
            raise UsageError(f"{name}: the requirement has no traffic to offer")
        near, far = self.bench.port(self.route.source), self.bench.port(self.route.to)
        tx, rx = (near, far) if direction == "uplink" else (far, near)
        try:
            flow = offering(name, traffic, tx, rx, seed=self.bench.seed + draw)
        except ValueError as error:
            raise UsageError(f"{name}: {error}") from None
        return replace(
            flow,
            path=self.kind,
            direction=direction,
            simulated=self.bench.testbed.world is not None,
            through=self.bench.points(self.route.through),
        )

    def measure(
        self,
        traffic: Traffic | None,
        directions: Sequence[Way],
        beside: Sequence[Offer],
        canary: Sequence[str] = (),
    ) -> tuple[Measurement, ...]:
        """One run of all flows together; the measurements of `directions`, in that order."""
        search = self.bench.search(canary)
        flows = [
            replace(self.flow(f"{self.kind} {way}", traffic, way), search=search)
            for way in directions
        ]
        flows += [offer.flow(f"load {i}", i) for i, offer in enumerate(beside, 1)]
        flows += self.references(flows[: len(directions)])
        return _measured(self.bench, flows)[: len(directions)]

    def references(self, flows: Sequence[Flow]) -> list[Flow]:
        """Twins of some flows over the cable of this route; none where it has no cable."""
        return twins(self.bench.testbed, self.route, flows)


def together(*offers: Offer) -> tuple[Measurement, ...]:
    """Measures several flows at once, each for its own count: their measurements, in that order.

    Raises: as `OneWay.run`.
    """
    if not offers:
        raise UsageError("together needs at least one flow, as in path.uplink().offer(traffic)")
    flows = [
        offer.flow(f"{offer.path.kind} {offer.direction} {i}", i)
        for i, offer in enumerate(offers, 1)
    ]
    return _measured(offers[0].path.bench, flows)


def _measured(bench: Bench, flows: Sequence[Flow]) -> tuple[Measurement, ...]:
    """One run of all flows together, on record."""
    permit(bench.testbed, flows)
    before = world.overrun()
    with clock.watched(bench.testbed) as told:
        try:
            measured = run(
                flows,
                directory=bench.directory,
                launcher=bench.testbed.launcher,
                progress=lambda state: bench.progress.show(str(state)),
            )
        except RunInterrupted as stop:
            for measurement in stop.measurements:
                bench.keep(told(measurement))
            raise
    measured = tuple(_vouched(told(each), before) for each in measured)
    for measurement in measured:
        bench.keep(measurement)
    return measured


def _vouched(measurement: Measurement, before: int) -> Measurement:
    """A loss in the world's own rings is the simulation's and voids the figures."""
    if not measurement.simulated or not measurement.counts.lost:
        return measurement
    lost = world.overrun(SYSTEM.realtime_ns()) - before
    if not lost:
        return measurement
    reason = f"the world itself had no room for {lost:,} frames: their loss is not the network's"
    return replace(measurement, invalid=(*measurement.invalid, reason))


@dataclass(frozen=True, slots=True)
class Paths:
    """The routes of a testbed by kind."""

    bench: Bench

    def __call__(self, kind: PathKind = "device-edge", index: int = 0) -> Path:
        """Route `index` of a kind, the first by default.

        Raises: UsageError when the testbed has no such route.
        """
        routes = self.bench.testbed.paths.get(kind, ())
        if not 0 <= index < len(routes):
            known = ", ".join(f"{k} ({len(r)})" for k, r in self.bench.testbed.paths.items())
            raise UsageError(
                f"{self.bench.testbed.source} has no {kind} route {index}; it has {known or 'none'}"
            )
        return Path(self.bench, kind, routes[index])
