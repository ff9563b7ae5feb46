"""Programs for test_calibration, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from hil.lab import standard
from hil.record import Record, RunDirectory, floor_checks, sha256_of
from hil.record.evidence import measurement_line
from hil.record.schema import EndLine, RunLine, SamplesFile, Source
from hil.traffic import Flow, periodic, resolve_port, run
from hil.traffic.floor import stored
from hil.virtual import stage


def hil(*words: str) -> dict[str, Any]:
    """What a `hil` command prints on both channels, its exit code, and its object if any."""
    done = subprocess.run(
        [sys.executable, "-m", "hil", *words], capture_output=True, text=True, check=False
    )
    shown: dict[str, Any] = {"code": done.returncode, "said": done.stdout + done.stderr}
    if done.stdout.startswith("{"):
        shown |= json.loads(done.stdout)
    return shown


def token_bucket() -> Any:
    """The serialisation standard, once."""
    found = standard.measure(*standard.build())
    return {
        "agrees": found.agrees,
        "sentence": found.sentence,
        "slope_uncertainty_ns": found.slope_uncertainty_ns,
        "departures_ns": found.departures_ns,
        "uncertainties_ns": [each.uncertainty_ns for each in found.spacings],
    }


def recorded(out: Path) -> Path:
    """The directory of a run that measured from near/e0 to far/e1 with the floor kept for them."""
    near, far = resolve_port("e0", "near"), resolve_port("e1", "far")
    flow = Flow(
        name="f", tx=near, rx=far, planned=periodic(200, 1_000_000, 128), floor=stored(near, far)
    )
    directory = RunDirectory.create(out)
    (measured,) = run([flow], directory=directory.samples)
    path = directory.samples / f"{measured.id}.parquet"
    kept = SamplesFile(path=directory.relative(path), sha256=sha256_of(path), rows=200)
    nothing = Source(name="none")
    with Record(directory.record) as record:
        record.write(
            RunLine(
                run_id=directory.run_id,
                testbed=nothing,
                profile=nothing,
                plan="smoke",
                simulated=False,
                hil="0",
                host="bench",
                kernel="Linux",
                python="3",
                argv=("hil",),
                started_ns=0,
            )
        )
        record.write(measurement_line(measured, None, summary={}, samples=kept))
        record.write(EndLine(exit_code=0, interrupted=False, finished_ns=1))
    return directory.path


def calibrate() -> Any:
    """A hop calibrated, used, and refused after a change; and ports that have no floor."""
    standard.build(limited=False)
    stage.veth(("near", "v0"), ("far", "v1"))
    ports = ("--tx", "near/e0", "--rx", "far/e1")
    measure = ("measure", *ports, "--count", "200", "--json")
    seen: dict[str, Any] = {"calibrated": hil("calibrate", *ports, "--count", "1000")}
    seen["used"] = hil(*measure)
    seen["again"] = hil("calibrate", *ports, "--count", "1000", "--json")
    with tempfile.TemporaryDirectory() as out:
        made = recorded(Path(out))
        seen["after"] = hil("calibrate", *ports, "--count", "1000", "--after", str(made))
        seen["checks"] = len(floor_checks.read(made))
        other = ("--tx", "far/e1", "--rx", "near/e0")
        seen["after another way"] = hil("calibrate", *other, "--after", str(made))
    seen["after nothing"] = hil("calibrate", *ports, "--after", "/nowhere")
    with stage.inside("far") as ip:
        ip.link("set", index=ip.link_lookup(ifname="e1")[0], mtu=1400)
    seen["changed"] = hil(*measure)
    seen["one pair"] = hil("calibrate", "--tx", "near/v0", "--rx", "far/v1")
    with stage.inside("mid") as ip:
        ip.link("set", index=ip.link_lookup(ifname="m1")[0], master=0)
    seen["unplugged"] = hil("calibrate", *ports, "--count", "1000")
    return seen


if __name__ == "__main__":
    print(json.dumps({"token_bucket": token_bucket, "calibrate": calibrate}[sys.argv[1]]()))
