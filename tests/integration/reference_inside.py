"""A route and the cable beside it, on a stage with the namespaces near and far; prints JSON."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from hil.virtual import stage

BENCH = """\
schema: 1
name: cabled
ports:
  dut_a: {interface: near/v0, side: device}
  dut_b: {interface: far/v1, side: edge}
  cable_a: {interface: near/w0, side: device}
  cable_b: {interface: far/w1, side: edge}
paths:
  device-edge:
    - {from: dut_a, to: dut_b, reference: {from: cable_a, to: cable_b}}
"""


def main() -> None:
    stage.veth(("near", "v0"), ("far", "v1"), 8)
    stage.veth(("near", "w0"), ("far", "w1"), 9)
    with tempfile.TemporaryDirectory() as place:
        bench = Path(place) / "cabled.yaml"
        bench.write_text(BENCH)
        words = ["--testbed", str(bench), "--tx", sys.argv[1], "--rx", sys.argv[2]]
        command = [sys.executable, "-m", "hil", "measure", *words, "--count", "1500", "--json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    print(done.stdout or done.stderr)


if __name__ == "__main__":
    main()
