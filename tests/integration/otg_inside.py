"""A real server of the API, its driver and a plain snappi script, over a veth pair; prints JSON.

Started on a private stage with the namespaces near and far.
"""

from __future__ import annotations

import json
import logging
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import snappi
from pyroute2 import IPRoute

from hil.drivers.generator import GeneratorFlow
from hil.drivers.generator_otg import GeneratorOtg, GeneratorOtgConfig
from hil.errors import DriverError
from hil.lab.otg import Engine, Server
from hil.traffic import Port, parse_port, resolve_port
from hil.virtual import stage

MILLISECOND = 1_000_000


def located(location: str) -> Port:
    namespace, interface = parse_port(location)
    return resolve_port(interface, namespace)


def driver(location: str) -> GeneratorOtg:
    made = GeneratorOtg(
        "gen1",
        GeneratorOtgConfig.model_validate(
            {
                "driver": "generator_otg",
                "location": location,
                "ports": {"near": "near/v0", "far": "far/v1"},
                "clock": "same host",
            }
        ),
    )
    made.open()
    return made


def by_driver(location: str) -> Mapping[str, Any]:
    generator = driver(location)
    either: Any = {"size": 200, "interval_ns": MILLISECOND, "count": 500}
    generator.apply(
        [
            GeneratorFlow(name="up", tx="near", rx="far", dscp=46, **either),
            GeneratorFlow(name="down", tx="far", rx="near", layer="ethernet", **either),
        ]
    )
    before = {name: asdict(each) for name, each in generator.figures().items()}
    generator.start()
    after = {name: asdict(each) for name, each in generator.finished(30).items()}
    generator.close()
    return {"before": before, "after": after}


def stopped(location: str) -> Mapping[str, Any]:
    """A flow without an end, stopped: what was sent until then is counted."""
    generator = driver(location)
    generator.apply(
        [
            GeneratorFlow(
                name="long", tx="near", rx="far", size=200, interval_ns=MILLISECOND, count=1_000_000
            )
        ]
    )
    generator.start()
    running = generator.figures()["long"].running
    try:
        generator.start()
        again = ""
    except DriverError as error:
        again = str(error)
    generator.stop()
    found = asdict(generator.figures()["long"])
    generator.close()
    return {"began": running, "again": again, **found}


def by_script(location: str) -> Mapping[str, Any]:
    """As any script does it, with headers of its own: one with a VLAN tag, one that is refused."""
    api = snappi.api(location=location, loglevel=logging.CRITICAL)
    config = api.config()
    config.ports.port(name="p1", location="near/v0").port(name="p2", location="far/v1")
    flow = config.flows.flow(name="own")[-1]
    flow.tx_rx.port.tx_name, flow.tx_rx.port.rx_names = "p1", ["p2"]
    _, ip, udp = flow.packet.ethernet().ipv4().udp()
    ip.src.value, ip.dst.value = "10.99.8.1", "10.99.8.2"
    udp.src_port.value, udp.dst_port.value = 4000, 4001
    flow.size.fixed, flow.rate.pps = 128, 1000
    flow.duration.fixed_seconds.seconds = 0.3
    flow.metrics.enable = flow.metrics.latency.enable = True
    api.set_config(config)
    control = api.control_state()
    control.traffic.flow_transmit.state = "start"
    api.set_control_state(control)
    request = api.metrics_request()
    request.flow.flow_names = ["own"]
    while (metric := api.get_metrics(request).flow_metrics[0]).transmit == "started":
        pass
    ip.src.increment.start, ip.src.increment.step = "10.99.8.1", "0.0.0.1"
    ip.src.increment.count = 4
    try:
        api.set_config(config)
        refused = ""
    except Exception as error:
        refused = str(error.args[0].errors[0])
    return {"metric": json.loads(metric.serialize()), "refused": refused}


def main() -> None:
    stage.veth(("near", "v0"), ("far", "v1"), 8)
    with IPRoute() as ip:
        ip.link("set", index=1, state="up")
    with tempfile.TemporaryDirectory() as directory:
        engine = Engine(located, lambda flows: None, Path(directory))
        server = Server(("127.0.0.1", 0), engine, "of the test")
        location = f"http://127.0.0.1:{server.address[1]}"
        try:
            said = {
                "driver": by_driver(location),
                "stopped": stopped(location),
                "script": by_script(location),
            }
        finally:
            server.close()
    json.dump(said, sys.stdout)


if __name__ == "__main__":
    main()
