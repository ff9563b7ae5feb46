"""iperf3 as a traffic generator: UDP at a mean rate, counted by the two ends of iperf3 themselves.

It has no delay. Its jitter is the smoothed one of RFC 3550 6.4.1, of stamps that its processes
take; it counts a duplicate as a packet out of order. What it says is passed on and not mended.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Annotated, Any, ClassVar, Final, Literal

from pydantic import Field

from hil.clock import SYSTEM, Clock, Deadline
from hil.document import Duration, Model
from hil.drivers.generator import FlowFigures, GeneratorFlow
from hil.drivers.liveness import liveness
from hil.drivers.protocols import Health, HealthReport, Identity
from hil.drivers.transcript import Transcript
from hil.errors import ConnectFailed, DeviceError, DriverError, DriverTimeout, Unsupported
from hil.testbed import DeviceConfig

_HEADERS: Final = 28  # IPv4 and UDP
_NO_SLOWER_NS: Final = 1_000_000  # iperf3's own pacing timer
_END_S: Final = 5.0


class Iperf3Port(Model):
    """One end: where iperf3 runs, and the address it uses there."""

    address: str
    """IPv4 address that it sends from and listens on."""

    launcher: tuple[str, ...] = ()
    """Words put before ``iperf3``, as in ``[ip, netns, exec, ue1]`` or ``[ssh, lab@edge]``."""


class GeneratorIperf3Config(DeviceConfig):
    """iperf3 in the testbed file."""

    driver: Literal["generator_iperf3"]

    ports: Annotated[Mapping[str, Iperf3Port], Field(min_length=2)]
    """Its ends by name."""

    port: Annotated[int, Field(ge=1, le=65_000)] = 5201
    """First TCP and UDP port of its servers; each flow has one of its own."""

    limit_ns: Duration = 10_000_000_000
    """The longest that a start or an end may take."""


@dataclass(slots=True)
class _Flow:
    """One flow: its server, its client while it sends, and what the client said at its end."""

    order: GeneratorFlow
    server: subprocess.Popen[str] | None = None
    client: subprocess.Popen[str] | None = None
    said: Mapping[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.client is not None and self.client.poll() is None


class GeneratorIperf3:
    """Implements `hil.drivers.generator.Generator`."""

    Config: ClassVar[type[DeviceConfig]] = GeneratorIperf3Config
    role: ClassVar[str] = "generator"

    def __init__(self, name: str, config: GeneratorIperf3Config, *, clock: Clock = SYSTEM) -> None:
        self.name = name
        self._config = config
        self._clock = clock
        self._limit_s = config.limit_ns / 1e9
        self._transcript = Transcript()
        self._lock = threading.RLock()
        self._flows: dict[str, _Flow] = {}
        self._version: str | None = None

    def open(self) -> None:
        """See `Device.open`; iperf3 answers at each end."""
        with self._lock:
            if self._version is not None:
                return
            try:
                for port in self._config.ports.values():
                    self._version = self._asked_version(port)
            except DriverError as error:
                self._version = None
                raise ConnectFailed(
                    self.name, "open", str(error), transcript=self._transcript.tail()
                ) from error

    def _asked_version(self, port: Iperf3Port) -> str:
        words = [*port.launcher, "iperf3", "--version"]
        self._transcript.add(">", " ".join(words))
        try:
            done = subprocess.run(
                words, capture_output=True, text=True, timeout=self._limit_s, check=True
            )
        except subprocess.TimeoutExpired:
            raise self._error(
                DriverTimeout, "version", f"no answer in {self._limit_s:g} s"
            ) from None
        except (OSError, subprocess.CalledProcessError) as error:
            said = getattr(error, "stderr", "") or str(error)
            raise self._error(ConnectFailed, "version", f"{' '.join(words)}: {said}") from error
        first = done.stdout.splitlines()[0] if done.stdout else ""
        self._transcript.add("<", first)
        return first.split(" (")[0]

    def close(self) -> None:
        """See `Device.close`."""
        with self._lock, contextlib.suppress(DriverError):
            self.stop()
            self._version = None

    def identify(self) -> Identity:
        """See `Device.identify`."""
        port = next(iter(self._config.ports.values()))
        return Identity("ESnet", "iperf3", self._asked_version(port).removeprefix("iperf "), None)

    def health(self) -> HealthReport:
        """See `Device.health`."""

        def ask() -> tuple[Health, str]:
            self.identify()
            return Health.OK, "answers"

        return liveness(ask, self._clock)

    def capabilities(self) -> frozenset[str]:
        """See `Device.capabilities`."""
        return frozenset({"jitter"})

    def snapshot(self) -> Mapping[str, Any]:
        """See `Device.snapshot`; nothing outlives its flows."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `Device.restore`."""
        self.stop()

    def safe_state(self) -> None:
        """See `Device.safe_state`: it sends nothing."""
        self.stop()

    def transcript(self, since_ns: int | None = None) -> Sequence[str]:
        """See `Device.transcript`."""
        return self._transcript.since(since_ns)

    def apply(self, flows: Sequence[GeneratorFlow]) -> None:
        """See `Generator.apply`.

        Raises:
            Unsupported: a flow over bare Ethernet, which iperf3 does not send.
        """
        for order in flows:
            if order.layer != "udp" or order.size <= _HEADERS + 16:
                raise self._error(Unsupported, "apply", f"{order.name}: UDP of at least 45 B only")
            for end in (order.tx, order.rx):
                if end not in self._config.ports:
                    known = ", ".join(self._config.ports)
                    raise DeviceError(self.name, "apply", None, f"no port {end!r}; it has {known}")
        with self._lock:
            self.stop()
            self._flows = {order.name: _Flow(order) for order in flows}

    def start(self) -> None:
        """See `Generator.start`."""
        with self._lock:
            for number, flow in enumerate(self._flows.values()):
                flow.said = {}
                try:
                    self._begin(flow, self._config.port + number)
                except BaseException:
                    self.stop()
                    raise

    def _begin(self, flow: _Flow, port: int) -> None:
        tx, rx = (self._config.ports[name] for name in (flow.order.tx, flow.order.rx))
        listening = ["iperf3", "-s", "-1", "-p", str(port), "-B", rx.address, "--forceflush"]
        flow.server = self._spawn([*rx.launcher, *listening])
        self._await_line(flow.server, "Server listening")
        payload = flow.order.size - _HEADERS
        rate = payload * 8 * 1_000_000_000 // flow.order.interval_ns
        timer_us = max(1, min(flow.order.interval_ns, _NO_SLOWER_NS) // 1000)
        sending = ["iperf3", "-c", rx.address, "-B", tx.address, "-p", str(port), "-u", "-J"]
        sending += ["-l", str(payload), "-b", str(rate), "-k", str(flow.order.count)]
        sending += ["-i", "0", "--pacing-timer", str(timer_us), "--tos", str(flow.order.dscp << 2)]
        sending += ["--connect-timeout", str(int(self._limit_s * 1000))]
        flow.client = self._spawn([*tx.launcher, *sending])

    def _spawn(self, words: Sequence[str]) -> subprocess.Popen[str]:
        self._transcript.add(">", " ".join(words))
        try:
            return subprocess.Popen(
                words,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                start_new_session=True,
            )
        except OSError as error:
            raise self._error(ConnectFailed, "start", f"{words[0]}: {error.strerror}") from error

    def _await_line(self, process: subprocess.Popen[str], wanted: str) -> None:
        """Read what a process says until it is ready; it is ended when it does not get there."""
        timer = threading.Timer(self._limit_s, process.kill)
        timer.start()
        try:
            assert process.stdout is not None
            said = ""
            for line in process.stdout:
                said += line
                if wanted in line:
                    return
        finally:
            timer.cancel()
        raise self._error(
            ConnectFailed, "start", said.strip() or "its server did not start in time"
        )

    def stop(self) -> None:
        """See `Generator.stop`."""
        with self._lock:
            for flow in self._flows.values():
                if flow.client is not None:
                    if flow.client.poll() is None:
                        flow.client.send_signal(signal.SIGINT)  # at which it says what it has
                    self._heard(flow)
                if flow.server is not None:
                    _ended(flow.server)
                    flow.server = None

    def figures(self) -> Mapping[str, FlowFigures]:
        """See `Generator.figures`; iperf3 says nothing before its end."""
        with self._lock:
            return {name: self._figures(flow) for name, flow in self._flows.items()}

    def _figures(self, flow: _Flow) -> FlowFigures:
        if flow.running:
            return FlowFigures(name=flow.order.name, running=True, sent=None, received=None)
        self._heard(flow)
        whole = flow.said.get("end", {}).get("sum")
        if not whole:
            return FlowFigures(name=flow.order.name, running=False, sent=None, received=None)
        streams = flow.said["end"].get("streams", [{}])
        return FlowFigures(
            name=flow.order.name,
            running=False,
            sent=int(whole["packets"]),
            received=int(whole["packets"]) - int(whole["lost_packets"]),
            lost=int(whole["lost_packets"]),
            reordered=streams[0].get("udp", {}).get("out_of_order"),
            jitter_ns=round(float(whole["jitter_ms"]) * 1e6),
        )

    def _heard(self, flow: _Flow) -> None:
        """Take what an ended client said.

        Raises:
            DeviceError: it said that it failed; its exit status says nothing of it.
        """
        client, flow.client = flow.client, None
        if client is None:
            return
        try:
            text, _ = client.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            client.kill()
            text, _ = client.communicate()
        self._transcript.add("<", text)
        try:
            flow.said = json.loads(text)
        except ValueError:
            raise DeviceError(self.name, "figures", client.returncode, text.strip()) from None
        error = flow.said.get("error")
        if error and "interrupt" not in error:
            tail = self._transcript.tail()
            raise DeviceError(self.name, "figures", client.returncode, error, transcript=tail)

    def finished(self, limit_s: float) -> Mapping[str, FlowFigures]:
        """See `Generator.finished`."""
        deadline = Deadline.after(round(limit_s * 1e9))
        for flow in self._flows.values():
            if flow.client is not None:
                try:
                    flow.client.wait(deadline.left_s)
                except subprocess.TimeoutExpired:
                    detail = f"still sends after {limit_s:g} s"
                    raise self._error(DriverTimeout, "finished", detail) from None
        found = self.figures()
        self.stop()
        return found

    def _error(self, kind: type[DriverError], operation: str, detail: str) -> DriverError:
        self._transcript.add("*", f"{operation}: {detail}")
        return kind(self.name, operation, detail, transcript=self._transcript.tail())


def _ended(process: subprocess.Popen[str]) -> None:
    """End a process, by force if need be, and close its pipe."""
    pipe: IO[str] | None = process.stdout
    process.terminate()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if pipe is not None:
        pipe.close()
