"""Programs for test_calibration, each run on a private stage; prints one JSON object."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from hil.lab import standard
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


def calibrate() -> Any:
    """A hop calibrated, used, and refused after a change; and ports that have no floor."""
    standard.build(limited=False)
    stage.veth(("near", "v0"), ("far", "v1"))
    ports = ("--tx", "near/e0", "--rx", "far/e1")
    measure = ("measure", *ports, "--count", "200", "--json")
    seen = {"calibrated": hil("calibrate", *ports, "--count", "1000")}
    seen["used"] = hil(*measure)
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
