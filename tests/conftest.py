"""A whole acceptance run made of numbers: the shipped profile, seeded delays, the real judge.

Nothing is sent. What a run leaves in its directory is all there: the record, the samples, what
pytest would have said; reports are made from it as from any other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from hil.judge import Judgement
    from hil.record import Record, RunDirectory
    from hil.samples.measurement import Measurement
    from hil.targets import Requirement

START_NS = 1_795_391_231_000_000_000


@dataclass(frozen=True)
class Acceptance:
    """How the run went: what was wrong with the network, the bench, the end."""

    plan: str = "smoke"
    simulated: bool = True
    broken_vision: bool = False  #: images come too late
    deaf_clock: bool = False  #: the instrument vouches for nothing of the pose stream
    end: str = "orderly"  #: or "interrupted", or "killed" in the pose stream


def _measured(
    requirement: Requirement,
    direction: str,
    *,
    seed: int,
    simulated: bool,
    lost: int = 0,
    slow: float = 1.0,
    tail: float = 0.0,
    invalid: tuple[str, ...] = (),
) -> Measurement:
    """A measurement of the requirement's own traffic over an imagined cell."""
    import numpy as np

    from hil.samples.measurement import Budget, Counts, Measurement, Timing, Window
    from hil.samples.table import NOT_TAKEN, SAMPLE, blank

    draw = np.random.default_rng(seed)
    traffic = requirement.traffic
    assert traffic is not None
    planned = traffic.schedule(seed=seed)
    n = len(planned)
    samples = blank(SAMPLE, n)
    for name in ("seq", "frame", "stratum", "size"):
        samples[name] = planned[name]
    samples["intended_ns"] = START_NS + planned["offset_ns"]
    samples["tx_user_ns"] = samples["intended_ns"] + draw.gamma(2, 9e3, n).astype(np.int64)
    samples["tx_kernel_ns"] = samples["tx_user_ns"] + draw.gamma(3, 1e3, n).astype(np.int64)
    delay = slow * (2.2e6 + draw.uniform(0, 1.6e6, n) + draw.gamma(1.3, 0.25e6, n))
    delay += (draw.random(n) < tail) * draw.uniform(5e6, 25e6, n)
    samples["rx_trailer_ns"] = samples["tx_kernel_ns"] + delay.astype(np.int64)
    samples["rx_kernel_ns"] = samples["rx_trailer_ns"] + draw.gamma(2, 9e3, n).astype(np.int64)
    samples["lateness_ns"] = 0
    samples["copies"] = 1
    gone = draw.choice(n, lost, replace=False)
    samples["copies"][gone] = 0
    for name in ("rx_trailer_ns", "rx_kernel_ns", "lateness_ns"):
        samples[name][gone] = NOT_TAKEN
    came = samples["copies"] > 0
    samples["arrival"] = np.where(came, np.argsort(np.argsort(samples["rx_trailer_ns"])), -1)
    spoiled = START_NS + int(planned["offset_ns"][n // 3])
    return Measurement(
        id=f"{requirement.id.lower()}-{direction}-{seed}",
        flow=requirement.id,
        path=requirement.path,
        direction=direction,  # type: ignore[arg-type]
        tx_port="lan_a" if direction == "uplink" else "mec",
        rx_port="mec" if direction == "uplink" else "lan_a",
        traffic=traffic.model_dump(mode="json", by_alias=True),
        interval_ns=traffic.interval_ns,
        samples=samples,
        counts=Counts(
            sent=n,
            warmup_sent=20,
            received=n - lost,
            lost=lost,
            duplicated=0,
            reordered=0,
            corrupted=0,
            foreign=0,
            send_failed=0,
            tx_missing={"kernel": 0},
            rx_missing={"trailer": 0},
        ),
        timing=Timing("kernel", "trailer"),
        budget=Budget(
            common_mode_ns=2_000,
            floor_ns=np.sort(draw.gamma(2, 4e3, 4000).astype(np.int64)),
            sources=("one host owns both ports", "a hop calibrated before the run"),
        ),
        spoiled=(Window(spoiled, spoiled + 3_000_000, "the host held the sender for 2.1 ms"),),
        conditions={"cpe": "cpe1", "rsrp_dbm": -84.5, "cell": {"pattern": "DSUUU", "pci": 501}},
        invalid=invalid,
        simulated=simulated,
    )


class _Writer:
    """Writes what the plugin would write while a run lasts."""

    def __init__(self, directory: RunDirectory, record: Record, how: Acceptance) -> None:
        from hil.targets import Plan, load_profile

        self.directory, self.record, self.how = directory, record, how
        self.profile = load_profile()
        self.plan = Plan(how.plan)
        self.clock_ns = START_NS

    def line(self, kind: type[Any], **fields: Any) -> None:
        self.clock_ns += 250_000_000
        self.record.write(kind(at_ns=self.clock_ns, **fields))

    def requirement(self, name: str) -> Requirement:
        found = next(one for one in self.profile.requirements if one.id == name)
        return found.planned(self.plan.packets(found))

    def measured(self, nodeid: str, measurement: Measurement, *names: str) -> list[Judgement]:
        from hil.judge import judge
        from hil.record import sha256_of
        from hil.record.evidence import judgement_line, measurement_line
        from hil.record.schema import SamplesFile
        from hil.samples import floor, store
        from hil.samples.summarise import summarise

        path = self.directory.samples / f"{measurement.id}.parquet"
        store.write(path, measurement.samples, floor.packed(measurement.budget.floor_ns))
        self.record.write(
            measurement_line(
                measurement,
                nodeid,
                summary=summarise(measurement),
                samples=SamplesFile(
                    path=self.directory.relative(path),
                    sha256=sha256_of(path),
                    rows=len(measurement.samples),
                ),
            )
        )
        judged = [
            one for name in names for one in judge(measurement, self.requirement(name), self.plan)
        ]
        for one in judged:
            self.record.write(judgement_line(one, nodeid))
        return judged


_TESTS = {
    "smart_devices": ("test_cyclic_control", ("SD-1", "SD-2"), "Remote I/O at a 10 ms cycle"),
    "machine_vision": ("test_images", ("MV-1", "MV-2"), "Every image arrives whole and in time"),
    "modem": ("test_rsrp", ("MO-2",), "20 dB more attenuation are 20 dB less RSRP"),
    "ar_collaboration": ("test_pose_stream", ("AR-1",), "Poses keep up with the head"),
    "plc": ("test_refuses", (), "A write outside a tag's range never reaches the PLC"),
}


def nodeid_of(scenario: str) -> str:
    return f"suites/test_{scenario}.py::{_TESTS[scenario][0]}"


def _head(writer: _Writer) -> None:
    from hil.record.schema import CollectedLine, CollectedTest, RequirementTitle, RunLine, Source

    how, profile = writer.how, writer.profile
    writer.line(
        RunLine,
        run_id=writer.directory.run_id,
        testbed=Source(name="virtual", path="testbeds/virtual.yaml", sha256="0" * 64),
        profile=Source(name=profile.name, version=profile.version, sha256="1" * 64),
        requirements=tuple(
            RequirementTitle(id=one.id, title=one.title, scenario=one.scenario)
            for one in profile.requirements
        ),
        plan=how.plan,
        simulated=how.simulated,
        seed=5 if how.simulated else None,
        hil="0.1.0",
        git_commit="0123456789" * 4,
        git_dirty=False,
        host="bench",
        kernel="Linux 6.1.0 x86_64",
        python="3.11.7",
        argv=("hil", "run", "suites"),
        started_ns=START_NS,
    )
    writer.line(
        CollectedLine,
        tests=tuple(
            CollectedTest(
                nodeid=nodeid_of(scenario),
                requirements=names,
                scenario=scenario,
                title=title,
                steps="run the profile's traffic for the planned number of packets.",
                verify="every target of the requirement holds.",
            )
            for scenario, (_, names, title) in _TESTS.items()
        ),
    )


def _body(writer: _Writer) -> bool:
    """Everything between head and end; False where the run dies in it."""
    from hil.judge import judge_value
    from hil.record.evidence import judgement_line
    from hil.record.schema import Cause, EventCategory, EventLine, Outcome, TestLine
    from hil.verdict import Verdict

    how = writer.how

    def start(scenario: str) -> str:
        nodeid = nodeid_of(scenario)
        writer.line(TestLine, nodeid=nodeid, phase="start", title=_TESTS[scenario][2])
        return nodeid

    def finish(nodeid: str, outcome: Outcome, cause: Cause | None = None, detail: str = "") -> None:
        writer.line(
            TestLine,
            nodeid=nodeid,
            phase="finish",
            outcome=outcome,
            cause=cause,
            detail=detail or None,
            duration_ns=4_200_000_000,
        )

    nodeid = start("smart_devices")
    for seed, direction in enumerate(("uplink", "downlink")):
        sent = _measured(writer.requirement("SD-1"), direction, seed=seed, simulated=how.simulated)
        writer.measured(nodeid, sent, "SD-1", "SD-2")
    writer.line(EventLine, category=EventCategory.DEVICE, device="cpe1", text="opened: a 5G CPE")
    finish(nodeid, Outcome.PASSED)

    nodeid = start("machine_vision")
    images = _measured(
        writer.requirement("MV-1"),
        "uplink",
        seed=7,
        simulated=how.simulated,
        slow=20.0 if how.broken_vision else 1.0,
    )
    judged = writer.measured(nodeid, images, "MV-1", "MV-2")
    if any(one.verdict is Verdict.FAIL for one in judged):
        missed = "; ".join(one.sentence for one in judged if one.verdict is Verdict.FAIL)
        finish(nodeid, Outcome.FAILED, Cause.TARGET_MISSED, f"TargetMissed: FAIL {missed}")
    else:
        finish(nodeid, Outcome.PASSED)

    nodeid = start("modem")
    writer.line(
        EventLine, category=EventCategory.FAULT_INJECTED, device="att1", text="set_db(1, 20)"
    )
    level = judge_value(
        writer.requirement("MO-2"),
        19.4,
        uncertainty=1.5,
        plan=writer.plan,
        expected=20.0,
        simulated=how.simulated,
    )
    writer.record.write(judgement_line(level, nodeid))
    finish(nodeid, Outcome.PASSED)

    nodeid = start("ar_collaboration")
    if how.end == "killed":
        return False
    if how.end == "interrupted":
        finish(nodeid, Outcome.FAILED, Cause.INTERRUPTED, "Interrupted: before a verdict")
        return True
    deaf = ("the receiver's clock was stepped by 1.3 ms",) if how.deaf_clock else ()
    poses = _measured(
        writer.requirement("AR-1"), "uplink", seed=11, simulated=how.simulated, invalid=deaf
    )
    judged = writer.measured(nodeid, poses, "AR-1")
    if judged[0].verdict is Verdict.INVALID:
        finish(nodeid, Outcome.FAILED, Cause.INVALID, f"InvalidMeasurement: {judged[0].sentence}")
    else:
        finish(nodeid, Outcome.PASSED)

    nodeid = start("plc")
    writer.line(EventLine, category=EventCategory.SAFETY, device="plc1", text="safe state")
    finish(nodeid, Outcome.PASSED)
    return True


def _run(out: Path, how: Acceptance) -> RunDirectory:
    from hil.record import Record, RunDirectory, read
    from hil.record.schema import EndLine

    directory = RunDirectory.create(out)
    with Record(directory.record) as record:
        writer = _Writer(directory, record, how)
        _head(writer)
        if _body(writer):
            writer.line(
                EndLine,
                exit_code=0,
                interrupted=how.end == "interrupted",
                finished_ns=writer.clock_ns,
            )
    assert read(directory.path).run.plan == how.plan
    return directory


Make = Callable[..., "RunDirectory"]


@pytest.fixture(scope="session")
def acceptance_run(tmp_path_factory: pytest.TempPathFactory) -> Make:
    """Makes the directory of a run that went as said; the fields are those of `Acceptance`."""

    def make(**how: Any) -> RunDirectory:
        return _run(tmp_path_factory.mktemp("acceptance"), Acceptance(**how))

    return make
