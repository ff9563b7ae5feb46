"""Run as a script by the tests of faults: in one world, what each fault does to each requirement.

``python faults_inside.py TESTBED`` prints one JSON object. What the host offered is taken as what
was promised, off its grid or not: the tests are about the network, on hosts that do other things.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Final

from hil import _enter

COUNT: Final = 200
WARM_UP: Final = 20  # packets before the schedule, which nobody judges
TRIES: Final = 4
PATIENCE_S: Final = 15.0

LIST: Final = """
schema: 1
faults:
  - {packet: 0, do: drop}
  - {packet: 50, do: drop, count: 4}
  - {packet: 80, do: duplicate}
  - {packet: 100, do: delay, by: 3 ms}
  - {packet: 120, do: corrupt, byte: -1}
"""


def main() -> None:
    testbed = Path(sys.argv[1])
    _enter.enter(testbed)
    world = _enter.inside()
    assert world is not None

    from hil.drivers.registry import Registry
    from hil.lab import Lab
    from hil.testbed import load

    bench = load(testbed, Registry())
    said: list[list[str]] = []
    lab = Lab(bench, Registry(), lambda name, text: said.append([name, text]))
    judged = Judged(bench, world.run)
    lab["cpe1"].wait_registered(timeout_s=PATIENCE_S)
    lab["cpe2"].wait_registered(timeout_s=PATIENCE_S)
    answer: dict[str, Any] = {}

    def gap_and_delay() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(lab.fault("delay", cpe="cpe2", by="12 ms"))
        return stack

    def gap() -> None:
        from hil.virtual import faults

        faults.begin(world.run, "userplane", "short_gap", {})

    answer["gap_and_delay"] = judged.both(gap_and_delay, gap)
    answer["replayed"] = replayed(world.run)

    def bursts_and_fade() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(lab.fault("burst_loss", cpe="cpe1", share=0.2, burst=4))
        stack.enter_context(lab.fault("attenuation", cpe="cpe2", by="42 dB"))
        return stack

    answer["bursts_and_fade"] = judged.both(bursts_and_fade, None)
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        file.write(LIST)
        file.flush()

        def listed() -> ExitStack:
            stack = ExitStack()
            stack.enter_context(lab.fault("list", cpe="cpe1", file=file.name))
            return stack

        answer["listed"] = judged.both(listed, None)
    answer["cell_off"] = cell_off(lab)
    answer["connections"] = connections(lab)
    answer["refused"] = refused(lab)
    answer["said"] = said
    answer["status"] = json.loads((world.run / "userplane.json").read_text("utf-8"))["faults"]
    lab.close(abnormal=False)
    print(json.dumps(answer), flush=True)


class Judged:
    """Measures cyclic control over both CPEs at once, both ways, and judges it."""

    def __init__(self, bench: Any, run: Path) -> None:
        from hil.lab.path import Bench, Path
        from hil.targets import load_profile

        profile = load_profile()
        self._run = run
        self._requirements = []
        for each in profile.requirements:
            if each.id in ("SD-1", "SD-2"):
                assert each.traffic is not None
                traffic = each.traffic.model_copy(update={"qos": None, "count": COUNT})
                self._requirements.append(each.model_copy(update={"traffic": traffic}))
        self._directory = tempfile.TemporaryDirectory()
        silent: Any = None
        directory = _path(self._directory.name)
        place = Bench(bench, directory, 5, lambda _: None, silent)
        self._paths = [Path(place, "device-edge", route) for route in bench.paths["device-edge"]]

    def both(
        self, faults: Callable[[], ExitStack], halfway: Callable[[], None] | None
    ) -> dict[str, Any]:
        """What was seen and said by CPE and direction; again where the host spoiled it."""
        for _ in range(TRIES):
            with faults():
                seen = self._once(halfway)
            if "INVALID" not in json.dumps(seen):
                break
        return seen

    def _once(self, halfway: Callable[[], None] | None) -> dict[str, Any]:
        from hil.traffic import Progress, run

        traffic = self._requirements[0].traffic
        flows = [
            path.flow("control", traffic, direction)
            for path in self._paths
            for direction in ("uplink", "downlink")
        ]
        pending = [halfway] if halfway else []

        def progress(state: Progress) -> None:
            if pending and sum(each.sent for each in state.flows) >= 2 * COUNT:
                pending.pop()()

        measured = run(
            flows,
            directory=_path(self._directory.name),
            progress=progress,
            drain_ns=1_000_000_000,
            warm_up=WARM_UP,
        )
        assert not pending, "the run ended before the fault"
        keys = [f"{cpe} {way}" for cpe in ("cpe1", "cpe2") for way in ("uplink", "downlink")]
        truth = self._truth(flows)
        return {
            key: self._judged(each) | {"truth": truth[number]}
            for number, (key, each) in enumerate(zip(keys, measured, strict=True))
        }

    def _judged(self, measurement: Any) -> dict[str, Any]:
        import numpy as np

        from hil.judge import judge
        from hil.targets import Plan

        rows = measurement.samples.copy()
        rows["intended_ns"] = rows["tx_kernel_ns"]
        measurement = dataclasses.replace(measurement, samples=rows)
        delays = (rows["rx_trailer_ns"] - rows["tx_kernel_ns"])[rows["arrival"] >= 0]
        found = {
            each.target: [each.verdict.value, each.sentence]
            for requirement in self._requirements
            for each in judge(measurement, requirement, Plan.SMOKE)
        }
        return {
            "lost": rows["seq"][rows["arrival"] < 0].tolist(),
            "p50_ns": int(np.median(delays)) if len(delays) else None,
            "judged": found,
        }

    def _truth(self, flows: Any) -> list[dict[str, Any]]:
        """Of the last run, by flow: what the log says of its packets."""
        from hil.virtual import userplane_truth as log

        rows, _ = log.read(self._run / "truth")
        rows = rows[(rows["flags"] & log.PROBE) > 0]
        rows = rows[rows["run"] == rows["run"][-1]]
        found = []
        for number in range(len(flows)):
            mine = rows[(rows["flow"] == number) & (rows["effects"] & log.COPY == 0)]
            mine = mine[mine["order"].argsort()][WARM_UP:]
            gone = mine[mine["reason"] > 0]
            found.append(
                {
                    "packets": len(mine),
                    "lost": [int(seq) for seq in gone["seq"]],
                    "reasons": dict(Counter(str(int(each)) for each in gone["reason"])),
                    "effects": dict(Counter(str(int(each)) for each in mine["effects"])),
                }
            )
        return found


def replayed(run: Path) -> dict[str, int]:
    """The packets so far, put through the model again by this process."""
    from hil.virtual import replay
    from hil.virtual.topology import load

    path = run / "truth"
    testbed, seed = replay.seed_beside(path)
    assert testbed is not None
    done = replay.replay(load(testbed), replay.from_truth(path), seed=seed)
    return {"compared": done.compared, "different": done.different}


def cell_off(lab: Any) -> dict[str, Any]:
    """A cell that goes off: the registration, and the PLC over 5G and over the wire."""
    from hil.errors import DriverError

    cpe, plc = lab["cpe1"], lab["plc1"]
    with lab.fault("cell_off"):
        limit = time.monotonic() + PATIENCE_S
        while cpe.registration().registered and time.monotonic() < limit:
            cpe.health()
        lost = not cpe.registration().registered
        try:
            plc.read("running")
            over_5g = "answers"
        except DriverError as error:
            over_5g = type(error).__name__
        with _wired(lab) as wired:
            over_wire = wired.read("running")["running"].value
    cpe.wait_registered(timeout_s=PATIENCE_S)
    return {
        "lost": lost,
        "over_5g": over_5g,
        "over_wire": over_wire,
        "back": cpe.registration().registered,
    }


def connections(lab: Any) -> dict[str, list[str]]:
    """What faults in front of the PLC do to a connection that stands, and to a new one."""
    from hil.errors import DriverError

    def said(plc: Any) -> str:
        try:
            return str(plc.read("running")["running"].value)
        except DriverError as error:
            return type(error).__name__

    def by_new() -> str:
        try:
            with _wired(lab) as new:
                return said(new)
        except DriverError as error:
            return type(error).__name__

    found = {}
    with _wired(lab) as standing:
        for kind, parameters in (("refuse", {}), ("reset", {}), ("slow_answer", {"by": "200 ms"})):
            before = time.monotonic()
            with lab.fault(kind, endpoint="plc1", **parameters):
                seen = [said(standing), by_new()]
            found[kind] = [*seen, f"{time.monotonic() - before:.3f}"]
            found[f"after {kind}"] = [by_new()]
    with suppress(DriverError):
        lab["plc1"].snapshot()  # its own connections were reset too; it learns of it here
    return found


def _wired(lab: Any) -> Any:
    """The PLC by its cable."""
    from contextlib import contextmanager

    @contextmanager
    def opened() -> Any:
        from hil.drivers.plc_modbus import PlcModbus

        config = lab.testbed.devices["plc1"]
        plc = PlcModbus("wired", config.model_copy(update={"host": config.wire}))
        plc.open()
        try:
            yield plc
        finally:
            plc.close()

    return opened()


def refused(lab: Any) -> list[str]:
    """What is said to a fault that is not offered, and to a modem that is not there."""
    from hil.errors import UsageError

    said = []
    for name, parameters in (("storm", {}), ("outage", {"cpe": "cpe9"})):
        try:
            with lab.fault(name, **parameters):
                said.append("begun")
        except UsageError as error:
            said.append(str(error))
    return said


def _path(text: str) -> Path:
    return Path(text)


if __name__ == "__main__":
    main()
