"""iperf3 as a generator: the driver at the real program, over a veth pair between namespaces."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hil.drivers.generator import Generator, GeneratorFlow
from hil.drivers.generator_iperf3 import GeneratorIperf3, GeneratorIperf3Config
from hil.errors import ConnectFailed, DeviceError, DriverTimeout, Unsupported
from hil.virtual import stage

ORDER: dict[str, Any] = {
    "name": "up", "tx": "near", "rx": "far", "size": 228, "interval_ns": 1_000_000, "count": 500
}  # fmt: skip


def driver(**changes: Any) -> GeneratorIperf3:
    fields: dict[str, Any] = {
        "driver": "generator_iperf3",
        "ports": {
            name: {"address": f"10.99.8.{host}", "launcher": ["ip", "netns", "exec", name]}
            for host, name in enumerate(("near", "far"), 1)
        },
    }
    return GeneratorIperf3("gen1", GeneratorIperf3Config.model_validate({**fields, **changes}))


def on_stage() -> None:
    """What is done on the stage; prints what it found."""
    stage.veth(("near", "v0"), ("far", "v1"), 8)
    generator = driver()
    generator.open()
    said: dict[str, Any] = {"is": isinstance(generator, Generator)}
    said["identity"] = generator.identify().firmware
    generator.apply(
        [
            GeneratorFlow(**ORDER),
            GeneratorFlow(**{**ORDER, "name": "down", "tx": "far", "rx": "near"}),
        ]
    )
    generator.start()
    said["running"] = generator.figures()["up"].running
    found = generator.finished(20)
    said["figures"] = {
        name: (each.running, each.sent, each.received, each.lost, each.jitter_ns is not None,
               each.delay_mean_ns)
        for name, each in found.items()
    }  # fmt: skip
    generator.apply([GeneratorFlow(**{**ORDER, "count": 1_000_000})])
    generator.start()
    try:
        generator.finished(0.2)
    except DriverTimeout as error:
        said["too short"] = str(error)
    generator.stop()
    cut = generator.figures()["up"]
    said["cut"] = (cut.running, cut.sent is None or 0 < cut.sent < 1_000_000)
    generator.close()
    print(json.dumps(said))


def test_iperf3_is_driven_and_says_what_it_counts() -> None:
    if shutil.which("iperf3") is None:
        pytest.skip("NOT RUN: iperf3 not installed (packages.debian)")
    done = subprocess.run(
        stage.command(["near", "far"], [sys.executable, str(Path(__file__))]),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["is"]
    assert said["identity"].startswith("3.")
    assert said["running"]
    for name in ("up", "down"):
        assert said["figures"][name] == [False, 500, 500, 0, True, None], "no delay: not measured"
    assert said["too short"] == "gen1: finished: still sends after 0.2 s"
    assert said["cut"] == [False, True]


def test_what_iperf3_cannot_send_is_refused_before_anything_starts() -> None:
    generator = driver()
    with pytest.raises(Unsupported, match="UDP of at least 45 B only"):
        generator.apply([GeneratorFlow(**{**ORDER, "layer": "ethernet"})])
    with pytest.raises(DeviceError, match="no port 'nowhere'; it has near, far"):
        generator.apply([GeneratorFlow(**{**ORDER, "rx": "nowhere"})])


def test_an_end_where_it_is_missing_fails_to_open() -> None:
    ends = {name: {"address": "127.0.0.1", "launcher": ["false"]} for name in ("near", "far")}
    with pytest.raises(ConnectFailed, match="false iperf3 --version"):
        driver(ports=ends).open()


if __name__ == "__main__":
    on_stage()
