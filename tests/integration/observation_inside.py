"""Run as a script by test_observation: in one world, what its N3 shows beside the truth.

``python observation_inside.py TESTBED`` prints one JSON object.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from hil import _enter

COUNT: Final = 100
WARM_UP: Final = 20
PATIENCE_S: Final = 15.0
CLOSE_NS: Final = 100_000


def main() -> None:
    testbed = Path(sys.argv[1])
    _enter.enter(testbed)
    world = _enter.inside()
    assert world is not None

    from hil.drivers.registry import Registry
    from hil.lab import Lab
    from hil.testbed import load

    bench = load(testbed, Registry())
    lab = Lab(bench, Registry(), lambda *_: None)
    for name in ("cpe1", "cpe2"):
        lab[name].wait_registered(timeout_s=PATIENCE_S)
    with tempfile.TemporaryDirectory() as directory:
        looking = Looking(bench, Path(directory), world.run)
        answer = {
            "split": looking.split(),
            "across": looking.across(),
            "wrong_qfi": looking.wrong_qfi(),
            "lost": looking.lost(lab),
            "copied": looking.unseen(),
        }
    lab.close(abnormal=False)
    print(json.dumps(answer), flush=True)


class Looking:
    """Measures over the first CPE, whose N3 is seen."""

    def __init__(self, bench: Any, directory: Path, run: Path) -> None:
        from hil.lab.path import Bench, Path
        from hil.targets import load_profile

        (self._cyclic,) = (each for each in load_profile().requirements if each.id == "SD-1")
        assert self._cyclic.traffic is not None
        self._traffic = self._cyclic.traffic.model_copy(update={"count": COUNT})
        silent: Any = Silent()
        place = Bench(bench, directory, 5, lambda _: None, silent)
        self._run, self._directory = run, directory
        self._edge, self._cloud, self._across = (
            Path(place, kind, bench.paths[kind][0])
            for kind in ("device-edge", "device-cloud", "device-device")
        )

    def split(self) -> dict[str, Any]:
        """Both ways with a canary, beside other traffic to the cloud."""
        beside = [self._cloud.uplink().offer(self._traffic)]
        both = self._edge.both().run(
            self._traffic, beside=beside, canary=("n3", "cloud", "internet")
        )
        found: dict[str, Any] = {}
        for number, measurement in enumerate(both):
            truth = self._truth(measurement, number)
            (seen,) = measurement.sightings
            took = seen.time_ns - measurement.samples["tx_kernel_ns"]
            off = took - (truth["n3_ns"] - truth["ingress_ns"])
            found[measurement.direction] = {
                "packets": len(off),
                "seen": int(seen.seen.sum()),
                "source": seen.visit.source,
                "close": int((abs(off) <= CLOSE_NS).sum()),
                "qos": measurement.conditions["qos"]["words"],
                "canary": measurement.conditions["canary"],
                "verdict": self._judged(measurement)["reasons"][0],
            }
        return found

    def across(self) -> dict[str, Any]:
        """From one device to the other."""
        from hil.samples.segments import segments

        found = segments(self._across.uplink().run(self._traffic))
        assert found is not None
        parts = found["segments"]
        return {
            "segments": [[part["from"], part["to"]] for part in parts],
            "turn_ns": parts[1]["delay_ns"]["p50"],
        }

    def wrong_qfi(self) -> dict[str, Any]:
        """Traffic of the profile without its DSCP, so that the core takes it for less."""
        from hil.traffic import run

        flow = self._edge.flow("control", self._traffic, "uplink")
        (measurement,) = run(
            [dataclasses.replace(flow, dscp=0)], directory=self._directory, warm_up=WARM_UP
        )
        return self._judged(measurement)

    def lost(self, lab: Any) -> dict[str, Any]:
        """Bursts of loss on the radio, both ways, and where they were seen last."""
        from hil.samples.segments import last_seen, segments

        with lab.fault("burst_loss", cpe="cpe1", share=0.2, burst=2):
            both = self._edge.both().run(self._traffic)
        found: dict[str, Any] = {}
        for number, measurement in enumerate(both):
            truth = self._truth(measurement, number)
            gone = measurement.samples["arrival"] < 0
            sequences = measurement.samples["seq"]
            split = segments(measurement)
            assert split is not None
            found[measurement.direction] = {
                "lost": sequences[gone].tolist(),
                "behind_n3": sequences[gone & (last_seen(measurement) == 0)].tolist(),
                "truth_lost": truth["seq"][truth["reason"] > 0].tolist(),
                "truth_behind_n3": truth["seq"][
                    (truth["reason"] > 0) & (truth["n3_ns"] > 0)
                ].tolist(),
                "last_seen": split["lost"]["last_seen"],
                "uncertain": split["lost"]["uncertain"],
            }
        return found

    def unseen(self) -> dict[str, Any]:
        """How many copies the world made before and after a run that nobody looked on."""
        from hil.traffic import run

        flow = self._edge.flow("control", self._traffic, "uplink")
        before = self._status()
        run([dataclasses.replace(flow, through=())], directory=self._directory)
        after = self._status()
        return {"before": before["copied"], "after": after["copied"], "overrun": after["overrun"]}

    def _status(self) -> Any:
        """What the world says of its N3, once it says it anew."""
        path = self._run / "userplane.json"
        since, limit = time.time_ns(), time.monotonic() + PATIENCE_S
        while time.monotonic() < limit:
            status = json.loads(path.read_text("utf-8"))
            if status["at_ns"] >= since:
                return status["n3"]
            time.sleep(0.05)
        raise TimeoutError(path)

    def _judged(self, measurement: Any) -> dict[str, Any]:
        from hil.judge import judge
        from hil.targets import Plan

        judged = judge(measurement, self._cyclic, Plan.SMOKE)
        return {
            "verdicts": sorted({each.verdict.value for each in judged}),
            "reasons": sorted({str(each.reason) for each in judged}),
            "sentence": judged[0].sentence,
        }

    def _truth(self, measurement: Any, number: int) -> Any:
        """The rows of the truth log for the judged packets of one flow, in order of sequence."""
        from hil.virtual import userplane_truth as log

        rows, _ = log.read(self._run / "truth")
        run = int(measurement.id.split("-")[0], 16)
        rows = rows[(rows["run"] == run) & (rows["flow"] == number)]
        rows = rows[rows["order"].argsort()][WARM_UP:]
        return rows[rows["seq"].argsort(kind="stable")]


class Silent:
    """Nobody watches the progress."""

    def show(self, text: str) -> None:
        """Shows nothing."""


if __name__ == "__main__":
    main()
