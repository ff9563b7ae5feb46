"""Any traffic generator that speaks the Open Traffic Generator API, through snappi.

The models are those of https://github.com/open-traffic-generator/models. Their frame sizes count
the four bytes of the FCS. What the API has no word for (duplicates, reordering) is not measured.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal

from hil.clock import SYSTEM, Clock, Deadline
from hil.document import Duration
from hil.drivers.generator import ClockQuality, FlowFigures, GeneratorFlow
from hil.drivers.liveness import liveness
from hil.drivers.protocols import Health, HealthReport, Identity
from hil.drivers.transcript import Transcript
from hil.errors import ConnectFailed, ConnectionLost, DeviceError, DriverError, DriverTimeout
from hil.testbed import DeviceConfig

if TYPE_CHECKING:
    from collections.abc import Callable

_FCS: Final = 4
_ETHERNET: Final = 14
_LOOK_NS: Final = 100_000_000


class GeneratorOtgConfig(DeviceConfig):
    """A generator with an OTG server in the testbed file."""

    driver: Literal["generator_otg"]

    location: str
    """Where its API is, as in ``https://192.0.2.50:8443``."""

    ports: Mapping[str, str]
    """Its ports: the name that suites use, and the location that the generator knows it by."""

    verify: bool = True
    """Whether its TLS certificate must be one that this host trusts."""

    limit_ns: Duration = 10_000_000_000
    """The longest it may take to answer."""

    clock: ClockQuality | None = None
    """What its delays are taken with; absent: nobody vouches for them, and they are not used."""


class GeneratorOtg:
    """Implements `hil.drivers.generator.Generator`."""

    Config: ClassVar[type[DeviceConfig]] = GeneratorOtgConfig
    role: ClassVar[str] = "generator"
    requires: ClassVar[tuple[str, ...]] = ("snappi",)
    extra: ClassVar[str] = "otg"

    def __init__(self, name: str, config: GeneratorOtgConfig, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self._config = config
        self._clock = clock
        self._limit_s = config.limit_ns / 1e9
        self._transcript = Transcript()
        self._lock = threading.RLock()
        self._api: Any = None

    def open(self) -> None:
        """See `Device.open`."""
        with self._lock:
            if self._api is not None:
                return
            self._api = self._connected()
            try:
                self.identify()
            except DriverError as error:
                self.close()
                raise ConnectFailed(
                    self.name, "open", str(error), transcript=self._transcript.tail()
                ) from error

    def _connected(self) -> Any:
        import logging

        import snappi

        quiet = logging.getLogger("hil.snappi")
        quiet.addHandler(logging.NullHandler())
        quiet.propagate = False
        api = snappi.api(
            location=self._config.location.rstrip("/"),
            transport="http",
            verify=self._config.verify,
            logger=quiet,
            loglevel=logging.CRITICAL,
        )
        # snappi asks without any limit of time, and takes every certificate.
        session = api._transport._session
        session.trust_env = False
        session.request = self._limited(session.request)
        return api

    def _limited(self, request: Callable[..., Any]) -> Callable[..., Any]:
        """`request` with a limit of time, a checked certificate, and its dialogue written down."""

        def limited(**fields: Any) -> Any:
            path = fields["url"].removeprefix(self._config.location.rstrip("/"))
            self._transcript.add(">", f"{fields['method'].upper()} {path} {fields['data'] or ''}")
            answer = request(**{**fields, "verify": self._config.verify, "timeout": self._limit_s})
            self._transcript.add("<", f"{answer.status_code} {answer.text}")
            return answer

        return limited

    def close(self) -> None:
        """See `Device.close`."""
        with self._lock:
            if self._api is not None:
                self._api._transport._session.close()
                self._api = None

    def identify(self) -> Identity:
        """See `Device.identify`; what its API says of itself."""
        said = self._ask("version", lambda api: api.get_version())
        extra = {"api": said.api_spec_version} if said.api_spec_version else {}
        return Identity(None, "OTG", said.app_version or None, None, extra)

    def health(self) -> HealthReport:
        """See `Device.health`."""

        def ask() -> tuple[Health, str]:
            self.identify()
            return Health.OK, "answers"

        return liveness(ask, self._clock)

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"delay"} if self._config.clock is not None else ())

    def snapshot(self) -> Mapping[str, Any]:
        """See `Device.snapshot`: its whole configuration."""
        found = self._ask("configuration", lambda api: api.get_config())
        return {"config": found.serialize("dict")}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`."""
        self.stop()

        def put_back(api: Any) -> None:
            config = api.config()
            config.deserialize(dict(state["config"]))
            api.set_config(config)

        self._ask("restore", put_back)

    def safe_state(self) -> None:
        """See `Device.safe_state`: it sends nothing."""
        self.stop()

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)

    def apply(self, flows: Sequence[GeneratorFlow]) -> None:
        """See `Generator.apply`."""
        self._ask("apply", lambda api: api.set_config(self._configuration(api, flows)))

    def _configuration(self, api: Any, flows: Sequence[GeneratorFlow]) -> Any:
        config = api.config()
        for name, location in self._config.ports.items():
            config.ports.port(name=name, location=location)
        for order in flows:
            for port in (order.tx, order.rx):
                if port not in self._config.ports:
                    known = ", ".join(self._config.ports)
                    raise DeviceError(self.name, "apply", None, f"no port {port!r}; it has {known}")
            flow = config.flows.flow(name=order.name)[-1]
            flow.tx_rx.port.tx_name = order.tx
            flow.tx_rx.port.rx_names = [order.rx]
            flow.packet.ethernet()
            if order.layer == "udp":
                flow.packet.ipv4().udp()
                flow.packet[1].priority.dscp.phb.value = order.dscp
            flow.size.fixed = order.size + _FCS + (_ETHERNET if order.layer == "udp" else 0)
            # A rate is whole packets a second; the API knows slower ones by their bits alone.
            rate = 1_000_000_000 / order.interval_ns
            if rate.is_integer():
                flow.rate.pps = int(rate)
            else:
                flow.rate.bps = round(rate * flow.size.fixed * 8)
            flow.duration.fixed_packets.packets = order.count
            flow.metrics.enable = True
            flow.metrics.loss = True
            flow.metrics.latency.enable = self._config.clock is not None
            if self._config.clock is not None:
                flow.metrics.latency.mode = "store_forward"
        return config

    def start(self) -> None:
        """See `Generator.start`."""
        self._transmit("start")

    def stop(self) -> None:
        """See `Generator.stop`."""
        self._transmit("stop")

    def _transmit(self, state: str) -> None:
        def switch(api: Any) -> None:
            control = api.control_state()
            control.traffic.flow_transmit.state = state
            api.set_control_state(control)

        self._ask(state, switch)

    def figures(self) -> Mapping[str, FlowFigures]:
        """See `Generator.figures`."""

        def metrics(api: Any) -> Any:
            request = api.metrics_request()
            request.flow.flow_names = []
            return api.get_metrics(request).flow_metrics

        return {each.name: self._figures(each) for each in self._ask("metrics", metrics)}

    def _figures(self, metric: Any) -> FlowFigures:
        sent, received = _whole(metric.frames_tx), _whole(metric.frames_rx)
        share = metric.loss
        lost = None if share is None or sent is None else round(share / 100 * sent)
        delay: dict[str, int | None] = {}
        if self._config.clock is not None and metric.get("latency") is not None:
            for name, word in (("min", "minimum"), ("mean", "average"), ("max", "maximum")):
                delay[f"delay_{name}_ns"] = _whole(getattr(metric.latency, f"{word}_ns"))
        known = any(value is not None for value in delay.values())
        return FlowFigures(
            name=metric.name,
            running=metric.transmit == "started",
            sent=sent,
            received=received,
            lost=lost,
            **delay,
            clock=self._config.clock if known else None,
        )

    def finished(self, limit_s: float) -> Mapping[str, FlowFigures]:
        """See `Generator.finished`."""
        deadline = Deadline.after(round(limit_s * 1e9))
        while True:
            found = self.figures()
            if not any(each.running for each in found.values()):
                return found
            if deadline.passed:
                raise self._error(DriverTimeout, "finished", f"still sends after {limit_s:g} s")
            self._clock.sleep_ns(_LOOK_NS)

    def _ask(self, what: str, question: Callable[[Any], Any]) -> Any:
        """One question to the API; whatever goes wrong is a `DriverError`."""
        import requests

        with self._lock:
            if self._api is None:
                raise self._error(ConnectionLost, what, "not open")
            try:
                return question(self._api)
            except DriverError:
                raise
            except requests.Timeout:
                detail = f"no answer in {self._limit_s:g} s"
                raise self._error(DriverTimeout, what, detail) from None
            except requests.RequestException as error:
                raise self._error(ConnectionLost, what, str(error)) from error
            except Exception as error:  # snappi's own, which has no class
                said = error.args[0] if error.args else error
                code, texts = getattr(said, "code", None), getattr(said, "errors", [str(error)])
                tail = self._transcript.tail()
                raise DeviceError(
                    self.name, what, code, "; ".join(texts), transcript=tail
                ) from None

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self.name, operation, detail, transcript=self._transcript.tail())


def _whole(value: float | None) -> int | None:
    return None if value is None else round(value)
