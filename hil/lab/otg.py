"""`hil otg`: this engine behind the Open Traffic Generator API, for whatever script drives one.

One configuration and one run at a time. The run is the engine's own: absolute schedule, kernel
stamps at both ends, exact counts. While it lasts the metrics are those of its progress.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final

import numpy as np

from hil.errors import HilError, RigError, UsageError
from hil.lab.otg_model import Wanted, wanted
from hil.samples import metrics
from hil.samples.measurement import Measurement
from hil.samples.table import taken
from hil.traffic import Flow, Port, Progress, run

API: Final = "1.62.0"  #: version of the models that this server was written with
_LARGEST: Final = 16 << 20
_BEGUN_S: Final = 10.0
_ENDED_S: Final = 30.0
_POLL_S: Final = 0.05


@dataclass(slots=True)
class _Sending:
    """A run in its thread."""

    flows: Sequence[Wanted]
    stop: threading.Event = field(default_factory=threading.Event)
    begun: threading.Event = field(default_factory=threading.Event)
    progress: Progress | None = None
    measured: Mapping[str, Measurement] = field(default_factory=dict)
    fault: HilError | None = None
    thread: threading.Thread | None = None

    @property
    def lasts(self) -> bool:
        """Whether it still sends or drains."""
        return self.thread is not None and self.thread.is_alive()


class Engine:
    """What the API switches: a configuration, and the run of it.

    Args:
        port: finds a port by its location, or raises UsageError.
        permit: refuses flows that the bench must not be put through.
        directory: where samples go.
        launcher: words put before the commands of the port processes.
    """

    def __init__(
        self,
        port: Callable[[str], Port],
        permit: Callable[[Sequence[Flow]], None],
        directory: Path,
        launcher: Sequence[str] = (),
    ) -> None:
        self._port, self._permit = port, permit
        self._directory, self._launcher = directory, launcher
        self._lock = threading.Lock()
        self._config: Mapping[str, Any] = {}
        self._wanted: tuple[Wanted, ...] = ()
        self._sending: _Sending | None = None

    @property
    def config(self) -> Mapping[str, Any]:
        """The configuration as it was given."""
        return self._config

    def configure(self, config: Mapping[str, Any]) -> None:
        """Take a new configuration; what is being sent is stopped.

        Raises: UsageError, and the old configuration stays.
        """
        found = wanted(config, self._port)
        self._permit([each.flow for each in found])
        self.stop()
        with self._lock:
            self._config, self._wanted, self._sending = config, found, None

    def start(self, names: Sequence[str]) -> None:
        """Send the flows of those names, all where none is named; returns when packets flow.

        Raises: UsageError where that cannot be; RigError where the rig failed.
        """
        with self._lock:
            if self._sending is not None and self._sending.lasts:
                raise UsageError("flows are being sent; stop them first")
            chosen = [each for each in self._wanted if not names or each.flow.name in names]
            unknown = set(names) - {each.flow.name for each in chosen}
            if unknown or not chosen:
                raise UsageError(f"no flow {', '.join(sorted(unknown)) or 'is configured'}")
            sending = self._sending = _Sending(chosen)
            sending.thread = threading.Thread(target=self._send, args=(sending,), name="otg-run")
            sending.thread.start()
        sending.begun.wait(_BEGUN_S)
        if sending.fault is not None:
            raise sending.fault

    def _send(self, sending: _Sending) -> None:
        def show(progress: Progress) -> None:
            sending.progress = progress
            sending.begun.set()

        try:
            measured = run(
                [each.flow for each in sending.flows],
                directory=self._directory,
                progress=show,
                stop=sending.stop,
                launcher=self._launcher,
            )
            sending.measured = {each.flow: each for each in measured}
        except HilError as error:
            sending.fault = error
        finally:
            sending.begun.set()

    def stop(self) -> None:
        """Send no more, and wait until what was on its way has come or is lost."""
        with self._lock:
            sending = self._sending
        if sending is not None and sending.thread is not None:
            sending.stop.set()
            sending.thread.join(_ENDED_S)
            if sending.lasts:
                raise RigError(f"the run did not end within {_ENDED_S:g} s")

    def metrics(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """The figures of the flows of those names, of all where none is named.

        Raises: RigError where the run failed.
        """
        with self._lock:
            sending = self._sending
        if sending is not None and sending.fault is not None and not sending.lasts:
            raise RigError(str(sending.fault))
        chosen = [each for each in self._wanted if not names or each.flow.name in names]
        return [_metric(each, sending) for each in chosen]


def _metric(each: Wanted, sending: _Sending | None) -> dict[str, Any]:
    """One flow; what was not measured is left out."""
    name = each.flow.name
    found: dict[str, Any] = {"name": name, "port_tx": each.tx, "port_rx": each.rx}
    measured = sending.measured.get(name) if sending is not None else None
    if measured is not None:
        counts = measured.counts
        sent, received = counts.sent - counts.send_failed, counts.received + counts.duplicated
        found |= {"transmit": "stopped"} | _counted(sent, received, each.frame_size)
        found["loss"] = 100 * (counts.lost + counts.corrupted - counts.send_failed) / max(sent, 1)
        if each.delay and not measured.invalid:
            found |= _delays(measured)
        return found
    here = [] if sending is None or sending.progress is None else sending.progress.flows
    state = next((flow for flow in here if flow.name == name), None)
    of_run = sending is not None and any(flow.flow.name == name for flow in sending.flows)
    found["transmit"] = "started" if of_run and sending is not None and sending.lasts else "stopped"
    sent, received = (0, 0) if state is None else (state.sent, state.received)
    return found | _counted(sent, received, each.frame_size)


def _counted(sent: int, received: int, size: int) -> dict[str, int]:
    return {
        "frames_tx": sent,
        "frames_rx": received,
        "bytes_tx": sent * size,
        "bytes_rx": received * size,
    }


def _delays(measured: Measurement) -> dict[str, Any]:
    delay = metrics.delay_ns(measured.samples, measured.timing)
    known = delay[taken(delay)]
    if not known.size:
        return {}
    return {
        "latency": {
            "minimum_ns": float(known.min()),
            "maximum_ns": float(known.max()),
            "average_ns": float(np.mean(known)),
        }
    }


class Server:
    """The API over HTTP, on `address` (host and port; port 0: any that is free)."""

    def __init__(self, address: tuple[str, int], engine: Engine, version: str) -> None:
        class Handler(_Handler):
            pass

        Handler.engine, Handler.version = engine, version
        try:
            self._server = ThreadingHTTPServer(address, Handler)
        except OSError as error:
            raise UsageError(
                f"cannot listen on {address[0]}:{address[1]}: {error.strerror}"
            ) from None
        self._server.daemon_threads = True
        self._engine = engine
        self.address: tuple[str, int] = self._server.server_address[:2]  # type: ignore[assignment]
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(_POLL_S,), name="otg")
        self._thread.start()

    def close(self) -> None:
        """Stop what is being sent, then serving."""
        try:
            self._engine.stop()
        finally:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()


class _Handler(BaseHTTPRequestHandler):
    engine: Engine
    version: str
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        if self.path == "/config":
            self._answer(200, self.engine.config)
        elif self.path == "/capabilities/version":
            about = {"api_spec_version": API, "app_version": self.version}
            self._answer(200, about)
        else:
            self._fail(404, "validation", f"GET {self.path}: this server has no such thing")

    def do_POST(self) -> None:
        try:
            asked = self._asked()
            if self.path == "/config":
                self.engine.configure(asked)
                self._answer(200, {"warnings": []})
            elif self.path == "/control/state":
                self._control(asked)
                self._answer(200, {"warnings": []})
            elif self.path == "/monitor/metrics":
                self._answer(200, self._metrics(asked))
            else:
                self._fail(404, "validation", f"POST {self.path}: this server has no such thing")
        except UsageError as error:
            self._fail(400, "validation", str(error))
        except HilError as error:
            self._fail(500, "internal", str(error))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            self._fail(400, "validation", f"not as the model has it: {error!r}")

    def _asked(self) -> Mapping[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        if length > _LARGEST:
            self.close_connection = True
            raise UsageError(f"a request of {length:,} B; at most {_LARGEST:,} B are read")
        asked = json.loads(self.rfile.read(length) or b"{}")
        if not isinstance(asked, dict):
            raise UsageError("a request is a JSON object")
        return asked

    def _control(self, asked: Mapping[str, Any]) -> None:
        traffic = asked.get("traffic", {})
        if asked.get("choice") != "traffic" or traffic.get("choice") != "flow_transmit":
            raise UsageError("this server switches traffic.flow_transmit and nothing else")
        switch = traffic["flow_transmit"]
        if switch.get("state") == "start":
            self.engine.start(switch.get("flow_names") or ())
        elif switch.get("state") == "stop":
            self.engine.stop()
        else:
            raise UsageError(f"flow_transmit.state {switch.get('state')!r}: give start or stop")

    def _metrics(self, asked: Mapping[str, Any]) -> Mapping[str, Any]:
        if asked.get("choice") != "flow":
            raise UsageError("this server has metrics of flows and no others")
        names = asked.get("flow", {}).get("flow_names") or ()
        return {"choice": "flow_metrics", "flow_metrics": self.engine.metrics(names)}

    def _fail(self, status: int, kind: str, text: str) -> None:
        self._answer(status, {"code": status, "kind": kind, "errors": [text]})

    def _answer(self, status: int, fields: Mapping[str, Any]) -> None:
        body = json.dumps(fields).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: what a client asked for is in its own log."""
